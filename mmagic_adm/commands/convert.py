"""Converts a checkpoint to OpenAI's, MMagic's or diffusers' layout, or describes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints import (
    config_from_checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_own_pipeline,
    write_pipeline,
)
from mmagic_adm.checkpoints.checkpoint import writable_layouts
from mmagic_adm.checkpoints.flags import PROJECTS
from mmagic_adm.checkpoints.hub import local_path
from mmagic_adm.checkpoints.model_folder import AUTOENCODER, Part
from mmagic_adm.checkpoints.zoo import source_of
from mmagic_adm.registry import MODELS, SCOPE

EXAMPLES = """\
  mmagic-adm convert 64x64_diffusion.pt 64x64_diffusion.safetensors --to safetensors
  mmagic-adm convert adm-g_8xb32_imagenet-64x64-2c0fbeda.pth unet.pt --to openai --prefix unet
  mmagic-adm convert 64x64_diffusion pipeline --to diffusers
  mmagic-adm convert --inspect lsun_bedroom

The first three write OUT and print its path; the last prints the config that the file is of.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument('input', metavar='IN', help='a checkpoint: name, path or URL')
    parser.add_argument('output', metavar='OUT', nargs='?', type=Path, help='file to write')
    layouts = [*writable_layouts(), 'diffusers']
    parser.add_argument('--to', choices=layouts, help='layout of OUT, for diffusers a folder')
    parser.add_argument('--prefix', help="what IN calls the network to take: 'unet', 'classifier'")
    parser.add_argument(
        '--no-ema', action='store_true', help='take the trained weights, not their average'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    parser.add_argument(
        '--ddim', action='store_true', help='with --to diffusers: step as DDIM, not as DDPM'
    )
    parser.add_argument(
        '--own-pipeline',
        action='store_true',
        help='with --to diffusers: write a pipeline that runs by this package, for any model',
    )
    parser.add_argument(
        '--autoencoder',
        metavar='WEIGHTS',
        help='with --to diffusers: that of the latents (default: of IN, or sd-vae-ft-ema)',
    )
    parser.add_argument(
        '--project', choices=PROJECTS, help='whose defaults hold for what IN does not tell'
    )
    parser.add_argument(
        '--inspect', action='store_true', help='print the config that IN is of, and how sure it is'
    )


def main(arguments: argparse.Namespace) -> Iterator[object]:
    """Describes the input, or writes the output and gives its path."""
    writing = (arguments.output, arguments.to, arguments.overwrite, arguments.no_ema)
    if arguments.inspect and any(writing):
        raise argparse.ArgumentError(None, '--inspect takes IN alone, --prefix and --project')
    for_diffusers = (arguments.ddim, arguments.own_pipeline, arguments.autoencoder)
    if arguments.to != 'diffusers' and any(for_diffusers):
        raise argparse.ArgumentError(
            None, '--ddim, --own-pipeline and --autoencoder go with --to diffusers'
        )
    if not arguments.inspect and not (arguments.output and arguments.to):
        raise argparse.ArgumentError(None, 'give IN, OUT and --to, or --inspect IN')
    if arguments.inspect:
        yield config_from_checkpoint(arguments.input, arguments.prefix, project=arguments.project)
    elif arguments.to == 'diffusers':
        yield to_diffusers(arguments)
    else:
        yield convert(arguments)


def convert(arguments: argparse.Namespace) -> Path:
    """Writes the output."""
    checkpoint = read_checkpoint(arguments.input, arguments.prefix, ema=not arguments.no_ema)
    path = write_checkpoint(
        checkpoint.state_dict,
        arguments.output,
        arguments.to,
        overwrite=arguments.overwrite,
        metadata=None if arguments.to == 'openai' else checkpoint.description(),
    )
    what = ' and '.join(filter(None, checkpoint.parts)) or 'one network'
    print(f'{len(checkpoint.state_dict)} tensors of {what}, layout {arguments.to}')
    if checkpoint.left_out:
        count, first = len(checkpoint.left_out), checkpoint.left_out[0]
        print(f'left out: {count} tensors, such as {first}')
    return path


def to_diffusers(arguments: argparse.Namespace) -> Path:
    """Writes a pipeline's folder; says what of it was guessed."""
    checkpoint = read_checkpoint(arguments.input, arguments.prefix, ema=not arguments.no_ema)
    steps = dict(type='DDIMScheduler') if arguments.ddim else None
    inspection = config_from_checkpoint(
        arguments.input,
        arguments.prefix,
        diffusion_scheduler=steps,
        project=arguments.project,
    )
    for place, origin in inspection.guessed.items():
        print(f'not certain: {place}: {origin}')
    parts = inspection.config
    rest = arguments.overwrite, autoencoder_of(parts, arguments)
    if arguments.own_pipeline:
        return write_own_pipeline(arguments.output, parts, checkpoint.networks(), *rest)
    return write_pipeline(arguments.output, parts, checkpoint.state_dict, *rest)


def autoencoder_of(parts: Mapping[str, Any], arguments: argparse.Namespace) -> Part | None:
    """The autoencoder of a network of latents: the one asked for, IN's own, or the usual one."""
    codec = parts.get('codec')
    if codec is None:
        return None
    weights = arguments.autoencoder
    if weights is None:
        folder = local_path(source_of(arguments.input))
        weights = folder if (folder / AUTOENCODER).is_dir() else codec['weights']
    return MODELS.build(dict(codec, weights=weights, _scope_=SCOPE)).stored()
