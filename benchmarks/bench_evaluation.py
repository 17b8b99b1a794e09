#!/usr/bin/env python
"""How long an evaluation takes beside its networks: statistics, files, and the final figures.

Runs the test loop with a sampler and a feature extractor that cost nothing, on the GPU if there is
one, and says what share of a run the rest would be.

    python benchmarks/bench_evaluation.py --network-seconds 3600
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from mmagic_adm.engine import EvaluationRunner, Shard
from mmagic_adm.evaluation import FeatureExtractor, metrics, write_batch
from mmagic_adm.registry import MODELS

seconds: defaultdict[str, float] = defaultdict(float)


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Adds the time that the block takes to ``seconds[part]``."""
    _wait()
    begin = time.perf_counter()
    yield
    _wait()
    seconds[part] += time.perf_counter() - begin


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@MODELS.register_module()
class FreeSampler(BaseModel):
    """Returns images of noise that was drawn once."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.pool = rng.integers(0, 256, (512, image_size, image_size, 3), dtype=np.uint8)

    def forward(self, inputs: dict, data_samples: None = None, mode: str = '') -> list:
        """Makes a batch."""
        with timed('networks'):
            indices, seeds = (np.array(inputs[name]) for name in ('index', 'seed'))
            return Shard(self.pool[indices % 512], indices, seeds, indices % 10).data_samples()


@MODELS.register_module()
class FreeFeatures(FeatureExtractor):
    """Returns features of the Inception network's sizes that were drawn once."""

    kinds = ('pool', 'spatial', 'logits')

    def __init__(self) -> None:
        super().__init__()
        for kind, size in (('pool', 2048), ('spatial', 2023), ('logits', 1008)):
            self.register_parameter(kind, torch.nn.Parameter(torch.rand(4096, size)))
        self.place = 0
        self.freeze()

    def extract(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Takes the next rows."""
        with timed('networks'):
            rows = torch.arange(self.place, self.place + len(images)) % 4096
            self.place += len(images)
            return {kind: getattr(self, kind)[rows] for kind in self.kinds}


def run(arguments: argparse.Namespace, folder: Path) -> None:
    """Evaluates, timing every part."""
    size, count = arguments.image_size, arguments.num_reference
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    write_batch(folder / 'reference.npz', [images], count)
    kinds = [
        metrics.InceptionScore,
        metrics.FrechetInceptionDistance,
        metrics.SpatialFrechetInceptionDistance,
        metrics.PRDC,
        metrics.KernelInceptionDistance,
        metrics.CLIPMaximumMeanDiscrepancy,
    ]
    # All are looked up before any is replaced: one inherits from another.
    for kind, compute in [(kind, kind.compute_metrics) for kind in kinds]:
        kind.compute_metrics = _timed(compute, kind.__name__)  # type: ignore[method-assign]
    config = dict(
        default_scope='mmagic_adm',
        work_dir=str(folder / 'work'),
        model=dict(type='FreeSampler', image_size=size),
        test_dataloader=dict(
            batch_size=arguments.batch_size,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset=dict(type='SampleSpecs', num_samples=arguments.num_samples),
        ),
        test_cfg=dict(type='SamplingLoop'),
        test_evaluator=dict(
            type='SampleEvaluator',
            reference=str(folder / 'reference.npz'),
            features=dict(type='FreeFeatures'),
            networks=dict(clip=dict(type='FreeFeatures')),
            metrics=[dict(type=kind.__name__) for kind in kinds],
        ),
        log_level='ERROR',
    )
    runner = EvaluationRunner.from_cfg(Config(config))
    with timed('all'):
        runner.test()


def _timed(compute: Callable[..., dict], name: str) -> Callable[..., dict]:
    def timed_compute(metric: object, results: list) -> dict:
        with timed(f'final {name}'):
            return compute(metric, results)

    return timed_compute


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of each part of an evaluation whose networks cost nothing."""
    seconds.clear()
    with tempfile.TemporaryDirectory() as folder:
        run(arguments, Path(folder))
    figures = {part: t for part, t in seconds.items() if part.startswith('final')}
    rest = seconds['all'] - seconds['networks'] - sum(figures.values())
    return {'statistics, shards, the reference, the final file': rest, **figures}


def report(arguments: argparse.Namespace, parts: dict[str, float]) -> None:
    """Prints a table."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    print(
        f'{arguments.num_samples} samples of {arguments.image_size}x{arguments.image_size}, '
        f'{arguments.num_reference} of the reference, in batches of {arguments.batch_size}, on '
        f'{device} with {torch.get_num_threads()} threads'
    )
    outside = sum(parts.values())
    for part, t in {**parts, 'all beside the networks': outside}.items():
        print(f'{part:<50} {t:8.1f} s')
    share = outside / (outside + arguments.network_seconds)
    print(f'of a run whose networks take {arguments.network_seconds:g} s: {share:.1%}')


def main() -> None:
    """Measures and reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--num-samples', type=int, default=50_000)
    parser.add_argument('--num-reference', type=int, default=10_000)
    parser.add_argument('--image-size', type=int, default=64)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument(
        '--network-seconds', type=float, required=True, help='what the networks would take'
    )
    arguments = parser.parse_args()
    report(arguments, measure(arguments))


if __name__ == '__main__':
    main()
