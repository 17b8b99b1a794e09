#!/usr/bin/env python
"""Makes the documentation's pictures, from the models that ship with the package and fixed seeds.

python docs/figures.py                    # all of them, into docs/images
python docs/figures.py guidance scales    # these two
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.apis import init_model, interpolate_seeds, reconstruct, restore, sample, vary
from mmagic_adm.commands import main as run_command
from mmagic_adm.evaluation import PlainClassifierFeatures
from mmagic_adm.files.pictures import as_pictures
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
UNGUIDED = 'edm_heun18_emoji-32x32'
SIDE, GAP = 64, 4
TEXT = ImageFont.load_default(size=15)
# Pictures have no background; this is read on a light page and on a dark one.
GREY = (128, 128, 128)
COLOURS, SHADES = 240, 16
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
    parser.add_argument('--out', type=Path, default=FOLDER, help='folder (default: docs/images)')
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(FIGURES)
    if unknown:
        parser.error(f'there is no picture called {", ".join(unknown)}')
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        path = arguments.out / f'{name}.png'
        picture, opacity = with_palette(FIGURES[name]())
        picture.save(path, optimize=True, transparency=opacity)
        print(f'{path}: {path.stat().st_size / 1000:.0f} kB')  # noqa: T201


def with_palette(picture: Image.Image) -> tuple[Image.Image, bytes]:
    """A picture in 256 colours, of which it is half as large and looks alike; their opacities.

    The last are the shades of grey text, from clear to nearly opaque.
    """
    opaque = picture.convert('RGB').quantize(COLOURS)
    alpha = np.asarray(picture.getchannel('A'))
    shade = COLOURS + alpha // (256 // SHADES)
    indices = np.where(alpha < 255, shade, np.asarray(opaque)).astype(np.uint8)
    made = Image.fromarray(indices, 'P')
    known = (opaque.getpalette() or [])[: 3 * COLOURS]
    made.putpalette(known + [0] * (3 * COLOURS - len(known)) + list(GREY) * SHADES)
    return made, bytes([255] * COLOURS + [256 // SHADES * i for i in range(SHADES)])


def drawings() -> Image.Image:
    """What the code on the first page draws, by its classes."""
    model = init_model(MODEL, device='cpu')
    made = sample(model, CLASSES, num_samples=24, seed=100, steps=STEPS, batch_size=8)['samples']
    return table({'': made[:8], ' ': made[8:16], '  ': made[16:]}, class_names())


def guidance() -> Image.Image:
    """A row for each method, a column for each class: where the unguided sample is at its worst."""
    model = init_model(MODEL, device='cpu')
    seeds = hardest_seeds(model, read_judge())
    rows = {name: guided(model, settings, seeds) for name, settings in methods().items()}
    return table(rows, class_names())


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
    return table(rows, class_names())


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
    model = init_model(UNGUIDED, device='cpu')
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
    """What a drawing is on its way, and what the network takes it for."""
    model = init_model(MODEL, device='cpu')
    made = sample(model, 'clock', seed=5, steps=10, trajectory=1)
    way = made.trajectory or {}
    columns = [f'{sigma:.2g}' for sigma in way['timesteps']]
    noisy, predicted = (way[key][:, 0].clamp(-1, 1) for key in ('x_t', 'pred_x0'))
    return table({'x_t': noisy, 'predicted x_0': predicted}, columns)


def editing() -> Image.Image:
    """Samples between two seeds; images to noise and back; and variations of them."""
    model = init_model(GUIDED, device='cpu')
    images = sample(model, CLASSES, seed=0, batch_size=8)['samples']
    plain = init_model(UNGUIDED, device='cpu')
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

    model = init_model(UNGUIDED, device='cpu')
    rows = {}
    for scale in (0.0, 150.0, 300.0):
        model.guidance = build_guidance(dict(type='ScoreGuidance', score=score, scale=scale))
        labels = ['animal', 'person', 'fruit', 'button']
        made = sample(model, labels, num_samples=8, seed=8, steps=10, batch_size=8)
        rows[f'scale {scale:g}'] = made['samples']
    return table(rows)


def sweep() -> Image.Image:
    """The plot that mmagic-adm sweep draws, in the colours of both pages."""
    grey = '#' + ''.join(f'{part:02x}' for part in GREY)
    parts = ('text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color')
    colours = {**dict.fromkeys(parts, grey), 'legend.facecolor': 'none', 'font.size': 14}
    with tempfile.TemporaryDirectory() as folder:
        settings = [GUIDED, '--scales', '0,0.5,1,2', '--steps', '10', '--num-samples', '96']
        with mpl.rc_context({**colours, 'savefig.transparent': True}):
            code = run_command(['sweep', *settings, '--device', 'cpu', '--out', folder])
        assert code == 0
        return Image.open(Path(folder) / 'sweep.png').convert('RGBA')


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


def class_names() -> Sequence[str]:
    """What the eight classes of drawings are called."""
    return find_config(MODEL).model.class_names


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


def table(rows: Mapping[str, Tensor], columns: Sequence[str] = (), side: int = SIDE) -> Image.Image:
    """Pictures in rows, with the name of each row on its left and of each column above."""
    count, head = max(map(len, rows.values())), 22 if columns else 0
    named = int(max(TEXT.getlength(name.strip()) for name in rows))
    cell, margin = side + GAP, 20 + named if named else 0
    sheet = Image.new('RGBA', (margin + count * cell, head + len(rows) * cell), (*GREY, 0))
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(columns):
        pen.text((margin + i * cell + side // 2, 2), name, fill=GREY, font=TEXT, anchor='ma')
    for row, (name, samples) in enumerate(rows.items()):
        top = head + row * cell
        pen.text((margin - 12, top + side // 2), name.strip(), fill=GREY, font=TEXT, anchor='rm')
        for i, picture in enumerate(as_pictures(samples)):
            enlarged = picture.resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (margin + i * cell, top))
    return sheet


def restoration() -> Image.Image:
    """Drawings, what is known of them, and what each method makes of that."""
    model = init_model(UNGUIDED, device='cpu')
    labels = [0, 3, 5]
    truth = sample(init_model(GUIDED, device='cpu'), labels, seed=50)['samples']
    tasks = [
        BoxInpainting(model.sample_shape, 0.5, 0.0, 0.5, 1.0, sigma_y=0.05),
        Downsampling(model.sample_shape, 4, sigma_y=0.05),
    ]
    known = [measure(truth, task, torch.Generator().manual_seed(0)) for task in tasks]
    measured = [torch.where(tasks[0].mask > 0, known[0].y.float(), 0.5), known[1].y]
    rows = {
        'the drawings': torch.cat([truth, truth]),
        'measured': torch.cat([measured[0], F.interpolate(measured[1], scale_factor=4)]),
    }
    jumps = dict(type='RePaintScheduler', jump_length=5, jump_repeats=3)
    for name, kind in METHODS.items():
        scheduler = jumps if name == 'repaint' else kind.scheduler or dict(type='DDPMScheduler')
        method = build_method(name, **FIGURE_ARGUMENTS.get(name, {}))
        made = [
            restore(
                model, each.y, each.operator, method, labels=labels,
                seed=0, steps=18, scheduler=dict(scheduler),
            )['samples']
            for each in known
        ]  # fmt: skip
        rows[kind.__name__] = torch.cat(made)
    return table(rows)


# What differs from the methods' defaults.
FIGURE_ARGUMENTS: Mapping[str, dict[str, Any]] = dict(dps=dict(scale=1.0), tds=dict(particles=4))

FIGURES: Mapping[str, Callable[[], Image.Image]] = dict(
    drawings=drawings,
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
