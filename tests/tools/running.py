"""Tools, run in this process, which has imported all that takes long."""

import contextlib
import io
import runpy
import shlex
import sys
from typing import NamedTuple

from tests.reference import REPOSITORY

TOOLS = REPOSITORY / 'tools'


class Ended(NamedTuple):
    """How a tool ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run_here(tool, *arguments):
    """Runs a tool as a shell would."""
    stdout, stderr = io.StringIO(), io.StringIO()
    saved, sys.argv = sys.argv, [tool, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            runpy.run_path(str(TOOLS / tool), run_name='__main__')
    except SystemExit as ended:
        return Ended(ended.code or 0, stdout.getvalue(), stderr.getvalue())
    finally:
        sys.argv = saved
    raise AssertionError(f'{tool} has no exit code')


def succeed(tool, *arguments):
    """Runs a tool that does what it is asked; gives what it said on stdout."""
    ended = run_here(tool, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def fail(tool, *arguments):
    """Runs a tool that cannot do what it is asked; gives the one line in which it says why."""
    ended = run_here(tool, *arguments)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ''
    assert 'Traceback' not in ended.stderr
    [line] = [line for line in ended.stderr.splitlines() if line.startswith(f'{tool}: ')]
    return line


def parser_of(tool):
    """The parser of a tool."""
    return runpy.run_path(str(TOOLS / tool))['parse']()


def examples_of(tool):
    """The arguments of each example in a tool's help."""
    lines = parser_of(tool).epilog.replace('\\\n', ' ').splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith('  ')]
    assert all(command[:2] == ['python', f'tools/{tool}'] for command in commands)
    return [command[2:] for command in commands]
