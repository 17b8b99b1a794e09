"""Precision and recall of samples: how many lie on the other set's manifold of features."""

import math

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.networks.precision import full_float32

# Distances in memory at once: 2048 * 8192 * 4 bytes = 64 MiB.
ROWS, COLUMNS = 2048, 8192


def precision_recall(
    reference_features: np.ndarray | Tensor,
    sample_features: np.ndarray | Tensor,
    neighbourhood: int = 3,
    device: torch.device | str | None = None,
) -> tuple[float, float]:
    """The shares of samples among the reference, and of the reference among samples.

    A point is among a set if it is no farther from some member than that member's k-th neighbour
    in the set (Kynkäänniemi et al. 2019, eqs. 1 to 3).

    Args:
        reference_features: (N, D).
        sample_features: (M, D).
        neighbourhood: k.
        device: Where to compute; None where the features are.

    Returns:
        Precision and recall.
    """
    given = [torch.as_tensor(x, device=device) for x in (reference_features, sample_features)]
    reference, samples = (x.detach().to(torch.promote_types(x.dtype, torch.float32)) for x in given)
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
    # Distances do not change, but their rounding is smaller the nearer the features are to zero.
    centre = reference.mean(0)
    reference, samples = reference - centre, samples - centre
    with full_float32():
        precision = _share_inside(samples, reference, _radii(reference, neighbourhood))
        recall = _share_inside(reference, samples, _radii(samples, neighbourhood))
    return precision, recall


def _radii(features: Tensor, neighbourhood: int) -> Tensor:
    """Squared distance of each row to its k-th nearest other."""
    radii = []
    for rows in features.split(ROWS):
        # The nearest of all is the row itself.
        nearest = features.new_full((len(rows), neighbourhood + 1), math.inf)
        for columns in features.split(COLUMNS):
            candidates = torch.cat([nearest, _squared_distances(rows, columns)], 1)
            nearest = candidates.topk(neighbourhood + 1, largest=False, sorted=True).values
        radii.append(nearest[:, -1])
    return torch.cat(radii)


def _share_inside(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    """The share of points inside any ball."""
    inside = 0
    for rows in points.split(ROWS):
        found = torch.zeros(len(rows), dtype=torch.bool, device=points.device)
        for columns, radius in zip(centres.split(COLUMNS), radii.split(COLUMNS), strict=True):
            found |= (_squared_distances(rows, columns) <= radius).any(1)
        inside += int(found.sum())
    return inside / len(points)


def _squared_distances(rows: Tensor, columns: Tensor) -> Tensor:
    norms = rows.square().sum(1)[:, None] + columns.square().sum(1)
    distances = torch.addmm(norms, rows, columns.T, alpha=-2)
    # Below this it is rounding, and differs from block to block: equal rows have distance zero.
    rounding = math.sqrt(rows.shape[1]) * torch.finfo(rows.dtype).eps
    return torch.where(distances > rounding * norms, distances, 0)
