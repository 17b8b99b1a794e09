#!/usr/bin/env python
"""What shortcuts save and cost, measured on the bundled digits.

Each row takes another way from the same seeds: half precision, fewer steps, other solvers, guidance
in some steps only, inner levels reused, a network that was tuned to one step or two. Beside the
figures of the model card it says how far the images are from those of the first row, how often each
network was called, and how long it took, in seconds of the processor.

    python benchmarks/digits_shortcuts.py --num-samples 1000
    python benchmarks/digits_shortcuts.py --num-samples 500 --ways exact 'other seeds' tuned
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from bundled_figures import BATCH, Judge

from mmagic_adm.apis import init_model
from mmagic_adm.apis.sampling import scheduler_config
from mmagic_adm.evaluation import precision_recall
from mmagic_adm.files.pictures import as_uint8

MODEL, TUNED = 'adm-g_ddim25_digits-16x16', 'cm_step2_digits-16x16'
ROW = '{:34}{:>6}{:>7}{:>10}{:>8}{:>10}{:>8}{:>9}{:>8}'

WAYS: dict[str, dict[str, Any]] = {
    'exact, 25 DDIM steps': {},
    'the same, other seeds': dict(other_seeds=True),
    'fast': dict(profile='fast'),
    '10 DDIM steps': dict(steps=10),
    '20 DPM-Solver++ steps': dict(steps=20, scheduler='dpmsolver++'),
    '10 DPM-Solver++ steps': dict(steps=10, scheduler='dpmsolver++'),
    '10 UniPC steps': dict(steps=10, scheduler='unipc'),
    'guided in t 250 to 750': dict(guidance=dict(interval=(250, 750))),
    'guided at every 2nd step': dict(guidance=dict(every=2)),
    'inner levels at every 2nd step': dict(reuse_every=2),
    'inner levels at every 3rd step': dict(reuse_every=3),
    'inner levels at every 5th step': dict(reuse_every=5),
    '2 of 3 levels, every 3rd step': dict(reuse_every=3, reuse_levels=2),
    'tuned to 2 steps': dict(model=TUNED),
    'tuned to 2 steps, other seeds': dict(model=TUNED, other_seeds=True),
    'tuned to 2 steps, 1 step': dict(model=TUNED, steps=1),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--num-samples', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=1_000_000, help='of the first sample')
    parser.add_argument('--ways', nargs='+', default=[''], help='words in the names of rows')
    arguments = parser.parse_args()

    judge = Judge('digits-16x16')
    labels = torch.arange(arguments.num_samples) % 10
    first: torch.Tensor | None = None
    print(
        ROW.format('', 'calls', 'guided', 'accuracy', 'FID', 'precision', 'recall', 'PSNR dB', 's')
    )
    for name, way in WAYS.items():
        if not any(word in name for word in arguments.ways):
            continue
        begin = time.process_time()
        samples, calls, guided = make(way, labels, arguments.seed)
        seconds = time.process_time() - begin
        first = samples if first is None else first
        images = as_uint8(samples)
        features = judge.features(images)
        precision, recall = precision_recall(judge.reference, features)
        is_alike = samples is not first and not {'other_seeds', 'model'} & way.keys()
        likeness = psnr(samples, first) if is_alike else '-'
        print(
            ROW.format(
                name,
                calls,
                guided,
                f'{float((judge.labels(images) == labels).float().mean()):.2%}',
                f'{judge.fid(features):.3f}',
                f'{precision:.3f}',
                f'{recall:.3f}',
                likeness,
                f'{seconds:.1f}',
            ),
            flush=True,
        )


def make(way: dict[str, Any], labels: torch.Tensor, seed: int) -> tuple[torch.Tensor, int, int]:
    """Samples, and how often a batch called the U-Net and the classifier."""
    changes: dict[str, Any] = dict(reuse_levels=way.get('reuse_levels', 1))
    if 'model' not in way:
        guidance = dict(type='ClassifierGuidance', scale=2.0, **way.get('guidance', {}))
        changes['guidance'] = guidance
    model = init_model(
        way.get('model', MODEL), 'cpu', profile=way.get('profile', 'exact'), **changes
    )
    seed += 10 * len(labels) * way.get('other_seeds', False)
    calls = {'unet': 0, 'classifier': 0}

    def counts(name: str) -> Any:
        def count(*_: Any) -> None:
            calls[name] += 1

        return count

    model.unet.register_forward_hook(counts('unet'))
    if model.classifier is not None:
        model.classifier.register_forward_hook(counts('classifier'))
    parts = labels.split(BATCH)
    samples = [
        model.infer(
            seeds=range(seed + BATCH * k, seed + BATCH * k + len(part)),
            labels=part,
            num_inference_steps=way.get('steps'),
            scheduler_kwargs=scheduler_config(way.get('scheduler')),
            reuse_every=way.get('reuse_every'),
        )['samples']
        for k, part in enumerate(parts)
    ]
    return torch.cat(samples), calls['unet'] // len(parts), calls['classifier'] // len(parts)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> str:
    """The median over the images, whose range is 2."""
    errors = ((images - reference) / 2).square().flatten(1).mean(1)
    return f'{float((-10 * errors.log10()).median()):.1f}'


if __name__ == '__main__':
    main()
