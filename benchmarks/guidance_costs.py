#!/usr/bin/env python
"""What a step costs under each guidance, in multiples of an unguided one, on the bundled digits.

python benchmarks/guidance_costs.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.apis import init_model
from mmagic_adm.evaluation import PlainClassifierFeatures
from mmagic_adm.guidance.assembly import build_guidance
from mmagic_adm.models.configs import find_config

STEPS = 25


def main() -> None:
    """Prints a line for each guidance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch-size', type=int, default=32, help='images (default: 32)')
    parser.add_argument('--repeats', type=int, default=3, help='the fastest counts (default: 3)')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seconds = measured(arguments.batch_size, arguments.repeats)
    for name, taken in seconds.items():
        step, factor = 1000 * taken / STEPS, taken / seconds['unguided']
        print(f'{name:36}{step:8.1f} ms/step{factor:8.2f}')


def measured(batch_size: int, repeats: int) -> dict[str, float]:
    """Seconds of a batch under each guidance.

    Guidances take turns, and the processor's time counts, so that whatever else the machine does
    slows all alike.
    """
    scheduler = dict(type='DDPMScheduler', beta_schedule='cosine')
    model = init_model('adm-g_ddim25_digits-16x16', 'cpu', diffusion_scheduler=scheduler)
    classifier = model.classifier
    request: dict[str, Any] = dict(labels=[i % 10 for i in range(batch_size)], seeds=0)
    seconds: dict[str, list[float]] = {}
    for repeat in range(repeats + 1):
        for name, settings in guidances().items():
            by_classifier = 'ClassifierGuidance' in str(settings)
            model.guidance = build_guidance(settings, classifier if by_classifier else None)
            scale = 0.0 if settings is None else None
            begin = time.process_time()
            model.infer(**request, classifier_scale=scale, num_inference_steps=STEPS)
            if repeat:  # the first warms up
                seconds.setdefault(name, []).append(time.process_time() - begin)
    return {name: min(taken) for name, taken in seconds.items()}


def guidances() -> Mapping[str, dict[str, Any] | None]:
    """What is compared, as a config has it."""
    classifier = dict(type='ClassifierGuidance', scale=2.0)
    judge = PlainClassifierFeatures(
        dict(type='PlainClassifier'), 'bundled://digits-16x16_judge.safetensors'
    ).network
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
        'a score of two lines': dict(type='ScoreGuidance', score=boldness, scale=50.0),
    }


def guidance_in(config: str) -> dict[str, Any]:
    """The guidance of one of the configs of digits."""
    return find_config(f'{config}_ddim25_digits-16x16').model.guidance.to_dict()


def boldness(images: Tensor, target: float = -0.1) -> Tensor:
    """The README's score: how near the ink of an image comes to a target."""
    return -(images.mean(dim=(1, 2, 3)) - target).square()


if __name__ == '__main__':
    main()
