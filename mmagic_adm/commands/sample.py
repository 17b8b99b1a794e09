"""Samples images from a model into a folder."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmagic_adm.apis.class_names import names_of_classes
from mmagic_adm.apis.models import changed_config, init_model, model_config
from mmagic_adm.apis.progress import image_bar
from mmagic_adm.apis.sample_folder import SampleFolder
from mmagic_adm.apis.sampling import check_sampling, resolve_labels, sample_in_batches
from mmagic_adm.commands._arguments import (
    add_profile_argument,
    add_sampling_arguments,
    chosen_weights,
    guidance_scale,
    sample_settings,
    short_name,
)
from mmagic_adm.diffusion.randomness import check_seeds
from mmagic_adm.engine.run_folder import made_from
from mmagic_adm.files.alone import claimed
from mmagic_adm.files.whole import check_free_space
from mmagic_adm.models import AblatedDiffusionModel, AblatedUpsamplingModel
from mmagic_adm.models.low_res import BaseSamples, fit_to, read_low_res

EXAMPLES = """\
  mmagic-adm sample adm-g_ddim25_digits-16x16 --labels 3,5,8 --num-samples 30
  mmagic-adm sample adm-g_ddim25_8xb32_imagenet-64x64 --labels hamster,207 --num-samples 8
  mmagic-adm sample adm-g_ddim25_digits-16x16 --scheduler unipc --steps 10 \\
      --cfg-options model.guidance.interval='(500,1000)'

The first makes thirty digits with a small model that ships with the package: threes, fives and
eights by turns, in outputs/adm-g_ddim25_digits-16x16, with a PNG for each, a contact sheet, and
samples.npz. It prints the paths of the last two. Stopped by ctrl-C, the same command makes the
rest; a larger --num-samples adds to what is there. The third takes ten steps of another sampler,
and guides in the noisier half of them alone.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_sampling_arguments(parser, batch_size=8, out='outputs/MODEL')
    parser.add_argument('--num-samples', type=int, help='how many images (default: one per label)')
    parser.add_argument(
        '--base-samples',
        metavar='NPZ|FOLDER',
        help='for an upsampling model: the small images to enlarge',
    )
    parser.add_argument(
        '--resize-low-res',
        action='store_true',
        help='resize small images of another size than the model was trained on',
    )
    parser.add_argument(
        '--scale', type=guidance_scale, help="scale of the guidance (default: the config's)"
    )
    add_profile_argument(parser, 'exact')
    parser.add_argument(
        '--trajectory',
        type=int,
        metavar='K',
        help='also show every K-th step of each image, as a strip and a GIF',
    )


def main(arguments: argparse.Namespace) -> Sequence[Path]:
    """Makes the samples that are missing from the folder; gives the .npz and the sheet."""
    weights = chosen_weights(arguments)
    config = changed_config(arguments.model, arguments.cfg_options, ('model', 'weights'))
    model = init_model(config, arguments.device, weights, arguments.profile)
    small = base_samples(model, arguments)
    wanted = arguments.labels.split(',') if arguments.labels else small and small.labels
    labels = resolve_labels(model, wanted)
    available = len(labels) if small is None else len(small.images)
    count = available if arguments.num_samples is None else arguments.num_samples
    if count < 1:
        raise ValueError(f'--num-samples is how many images to make, not {count}')
    if small is not None and count > available:
        raise ValueError(f'--base-samples holds {available} images; --num-samples is {count}')

    out = Path(arguments.out or f'outputs/{short_name(arguments.model)}')
    check_seeds(arguments.seed, count)
    how: dict[str, Any] = dict(
        seeds=range(arguments.seed, arguments.seed + count),
        labels=labels,
        rows=None if small is None else dict(low_res=small.images),
        batch_size=arguments.batch_size,
        steps=arguments.steps,
        scale=arguments.scale,
        scheduler=arguments.scheduler,
        trajectory=arguments.trajectory,
    )
    check_sampling(model, **how)
    check_free_space(out / 'samples.npz', count * math.prod(model.stages[-1].sample_shape))
    follows_from = sample_settings(arguments, 'num_samples', 'trajectory', 'resize_low_res') | dict(
        labels=labels,
        base_samples=small and hashlib.sha256(small.images.contiguous().numpy().data).hexdigest(),
    )
    settings = made_from(model, model_config(config, weights), **follows_from)
    with claimed(out):
        folder = SampleFolder(out, settings, arguments.overwrite)
        make(model, folder, folder.missing(count), **how)
        return folder.finish(count, names_of_classes(model.num_classes, model.class_names))


def make(
    model: AblatedDiffusionModel, folder: SampleFolder, missing: list[int], **options: Any
) -> None:
    """Makes samples, and writes each batch as it comes."""
    done = 0
    try:
        with image_bar(len(missing), is_shown=bool(missing)) as bar:
            for indices, made in sample_in_batches(model, missing, bar=bar, **options):
                made.save_into(folder, indices)
                done += len(indices)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f'stopped with {done} of {len(missing)} images made, which are in {folder.path}; the '
            'same command makes the rest'
        ) from None


def base_samples(model: AblatedDiffusionModel, arguments: argparse.Namespace) -> BaseSamples | None:
    """The small images to enlarge, where the model is one that does."""
    if not isinstance(model, AblatedUpsamplingModel):
        given = [name for name in ('base_samples', 'resize_low_res') if getattr(arguments, name)]
        if given:
            option = given[0].replace('_', '-')
            raise ValueError(f'{arguments.model} does not enlarge: leave --{option} out')
        return None
    if not arguments.base_samples:
        raise ValueError(f'{arguments.model} enlarges images: give them with --base-samples')
    images, labels = read_low_res(arguments.base_samples)
    labels = None if model.num_classes is None else labels
    return BaseSamples(fit_to(images, model.low_res_size, arguments.resize_low_res), labels)
