"""KID and CMMD: the maximum mean discrepancy between two sets of features, by two kernels."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor
from torch.nn import functional as F

from mmagic_adm.evaluation.kept import Rows
from mmagic_adm.evaluation.metrics.base import LOWER, FeatureMetric
from mmagic_adm.evaluation.metrics.neighbours import blocks
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.registry import METRICS

# CMMD's kernel, and what it is multiplied by (Jayasumana et al. 2024, section 4).
SIGMA, SCALE = 10.0, 1000.0


def polynomial_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased squared MMD of the kernel (x . y / D + 1)^3 (Bińkowski et al. 2018, eq. 4).

    Args:
        x: (n, D).
        y: (m, D).
    """
    x, y = (rows.cpu() if rows.device.type == 'mps' else rows for rows in (x, y))
    x, y = x.double(), y.double()
    xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = sum((k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (xx, yy))
    return float(within - 2 * xy.mean())


def gaussian_mmd(x: Tensor, y: Tensor) -> float:
    """CMMD of embeddings as they are: the squared MMD of exp(-|x - y|^2 / (2 sigma^2)), times 1000.

    Means are over all pairs, each row with itself included (Jayasumana et al. 2024, eq. 3).

    Args:
        x: (n, D).
        y: (m, D).
    """

    def mean(a: Tensor, b: Tensor) -> float:
        # The kernel less 1, which is small and keeps its digits; the ones cancel.
        pieces = (torch.expm1(d / (-2 * SIGMA**2)).sum(dtype=d.dtype) for _, _, d in blocks(a, b))
        return float(sum(map(float, pieces))) / (len(a) * len(b))

    return SCALE * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@METRICS.register_module()
class KernelInceptionDistance(FeatureMetric):
    """KID: the mean of an unbiased squared MMD over random subsets, and its standard deviation.

    The subsets are those that torch-fidelity draws, of the reference first. Keeps the features of
    every sample.

    Args:
        reference: As :class:`FeatureMetric` takes it, with images.
        features: Config of the feature extractor; None takes the Inception network.
        subsets: How many.
        subset_size: Samples in each; all there are of a side, where there are fewer.
        seed: What the subsets are drawn by.
        repeats: As :class:`FeatureMetric` takes them.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    name = 'kid'
    better = MappingProxyType({'KID': LOWER})

    def __init__(
        self,
        reference: str | Path | dict | Reference,
        features: dict | None = None,
        subsets: int = 100,
        subset_size: int = 1000,
        seed: int = 2020,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(reference, features, repeats, prefix)
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def doubt(self, count: int, dim: int) -> str:
        """Whether there is no whole subset."""
        if count >= self.subset_size:
            return ''
        return f'{count} samples: subsets of {self.subset_size} shrink to that, and scatter more'

    def compare(self, samples: Rows, reference: Rows) -> dict[str, float]:
        """The figures."""
        size = min(self.subset_size, len(samples), len(reference))
        if size < 2:
            raise ValueError('KID takes two samples at least, and as many of the reference')
        rng = np.random.RandomState(self.seed)
        sides = [rows.features.to(get_device()) for rows in (reference, samples)]
        figures = []
        for _ in range(self.subsets):
            drawn = [rows[rng.choice(len(rows), size, replace=False)] for rows in sides]
            figures.append(polynomial_mmd(*drawn))
        return {'KID': float(np.mean(figures)), 'KID std': float(np.std(figures))}


@METRICS.register_module()
class CLIPMaximumMeanDiscrepancy(FeatureMetric):
    """CMMD: the squared MMD of CLIP's embeddings, scaled to length 1, by a normal kernel.

    Keeps the features of every sample. Takes what :class:`FeatureMetric` takes.
    """

    name = 'cmmd'
    better = MappingProxyType({'CMMD': LOWER})
    network = 'clip'

    def doubt(self, count: int, dim: int) -> str:
        """Whether the bias shows."""
        if count >= 1000:
            return ''
        return f'{count} samples: each counts with itself as a pair, which lifts the figure by 1/N'

    def compare(self, samples: Rows, reference: Rows) -> dict[str, float]:
        """The figure."""
        sides = (F.normalize(rows.features.to(get_device())) for rows in (samples, reference))
        return {'CMMD': gaussian_mmd(*sides)}
