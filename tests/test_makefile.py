"""What `make` would do to set up an environment."""

import subprocess

from tests.reference import REPOSITORY


def planned(*variables):
    """The commands of `make demo` without an environment, none of which is run."""
    command = ['make', '--dry-run', 'demo', 'VENV=no-such-folder', *variables]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_says_what_it_takes_before_it_begins():
    said = planned()
    assert 0 < said.index('5.9 GB') < said.index('-m venv') < said.index('pip install')
    assert '--quiet' not in said


def test_pytorch_comes_from_another_index_where_that_is_asked_for():
    with_cuda, without = planned(), planned('CPU=1', 'TORCH_INDEX=https://mirror.example/cpu')
    assert '--index-url' not in with_cuda
    first = '--no-deps --index-url https://mirror.example/cpu torch torchvision'
    assert 0 < without.index(first) < without.index('--editable')
    assert '5.9 GB' not in without
