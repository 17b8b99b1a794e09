"""Which samples are asked for: how many, from which seeds, of which classes; checked up front."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.arguments import whole
from mmagic_adm.diffusion.randomness import check_seeds

Seeds = int | Sequence[int] | Tensor | None
Labels = int | Sequence[int | None] | Tensor | None


@dataclass
class SampleBatch:
    """A batch of samples to make.

    Attributes:
        seeds: Seed of each sample.
        generators: Source of all randomness of each sample.
        labels: Class of each sample, (N,), or None where there are no classes.
    """

    seeds: list[int]
    generators: list[torch.Generator]
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.seeds)

    def repeated(self, times: int, scale: Any = None) -> tuple[SampleBatch, Any]:
        """Every sample so many times, as itself and under other seeds, and so its scale.

        The others' seeds follow from its own, and are drawn from 62 bits: no sample has them.
        """
        generators: list[torch.Generator] = []
        for seed, own in zip(self.seeds, self.generators, strict=True):
            drawn = torch.randint(2**32, 2**62, (times - 1,), generator=_seeded(seed, 'cpu'))
            generators += [own, *(_seeded(other, own.device) for other in drawn.tolist())]
        scales = torch.as_tensor(1.0 if scale is None else scale)
        if scale is not None and scales.ndim:
            scale = scales.repeat_interleave(times)
        labels = None if self.labels is None else self.labels.repeat_interleave(times)
        seeds = [seed for seed in self.seeds for _ in range(times)]
        return SampleBatch(seeds, generators, labels), scale


def count_samples(batch_size: int, **per_sample: Any) -> int:
    """How many samples the arguments speak of.

    Args:
        batch_size: The count asked for; 1 leaves it to the other arguments.
        **per_sample: Arguments that hold one entry per sample, or one for all, by their names.

    Raises:
        ValueError: Two arguments disagree; the message names both and their counts.
    """
    whole(batch_size, 'batch_size is the number of samples')
    counts = dict(batch_size=batch_size)
    for name, value in per_sample.items():
        count = _length(value)
        if count == 0:
            raise ValueError(f'{name} is empty: there is nothing to sample')
        if count is not None:
            counts[name] = count
    counts = {name: count for name, count in counts.items() if count != 1}
    if len(set(counts.values())) > 1:
        listed = ', '.join(f'{name}: {count}' for name, count in counts.items())
        raise ValueError(f'the arguments speak of different numbers of samples ({listed})')
    return next(iter(counts.values()), 1)


def resolve_seeds(seeds: Seeds, count: int) -> list[int]:
    """One seed per sample: counted up from a number, as listed, or drawn."""
    if seeds is None:
        # From torch's global generator, so that torch.manual_seed governs this draw too.
        seeds = int(torch.randint(2**31, ()))
    given: Any = seeds.tolist() if isinstance(seeds, (Tensor, np.ndarray)) else seeds
    if not isinstance(given, Sequence) or isinstance(given, str):
        first: Any = given
        check_seeds(first, count)
        return list(range(first, first + count))
    if len(given) != count:
        raise ValueError(f'{len(given)} seeds were given for {count} samples; give one each')
    for seed in given:
        check_seeds(seed, 1)
    return list(map(int, given))


def check_labels(labels: Labels, num_classes: int) -> Labels:
    """The labels, if each names a class or is None (to be drawn)."""
    for label in _listed(labels):
        if label is not None and not (
            0 <= whole(label, 'a label is the number of a class', -math.inf) < num_classes
        ):
            raise ValueError(
                f'label {label} is out of range: the classes are 0 to {num_classes - 1}'
            )
    return labels


def make_batch(
    seeds: list[int],
    labels: Labels,
    num_classes: int | None,
    device: torch.device,
) -> SampleBatch:
    """Starts a generator per sample, and draws from it the labels that were not given.

    A generator's first number is spent on the label, given or not: a sample whose label was
    drawn is made again by its seed with or without naming the label.
    """
    generators = [_seeded(seed, device) for seed in seeds]
    drawn = torch.stack([torch.rand((), generator=g, device=device) for g in generators]).tolist()
    if num_classes is None:
        return SampleBatch(seeds, generators, None)
    given = _listed(labels)
    if len(given) == 1:
        given = given * len(seeds)
    resolved = [
        int(u * num_classes) if label is None else label
        for u, label in zip(drawn, given, strict=True)
    ]
    return SampleBatch(seeds, generators, torch.tensor(resolved, device=device))


def _seeded(seed: int, device: torch.device | str) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def _length(value: Any) -> int | None:
    """Entries of a per-sample argument; None where one entry stands for all samples."""
    is_one = isinstance(value, str) or getattr(value, 'ndim', None) == 0
    return len(value) if isinstance(value, Sized) and not is_one else None


def _listed(labels: Labels) -> list[Any]:
    if isinstance(labels, (Tensor, np.ndarray)):
        return np.atleast_1d(torch.as_tensor(labels).cpu().numpy()).tolist()
    listed = list(labels) if isinstance(labels, Sequence) else [labels]
    return [label.item() if isinstance(label, (Tensor, np.generic)) else label for label in listed]
