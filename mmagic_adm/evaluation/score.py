"""The Inception Score: how sure a classifier is of each sample, and how varied over all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import all_gather_object
from torch import Tensor

SPLIT_SIZE = 5000


def inception_score(probabilities: np.ndarray | Tensor, split_size: int = SPLIT_SIZE) -> float:
    """exp(E KL(p(y|x) || p(y)))  (Salimans et al. 2016, section 4), averaged over splits.

    Args:
        probabilities: Class probabilities of each sample, (N, classes).
        split_size: Samples that are scored together, in their order; what is left at the end is
            a smaller split.
    """
    running = RunningInceptionScore(split_size)
    running.update(torch.as_tensor(probabilities), range(len(probabilities)))
    return running.score()


class RunningInceptionScore:
    """The score of samples that come in any order; keeps sums alone.

    Args:
        split_size: Samples that are scored together.
    """

    def __init__(self, split_size: int = SPLIT_SIZE) -> None:
        self.split_size = split_size
        # By the split's number, sums over its samples: of 1, of sum_y p log p, and of p.
        self._sums: dict[int, Tensor] = {}

    def update(self, probabilities: Tensor, indices: Sequence[int]) -> None:
        """Takes in samples.

        Args:
            probabilities: Class probabilities, (N, classes).
            indices: Place of each among all samples; it decides which split it belongs to.
        """
        p = probabilities.detach().cpu().double()
        rows = torch.cat([p.new_ones(len(p), 1), torch.xlogy(p, p).sum(1, keepdim=True), p], 1)
        split_of = torch.as_tensor(list(indices)) // self.split_size
        for number in split_of.unique().tolist():
            self._add(number, rows[split_of == number].sum(0))

    def merged(self) -> RunningInceptionScore:
        """The sums over what all processes saw; every process must call it."""
        result = RunningInceptionScore(self.split_size)
        for sums in all_gather_object(self._sums):
            for number, theirs in sums.items():
                result._add(number, theirs)
        return result

    def score(self) -> float:
        """The score of all samples seen."""
        if not self._sums:
            raise ValueError('there are no samples to score')
        return float(np.mean([_score(sums) for sums in self._sums.values()]))

    def _add(self, number: int, sums: Tensor) -> None:
        self._sums[number] = self._sums.get(number, 0) + sums


def _score(sums: Tensor) -> float:
    # E sum p log(p / m) = E sum p log p - sum m log m, where m = E p.
    negative_entropy, marginal = sums[1] / sums[0], sums[2:] / sums[0]
    return float((negative_entropy - torch.xlogy(marginal, marginal).sum()).exp())
