"""Guidance away from what a network says once the parts that it attends to are blurred."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from mmagic_adm.arguments import Argument
from mmagic_adm.denoisers import Denoiser
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance.base import SCALE, Batch, Form, Guidance, Guided, Need
from mmagic_adm.guidance.led_away import LedAway, Rows, at
from mmagic_adm.networks.attention import attending, attention_blocks
from mmagic_adm.networks.blocks import merge_heads, split_heads
from mmagic_adm.networks.deep_features import apart
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class SelfAttentionGuidance(Guidance):
    """ε(x̂_t) + (1 + s) (ε(x_t) - ε(x̂_t)), x̂_t being blurred (Hong et al. 2023, algorithm 1).

    Blurred is what pixels attend to more than on average. Neither classes nor a classifier are
    needed. The network is called twice a step.

    Args:
        scale: s; the original's ``guide_scale`` is one more.
        stage: Whose attention tells what to blur, such as 'output_blocks.2'.
        blur_sigma: Standard deviation of the blur, in pixels.
        kernel: Its width, an odd number of pixels.
        map_heads: How many heads the projection to queries, keys and values is cut into for the
            attention map. None is as many as the network has. The original takes 4 for every
            network, and so mixes queries with keys and values in those with ``num_head_channels``.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'sag'
    requires = frozenset({Need.MIDDLE})
    arguments = (
        SCALE._replace(default=0.5),
        Argument('blur_sigma', 3.0, 0.1, 50.0, 'width of the blur in pixels'),
    )
    forms = frozenset({Form.DENOISER})

    def __init__(
        self,
        scale: float = 0.5,
        stage: str = 'middle_block',
        blur_sigma: float = 3.0,
        kernel: int = 31,
        map_heads: int | None = None,
        **pace: Any,
    ) -> None:
        super().__init__(scale, **pace)
        if blur_sigma <= 0 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f'blur_sigma is above 0 and kernel odd, not {blur_sigma} and {kernel}')
        self.stage, self.blur_sigma, self.kernel = stage, blur_sigma, kernel
        self.map_heads = map_heads

    def wrap(self, denoiser: Denoiser, batch: Batch) -> Denoiser:
        """The denoiser, led away from what it says of a blurred sample."""
        return _Blurring(denoiser, batch, self)

    def degraded(self, said: Prediction, level: NoiseLevel, attention: Tensor) -> Tensor:
        """x̂_t: the image that was seen in x_t, blurred where it is attended to, with its noise.

        Args:
            said: What the network says about x_t.
            level: How noisy that is.
            attention: What each pixel of the feature map is attended to by all, (N, T).
        """
        # M_t ← 1(A_t > ψ), ψ = 1 the average over pixels
        side = math.isqrt(attention.shape[1])
        mask = (attention > 1).float().view(-1, 1, side, side)
        mask = F.interpolate(mask, said.x_0.shape[-2:]).bool()
        # x̃_0 ← blurred x̂_0;  x̂_t ← √ᾱ (M x̃_0 + (1 - M) x̂_0) + √(1 - ᾱ) ε
        x_0 = said.x_0.clamp(-1, 1)
        blurred = TF.gaussian_blur(x_0, [self.kernel] * 2, [self.blur_sigma] * 2)
        return level.mix(torch.where(mask, blurred, x_0), said.eps)

    def check_fits(self, network: Any, scheduler: Guided) -> None:
        """Refuses a network that does not attend there, or is too small for the blur."""
        super().check_fits(network, scheduler)
        name = type(self).__name__
        if scheduler.full_process.prediction_type == 'previous_x':
            raise ValueError(
                f'{name} moves the noise that a network sees, and this {type(network).__name__} '
                "predicts the sample before: prediction_type='previous_x'"
            )
        (block,) = attention_blocks(network, [self.stage], name)
        if self.kernel >= 2 * network.image_size:
            raise ValueError(
                f'the kernel={self.kernel} of {name} reaches beyond the reflected borders of the '
                f'{network.image_size} pixels of the {type(network).__name__}; give one of at '
                f'most {2 * network.image_size - 1}'
            )
        if self.map_heads is not None and block.qkv.weight.shape[0] % (3 * self.map_heads):
            raise ValueError(
                f'{name} cannot cut the {block.qkv.weight.shape[0]} channels of {self.stage} into '
                f'queries, keys and values of map_heads={self.map_heads}'
            )


class _Blurring(LedAway):
    """A denoiser led away from what it says of a blurred sample."""

    def __init__(self, inner: Denoiser, batch: Batch, guidance: SelfAttentionGuidance) -> None:
        super().__init__(inner, batch)
        self.guidance = guidance
        # Kept, for calls in which the block's stage is recalled instead of computed.
        self.map = AttentionMap(guidance.map_heads)

    def ask(
        self, x_t: Tensor, level: NoiseLevel, inputs: Mapping[str, Tensor], rows: Rows
    ) -> tuple[Prediction, Prediction]:
        """One call after the other."""
        with attending(self.network, {self.guidance.stage: self.map}):
            said = self.inner.predict(x_t, level, inputs)
        guided = said.of(rows)
        x_blurred = self.guidance.degraded(guided, level, self.map.received[rows])
        with apart(self.network, self.batch.memory):
            worse = self.inner.predict(x_blurred.to(x_t.dtype), level, at(rows, inputs))
        # ε(x̂_t) as a prediction about x_t.
        return said, replace(worse, x_0=level.x_0(x_t[rows], worse.eps))


class AttentionMap:
    """Attends, and keeps how much every pixel was attended to.

    Args:
        heads: Cut queries, keys and values into so many heads for that; None is as they come.
    """

    received: Tensor

    def __init__(self, heads: int | None = None) -> None:
        self.heads = heads

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What pixels get of each other."""
        q, k = query, key
        if self.heads is not None:
            by_head = torch.cat([query, key, value], dim=3)
            q, k, _ = split_heads(merge_heads(by_head), self.heads, heads_first=True)
        similarity = q.float() @ k.float().mT / math.sqrt(q.shape[3])
        # Mean over heads, sum over queries.
        self.received = similarity.softmax(dim=3).mean(1).sum(1)
        return F.scaled_dot_product_attention(query, key, value)
