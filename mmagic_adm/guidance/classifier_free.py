"""Guidance without a classifier: away from what the network says about no class in particular."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import whole
from mmagic_adm.denoisers import Denoiser, PreconditionedNetwork
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance.base import Batch, Form, Guidance, Guided, Need
from mmagic_adm.guidance.classifier import build_frozen
from mmagic_adm.guidance.led_away import LedAway, Rows, at
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class ClassifierFreeGuidance(Guidance):
    """(1 + s) ε(x_t, y) - s ε(x_t, ∅) (Ho and Salimans 2022, eq. 6).

    The network is called once a step, with each guided sample in the batch a second time under
    the null label; or, with ``other``, two networks are called. The network's variance stays that
    of the label. At scale 0 nothing is done, and nothing is computed.

    Args:
        scale: s, how far to go beyond the network's own prediction.
        other: A network in place of the null label: an unconditional one, or a conditional one
            that is worse than the network (autoguidance, Karras et al. 2024). One that is told
            timesteps is told those of the process that the network samples by. A config is built,
            and its weights are this module's; a module stays its owner's.
        weights: Path or URL of the weights of an ``other`` that is given as a config.
        channels: How many of the noise's channels are guided, from the first on; None is all. 3 of
            the 4 channels of latents is how DiT's figures were made.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'cfg'
    requires = frozenset({Need.NULL_LABEL})
    forms = frozenset({Form.DENOISER})

    def __init__(
        self,
        scale: float = 1.0,
        other: dict | nn.Module | None = None,
        weights: str | FilePath | None = None,
        channels: int | None = None,
        **pace: Any,
    ) -> None:
        super().__init__(scale, **pace)
        self.channels = None if channels is None else whole(channels, 'channels are from 1 on')
        self._borrowed: tuple[nn.Module | None, ...] = ()
        if isinstance(other, dict):
            self.owned = build_frozen(other, weights)
        else:
            # In a tuple, so that torch does not register it here a second time.
            self._borrowed = (other,)

    @property
    def other(self) -> nn.Module | None:
        """The network in place of the null label, if there is one."""
        return self._borrowed[0] if self._borrowed else self.owned

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser, led away from what it or the other network says."""
        other = None if self.other is None else denoiser.of(self.other)
        return _LedAway(denoiser, other, batch, self.channels)

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses a network that knows no null label, and another that does not match it."""
        super().check_fits(network, scheduler)
        name = type(network).__name__
        if self.channels is not None and self.channels > network.in_channels:
            raise ValueError(
                f'ClassifierFreeGuidance guides channels={self.channels} of the noise, and the '
                f'{name} has {network.in_channels}'
            )
        if self.other is None:
            if getattr(network, 'null_label', None) is None:
                raise ValueError(
                    'ClassifierFreeGuidance needs a network that was trained with label dropout '
                    f'(class_dropout_prob above 0), and this {name} has no null label; or give '
                    'another network in its place: other=...'
                )
            return
        qualities = ['image_size', 'in_channels', 'num_classes']
        is_preconditioned = [
            isinstance(one, PreconditionedNetwork) for one in (network, self.other)
        ]
        if is_preconditioned == [False, False]:
            qualities.append('out_channels')  # both are read as the one process says
        for quality in qualities:
            ours, theirs = (getattr(one, quality, None) for one in (network, self.other))
            if theirs is not None and ours != theirs:
                raise ValueError(
                    f'the other network of ClassifierFreeGuidance has {quality}={theirs}, and the '
                    f'{name} that it guides has {ours}'
                )


@MODELS.register_module()
class Autoguidance(ClassifierFreeGuidance):
    """Guidance away from a worse network (Karras et al. 2024): ClassifierFreeGuidance with one.

    Args:
        other: The worse network; see :class:`ClassifierFreeGuidance`, as for the others.
        scale: Likewise.
        weights: Likewise.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'autoguidance'
    requires = frozenset({Need.PARTS})

    def __init__(
        self,
        other: dict | nn.Module,
        scale: float = 1.0,
        weights: str | FilePath | None = None,
        **pace: Any,
    ) -> None:
        super().__init__(scale, other, weights, **pace)


class _LedAway(LedAway):
    """A denoiser led away from itself without the labels, or from another one."""

    def __init__(
        self, inner: Denoiser, other: Denoiser | None, batch: Batch, channels: int | None
    ) -> None:
        super().__init__(inner, batch, channels)
        self.other = other

    def ask(
        self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor], rows: Rows
    ) -> tuple[Prediction, Prediction]:
        """D(x; y) and D(x; ∅) from one call, or the other network's for the last."""
        again = at(rows, inputs)
        if self.other is None:
            null = torch.full_like(again['labels'], self.network.null_label)
            return self.ask_twice(x_t, level, inputs, rows, labels=null)
        if getattr(self.other.network, 'num_classes', None) is None:
            again.pop('labels', None)
        said = self.inner.predict(x_t, level, inputs)
        return said, self.other.predict(x_t[rows], level, again)
