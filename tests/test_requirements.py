"""What the extras ask for goes together."""

import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from tests.reference import REPOSITORY

FOLDER = REPOSITORY / 'requirements'


def read(name):
    lines = (FOLDER / f'{name}.txt').read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def test_what_the_toolbox_pins_is_what_the_other_extras_take():
    pinned = {
        each.name: next(iter(each.specifier)).version
        for each in read('toolbox')
        if str(each.specifier).startswith('==')
    }
    assert pinned['diffusers'] == '0.24.0'
    for extra in ('runtime', 'standalone', 'solvers', 'hub', 'evaluation', 'digits', 'tests'):
        for each in read(extra):
            assert each.name not in pinned or each.specifier.contains(pinned[each.name]), extra


@pytest.mark.slow
@pytest.mark.parametrize('extras', ['standalone,solvers', 'standalone,solvers,toolbox'])
def test_the_resolver_finds_a_set(extras):
    """A dry run: what is installed may stay, and nothing is."""
    command = [sys.executable, '-m', 'pip', 'install', '--dry-run', '--quiet', f'.[{extras}]']
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
