"""Commands, run in this process, which has imported all that takes long."""

import contextlib
import io
import shlex
from typing import NamedTuple

from mmagic_adm.commands import command_summaries, main, parser_of
from tests.reference import REPOSITORY

COMMANDS = list(command_summaries())
TOOLS = REPOSITORY / 'tools'


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments):
    """Runs ``mmagic-adm`` as a shell would."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as ended:
            code = ended.code or 0
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def succeed(command, *arguments):
    """Runs a command that does what it is asked; gives what it said on stdout."""
    ended = run_here(command, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def fail(command, *arguments):
    """Runs a command that cannot do what it is asked; gives the one line in which it says why."""
    ended = run_here(command, *arguments)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ''
    assert 'Traceback' not in ended.stderr
    begin = f'mmagic-adm {command}: '
    [line] = [line for line in ended.stderr.splitlines() if line.startswith(begin)]
    return line


def examples_of(command):
    """The arguments of each example in a command's help."""
    lines = parser_of(command).epilog.replace('\\\n', ' ').splitlines()
    examples = [shlex.split(line) for line in lines if line.startswith('  ')]
    assert all(example[:2] == ['mmagic-adm', command] for example in examples)
    return [example[2:] for example in examples]
