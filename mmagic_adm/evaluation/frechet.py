"""The Fréchet distance between Gaussians, which FID and sFID are, and the Gaussians themselves."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce
from torch import Tensor

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
    shift = mu1 - mu2
    overlap = torch.linalg.svdvals(_factor(sigma1).T @ _factor(sigma2)).sum()
    distance = shift @ shift + sigma1.trace() + sigma2.trace() - 2 * overlap
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


class RunningStatistics:
    """Mean and covariance in float64, updated batch by batch; the features are not kept.

    Attributes:
        count: Rows seen.
        mean: Their mean, (D,); a single 0 before the first, as D is not known.
        scatter: Sum of the outer products of their deviations from it, (D, D); likewise.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros((), dtype=torch.float64)
        self.scatter = torch.zeros((), dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Takes in a batch of rows, (N, D) (Chan et al. 1983, eq. 2.1)."""
        if len(features) == 0:
            return
        # On Apple's GPUs there is no float64.
        x = (features.cpu() if features.device.type == 'mps' else features).detach().double()
        count, mean = len(x), x.mean(0)
        total, shift = self.count + count, mean - self.mean
        scatter = (x - mean).T @ (x - mean)
        scatter.addr_(shift, shift, alpha=self.count * count / total)
        self.scatter = scatter.add_(self.scatter)
        self.mean = self.mean + shift * (count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance, (D, D)."""
        if self.count < 2:
            raise ValueError(f'a covariance takes two samples at least, there are {self.count}')
        return self.scatter / (self.count - 1)

    def merged(self) -> RunningStatistics:
        """The statistics of what all processes saw; every process must call it."""
        counts, dims = zip(*all_gather_object((self.count, self.mean.numel())), strict=True)
        result = RunningStatistics()
        result.count = sum(counts)
        if result.count:
            dim = max(dims)
            mean = self.mean.expand(dim)
            result.mean = mean * (self.count / result.count)
            all_reduce(result.mean)
            shift = mean - result.mean
            result.scatter = self.scatter.expand(dim, dim).addr(shift, shift, alpha=self.count)
            all_reduce(result.scatter)
        return result
