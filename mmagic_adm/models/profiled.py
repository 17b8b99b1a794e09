"""A model whose networks compute by a profile when it samples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import nn

from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import (
    Choice,
    apply_profile,
    arithmetic_of,
    check_profile,
    choose_profile,
    networks_of,
)
from mmagic_adm.networks.deep_features import reused_deep_features


class ProfiledModel(BaseModel):
    """Base of models that choose how their networks compute, once, before they sample first.

    Attributes:
        profile: What was asked for; None leaves the networks as they are.
        chosen: What that came to here; None until then.
        reuse_every: Inner levels of U-Nets are computed in every so many calls.
        reuse_levels: Levels, from the finest on, that every call computes.
    """

    profile: str | dict | None = None
    chosen: Choice | None = None
    reuse_every: int = 1
    reuse_levels: int = 1
    _was_trained: bool = False
    _expected_images: int | None = None

    def use_profile(self, profile: str | dict | None) -> None:
        """Sets how the networks compute when the model samples next.

        Args:
            profile: See :func:`~mmagic_adm.models.profiles.choose_profile`; None leaves them.
        """
        if profile is not None:
            check_profile(profile)
        self.profile, self.chosen = profile, None

    def expect(self, images: int) -> None:
        """Announces a run of so many images; whether compiling pays may depend on it."""
        self._expected_images = images

    def train(self, mode: bool = True) -> Any:
        """Puts the model in training mode, after which no profile touches its weights."""
        self._was_trained = self._was_trained or mode
        return super().train(mode)

    def settle(self, batch_size: int, steps: int, time_call: Callable[[], float]) -> None:
        """Applies the profile, if that has not been done, and says what was chosen.

        Args:
            batch_size: Samples of the batch that comes now.
            steps: Calls of the network for each batch.
            time_call: Measures a call, in seconds, where the choice depends on it.
        """
        if self.profile is None or self.chosen is not None or self._was_trained:
            return
        batches = math.ceil((self._expected_images or batch_size) / batch_size)
        run = Run(networks_of(self), batches * steps, time_call)
        self.chosen = choose_profile(self.profile, next(self.parameters()).device, run)
        apply_profile(self.chosen.profile, self)
        print_log(f"profile '{self.profile}': {self.chosen.reason}", logger='current')

    @contextlib.contextmanager
    def computing(self, unet: nn.Module, reuse_every: int | None = None) -> Iterator[None]:
        """While this lasts, the networks compute as the profile and the reuse of features say.

        Args:
            unet: The network whose features are reused.
            reuse_every: In place of the model's own.
        """
        every = self.reuse_every if reuse_every is None else reuse_every
        profile = self.chosen and self.chosen.profile
        if every > 1 and profile and profile.compiled:
            raise ValueError(
                f'reuse_every={every} needs networks that are not compiled: '
                "profile=dict(base='fast', compiled=False)"
            )
        with reused_deep_features(unet, every, self.reuse_levels), arithmetic_of(profile):
            yield
