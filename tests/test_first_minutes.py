"""What a stranger does first: the README's commands in order, each in a process of its own."""

import os
import shlex
import subprocess
import sys
import time

import pytest

from tests.docs.pages import commands_in
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY

README = REPOSITORY / 'README.md'

# What needs nothing that is downloaded; a target of the Makefile is what it does once it is set up.
FIRST = ('make demo', "mmagic-adm list 'adm-g*'")


def as_typed(command):
    """The words of a command, with the program of this environment."""
    if command.startswith('make '):
        dry = ['make', '-n', *shlex.split(command)[1:]]
        said = subprocess.run(dry, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        lines = said.stdout.replace('\\\n', ' ').splitlines()
        command = next(line for line in lines if 'mmagic-adm ' in line)
    program, *words = shlex.split(command)
    assert program.endswith('mmagic-adm')
    return [sys.executable, '-m', 'mmagic_adm', *words]


@pytest.mark.slow
def test_the_first_ten_minutes(tmp_path):
    typed = [str(command) for command in commands_in(README)]
    asked = [command for command in typed if command in FIRST]
    assert asked == list(FIRST)
    steps = [(each, as_typed(each)) for each in asked]
    steps.insert(1, ('the quick start', [sys.executable, '-c', code_blocks(README)[0]]))
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    for name, words in steps:
        began = time.monotonic()
        subprocess.run(words, cwd=tmp_path, env=environment, check=True)
        print(f'{name}: {time.monotonic() - began:.0f} s')
    assert (tmp_path / 'outputs' / 'demo' / 'sheet.png').is_file()
    assert (tmp_path / 'drawings.png').is_file()
