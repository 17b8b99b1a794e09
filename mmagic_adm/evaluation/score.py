"""The Inception Score: how sure a classifier is of each sample, and how varied over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

SPLIT_SIZE = 5000


def inception_score(probabilities: np.ndarray | Tensor, split_size: int = SPLIT_SIZE) -> float:
    """exp(E KL(p(y|x) || p(y)))  (Salimans et al. 2016, section 4), averaged over splits.

    Args:
        probabilities: Class probabilities of each sample, (N, classes).
        split_size: Samples that are scored together, in their order; what is left at the end is
            a smaller split.
    """
    indices = range(len(probabilities))
    return score_of(split_sums(torch.as_tensor(probabilities), indices, split_size))


def split_sums(
    probabilities: Tensor, indices: Sequence[int], split_size: int = SPLIT_SIZE
) -> dict[int, Tensor]:
    """All that the score needs of samples, in any order: sums, which add up over batches.

    Args:
        probabilities: Class probabilities, (N, classes).
        indices: Place of each among all samples; it decides which split it belongs to.
        split_size: Samples that are scored together.

    Returns:
        By the split's number, sums over its samples: of 1, of sum_y p log p, and of p.
    """
    p = probabilities.detach().cpu().double()
    rows = torch.cat([p.new_ones(len(p), 1), torch.xlogy(p, p).sum(1, keepdim=True), p], 1)
    split_of = torch.as_tensor(list(indices)) // split_size
    return {n: rows[split_of == n].sum(0) for n in split_of.unique().tolist()}


def score_of(sums: Mapping[int, Tensor]) -> float:
    """The score, from the sums of each split."""
    if not sums:
        raise ValueError('there are no samples to score')
    return float(np.mean([_score(*split.split([1, 1, len(split) - 2])) for split in sums.values()]))


def _score(count: Tensor, negative_entropy: Tensor, classes: Tensor) -> float:
    # E sum p log(p / m) = E sum p log p - sum m log m, where m = E p.
    marginal = classes / count
    return float((negative_entropy / count - torch.xlogy(marginal, marginal).sum()).exp())
