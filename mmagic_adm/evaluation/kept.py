"""What is kept of a set of images as it goes by: sums, mean and covariance, or every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from mmengine.dist import all_gather_object, all_reduce
from torch import Tensor


class Sums(Counter):
    """Sums by name, of numbers or of tensors."""

    def merged(self) -> Sums:
        """The sums over all processes; every process must call it."""
        total = Sums()
        for theirs in all_gather_object(self):
            total.update(theirs)
        return total


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


class Rows:
    """Features of images, with their numbers in the set and their classes, in the numbers' order.

    Args:
        features: (N, D).
        numbers: Which image of the set each is of; None counts from 0.
        labels: The class of each; None, or -1 in its place, where there is none.
    """

    def __init__(
        self,
        features: Tensor | None = None,
        numbers: Sequence[int] | Tensor | None = None,
        labels: Sequence[int] | Tensor | None = None,
    ) -> None:
        self._pieces: list[tuple[Tensor, Tensor, Tensor]] = []
        if features is not None:
            count = len(features)
            numbered = torch.as_tensor(range(count) if numbers is None else numbers)
            classed = torch.full((count,), -1) if labels is None else torch.as_tensor(labels)
            self._pieces = [(features, numbered, classed)]

    def update(self, rows: Rows) -> None:
        """Takes in more; they are kept on the CPU."""
        self._pieces += [(x.cpu(), numbers, labels) for x, numbers, labels in rows._pieces]

    @property
    def features(self) -> Tensor:
        """(N, D)."""
        return self._whole()[0]

    @property
    def numbers(self) -> Tensor:
        """(N,)."""
        return self._whole()[1]

    @property
    def labels(self) -> Tensor:
        """(N,), -1 where there is no class."""
        return self._whole()[2]

    def __len__(self) -> int:
        return sum(len(piece[0]) for piece in self._pieces)

    def __getitem__(self, chosen: Tensor) -> Rows:
        return Rows(*(part[chosen] for part in self._whole()))

    def merged(self) -> Rows:
        """Those of all processes; every process must call it."""
        everyones = Rows()
        everyones._pieces = [piece for each in all_gather_object(self._pieces) for piece in each]
        return everyones

    def _whole(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self._pieces:
            raise ValueError('there are no samples to compare')
        if len(self._pieces) > 1:
            columns = zip(*self._pieces, strict=True)
            features, numbers, labels = (torch.cat(column) for column in columns)
            self._pieces = [(features, numbers, labels)]
        [(features, numbers, labels)] = self._pieces
        if bool((numbers[1:] < numbers[:-1]).any()):
            order = numbers.argsort()
            self._pieces = [(features[order], numbers[order], labels[order])]
        return self._pieces[0]
