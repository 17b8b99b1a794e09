"""The arguments that several commands take, and what they make of them."""

from __future__ import annotations

import argparse
import inspect
import json
import os
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, DictAction
from mmengine.runner import FlexibleRunner, Runner

from mmagic_adm.apis.models import changed_config
from mmagic_adm.apis.sampling import scheduler_config
from mmagic_adm.arguments import finite
from mmagic_adm.registry import SCOPE

RUN_PARTS = frozenset(
    name
    for runner in (Runner, FlexibleRunner)
    for name in inspect.signature(runner).parameters
    if name not in ('cfg', 'launcher')
)
"""What MMEngine's runners read of their config."""


def add_sampling_arguments(
    parser: argparse.ArgumentParser, batch_size: int, out: str, model: str | None = None
) -> None:
    """The arguments of a command that samples into a folder, with or without a default model."""
    about = 'name of a config, or path of a config file'
    if model is None:
        parser.add_argument('model', help=about)
    else:
        parser.add_argument('--model', default=model, help=f'{about} (default: %(default)s)')
    parser.add_argument('--checkpoint', help='weights of the model: name, path or URL')
    parser.add_argument('--classifier-checkpoint', help='weights of its classifier, the same')
    parser.add_argument('--labels', help='classes by number or name, with commas between')
    parser.add_argument('--seed', type=int, default=0, help='seed of the first image (default: 0)')
    add_sampler_arguments(parser)
    parser.add_argument(
        '--batch-size',
        type=int,
        default=batch_size,
        help='images at a time (default: %(default)s)',
    )
    parser.add_argument('--device', help='default: a GPU if there is one')
    add_config_options(parser, 'model.guidance.every=2')
    parser.add_argument('--out', help=f'folder (default: {out})')
    parser.add_argument('--overwrite', action='store_true', help='replace what --out holds')


def guidance_scale(text: str) -> float:
    """A guidance scale as it was typed."""
    try:
        return finite(float(text), 'infinite')
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'a guidance scale is a finite number, not {text!r}'
        ) from None


def add_profile_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """The argument for how networks compute."""
    parser.add_argument(
        '--profile',
        choices=['exact', 'fast', 'auto'],
        help=f'how the networks compute: in float32, as fast as the hardware allows, or as fast '
        f"and compiled where that pays (default: the config's, or {default})",
    )


def chosen_weights(arguments: argparse.Namespace) -> bool | str | dict[str, str]:
    """The files named on the command line, or else the weights that the config names."""
    unet, classifier = arguments.checkpoint, arguments.classifier_checkpoint
    if classifier and not unet:
        raise argparse.ArgumentError(None, '--classifier-checkpoint goes with --checkpoint')
    return dict(unet=unet, classifier=classifier) if classifier else unet or True


def sample_settings(arguments: argparse.Namespace, *ignored: str) -> dict[str, Any]:
    """What samples follow from besides the model, of the arguments of a command."""
    ignored += ('model', 'checkpoint', 'classifier_checkpoint', 'cfg_options')
    ignored += ('out', 'overwrite', 'debug', 'device', 'batch_size')
    return {name: value for name, value in vars(arguments).items() if name not in ignored}


def add_sampler_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that :func:`chosen_sampler` reads."""
    parser.add_argument('--scheduler', help='ddpm, ddim, dpmsolver++, unipc, heun, euler, ...')
    parser.add_argument('--steps', help="how many steps, or a spec such as 'ddim25'")


def chosen_sampler(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``infer`` that name another sampler or number of steps than the config."""
    chosen: dict[str, Any] = {}
    if steps := arguments.steps:
        chosen['num_inference_steps'] = int(steps) if steps.isdecimal() else steps
    if arguments.scheduler:
        chosen['scheduler_kwargs'] = scheduler_config(arguments.scheduler)
    return chosen


def add_run_arguments(parser: argparse.ArgumentParser, results: str, example: str) -> None:
    """The arguments that :func:`run_config` reads, for results in the work directory."""
    parser.add_argument('config', help='path of a config file, or name of one of the package')
    parser.add_argument('--work-dir', help=f'where {results} go (work_dirs/CONFIG)')
    add_config_options(parser, example)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='pytorch' if 'TORCHELASTIC_RUN_ID' in os.environ else 'none',
        help='what started the processes, where there are several (default: pytorch in those of '
        'torchrun, else none)',
    )
    # torch.distributed.launch, by which mim starts processes, says so what LOCAL_RANK says too.
    parser.add_argument('--local-rank', '--local_rank', help=argparse.SUPPRESS)


def run_config(arguments: argparse.Namespace, own_part: str) -> Config:
    """The config of a run of MMEngine's runner, with the command line's changes.

    Args:
        arguments: Those of :func:`add_run_arguments`.
        own_part: What the command reads of a config besides the runner.
    """
    config = changed_config(arguments.config, arguments.cfg_options, RUN_PARTS | {own_part})
    config.setdefault('default_scope', SCOPE)
    config.work_dir = (
        arguments.work_dir or config.get('work_dir') or f'work_dirs/{short_name(arguments.config)}'
    )
    config.launcher = arguments.launcher
    return config


def short_name(config: str) -> str:
    """A config's name, given that or its path."""
    return Path(config).name.removesuffix('.py')


def add_config_options(parser: argparse.ArgumentParser, example: str) -> None:
    """The argument whose value :func:`changed_config` takes."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_ConfigOptions,
        metavar='KEY=VALUE',
        help=f'changes to the config, such as {example}',
    )


def claim_file(path: Path | None, overwrite: bool) -> None:
    """Refuses an output file that is there, before the work that it is for; makes its folder."""
    if path is None:
        return
    if path.exists() and not overwrite:
        raise ValueError(f'{path} exists; choose another --out, or --overwrite')
    path.parent.mkdir(parents=True, exist_ok=True)


class _ConfigOptions(DictAction):
    """MMEngine's action, for which a slip of the pen is an error of usage."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError):
            raise argparse.ArgumentError(
                self, f'every change is KEY=VALUE, with its brackets closed: {" ".join(values)}'
            ) from None


def config_part(path: str, name: str) -> dict[str, Any]:
    """What a file has under a name: a config, which is code, or YAML or JSON, which are data.

    Raises:
        ValueError: There is no such file, or nothing of that name in it, or it is no plain data.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f'there is no config file {path}')
    if file.suffix == '.py':
        config: Any = Config.fromfile(path).to_dict()
    else:
        try:
            text = file.read_text(encoding='utf-8')
            config = json.loads(text) if file.suffix == '.json' else _plain_yaml(text)
        # A parser of text ends in many ways.
        except Exception as error:
            said = ' '.join(str(error).split())[:200]
            raise ValueError(
                f'{path} is no plain YAML or JSON ({said}); what is to be computed goes into a .py'
            ) from error
    part = config.get(name) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise ValueError(f'{path} configures no `{name}`: {name} = dict(type=..., ...)')
    return part


def _plain_yaml(text: str) -> Any:
    # What refers to what refers to what may be larger than memory once it is written out.
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ValueError('it refers to parts of itself')
    return yaml.safe_load(text)
