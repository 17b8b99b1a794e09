#!/usr/bin/env python
"""Makes the documentation's pictures, from the models that ship with the package and fixed seeds.

python docs/figures.py                    # all of them, into docs/images
python docs/figures.py guidance scales    # these two
python docs/figures.py --costs            # the table of costs in guidance.md
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.apis import init_model, interpolate_seeds, reconstruct, restore, sample, vary
from mmagic_adm.evaluation import PlainClassifierFeatures
from mmagic_adm.files.download import fetch
from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import as_images, as_pictures
from mmagic_adm.guidance import Guidance
from mmagic_adm.guidance.assembly import build_guidance
from mmagic_adm.measurements import (
    METHODS,
    BoxInpainting,
    Downsampling,
    build_method,
    measure,
)
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.configs import find_config

FOLDER = Path(__file__).parent / 'images'
MODEL = 'edm-g_heun18_emoji-32x32'
GUIDED = 'edm-cfg_heun18_emoji-32x32'
CLASSES = range(8)
SIDE, GAP = 64, 4
TEXT = ImageFont.load_default(size=15)
# Enough for drawings: 15 calls.
STEPS = 8
# Of the noise-aware classifier; ADM's own are of 1 to 10.
CLASSIFIER_SCALE = 2.0
# Samples of each class among which the comparison looks for a bad one.
CANDIDATES = 6


def main() -> None:
    """Makes the pictures that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('names', nargs='*', help=f'of {", ".join(FIGURES)} (default: all)')
    parser.add_argument('--costs', action='store_true', help='measure instead what guidance costs')
    parser.add_argument('--out', type=Path, default=FOLDER, help='folder (default: docs/images)')
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FIGURES)
    if unknown:
        parser.error(f'there is no picture called {", ".join(unknown)}')
    torch.set_num_threads(1)
    if arguments.costs:
        print_costs()
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        path = arguments.out / f'{name}.png'
        # A page is to come quickly: of 256 colours, the pictures are half as large, and look alike.
        FIGURES[name]().convert('RGB').quantize(256).save(path, optimize=True)
        print(f'{path}: {path.stat().st_size / 1000:.0f} kB')  # noqa: T201


def guidance() -> Image.Image:
    """A row for each method, a column for each class: where the unguided sample is at its worst."""
    model = init_model(MODEL, device='cpu')
    seeds = hardest_seeds(model, read_judge())
    rows = {name: guided(model, settings, seeds) for name, settings in methods().items()}
    return table(rows, find_config(MODEL).model.class_names)


def scales() -> Image.Image:
    """Three methods, each from a little to too much."""
    model = init_model(MODEL, device='cpu')
    rows = {'unguided': guided(model, None, CLASSES)}
    for name, scales in {
        'classifier': (1.0, 4.0, 16.0),
        'classifier-free': (0.5, 2.0, 8.0),
        'autoguidance': (0.5, 2.0, 8.0),
    }.items():
        for scale in scales:
            settings = dict(methods()[name] or {}, scale=scale)
            rows[f'{name}, scale {scale:g}'] = guided(model, settings, CLASSES)
    return table(rows, find_config(MODEL).model.class_names)


def samplers() -> Image.Image:
    """One start in each column, and a row for each sampler and number of steps."""
    model = init_model(GUIDED, device='cpu')
    return table(
        {
            f'{name}, {steps} steps': sample(
                model, CLASSES, seed=0, batch_size=8, steps=steps, scheduler=name
            )['samples']
            for name, steps in (
                ('edm', 4),
                ('edm', 8),
                ('edm', 18),
                ('ddim', 18),
                ('dpmsolver++', 8),
                ('ddpm', 25),
            )
        }
    )


def upsampling() -> Image.Image:
    """Samples, enlarged by interpolation and by the network."""
    cascade = init_model('edm-cfg-u_heun10_emoji-32x32-64x64', device='cpu')
    small, large = cascade.infer(labels=list(CLASSES), seeds=list(CLASSES))['stages']
    smooth = F.interpolate(small, scale_factor=2, mode='bicubic').clamp(-1, 1)
    return table({'32x32': small, 'bicubic': smooth, '64x64': large}, side=96)


def hole() -> Image.Image:
    """What four methods put into the middle of a face, twice each."""
    model = init_model('edm_heun18_emoji-32x32', device='cpu')
    face = sample(init_model(GUIDED, device='cpu'), 'face', seed=4)['samples']
    operator = BoxInpainting(model.sample_shape, 0.25, 0.2, 0.35, 0.6, sigma_y=0.02)
    known = measure(face, operator, torch.Generator().manual_seed(0))
    shown = torch.where(operator.mask > 0, known.y.float(), 0.0)
    rows = {'the face, and what is known of it': torch.cat([face, shown])}
    for name in ('mmps', 'ddnm+', 'dps', 'repaint'):
        made = restore(
            model, known.y, operator, name, labels='face', draws=4, seed=0, steps=18
        )['samples']  # fmt: skip
        rows[METHODS[name].__name__] = made
    return table(rows, side=96)


def trajectory() -> Image.Image:
    """What a batch is on its way, and what the network takes it for."""
    model = init_model('adm-g_ddim25_digits-16x16', device='cpu')
    result = model.infer(labels=[5], seeds=[3], return_trajectory=3)
    way = result['trajectory']
    columns = [f't = {t:g}' for t in way['timesteps']]
    noisy, predicted = (way[key][:, 0].clamp(-1, 1) for key in ('x_t', 'pred_x0'))
    return table({'x_t': noisy, 'predicted x_0': predicted}, columns)


def editing() -> Image.Image:
    """Samples between two seeds; images to noise and back; and variations of them."""
    model = init_model(GUIDED, device='cpu')
    images = sample(model, CLASSES, seed=0, batch_size=8)['samples']
    plain = init_model('edm_heun18_emoji-32x32', device='cpu')
    again = reconstruct(plain, images, labels=CLASSES, steps=18)
    return table(
        {
            'interpolate_seeds': interpolate_seeds(model, 6, 17, count=8, labels='face').tensor,
            'eight samples': images,
            'reconstruct': again.tensor,
            'vary, strength 0.4': vary(model, images, 0.4, labels=CLASSES, seed=100).tensor,
            'vary, strength 0.7': vary(model, images, 0.7, labels=CLASSES, seed=100).tensor,
        }
    )


def symmetry() -> Image.Image:
    """A score of one's own: images that are their own mirror image."""

    def score(images: Tensor) -> Tensor:
        return -(images - images.flip(-1)).square().mean(dim=(1, 2, 3))

    model = init_model('adm-g_ddim25_digits-16x16', device='cpu')
    rows = {}
    for scale in (0.0, 10.0, 40.0):
        settings = dict(type='ScoreGuidance', score=score, scale=scale)
        model.guidance = build_guidance(settings)
        rows[f'scale {scale:g}'] = sample(model, range(10), seed=0, batch_size=10)['samples']
    return table(rows)


def sweep() -> Image.Image:
    """The plot that mmagic-adm sweep draws."""
    tool = Path(__file__).parents[1] / 'tools' / 'sweep.py'
    with tempfile.TemporaryDirectory() as folder:
        settings = ['adm-g_ddim25_digits-16x16', '--scales', '0,1,2,4,8']
        settings += ['--num-samples', '500', '--device', 'cpu']
        subprocess.run([sys.executable, tool, *settings, '--out', folder], check=True)  # noqa: S603
        return Image.open(Path(folder) / 'sweep.png').convert('RGB')


def methods() -> Mapping[str, dict | None]:
    """The guidances that are compared, as a config has them."""
    classifier = dict(type='ClassifierGuidance', scale=CLASSIFIER_SCALE)
    return {
        'unguided': None,
        'classifier': classifier,
        'classifier, noisier half, every 2nd': dict(classifier, interval=(500, 1000), every=2),
        'classifier-free': dict(type='ClassifierFreeGuidance', scale=1.0),
        'autoguidance': guidance_in('edm-autog', 'guidance.other'),
        'perturbed attention': dict(
            type='PerturbedAttentionGuidance', scale=1.0, stages=['middle_block']
        ),
        'off the shelf': guidance_in('edm-ots', 'guidance.classifier'),
        'score: redder': dict(type='ScoreGuidance', score=redness, scale=50.0),
    }


def guidance_in(config: str, network: str) -> dict[str, Any]:
    """The guidance of one of the configs of drawings, and where the weights of its network are."""
    found = find_config(f'{config}_heun18_emoji-32x32')
    return {**found.model.guidance.to_dict(), 'weights': found.weights[network]}


def redness(images: Tensor) -> Tensor:
    """How red images are, and how little else."""
    return images[:, 0].mean(dim=(1, 2)) - images[:, 1:].mean(dim=(1, 2, 3))


def guidance_of(settings: dict | None, model: AblatedDiffusionModel) -> Guidance | None:
    """Guidance by its config, with the model's classifier if it asks for one."""
    asks = settings is None or 'ClassifierGuidance' in str(settings)
    return build_guidance(settings, model.classifier if asks else None)


def guided(model: AblatedDiffusionModel, settings: dict | None, seeds: Sequence[int]) -> Tensor:
    """A sample of each class under one guidance."""
    scale = 0.0 if settings is None else None
    model.guidance = guidance_of(settings, model)
    request: dict[str, Any] = dict(labels=list(CLASSES), seeds=seeds, classifier_scale=scale)
    return model.infer(**request, num_inference_steps=STEPS)['samples']


def read_judge() -> nn.Module:
    """The bundled network that judges drawings."""
    features = find_config(MODEL).test_evaluator.features
    return PlainClassifierFeatures(features.classifier, features.weights).network


@torch.no_grad()
def hardest_seeds(model: AblatedDiffusionModel, judge: nn.Module) -> list[int]:
    """For each class the seed, of so many, whose unguided sample looks least like it."""
    count = len(CLASSES)
    seeds = list(range(count * CANDIDATES))
    labels = [seed % count for seed in seeds]
    request: dict[str, Any] = dict(labels=labels, seeds=seeds, classifier_scale=0.0)
    images = model.infer(**request, num_inference_steps=STEPS)['samples']
    sure = judge(images).softmax(dim=1)[range(len(seeds)), labels]
    by_class = sure.view(CANDIDATES, count)
    return [count * int(row) + label for label, row in enumerate(by_class.argmin(dim=0))]


def print_costs(batch_size: int = 32, repeats: int = 3) -> None:
    """What a step of a batch costs under each guidance, in multiples of an unguided one."""
    model = init_model(MODEL, device='cpu')
    labels, seeds = [i % len(CLASSES) for i in range(batch_size)], range(batch_size)
    seconds: dict[str, list[float]] = {}
    # In turns, by the processor's time, so that whatever else the machine does slows all alike.
    for repeat in range(repeats + 1):
        for name, settings in methods().items():
            model.guidance = guidance_of(settings, model)
            scale = 0.0 if settings is None else None
            begin = time.process_time()
            model.infer(labels=labels, seeds=seeds, classifier_scale=scale)
            if repeat:  # the first warms up
                seconds.setdefault(name, []).append(time.process_time() - begin)
    unguided = min(seconds['unguided'])
    steps = model.num_inference_steps
    for name, times in seconds.items():
        print(f'{name:36}{1000 * min(times) / steps:8.1f} ms/step{min(times) / unguided:8.2f}')  # noqa: T201


def table(rows: Mapping[str, Tensor], columns: Sequence[str] = (), side: int = SIDE) -> Image.Image:
    """Pictures in rows, with the name of each row on its left and of each column above."""
    count, head = max(map(len, rows.values())), 22 if columns else 0
    cell, margin = side + GAP, 20 + int(max(map(TEXT.getlength, rows)))
    sheet = Image.new('RGB', (margin + count * cell, head + len(rows) * cell), 'white')
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(columns):
        pen.text((margin + i * cell + side // 2, 2), name, fill='black', font=TEXT, anchor='ma')
    for row, (name, samples) in enumerate(rows.items()):
        top = head + row * cell
        pen.text((margin - 12, top + side // 2), name, fill='black', font=TEXT, anchor='rm')
        for i, picture in enumerate(as_pictures(samples)):
            enlarged = picture.resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (margin + i * cell, top))
    return sheet


def restoration() -> Image.Image:
    """Scans, what is known of them, and what each method makes of that."""
    model = init_model('adm_ddim25_digits-16x16', device='cpu')
    pixels, classes = read_images(fetch('bundled://digits-16x16_held-out.npz'))
    places = [int((classes == digit).argmax()) for digit in (2, 3, 5, 6, 8)]
    truth = as_images(torch.from_numpy(pixels[places, :, :, :1].copy()).permute(0, 3, 1, 2))
    tasks = [
        BoxInpainting(model.sample_shape, 0.5, 0.0, 0.5, 1.0, sigma_y=0.05),
        Downsampling(model.sample_shape, 2, sigma_y=0.05),
    ]
    known = [measure(truth, task, torch.Generator().manual_seed(0)) for task in tasks]
    measured = [torch.where(tasks[0].mask > 0, known[0].y.float(), 0.5), known[1].y]
    rows = {
        'the scans': torch.cat([truth, truth]),
        'measured': torch.cat([measured[0], F.interpolate(measured[1], scale_factor=2)]),
    }
    jumps = dict(type='RePaintScheduler', jump_length=5, jump_repeats=3)
    for name, kind in METHODS.items():
        scheduler = jumps if name == 'repaint' else kind.scheduler or dict(type='DDPMScheduler')
        method = build_method(name, **FIGURE_ARGUMENTS.get(name, {}))
        made = [
            restore(
                model, each.y, each.operator, method, labels=classes[places].tolist(),
                seed=0, steps=25, scheduler=dict(scheduler),
            )['samples']
            for each in known
        ]  # fmt: skip
        rows[kind.__name__] = torch.cat(made)
    return table(rows)


# What differs from the methods' defaults.
FIGURE_ARGUMENTS: Mapping[str, dict[str, Any]] = dict(dps=dict(scale=1.0), tds=dict(particles=4))

FIGURES: Mapping[str, Callable[[], Image.Image]] = dict(
    guidance=guidance,
    scales=scales,
    samplers=samplers,
    upsampling=upsampling,
    hole=hole,
    trajectory=trajectory,
    editing=editing,
    symmetry=symmetry,
    restoration=restoration,
    sweep=sweep,
)

if __name__ == '__main__':
    main()
