"""The inner levels of a U-Net recalled from an earlier step instead of computed anew.

Between neighbouring steps the coarse features change little. What the inner levels said in one
step serves the next ones, in which only the outer levels are computed (DeepCache, Ma et al. 2024).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmagic_adm.arguments import whole
from mmagic_adm.networks.network import ReusesDeepFeatures, unwrapped


class DeepFeatures:
    """What the inner levels said last, which are computed in every k-th call from the first on."""

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
        """Notes features that were computed, without the graph they came by."""
        self._features = features.detach()


@contextmanager
def reused_deep_features(network: nn.Module, every: int, levels: int = 1) -> Iterator[None]:
    """While this lasts, a U-Net computes its inner levels in every k-th call only.

    One inside another starts with nothing to recall, and leaves the outer one as it was.

    Args:
        network: The U-Net, or a module around it.
        every: k; 1 computes all levels in every call.
        levels: Levels, from the finest on, that every call computes.

    Raises:
        ValueError: It cannot recall features, or has no levels besides those.
    """
    whole(every, 'deep features are computed in every k-th step, k from 1 on')
    unet = unwrapped(network)
    if not isinstance(unet, ReusesDeepFeatures):
        if every > 1:
            raise ValueError(
                f'reuse_every={every} needs a U-Net that recalls its inner levels, and '
                f'{type(unet).__name__} has no deep_features and count_outer_blocks: '
                'reuse_every=1 computes it whole'
            )
        yield
        return
    before = unet.deep_features
    unet.deep_features = DeepFeatures(every, unet.count_outer_blocks(levels)) if every > 1 else None
    try:
        yield
    finally:
        unet.deep_features = before


@contextmanager
def apart(network: nn.Module, memory: dict[str, Any]) -> Iterator[None]:
    """While this lasts, a U-Net recalls what it said in such calls, and not in others.

    Args:
        network: The U-Net, or a module around it; any other is called as ever.
        memory: Where the features are from one time to the next.
    """
    unet = unwrapped(network)
    shared = getattr(unet, 'deep_features', None)
    if shared is None:
        yield
        return
    own = DeepFeatures(shared.every, shared.outer_blocks)
    unet.deep_features = memory.setdefault('deep_features', own)
    try:
        yield
    finally:
        unet.deep_features = shared
