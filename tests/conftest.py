"""Fixtures that every test runs under."""

import gc
import os

import pytest
import torch

import mmagic_adm  # noqa: F401  MMagic's own modules import after this one only

# Tests run in parallel, one process a core; so do the tools that they call.
torch.set_num_threads(1)
os.environ['OMP_NUM_THREADS'] = '1'


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

    MMEngine collects garbage whenever a data set is made, which took most of a short test's time.
    """
    gc.freeze()
