#!/usr/bin/env python
"""Makes the documentation's pictures, from the model that ships with the package and fixed seeds.

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
MODEL = 'adm-g_ddim25_digits-16x16'
DIGITS = range(10)
SIDE, GAP = 64, 4
TEXT = ImageFont.load_default(size=15)
# How the methods are compared: all with the same start, and the same noise in every step.
COMPARISON = dict(num_inference_steps=25, scheduler_kwargs=dict(type='DDPMScheduler'))
# Samples of each class among which the comparison looks for a bad one.
CANDIDATES = 50


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
        FIGURES[name]().save(path, optimize=True)
        print(f'{path}: {path.stat().st_size / 1000:.0f} kB')  # noqa: T201


def guidance() -> Image.Image:
    """A row for each method, a column for each class: where the unguided sample is at its worst."""
    model = init_model(MODEL, device='cpu')
    seeds = hardest_seeds(model, read_judge())
    rows = {}
    for name, settings in methods(read_judge()).items():
        rows[name] = guided(model, settings, seeds)
    return table(rows)


def scales() -> Image.Image:
    """The network is not told the class: guidance alone, from none to too much."""
    model = init_model(MODEL, device='cpu')
    model.unet = Unlabelled(model.unet)
    judge = read_judge()
    rows = {}
    for scale in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0):
        settings = dict(type='ClassifierGuidance', scale=scale) if scale else None
        rows[f'classifier, scale {scale:g}'] = guided(model, settings, DIGITS)
    for scale in (2.0, 8.0):
        settings = dict(type='OffTheShelfGuidance', classifier=judge, scale=scale)
        rows[f'off the shelf, scale {scale:g}'] = guided(model, settings, DIGITS)
    return table(rows)


def samplers() -> Image.Image:
    """One start in each column, and a row for each sampler."""
    model = init_model('adm_ddim25_digits-16x16', device='cpu')
    return table(
        {
            f'{name}, {steps} steps': sample(
                model, DIGITS, seed=0, batch_size=10, steps=steps, scheduler=name
            )['samples']
            for name, steps in (
                ('ddim', 4),
                ('ddim', 10),
                ('ddim', 25),
                ('dpmsolver++', 4),
                ('dpmsolver++', 10),
                ('ddpm', 25),
                ('ddpm', 250),
            )
        }
    )


def trajectory() -> Image.Image:
    """What a batch is on its way, and what the network takes it for."""
    model = init_model(MODEL, device='cpu')
    result = model.infer(labels=[5], seeds=[3], return_trajectory=3)
    way = result['trajectory']
    columns = [f't = {t:g}' for t in way['timesteps']]
    noisy, predicted = (way[key][:, 0].clamp(-1, 1) for key in ('x_t', 'pred_x0'))
    return table({'x_t': noisy, 'predicted x_0': predicted}, columns)


def editing() -> Image.Image:
    """Samples between two seeds; images to noise and back; and variations of them."""
    model = init_model(MODEL, device='cpu')
    images = sample(model, DIGITS, seed=0, batch_size=10)['samples']
    again = reconstruct(model, images, labels=DIGITS, steps=50)
    return table(
        {
            'interpolate_seeds': interpolate_seeds(model, 6, 17, count=10, labels=7).tensor,
            'ten samples': images,
            'reconstruct': again.tensor,
            'vary, strength 0.4': vary(model, images, 0.4, labels=DIGITS, seed=100).tensor,
            'vary, strength 0.7': vary(model, images, 0.7, labels=DIGITS, seed=100).tensor,
        }
    )


def symmetry() -> Image.Image:
    """A score of one's own: images that are their own mirror image."""

    def score(images: Tensor) -> Tensor:
        return -(images - images.flip(-1)).square().mean(dim=(1, 2, 3))

    model = init_model(MODEL, device='cpu')
    rows = {}
    for scale in (0.0, 10.0, 40.0):
        settings = dict(type='ScoreGuidance', score=score, scale=scale)
        model.guidance = build_guidance(settings)
        rows[f'scale {scale:g}'] = sample(model, DIGITS, seed=0, batch_size=10)['samples']
    return table(rows)


def sweep() -> Image.Image:
    """The plot that mmagic-adm sweep draws."""
    tool = Path(__file__).parents[1] / 'tools' / 'sweep.py'
    with tempfile.TemporaryDirectory() as folder:
        settings = [MODEL, '--scales', '0,1,2,4,8', '--num-samples', '500', '--device', 'cpu']
        subprocess.run([sys.executable, tool, *settings, '--out', folder], check=True)  # noqa: S603
        return Image.open(Path(folder) / 'sweep.png').convert('RGB')


def methods(judge: nn.Module) -> Mapping[str, dict | None]:
    """The guidances that are compared, as a config has them."""
    classifier = dict(type='ClassifierGuidance', scale=2.0)
    return {
        'unguided': None,
        'classifier': classifier,
        'classifier, noisier half, every 2nd': dict(classifier, interval=(500, 1000), every=2),
        'pixels as parameters': dict(
            type='PixelAsParamGuidance', variant='clsden_clsdiv', source=classifier
        ),
        'classifier-free': dict(type='ClassifierFreeGuidance', scale=1.0),
        'self-attention': guidance_in('adm-sag'),
        'perturbed attention': guidance_in('adm-pag'),
        'discriminator': guidance_in('adm-dg')
        | dict(weights='bundled://digits-16x16_discriminator.safetensors'),
        'off the shelf': dict(type='OffTheShelfGuidance', classifier=judge, scale=2.0),
        'score: more ink': dict(type='ScoreGuidance', score=boldness, scale=50.0),
    }


def guidance_in(config: str) -> dict[str, Any]:
    """The guidance of one of the configs of digits."""
    return find_config(f'{config}_ddim25_digits-16x16').model.guidance.to_dict()


def boldness(images: Tensor, target: float = -0.1) -> Tensor:
    """The README's score: how near the ink of an image comes to a target."""
    return -(images.mean(dim=(1, 2, 3)) - target).square()


class Unlabelled(nn.Module):
    """The bundled network without its classes: what it predicts for the null class."""

    num_classes, image_size, in_channels = None, 16, 1

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """What it says about a noisy image of no class in particular."""
        return self.network(x, timesteps)


def guidance_of(settings: dict | None, model: AblatedDiffusionModel) -> Guidance | None:
    """Guidance by its config, with the model's classifier if it asks for one."""
    asks = settings is None or 'ClassifierGuidance' in str(settings)
    return build_guidance(settings, model.classifier if asks else None)


def guided(model: AblatedDiffusionModel, settings: dict | None, seeds: Sequence[int]) -> Tensor:
    """A sample of each class under one guidance."""
    scale = 0.0 if settings is None else None
    model.guidance = guidance_of(settings, model)
    request: dict[str, Any] = dict(labels=list(DIGITS), seeds=seeds, classifier_scale=scale)
    return model.infer(**request, **COMPARISON)['samples']


def read_judge() -> nn.Module:
    """The bundled network that knows clean digits."""
    weights = 'bundled://digits-16x16_judge.safetensors'
    return PlainClassifierFeatures(dict(type='PlainClassifier'), weights).network


@torch.no_grad()
def hardest_seeds(model: AblatedDiffusionModel, judge: nn.Module) -> list[int]:
    """For each class the seed, of so many, whose unguided sample looks least like it."""
    seeds = list(range(10 * CANDIDATES))
    labels = [seed % 10 for seed in seeds]
    images = model.infer(labels=labels, seeds=seeds, classifier_scale=0.0, **COMPARISON)['samples']
    sure = judge(images).softmax(dim=1)[range(len(seeds)), labels]
    by_class = sure.view(CANDIDATES, 10)
    return [10 * int(row) + digit for digit, row in enumerate(by_class.argmin(dim=0))]


def print_costs(batch_size: int = 32, repeats: int = 3) -> None:
    """What a step of a batch costs under each guidance, in multiples of an unguided one."""
    model = init_model(MODEL, device='cpu')
    labels, seeds = [i % 10 for i in range(batch_size)], range(batch_size)
    seconds: dict[str, list[float]] = {}
    # In turns, by the processor's time, so that whatever else the machine does slows all alike.
    for repeat in range(repeats + 1):
        for name, settings in methods(read_judge()).items():
            model.guidance = guidance_of(settings, model)
            scale = 0.0 if settings is None else None
            begin = time.process_time()
            model.infer(labels=labels, seeds=seeds, classifier_scale=scale, **COMPARISON)
            if repeat:  # the first warms up
                seconds.setdefault(name, []).append(time.process_time() - begin)
    unguided = min(seconds['unguided'])
    steps = COMPARISON['num_inference_steps']
    for name, times in seconds.items():
        print(f'{name:36}{1000 * min(times) / steps:8.1f} ms/step{min(times) / unguided:8.2f}')  # noqa: T201


def table(rows: Mapping[str, Tensor], columns: Sequence[str] = ()) -> Image.Image:
    """Pictures in rows, with the name of each row on its left and of each column above."""
    count, head = max(map(len, rows.values())), 22 if columns else 0
    cell, margin = SIDE + GAP, 20 + int(max(map(TEXT.getlength, rows)))
    sheet = Image.new('L', (margin + count * cell, head + len(rows) * cell), 255)
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(columns):
        pen.text((margin + i * cell + SIDE // 2, 2), name, fill=0, font=TEXT, anchor='ma')
    for row, (name, samples) in enumerate(rows.items()):
        top = head + row * cell
        pen.text((margin - 12, top + SIDE // 2), name, fill=0, font=TEXT, anchor='rm')
        for i, picture in enumerate(as_pictures(samples)):
            enlarged = picture.resize((SIDE, SIDE), Image.Resampling.NEAREST)
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
    trajectory=trajectory,
    editing=editing,
    symmetry=symmetry,
    restoration=restoration,
    sweep=sweep,
)

if __name__ == '__main__':
    main()
