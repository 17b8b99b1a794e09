"""The inner levels of a U-Net recalled from an earlier step instead of computed anew.

Between neighbouring steps the coarse features change little. What the inner levels said in one
step serves the next ones, in which only the outer levels are computed (DeepCache, Ma et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class DeepFeatures:
    """What the inner levels said last, and how often they are asked.

    Args:
        every: They are computed in every so many calls, from the first on.
        outer_blocks: Blocks of the way down, and as many of the way up, that every call computes.
    """

    def __init__(self, every: int, outer_blocks: int) -> None:
        self.every = every
        self.outer_blocks = outer_blocks
        self._calls = 0
        self._features: Tensor | None = None

    def recall(self, x: Tensor) -> Tensor | None:
        """The features to go on with; None where it is their turn to be computed."""
        due = self._calls % self.every == 0
        self._calls += 1
        if due or self._features is None or len(self._features) != len(x):
            return None
        return self._features

    def keep(self, features: Tensor) -> None:
        """Notes features that were computed."""
        self._features = features


@contextmanager
def reused_deep_features(model: nn.Module, every: int, levels: int = 1) -> Iterator[None]:
    """While this lasts, the U-Nets in a model compute their inner levels in every k-th call only.

    Args:
        model: What the U-Nets are in.
        every: k; 1 changes nothing.
        levels: Levels, from the finest on, that every call computes.

    Raises:
        ValueError: A U-Net has no levels besides those.
    """
    unets: list[Any] = [part for part in model.modules() if hasattr(part, 'deep_features')]
    if every < 1:
        raise ValueError(f'deep features are computed in every k-th step, k from 1; not {every}')
    try:
        for unet in unets if every > 1 else ():
            unet.deep_features = DeepFeatures(every, unet.count_outer_blocks(levels))
        yield
    finally:
        for unet in unets:
            unet.deep_features = None
