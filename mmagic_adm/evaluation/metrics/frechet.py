"""The Fréchet distance between Gaussians, which is FID, and FD-DINOv2 of other features."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.evaluation.kept import Rows, RunningStatistics
from mmagic_adm.evaluation.metrics.base import LOWER, FeatureMetric
from mmagic_adm.registry import METRICS

# FID_inf's least number of samples, and how many numbers of them there are.
FEWEST, POINTS = 5000, 15

ArrayLike = np.ndarray | Tensor


def frechet_distance(mu1: ArrayLike, sigma1: ArrayLike, mu2: ArrayLike, sigma2: ArrayLike) -> float:
    """|mu1 - mu2|^2 + Tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2))  (Heusel et al. 2017, eq. 6).

    The trace of the matrix square root is the sum of the singular values of F1^T F2, where
    Fi Fi^T = sigma_i: the eigenvalues of sigma1 sigma2 are their squares. So no product of the two
    covariances is ever formed, whose rounding would be all that is left of its small eigenvalues,
    and covariances of any rank are welcome.

    Args:
        mu1: Mean of the first set of features, (D,).
        sigma1: Its covariance, (D, D).
        mu2: Mean of the second set.
        sigma2: Its covariance.

    Raises:
        ValueError: The shapes do not fit, or an entry is not finite.
    """
    given = [torch.as_tensor(x, dtype=torch.float64).cpu() for x in (mu1, sigma1, mu2, sigma2)]
    shapes, dim = [tuple(tensor.shape) for tensor in given], given[0].numel()
    if shapes != [(dim,), (dim, dim)] * 2:
        raise ValueError(
            f'statistics of different features: mean and covariance have shapes {shapes[0]} and '
            f'{shapes[1]} on one side, {shapes[2]} and {shapes[3]} on the other'
        )
    if not all(tensor.isfinite().all() for tensor in given):
        raise ValueError('the statistics are not finite: some features were NaN or infinite')
    mu1, sigma1, mu2, sigma2 = given
    return _distance(mu1, _factor(sigma1), mu2, _factor(sigma2))


def frechet_distance_of_rows(features1: Tensor, features2: Tensor) -> float:
    """The same between the Gaussians of two sets of features, (N, D): quick where they are few."""
    parts = []
    for rows in (features1.double(), features2.double()):
        if len(rows) < 2:
            raise ValueError(f'a covariance takes two samples at least, there are {len(rows)}')
        mean = rows.mean(0)
        parts += [mean, (rows - mean).T / (len(rows) - 1) ** 0.5]
    return _distance(*parts)


def _distance(mu1: Tensor, factor1: Tensor, mu2: Tensor, factor2: Tensor) -> float:
    shift = mu1 - mu2
    overlap = torch.linalg.svdvals(factor1.T @ factor2).sum()
    distance = shift @ shift + factor1.square().sum() + factor2.square().sum() - 2 * overlap
    # It is never negative, but for rounding.
    return max(float(distance), 0.0)


def _factor(sigma: Tensor) -> Tensor:
    """Some F with F F^T = sigma."""
    factor, failed_at = torch.linalg.cholesky_ex(sigma)
    if not failed_at:
        return factor
    # Singular, as with fewer samples than features: keep the directions that rounding leaves.
    values, vectors = torch.linalg.eigh(sigma)
    rounding = len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)
    kept = values > rounding
    return vectors[:, kept] * values[kept].sqrt()


@METRICS.register_module()
class FrechetInceptionDistance(FeatureMetric):
    """FID: the Fréchet distance between features of the samples and of the reference.

    Keeps the mean and covariance of the features. Takes what :class:`FeatureMetric` takes.
    """

    name = 'fid'
    better = MappingProxyType({'FID': LOWER})
    accumulator: Callable[[], Any] = RunningStatistics

    def take_in(self, running: Any, rows: Rows) -> None:
        """Puts features into the accumulator."""
        running.update(rows.features)

    def check_reference(self) -> None:
        """Refuses a reference without statistics of these features, and without images."""
        self.reference.check_has_statistics(self.kind, self.extractor)

    def of_reference(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance."""
        return self.reference.statistics(self.kind, self.extractor)

    def doubt(self, count: int, dim: int) -> str:
        """Whether the covariance is singular."""
        if count > dim:
            return ''
        return (
            f'{count} samples with {dim} features: their covariance is singular, and the figure '
            'comes out higher than it would with more samples; published figures take 50,000'
        )

    def compare(self, samples: Any, reference: tuple[Tensor, Tensor]) -> dict[str, float]:
        """The figure."""
        [figure] = self.better
        return {figure: frechet_distance(samples.mean, samples.covariance, *reference)}


@METRICS.register_module()
class SpatialFrechetInceptionDistance(FrechetInceptionDistance):
    """sFID: the same of features that keep their place in the image (Nash et al. 2021)."""

    name = 'sfid'
    better = MappingProxyType({'sFID': LOWER})
    kind = 'spatial'


@METRICS.register_module()
class FrechetDINOv2Distance(FrechetInceptionDistance):
    """FD-DINOv2: the same of features of DINOv2 ViT-L/14 (Stein et al. 2023)."""

    name = 'fd_dinov2'
    better = MappingProxyType({'FD-DINOv2': LOWER})
    network = 'dinov2'


@METRICS.register_module()
class ExtrapolatedFrechetDistance(FrechetInceptionDistance):
    """FID_inf: what FID tends to with infinitely many samples (Chong and Forsyth 2020, section 4).

    FID falls with the number N of samples, about linearly in 1 / N. So it is computed of random
    subsets of 15 sizes, from 5000, or half of the samples if that is fewer, up to all of them; the
    line through the figures is followed to 1 / N = 0. Keeps the features of every sample.
    """

    name = 'fid_inf'
    better = MappingProxyType({'FID_inf': LOWER})
    accumulator = Rows

    def take_in(self, running: Any, rows: Rows) -> None:
        """Puts features into the accumulator."""
        running.update(rows)

    def compare(self, samples: Any, reference: tuple[Tensor, Tensor]) -> dict[str, float]:
        """The figure."""
        features, count = samples.features.double(), len(samples)
        generator = torch.Generator().manual_seed(0)
        sizes = np.linspace(min(FEWEST, count // 2), count, POINTS).astype(int)
        figures = []
        for size in sizes:
            subset = features[torch.randperm(count, generator=generator)[:size]]
            figures.append(frechet_distance(subset.mean(0), torch.cov(subset.T), *reference))
        _, at_infinity = np.polyfit(1 / sizes, figures, deg=1)
        return {'FID_inf': float(at_infinity)}


@METRICS.register_module()
class ClassFrechetDistance(FeatureMetric):
    """FID of the samples of each class against the reference's of that class, and their mean.

    The figure of a class stands under the class's number in brackets. Keeps the features of every
    sample.
    """

    name = 'class_fid'
    better = MappingProxyType({'Class FID': LOWER})

    def check_reference(self) -> None:
        """Refuses a reference without classes."""
        super().check_reference()
        self.reference.check_has_labels()

    def doubt(self, count: int, dim: int) -> str:
        """Whether the covariances are singular, with about 50 samples of each of 1000 classes."""
        classes = self.reference.images.labels if self.reference.images else None
        each = count // len(set(classes or [0]))
        if each > dim:
            return ''
        return (
            f'about {each} samples of each class, with {dim} features: the covariances are '
            'singular, and the figures are for comparison at the same numbers alone'
        )

    def compare(self, samples: Rows, reference: Rows) -> dict[str, float]:
        """The figures; a class of which either side has fewer than two is left out."""
        if bool((samples.labels < 0).any()):
            raise ValueError('these samples have no classes, which ClassFrechetDistance is about')
        figures = {}
        for label in reference.labels.unique().tolist():
            sides = [rows.features[rows.labels == label] for rows in (samples, reference)]
            if min(map(len, sides)) >= 2:
                figures[f'Class FID[{label}]'] = frechet_distance_of_rows(*sides)
        if not figures:
            raise ValueError('samples and reference have no class in common')
        return {'Class FID': float(np.mean(list(figures.values()))), **figures}
