"""Precision, recall, density and coverage: who lies among whom, by the nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from mmagic_adm.evaluation.kept import Rows
from mmagic_adm.evaluation.metrics.base import HIGHER, FeatureMetric
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.networks.precision import full_float32
from mmagic_adm.registry import METRICS

# Distances in memory at once: 2048 * 8192 * 4 bytes = 64 MiB.
ROWS, COLUMNS = 2048, 8192
# Of fewer samples than this, balls are so large that the shares say little.
FEW = 1000

ArrayLike = np.ndarray | Tensor
Device = torch.device | str | None


def precision_recall(
    reference_features: ArrayLike,
    sample_features: ArrayLike,
    neighbourhood: int = 3,
    device: Device = None,
) -> tuple[float, float]:
    """The first two figures of :func:`prdc`, with the neighbourhood of their paper."""
    figures = prdc(reference_features, sample_features, neighbourhood, device)
    return figures['Precision'], figures['Recall']


def prdc(
    reference_features: ArrayLike,
    sample_features: ArrayLike,
    neighbourhood: int = 5,
    device: Device = None,
) -> dict[str, float]:
    """How samples and a reference lie among one another.

    - Precision: the share of samples that lie in the ball of some member of the reference, which
      reaches to that member's k-th neighbour; Recall: the same with the two sets exchanged
      (Kynkäänniemi et al. 2019, eqs. 1 to 3).
    - Density: in how many such balls a sample lies on average, over k; Coverage: the share of the
      balls that some sample lies in (Naeem et al. 2020, eqs. 2 and 4). Inside means strictly here.

    Args:
        reference_features: (N, D).
        sample_features: (M, D).
        neighbourhood: k.
        device: Where to compute; None where the features are.
    """
    reference, samples = (
        torch.as_tensor(x, device=device).detach() for x in (reference_features, sample_features)
    )
    if reference.ndim != 2 or samples.ndim != 2 or reference.shape[1] != samples.shape[1]:
        raise ValueError(
            f'features are (samples, features) with as many features on both sides, not '
            f'{tuple(reference.shape)} and {tuple(samples.shape)}'
        )
    if not 0 < neighbourhood < min(len(reference), len(samples)):
        raise ValueError(
            f'the {neighbourhood}-th neighbour takes at least {neighbourhood + 1} samples; the '
            f'reference has {len(reference)} and the other set {len(samples)}'
        )
    is_precise = samples.new_zeros(len(samples), dtype=torch.bool)
    is_recalled = samples.new_zeros(len(reference), dtype=torch.bool)
    is_covered, balls = is_recalled.clone(), 0
    reach = _radii(reference, neighbourhood)
    for i, j, distances in blocks(samples, reference):
        is_precise[i] |= (distances <= reach[j]).any(1)
        within = distances < reach[j]
        is_covered[j] |= within.any(0)
        balls += int(within.sum())
    reach = _radii(samples, neighbourhood)
    for i, j, distances in blocks(reference, samples):
        is_recalled[i] |= (distances <= reach[j]).any(1)
    return {
        'Precision': int(is_precise.sum()) / len(samples),
        'Recall': int(is_recalled.sum()) / len(reference),
        'Density': balls / (neighbourhood * len(samples)),
        'Coverage': int(is_covered.sum()) / len(reference),
    }


def nearest(rows: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Squared distances of each row to the nearest of others, and their places, (N, count)."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    least = rows.new_full((len(rows), count), math.inf, dtype=dtype)
    places = rows.new_zeros((len(rows), count), dtype=torch.long)
    for i, j, distances in blocks(rows, others):
        found, found_at = distances.topk(min(count, distances.shape[1]), largest=False)
        least[i], kept = torch.cat([least[i], found], 1).topk(count, largest=False)
        places[i] = torch.cat([places[i], found_at + j.start], 1).gather(1, kept)
    return least, places


def _radii(features: Tensor, neighbourhood: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    # The nearest of all is the row itself.
    least = features.new_full((neighbourhood + 1, len(features)), math.inf, dtype=dtype)
    # Rows are balls in columns, as they are where other points are looked for in them: then the
    # k-th neighbour is exactly on the border, though a distance rounds otherwise the other way.
    for _, j, distances in blocks(features, features):
        candidates = torch.cat([least[:, j], distances])
        least[:, j] = candidates.topk(neighbourhood + 1, 0, largest=False).values
    return least.amax(0)


def blocks(rows: Tensor, columns: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Squared distances of rows to others, (N, M), piece by piece, with the place of each piece."""
    dtype = torch.promote_types(torch.promote_types(rows.dtype, columns.dtype), torch.float32)
    # Distances do not change, but their rounding is smaller the nearer the features are to zero.
    centre = columns.mean(0, dtype=dtype)
    for i in range(0, len(rows), ROWS):
        for j in range(0, len(columns), COLUMNS):
            piece = slice(i, i + ROWS), slice(j, j + COLUMNS)
            with full_float32():
                parts = (
                    x[at].to(dtype) - centre for x, at in zip((rows, columns), piece, strict=True)
                )
                distances = _squared_distances(*parts)
            yield *piece, distances


def _squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    norms = rows.square().sum(1)[:, None] + columns.square().sum(1)
    distances = torch.addmm(norms, rows, columns.T, alpha=-2)
    # Below this it is rounding, and differs from block to block: equal rows have distance zero.
    rounding = math.sqrt(rows.shape[1]) * torch.finfo(rows.dtype).eps
    return distances.masked_fill_(distances <= rounding * norms, 0)


@METRICS.register_module()
class PRDC(FeatureMetric):
    """Precision, recall, density and coverage of the samples' features (Naeem et al. 2020).

    Keeps the features of every sample.

    Args:
        reference: As :class:`FeatureMetric` takes it, with images.
        features: Config of the feature extractor; None takes the Inception network.
        neighbourhood: Which neighbour's distance a ball reaches to.
        repeats: As :class:`FeatureMetric` takes them.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    name = 'prdc'
    better = MappingProxyType(dict.fromkeys(('Precision', 'Recall', 'Density', 'Coverage'), HIGHER))

    def __init__(
        self,
        reference: str | Path | dict | Reference,
        features: dict | None = None,
        neighbourhood: int = 5,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(reference, features, repeats, prefix)
        self.neighbourhood = neighbourhood

    def doubt(self, count: int, dim: int) -> str:
        """Whether neighbours are far away."""
        if count >= FEW:
            return ''
        return f'{count} samples: their neighbours are far, and the balls that reach to them large'

    def compare(self, samples: Rows, reference: Rows) -> dict[str, float]:
        """The figures."""
        sides = reference.features, samples.features
        figures = prdc(*sides, self.neighbourhood, get_device())
        return {name: figures[name] for name in self.better}


@METRICS.register_module()
class PrecisionRecall(PRDC):
    """Precision and recall alone, with the third neighbour (Kynkäänniemi et al. 2019).

    Takes what :class:`PRDC` takes.
    """

    name = 'pr'
    better = MappingProxyType(dict.fromkeys(('Precision', 'Recall'), HIGHER))

    def __init__(
        self,
        reference: str | Path | dict | Reference,
        features: dict | None = None,
        neighbourhood: int = 3,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(reference, features, neighbourhood, repeats, prefix)
