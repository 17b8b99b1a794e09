"""Commands of the pages: whether they are understood, and a small run of each."""

from __future__ import annotations

import argparse
import configparser
import functools
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine import MODELS, Config
from torch.distributed.run import parse_args as torchrun_arguments

from mmagic_adm.apis.models import model_config
from mmagic_adm.commands import main, parser_of
from mmagic_adm.datasets.emoji import FETCH
from mmagic_adm.models.configs import find_config
from tests.docs.pages import Command
from tests.reference import REPOSITORY

# Options that make a command's run short; the last one of a kind counts.
SHORT = {
    # Half of these, as --repeats has it, have each a fifth neighbour.
    'sample': ('--num-samples', '12', '--steps', '2', '--device', 'cpu'),
    'restore': ('--steps', '2', '--device', 'cpu'),
    'sweep': ('--num-samples', '8', '--scales', '0,1', '--steps', '2', '--device', 'cpu'),
}


class ParsedError(BaseException):
    """Ends a script once it knows its arguments."""


def check(command: Command) -> None:
    """Fails unless what a command names is there, down to the model that its config builds."""
    program, *rest = command.words
    if program == 'make':
        makefile = (REPOSITORY / 'Makefile').read_text()
        assert all(re.search(rf'^{target}:', makefile, re.MULTILINE) for target in rest)
    elif program == 'pip':
        check_install(rest)
    elif program == 'npm':
        assert str(command) == FETCH
    elif program == 'source':
        assert rest == ['.venv/bin/activate']
    elif program == 'torchrun':
        launched = torchrun_arguments(rest)
        assert (launched.module, launched.training_script) == (True, 'mmagic_adm')
        check_arguments(launched.training_script_args)
    elif program == 'srun':
        assert rest[-2:] == ['--launcher', 'slurm']
        check_arguments(rest[rest.index('mmagic-adm') + 1 :])
    elif program == 'mmagic-adm':
        check_arguments(rest)
    elif program == 'jupyter':
        assert list((REPOSITORY / rest[-1]).glob('*.ipynb'))
    elif program == 'mim':
        check_mim(*rest)
    else:
        assert program == 'python', f'nobody knows how to check {command}'
        check_script(REPOSITORY / rest[0], rest[1:])


def check_install(words: list[str]) -> None:
    """Fails unless the requirements and the extras that pip is told of are there."""
    _, *rest = words
    if '-r' in words:
        assert (REPOSITORY / words[words.index('-r') + 1]).is_file()
    elif '--no-deps' in words:
        lines = (REPOSITORY / 'requirements' / 'openmmlab.txt').read_text().splitlines()
        assert sorted(rest[1:]) == sorted(line for line in lines if not line.startswith('#'))
    elif '--index-url' in words:
        makefile = (REPOSITORY / 'Makefile').read_text()
        assert f'TORCH_INDEX ?= {words[-1]}\n' in makefile
    else:
        setup = configparser.ConfigParser()
        setup.read(REPOSITORY / 'setup.cfg')
        extras = re.fullmatch(r'(?:\.|mmagic-adm)(?:\[([\w,]+)\])?', words[-1])
        assert extras, f'pip is told to install {words[-1]}'
        assert set(re.findall(r'\w+', extras[1] or '')) <= set(setup['options.extras_require'])


def check_mim(command: str, package: str, config: str, *options: str) -> None:
    """Fails unless what MIM starts takes these arguments: it gives the checkpoint by position."""
    assert package == 'mmagic_adm'
    name = config.removesuffix('.py')
    assert config != name, 'MIM looks for a file'
    check_arguments([command, name, *(word for word in options if word != '--checkpoint')])


def check_arguments(words: list[str]) -> None:
    """Fails unless a command takes these arguments; the model that they name is built, unfilled."""
    command, *rest = words
    arguments = parser_of(command).parse_args(rest)
    name = getattr(arguments, 'config', None) or getattr(arguments, 'model', None)
    # A config that the page itself tells the reader to write is seen to when the page is run.
    if name and (Path(name).parent != Path() or Path(name).suffix != '.py'):
        check_model(str(name))


@functools.cache
def check_model(name: str) -> None:
    """Fails unless a model is there and can be built, unfilled; once for all pages."""
    with torch.device('meta'):
        MODELS.build(model_config(find_config(name), weights=False))


def check_script(script: Path, words: list[str]) -> None:
    """Fails unless a script's own parser takes these arguments; the script does not run."""

    def parse_args(parser, arguments=None, namespace=None):
        original(parser, arguments, namespace)
        raise ParsedError

    original = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = parse_args
    try:
        run_script(script, words)
    except ParsedError:
        return
    finally:
        argparse.ArgumentParser.parse_args = original
    raise AssertionError(f'{script} parses no arguments')


def run_script(script: Path, words: list[str]) -> None:
    """Runs a script in this process, as a shell would."""
    saved, sys.argv = sys.argv, [str(script), *words]
    try:
        runpy.run_path(str(script), run_name='__main__')
    except SystemExit as ended:
        code = ended.code
    else:
        code = 0
    finally:
        sys.argv = saved
    assert not code, f'{script.name} {" ".join(words)} ended with {code}'


def run_small(command: Command, page_text: str, monkeypatch) -> None:
    """Runs a command with few samples, few steps and few iterations."""
    program, name, *words = command.words
    with short_configs(monkeypatch, iterations=4 if '--resume' in words else 2):
        if program == 'mmagic-adm':
            code = main([name, *words, *SHORT.get(name, ())])
            assert code == 0, f'{command} ended with {code}'
        else:
            run_script(REPOSITORY / name, words)
    if name == 'train':
        pretend_to_have_trained(page_text)


@contextmanager
def short_configs(monkeypatch, iterations: int) -> Iterator[None]:
    """Every config that is read trains for so many iterations, and samples in two steps."""
    read = Config.fromfile

    def short(*arguments, **options) -> Config:
        config = read(*arguments, **options)
        if 'train_cfg' in config:
            shorten_training(config, iterations)
        return config

    with monkeypatch.context() as patch:
        patch.setattr(Config, 'fromfile', staticmethod(short))
        yield


def shorten_training(config: Config, iterations: int) -> None:
    """Few iterations, of few images, in the precision that a CPU has."""
    config.train_cfg.max_iters = iterations
    loader, wrapper = config.train_dataloader, config.optim_wrapper
    loader.update(batch_size=4, num_workers=0, persistent_workers=False)
    wrapper.update(type='OptimWrapper', accumulative_counts=1)
    wrapper.pop('dtype', None)
    config.model.num_inference_steps = 2
    config.default_hooks.checkpoint.interval = iterations
    for hook in config.custom_hooks:
        if hook.type == 'SampleSheet':
            hook.update(interval=iterations, num_samples=2)
    if config.get('model', {}).get('type') == 'ClassifierTraining':
        config.model.pop('num_inference_steps')


def pretend_to_have_trained(page_text: str) -> None:
    """Gives the last checkpoint the names under which the page speaks of it."""
    for named in set(re.findall(r'work_dirs/[\w.-]+/iter_\d+\.pth', page_text)):
        written = sorted(Path(named).parent.glob('iter_[24].pth'))
        if written:
            shutil.copy(written[-1], named)
