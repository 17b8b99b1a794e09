"""The Inception Score: how sure a classifier is of each sample, and how varied over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.evaluation.kept import Rows, Sums
from mmagic_adm.evaluation.metrics.base import HIGHER, FeatureMetric
from mmagic_adm.registry import METRICS

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
    probabilities: Tensor, indices: Sequence[int] | Tensor, split_size: int = SPLIT_SIZE
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
    split_of = torch.as_tensor(indices) // split_size
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


@METRICS.register_module()
class InceptionScore(FeatureMetric):
    """The Inception Score, averaged over splits of the samples in the order of their indices.

    Keeps the sums of the class probabilities in each split.

    Args:
        features: Config of the feature extractor; None takes the Inception network.
        split_size: Samples that are scored together.
        repeats: As :class:`FeatureMetric` takes them.
        prefix: Goes before the figure's name, to tell two metrics of one kind apart.
    """

    name = 'is'
    better = MappingProxyType({'Inception Score': HIGHER})
    kind = 'logits'
    accumulator = Sums

    def __init__(
        self,
        features: dict | None = None,
        split_size: int = SPLIT_SIZE,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(None, features, repeats, prefix)
        self.split_size = split_size

    def take_in(self, running: Sums, rows: Rows) -> None:
        """Puts features into the accumulator."""
        running.update(split_sums(rows.features.softmax(1), rows.numbers, self.split_size))

    def doubt(self, count: int, dim: int) -> str:
        """Whether there is no whole split."""
        if count >= self.split_size:
            return ''
        return f'{count} samples: a split has {self.split_size}, and the score rises with them'

    def compare(self, samples: Sums, reference: Any) -> dict[str, float]:
        """The figure, from the sums over all samples."""
        return {'Inception Score': score_of(cast(Mapping[int, Tensor], samples))}
