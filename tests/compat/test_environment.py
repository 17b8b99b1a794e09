"""MMagic's last release imports on today's NumPy, and a missing toolbox is named."""

import importlib
import os
import sys

import numpy as np
import pytest

from mmagic_adm.compat import environment
from tests.reference import REPOSITORY


def test_the_name_that_numpy_dropped_is_back_and_mmagic_imports(monkeypatch):
    monkeypatch.delattr(np, 'bool8', raising=False)
    environment.prepare()
    assert np.bool8 is np.bool_
    import mmagic.structures  # noqa: F401


@pytest.mark.parametrize(('own', 'then'), [(None, 'passive'), ('active', 'active')])
def test_threads_that_wait_yield_unless_they_are_told_otherwise(own, then, monkeypatch):
    monkeypatch.setattr(sys, 'meta_path', [*sys.meta_path])
    monkeypatch.setenv('OMP_WAIT_POLICY', own or '')
    if own is None:
        monkeypatch.delenv('OMP_WAIT_POLICY')
    environment.prepare()
    assert os.environ['OMP_WAIT_POLICY'] == then


@pytest.mark.parametrize('package', environment.TOOLBOX)
def test_a_missing_package_of_the_toolbox_is_named_with_the_command_that_installs_it(
    package, monkeypatch
):
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, 'path', [])
    monkeypatch.setattr(sys, 'path_importer_cache', {})
    with pytest.raises(ImportError, match=f'mmagic_adm needs {package}, which is not') as error:
        importlib.import_module(package)
    assert environment.INSTALL_COMMAND in str(error.value)


def test_that_command_names_the_versions_of_the_requirements():
    lines = (REPOSITORY / 'requirements' / 'openmmlab.txt').read_text().splitlines()
    required = [line for line in lines if not line.startswith('#')]
    assert len(required) == len(environment.TOOLBOX)
    assert all(f"'{line}'" in environment.INSTALL_COMMAND for line in required)
