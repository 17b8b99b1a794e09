"""Fixtures that every test runs under, and what makes thousands of short tests quick."""

import copy
import functools
import gc
import os
from types import SimpleNamespace

import mmengine.config.config
import mmengine.dataset.base_dataset
import mmengine.runner.runner
import pytest
import torch
from mmengine import Config

import mmagic_adm  # noqa: F401  MMagic's own modules import after this one only
from tests.reference import REPOSITORY

# Tests run in parallel, one process a core; so do the tools that they call.
torch.set_num_threads(1)
os.environ['OMP_NUM_THREADS'] = '1'

gc.disable()  # until everything is imported, of which next to nothing is let go again

# MMEngine looks for compilers at the start of each run, lays out a config five times in it, and
# collects garbage whenever a data set is made: most of the time of a short test.
mmengine.runner.runner.collect_env = functools.cache(mmengine.runner.runner.collect_env)
mmengine.config.config.FormatCode = lambda text, **_: (text, True)
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: None)

CONFIGS = str(REPOSITORY / 'configs')
read = Config._file2dict
read_once = functools.cache(read)


def read_config(filename, *options, **named):
    """Reads a config file, as MMEngine does; those of the package stay what they are."""
    path = os.path.abspath(filename)
    if path.startswith(CONFIGS):
        return copy.deepcopy(read_once(path, *options, **named))
    return read(filename, *options, **named)


Config._file2dict = staticmethod(read_config)


def unless_on_meta(initialise):
    """Does not draw the weights of a network that is built for its shapes alone."""

    @functools.wraps(initialise)
    def initialise_numbers(module):
        if not module.weight.is_meta:
            initialise(module)

    return initialise_numbers


for kind in (torch.nn.modules.conv._ConvNd, torch.nn.Linear):
    kind.reset_parameters = unless_on_meta(kind.reset_parameters)


@pytest.fixture(autouse=True, scope='session')
def _own_cache(tmp_path_factory):
    """What is made of references in tests is kept nowhere else."""
    if 'MMAGIC_ADM_CACHE' not in os.environ:
        os.environ['MMAGIC_ADM_CACHE'] = str(tmp_path_factory.mktemp('cache'))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def pytest_collection_finish():
    """Keeps what stays for the whole run from being looked through at every collection.

    These come seldom: what a test leaves behind is small.
    """
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()
