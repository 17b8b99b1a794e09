"""Manners that all commands have alike, and all scripts in tools/."""

import argparse
import logging
import os
import re
import runpy
import shlex
import subprocess
import sys

import pytest
import torch
from mmengine.logging import MMLogger, print_log

from mmagic_adm.apis.models import changed_config
from mmagic_adm.commands import all_parser, parser_of
from mmagic_adm.commands._manners import EXIT_CODES, command_parser, in_one_line, run_command
from mmagic_adm.configs import list_models
from mmagic_adm.version import __version__
from tests.commands.running import COMMANDS, TOOLS, examples_of, fail, run_here, succeed
from tests.reference import REPOSITORY
from tests.tiny import build_model

# A name that begins with an underscore is of what the others source.
SCRIPTS = sorted(path.name for path in TOOLS.glob('[!_]*.sh'))
EVERY_COMMAND = pytest.mark.parametrize('command', COMMANDS)
EVERY_SCRIPT = pytest.mark.parametrize('script', SCRIPTS)


def light_run(*arguments):
    """What a new process prints, and what of the slow packages it has imported then."""
    code = (
        'import sys\n'
        'from mmagic_adm.commands import main\n'
        'try: main(sys.argv[1:])\n'
        'except SystemExit: pass\n'
        "print({'torch', 'mmengine', 'mmcv', 'mmagic', 'matplotlib'} & sys.modules.keys())"
    )
    *printed, imported = in_shell(sys.executable, '-c', code, *arguments).stdout.splitlines()
    return printed, imported


class TestTheCommandItself:
    def test_help_says_what_each_does_and_imports_nothing_slow(self):
        printed, imported = light_run('--help')
        about = dict(re.findall(r'^  (\w+) {2,}([A-Z].*)$', '\n'.join(printed), re.M))
        assert about == {name: parser_of(name).description for name in COMMANDS}
        assert all(len(line) <= 100 for line in printed)
        assert imported == 'set()'

    def test_names_are_listed_and_nothing_slow_is_imported(self):
        [line], imported = light_run('list', 'adm-g_ddim25_*-64x64')
        name = 'adm-g_ddim25_8xb32_imagenet-64x64'
        assert line.split() == [name, '64', '1000', '1.4', 'GB', '3.76', 'MIT']
        assert imported == 'set()'

    def test_columns_have_names_which_are_no_result(self):
        ended = run_here('list', 'adm*_ddim25_digits-16x16')
        heads, *lines = [ended.stderr.strip(), *ended.stdout.splitlines()]
        assert heads.split() == ['name', 'size', 'classes', 'download', 'FID', 'licence']
        assert [line.split()[0] for line in lines] == list_models('adm*_ddim25_digits-16x16')
        assert {len(line) for line in [heads, *lines]} == {len(heads)}

    def test_where_the_toolbox_is_not_installed_it_says_so_in_a_line(self):
        code = (
            'import sys\n'
            'from importlib.machinery import PathFinder\n'
            'find = PathFinder.find_spec\n'
            "hidden = ('mmengine', 'mmcv', 'mmagic')\n"
            'PathFinder.find_spec = lambda name, *a: None if name in hidden else find(name, *a)\n'
            'from mmagic_adm.commands import main\n'
            'sys.exit(main(sys.argv[1:]))'
        )
        ended = in_shell(sys.executable, '-c', code, 'sample', 'adm_ddim25_digits-16x16')
        assert (ended.returncode, ended.stdout) == (1, '')
        [line] = ended.stderr.splitlines()
        assert re.match('mmagic-adm sample: mmagic_adm needs mm(engine|agic), which is not', line)
        assert in_shell(sys.executable, '-c', code, 'list', 'adm-g_*').returncode == 0

    def test_its_examples_begin_as_commands_do(self):
        examples = re.findall(r'^  mmagic-adm (\w+)', all_parser().epilog, re.M)
        assert examples
        assert set(examples) <= set(COMMANDS)

    @pytest.mark.parametrize('arguments', [[], ['sampel'], ['--no-such-option']])
    def test_wrong_usage_is_2(self, arguments):
        ended = run_here(*arguments)
        assert (ended.returncode, ended.stdout) == (2, '')
        assert ended.stderr.splitlines()[-1].startswith('mmagic-adm: error: ')

    def test_it_tells_its_version(self):
        assert run_here('--version') == (0, f'mmagic-adm {__version__}\n', '')

    @pytest.mark.parametrize('script', sorted(TOOLS.glob('*.py')), ids=lambda path: path.stem)
    def test_a_script_of_that_name_is_the_same(self, script, monkeypatch, capsys):
        monkeypatch.setattr(sys, 'argv', [str(script), '--version'])
        with pytest.raises(SystemExit):
            runpy.run_path(str(script), run_name='__main__')
        assert capsys.readouterr().out == f'mmagic-adm {script.stem} {__version__}\n'


@pytest.mark.parametrize('path', [*TOOLS.glob('*.py'), *TOOLS.glob('[!_]*.sh')])
def test_a_script_runs_by_its_name(path):
    interpreter = 'python' if path.suffix == '.py' else 'bash'
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith(f'#!/usr/bin/env {interpreter}\n')


class TestEveryCommand:
    @EVERY_COMMAND
    def test_help_teaches_with_an_example(self, command):
        ended = run_here(command, '--help')
        assert (ended.returncode, ended.stderr) == (0, '')
        assert f'\n  mmagic-adm {command} ' in ended.stdout
        assert '--debug' in ended.stdout
        assert 'exit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped' in ended.stdout
        assert all(len(line) <= 100 for line in ended.stdout.splitlines() if 'usage' not in line)

    @EVERY_COMMAND
    def test_the_examples_in_the_help_can_be_parsed(self, command):
        assert examples_of(command)
        for arguments in examples_of(command):
            parser_of(command).parse_args(arguments)

    @EVERY_COMMAND
    def test_every_argument_is_explained(self, command):
        assert all(action.help for action in parser_of(command)._actions)

    @EVERY_COMMAND
    def test_a_file_or_folder_that_is_named_can_be_overwritten_by_option_alone(self, command):
        parsed = vars(parser_of(command).parse_args(examples_of(command)[0]))
        if {'out', 'output'} & parsed.keys():
            assert parsed['overwrite'] is False

    @EVERY_COMMAND
    def test_it_tells_its_version(self, command):
        assert run_here(command, '--version') == (0, f'mmagic-adm {command} {__version__}\n', '')

    @EVERY_COMMAND
    def test_wrong_usage_is_2(self, command):
        ended = run_here(command, '--no-such-option')
        assert (ended.returncode, ended.stdout) == (2, '')
        assert ended.stderr.splitlines()[-1].startswith(f'mmagic-adm {command}: error: ')

    @EVERY_COMMAND
    def test_an_error_is_1_and_a_line_and_changes_nothing(self, command, tmp_path, monkeypatch):
        arguments = about_nothing(command)
        monkeypatch.chdir(tmp_path)
        line = fail(command, *arguments)
        assert 'no-such-thing' in line
        assert len(line) > len(f'mmagic-adm {command}: no-such-thing')
        assert list(tmp_path.iterdir()) == []

    @EVERY_COMMAND
    def test_its_traceback_is_there_on_request(self, command, tmp_path, monkeypatch):
        arguments = about_nothing(command)
        monkeypatch.chdir(tmp_path)
        with pytest.raises((ValueError, RuntimeError), match='no-such-thing'):
            run_here(command, *arguments, '--debug')


def about_nothing(command):
    """The first example, naming a model or file that is not there."""
    first, *others = examples_of(command)[0] or ['']
    if not first or first.startswith('-'):
        pytest.skip('its own test knows what could be missing')
    return ['no-such-thing', *others]


class TestExamplesOnTheDigits:
    """Examples that need no download do what the help says, with fewer steps and images."""

    @pytest.fixture(autouse=True)
    def _in_a_folder_of_its_own(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_sampling(self, tmp_path):
        first, _, third = examples_of('sample')
        printed = succeed('sample', *first, '--num-samples', 4, '--steps', 2)
        folder = 'outputs/adm-g_ddim25_digits-16x16'
        assert printed == f'{folder}/samples.npz\n{folder}/sheet.png\n'
        assert len(list((tmp_path / folder).glob('0*.png'))) == 4
        succeed('sample', *third, '--num-samples', 2, '--steps', 2, '--overwrite')
        assert len(list((tmp_path / folder).glob('0*.png'))) == 2

    def test_a_sweep(self, tmp_path):
        few = ['--num-samples', 20, '--steps', 2, '--scales', '8']
        table = succeed('sweep', *examples_of('sweep')[0], *few).splitlines()
        assert len(table) == 4
        assert table[0].split()[0] == 'scale'
        assert all((tmp_path / path).is_file() for path in table[2:])

    def test_from_training_to_a_converted_file(self, tmp_path):
        (train,), (publish,) = examples_of('train'), examples_of('publish')
        short = ['train_cfg.max_iters=1', 'train_dataloader.batch_size=4']
        checkpoint = succeed('train', *train, '--cfg-options', *short).strip()
        assert checkpoint == str(tmp_path / 'work_dirs/adm_1xb32_digits-16x16/iter_1.pth')
        (tmp_path / checkpoint).rename(publish[0])
        assert succeed('publish', *publish) == 'unet.safetensors\n'
        assert "type = 'ADMUNet'" in succeed('convert', '--inspect', 'unet.safetensors')

    def test_conversion(self, tmp_path):
        convert, _, pipeline, inspect = examples_of('convert')
        torch.save(build_model().unet.state_dict(), tmp_path / convert[0])
        assert succeed('convert', *convert) == f'{convert[1]}\n'
        (tmp_path / convert[0]).rename(tmp_path / pipeline[0])
        assert succeed('convert', *pipeline) == f'{pipeline[1]}\n'
        (tmp_path / pipeline[0]).rename(inspect[1])
        assert "type = 'ADMUNet'" in succeed('convert', *inspect)


class TestEveryScript:
    @EVERY_SCRIPT
    @pytest.mark.parametrize('option', ['-h', '--help'])
    def test_help_teaches_with_an_example(self, script, option):
        ended = in_shell(TOOLS / script, option)
        assert (ended.returncode, ended.stderr) == (0, '')
        assert f'\nsuch as\n\n  {example_of(script)}\n' in ended.stdout
        assert '#' not in ended.stdout

    @EVERY_SCRIPT
    @pytest.mark.parametrize('words', [[], ['gpu'], ['gpu', 'fid'], ['gpu', 'fid', '--resume']])
    def test_wrong_usage_is_2_and_a_line(self, script, words):
        ended = in_shell(TOOLS / script, *words)
        assert (ended.returncode, ended.stdout) == (2, '')
        assert re.fullmatch(f'usage: tools/{script} .*CONFIG.*; --help says more\n', ended.stderr)

    @pytest.mark.parametrize(
        'words',
        [
            ['dist_test.sh', 'config.py', 'weights.pth', '--resume'],
            ['dist_test.sh', 'config.py', '--resume', '2'],
            ['dist_train.sh', 'config.py', '--resume'],
            ['dist_train.sh', 'config.py', 'weights.pth', '2'],
        ],
    )
    def test_the_number_of_processes_has_its_place(self, words):
        script, *others = words
        assert in_shell(TOOLS / script, *others, PYTHON='echo').returncode == 2

    @EVERY_SCRIPT
    def test_its_example_calls_the_tool_as_the_tool_understands(self, script, fake_slurm):
        ended = in_shell('bash', '-c', example_of(script), PATH=fake_slurm, PYTHON='echo')
        assert ended.returncode == 0, ended.stderr
        command, arguments = re.search(r'tools/(\w+)\.py (.*)', ended.stdout).groups()
        parsed = parser_of(command).parse_args(shlex.split(arguments))
        assert parsed.launcher == 'pytorch'
        changed_config(parsed.config, parsed.cfg_options, ())


def example_of(script):
    text = (TOOLS / script).read_text()
    return re.search(r'^# such as\n#\n#   (.*)$', text, re.M)[1]


def in_shell(*command, **variables):
    environment = {**os.environ, **variables}
    command = list(map(str, command))
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment)


class TestRunningACommand:
    """What every command is given."""

    def run(self, main, *arguments):
        return run_command(command_parser('a command', None, ''), main, arguments)

    def test_only_results_are_on_stdout(self, capsys):
        MMLogger.get_instance('an older one')

        def main(arguments):
            print('a library prints')
            print_log('a library logs', 'current', logging.WARNING)
            yield 'first result'
            MMLogger.get_instance('made by the command').warning('its logger logs')
            yield 2

        assert self.run(main) == 0
        said = capsys.readouterr()
        assert said.out == 'first result\n2\n'
        for line in ('a library prints', 'a library logs', 'its logger logs'):
            assert line in said.err

    def test_a_command_may_have_no_results(self, capsys):
        assert self.run(lambda arguments: None) == 0
        assert capsys.readouterr() == ('', '')

    def test_ctrl_c_is_130_and_says_how_to_go_on(self, capsys):
        def main(arguments):
            yield 'made so far'
            raise KeyboardInterrupt('stopped; --resume goes on')

        assert self.run(main) == 130
        assert capsys.readouterr() == ('made so far\n', 'a command: stopped; --resume goes on\n')

    def test_arguments_that_do_not_go_together_are_wrong_usage(self, capsys):
        def main(arguments):
            raise argparse.ArgumentError(None, 'give one of the two')

        with pytest.raises(SystemExit) as ended:
            self.run(main)
        assert ended.value.code == 2
        assert capsys.readouterr().err.endswith('a command: error: give one of the two\n')

    def test_results_that_nobody_reads_to_the_end_do_not_stop_the_work(self, monkeypatch):
        read, write = os.pipe()
        os.close(read)
        done = []

        def main(arguments):
            yield 'first'
            done.append(True)
            yield 'second'

        with os.fdopen(write, 'w') as stdout:
            monkeypatch.setattr(sys, 'stdout', stdout)
            assert self.run(main) == 0
        assert done

    @pytest.mark.parametrize('words', ['--help | true', 'list | true', 'list >&-'])
    def test_what_nobody_reads_at_all_ends_quietly(self, words):
        words, to, reader = re.split(r' ([|>])', words)
        command = f'(sleep 0.1; {sys.executable} -m mmagic_adm {words}; echo $? >&2) {to}{reader}'
        ended = in_shell('bash', '-c', command)
        *said, code = ended.stderr.splitlines()
        assert code == '0'
        assert not any('rror' in line for line in said)

    def test_ctrl_c_says_how_to_go_on_where_the_command_does_not(self, capsys):
        def main(arguments):
            raise KeyboardInterrupt

        assert self.run(main) == 130
        assert 'the same command starts over' in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('error', 'line'),
        [
            (ValueError('a line;\n  and another'), 'a line; and another'),
            (FileNotFoundError(2, 'No such file or directory', 'x.txt'), 'x.txt: No such file'),
            (torch.OutOfMemoryError('CUDA out of memory.'), 'Take fewer images at a time: --batch'),
            (KeyError('type'), 'KeyError: type (--debug shows where it comes from)'),
            (AssertionError(), 'AssertionError (--debug shows'),
        ],
    )
    def test_any_error_is_one_line(self, error, line, capsys):
        def main(arguments):
            raise error

        assert self.run(main) == 1
        said = capsys.readouterr().err
        assert said == f'a command: {in_one_line(error)}\n'
        assert line in said

    def test_exit_codes_are_those_that_are_documented(self):
        assert list(EXIT_CODES) == [0, 1, 2, 130]


SAMPLE = [sys.executable, '-m', 'mmagic_adm', 'sample', 'adm-g_ddim25_digits-16x16']


def test_in_a_real_shell_results_are_captured_and_nothing_is_coloured(tmp_path):
    """``paths=$(mmagic-adm sample ...)``, with what it says in a log file."""
    command = [*SAMPLE, '--labels', '3', '--steps', '2', '--out', tmp_path / 'out']
    ended = in_shell(*command, TERM='xterm')
    assert ended.returncode == 0, ended.stderr
    paths = [tmp_path / 'out' / name for name in ('samples.npz', 'sheet.png')]
    assert ended.stdout.splitlines() == [str(path) for path in paths]
    assert all(path.is_file() for path in paths)
    assert 'INFO' in ended.stderr
    assert 'sampling: 100%' in ended.stderr
    assert '\x1b' not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(('no_color', 'is_coloured'), [('', True), ('1', False)])
def test_a_terminal_has_colours_unless_it_wants_none(no_color, is_coloured, tmp_path):
    """A terminal on stderr alone, as in ``mmagic-adm sample ... > paths.txt``."""
    pty = pytest.importorskip('pty')
    ours, theirs = pty.openpty()
    environment = {**os.environ, 'TERM': 'xterm', 'NO_COLOR': no_color}
    command = [*SAMPLE, '--labels', '3', '--steps', '2', '--out', tmp_path / 'out']
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b''
    # A pseudo-terminal whose other end is closed ends in an error.
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:
        pass
    os.close(ours)
    assert ended.returncode == 0
    assert b'\x1b' not in ended.stdout
    assert (b'\x1b[' in shown) == is_coloured
