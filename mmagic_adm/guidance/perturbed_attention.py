"""Guidance away from what a network says if no pixel attends to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmagic_adm.denoisers import Denoiser
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance.base import Batch, Form, Guidance, Guided, Need
from mmagic_adm.guidance.led_away import LedAway, Rows
from mmagic_adm.networks.attention import attending, attention_blocks
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class PerturbedAttentionGuidance(Guidance):
    """ε + s (ε - ε̂), ε̂ with identity for attention maps (Ahn et al. 2024, eq. 14 and 16).

    Neither classes nor a classifier are needed. The network is called once a step, with each
    guided sample in the batch a second time.

    Args:
        scale: s; the original's ``guide_scale`` is one more.
        stages: Where every pixel attends to itself alone, such as 'input_blocks.14'.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'pag'
    requires = frozenset({Need.MIDDLE})
    forms = frozenset({Form.DENOISER})

    def __init__(
        self, scale: float = 1.0, stages: Sequence[str] = ('middle_block',), **pace: Any
    ) -> None:
        super().__init__(scale, **pace)
        if isinstance(stages, str) or not stages:
            raise ValueError(f'stages are a list of names, one at least, not {stages!r}')
        self.stages = tuple(stages)

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser, led away from itself without attention."""
        return _Perturbed(denoiser, batch, self.stages)

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses a network that does not attend where it should not."""
        super().check_fits(network, scheduler)
        attention_blocks(network, self.stages, type(self).__name__)


class _Perturbed(LedAway):
    """A denoiser led away from itself without attention."""

    def __init__(self, inner: Denoiser, batch: Batch, stages: Sequence[str]) -> None:
        super().__init__(inner, batch)
        self.stages = stages

    def ask(
        self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor], rows: Rows
    ) -> tuple[Prediction, Prediction]:
        """Both from one call."""
        count = len(x_t)

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            # The identity in place of softmax(q kᵀ / √d) leaves the values.
            attended = F.scaled_dot_product_attention(query[:count], key[:count], value[:count])
            return torch.cat([attended, value[count:]])

        with attending(self.network, dict.fromkeys(self.stages, attend)):
            return self.ask_twice(x_t, level, inputs, rows)
