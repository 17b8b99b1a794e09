"""Fills holes in images, sharpens, enlarges or colours them, by a model."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmagic_adm.apis.class_names import names_of_classes
from mmagic_adm.apis.editing import mode_of
from mmagic_adm.apis.models import changed_config, init_model, model_config
from mmagic_adm.apis.restoring import scheduler_for
from mmagic_adm.apis.sample_folder import SampleFolder
from mmagic_adm.apis.sampling import check_sampling, labels_of_each, scheduler_config
from mmagic_adm.arguments import whole
from mmagic_adm.commands._arguments import (
    add_profile_argument,
    add_sampling_arguments,
    chosen_weights,
    guidance_scale,
    sample_settings,
)
from mmagic_adm.commands.sample import make
from mmagic_adm.datasets.measured import ANOTHER_STREAM
from mmagic_adm.diffusion.randomness import check_seeds
from mmagic_adm.engine.run_folder import made_from
from mmagic_adm.evaluation import psnr
from mmagic_adm.files.alone import claimed
from mmagic_adm.files.given_images import given_images
from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import as_uint8, list_images, read_picture
from mmagic_adm.measurements import METHODS, OPERATORS, Measurement, Operator, measure
from mmagic_adm.measurements.making import build_method, build_operator
from mmagic_adm.measurements.operator import SIGMA_Y
from mmagic_adm.models import AblatedDiffusionModel

# Those that need no more than numbers.
NAMED = [name for name in OPERATORS if name not in ('inpainting', 'kernel-blur')]
MODEL = 'restore_ddnm100_imagenet-256x256-uncond'
EXAMPLES = """\
  mmagic-adm restore IMAGE --mask M.png --method ddnm
  mmagic-adm restore FOLDER --operator downsampling --arguments factor=4 --sigma-y 0.05
  mmagic-adm restore digits --model restore_mmps25_digits-16x16 --labels 3 \\
      --operator box --measure --draws 4

The first fills what is black in M.png, a picture of the size of the image; the second enlarges a
folder of small images four times. With --measure, whole images are given, and measured first, to
see what a method can do; the table says how near it came. Each image is restored --draws times,
in ways that differ. Stopped by ctrl-C, the same command makes the rest.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument('image', help='what is to be restored: an image file, or a folder of them')
    add_sampling_arguments(parser, batch_size=4, out='outputs/restored', model=MODEL)
    parser.add_argument('--mask', help='picture that is white where the image is seen')
    parser.add_argument(
        '--operator',
        choices=NAMED,
        metavar='NAME',
        help=f'what was done to the image, where it was not masked: {", ".join(NAMED)}',
    )
    parser.add_argument(
        '--arguments',
        nargs='+',
        default=[],
        metavar='NAME=NUMBER',
        help=f'of the operator: {_listed(OPERATORS)}',
    )
    parser.add_argument(
        '--sigma-y', type=float, default=0.0, help='noise in the image, of range 2 (default: 0)'
    )
    parser.add_argument(
        '--method',
        choices=METHODS,
        metavar='NAME',
        help=f"of {', '.join(METHODS)} (default: the config's, or mmps)",
    )
    parser.add_argument(
        '--method-arguments',
        nargs='+',
        default=[],
        metavar='NAME=NUMBER',
        help=f'of the method: {_listed(METHODS)}',
    )
    parser.add_argument('--draws', type=int, default=1, help='times each image is restored')
    parser.add_argument(
        '--measure', action='store_true', help='do to the images first what is then undone'
    )
    parser.add_argument('--guidance-scale', type=guidance_scale, help="default: the config's")
    add_profile_argument(parser, 'exact')


def main(arguments: argparse.Namespace) -> Sequence[object]:
    """Restores the images; gives the .npz and the sheet, and how near they came where known."""
    if bool(arguments.mask) == bool(arguments.operator):
        raise argparse.ArgumentError(None, 'give one of --mask and --operator')
    whole(arguments.draws, '--draws is how often each image is restored')
    files = image_files(arguments.image)
    pictures = [read_picture(file) for file in files]
    weights = chosen_weights(arguments)
    config = changed_config(arguments.model, arguments.cfg_options, ('model', 'weights'))
    model = init_model(config, arguments.device, weights, arguments.profile)
    operator = chosen_operator(arguments, model)
    images = given_images(pictures, 'image', mode_of(model))
    known = images if arguments.measure else None
    if known is None:
        measurement = Measurement(images, operator)
    else:
        seeds = range(arguments.seed, arguments.seed + len(files))
        generators = [torch.Generator().manual_seed(ANOTHER_STREAM + seed) for seed in seeds]
        measurement = measure(known, operator, generators)
    measurement.check(model.sample_shape)
    method = build_method(
        arguments.method or model.restoration or 'mmps',
        **numbers('--method-arguments', arguments.method_arguments),
    )
    scheduler = scheduler_config(arguments.scheduler) or scheduler_for(method, model)
    model.check_method(method.on(measurement), model.make_scheduler(scheduler, arguments.steps))
    labels = labels_of_each(model, arguments.labels and arguments.labels.split(','), len(files))
    count = len(files) * arguments.draws
    each = torch.arange(count) // arguments.draws

    check_seeds(arguments.seed, count)
    how: dict[str, Any] = dict(
        seeds=range(arguments.seed, arguments.seed + count),
        labels=[labels[i] for i in each],
        rows=dict(measurement=measurement[each]),
        restoration=method,
        batch_size=arguments.batch_size,
        steps=arguments.steps,
        scale=arguments.guidance_scale,
        scheduler=scheduler,
    )
    check_sampling(model, **how)
    follows_from = sample_settings(arguments, 'image', 'mask') | dict(measured=digest(measurement))
    settings = made_from(model, model_config(config, weights), **follows_from)
    out = Path(arguments.out or 'outputs/restored')
    with claimed(out):
        folder = SampleFolder(out, settings, arguments.overwrite)
        make(model, folder, folder.missing(count), **how)
        names = names_of_classes(model.num_classes, model.class_names)
        samples, sheet = folder.finish(count, names)
    if known is None:
        return samples, sheet
    made = torch.from_numpy(read_images(samples)[0].copy()).permute(0, 3, 1, 2)
    return samples, sheet, f'PSNR: {psnr(made, as_uint8(known[each])).mean():.2f}'


def image_files(image: str) -> list[Path]:
    """The files that are meant."""
    path = Path(image)
    return [path / file for file in list_images(path)] if path.is_dir() else [path]


def chosen_operator(arguments: argparse.Namespace, model: AblatedDiffusionModel) -> Operator:
    """What the arguments say was done to the images."""
    if arguments.mask:
        config: dict[str, Any] = dict(type='inpainting', mask=arguments.mask)
    else:
        config = dict(type=arguments.operator)
    config |= numbers('--arguments', arguments.arguments)
    noise = dict(sigma_y=arguments.sigma_y) if arguments.sigma_y else {}
    return build_operator(config, model.sample_shape, **noise)


def numbers(option: str, pairs: Sequence[str]) -> dict[str, int | float]:
    """Numbers by their names, from the NAME=NUMBER of an option."""
    named: dict[str, int | float] = {}
    for pair in pairs:
        name, _, value = pair.partition('=')
        try:
            named[name] = int(value) if value.lstrip('-').isdecimal() else float(value)
        except ValueError:
            raise argparse.ArgumentError(None, f'{option} takes NAME=NUMBER, not {pair}') from None
    return named


def digest(measurement: Measurement) -> str:
    """Tells a measurement from any other."""
    known = hashlib.sha256(measurement.y.contiguous().numpy().data)
    for _, buffer in measurement.operator.named_buffers():
        known.update(buffer.contiguous().numpy().data)
    return known.hexdigest()


def _listed(kinds: Mapping[str, Any]) -> str:
    named = {
        name: ', '.join(each.name for each in kind.arguments if each is not SIGMA_Y)
        for name, kind in kinds.items()
    }
    return '; '.join(f'{name} {arguments}' for name, arguments in named.items() if arguments)
