"""The noise-aware classifier: the U-Net's first half with a head on top."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.architecture import count_heads
from mmagic_adm.networks.blocks import GroupNorm32, merge_heads, split_heads, zero_init
from mmagic_adm.networks.convolution import Convolution, PixelwiseLinear
from mmagic_adm.networks.encoder import ADMEncoder, in_own_type
from mmagic_adm.registry import MODELS

Pool = Literal['adaptive', 'attention', 'spatial', 'spatial_v2']
SPATIAL_HIDDEN_CHANNELS = 2048


@MODELS.register_module()
@dataclass(eq=False, repr=False)
class ADMClassifier(ADMEncoder):
    """Classifies noisy images, told how noisy they are.

    State-dict keys are those of the released checkpoints. Takes this argument besides those of
    :class:`ADMEncoder`, of which ``out_channels`` is the number of classes.

    Args:
        pool: How the head pools: 'attention' or 'adaptive' over the last feature map, 'spatial'
            or 'spatial_v2' over the means of all of them.
    """

    model_channels: int = 128
    out_channels: int = 1000
    num_heads: int = 1
    num_head_channels: int = 64
    pool: Pool = 'attention'

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool not in get_args(Pool):
            raise ValueError(f'pool is one of {", ".join(get_args(Pool))}, not {self.pool!r}')
        self.pools_every_level = self.pool.startswith('spatial')
        self.out = self._spatial_head() if self.pools_every_level else self._pooling_head()

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Classifies noisy images.

        Args:
            x: Noisy images, (N, in_channels, H, W).
            timesteps: Noise level of each image, (N,), or (1,) if they share it.

        Returns:
            Logits of shape (N, out_channels) and the type of ``x``.
        """
        return self.classify(x, self.embed_time(timesteps))

    def classify(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Logits of images under an embedding of how noisy they are, and maybe of more."""
        maps = self.feature_maps(x, embedding)
        if self.pools_every_level:
            features = torch.cat([h.mean(dim=(2, 3)) for h in maps], dim=1)
        else:
            *_, features = maps
        return in_own_type(self.out, features).to(x.dtype)

    def feature_maps(self, x: Tensor, embedding: Tensor) -> Iterator[Tensor]:
        """What is seen in images at one block after the other, the last the coarsest."""
        h = self.enter(x)
        for block in [*self.input_blocks, self.middle_block]:
            h = block(h, embedding)
            yield h

    def _spatial_head(self) -> nn.Sequential:
        hidden = SPATIAL_HIDDEN_CHANNELS
        between = [nn.ReLU()] if self.pool == 'spatial' else [GroupNorm32(hidden), nn.SiLU()]
        return nn.Sequential(
            nn.Linear(sum(self.skip_channels) + self.widths[-1], hidden),
            *between,
            nn.Linear(hidden, self.out_channels),
        )

    def _pooling_head(self) -> nn.Sequential:
        channels = self.widths[-1]
        if self.pool == 'adaptive':
            logits = zero_init(Convolution(channels, self.out_channels, 1))
            pooling = [nn.AdaptiveAvgPool2d(1), logits, nn.Flatten()]
        elif self.num_head_channels == -1:
            raise ValueError("pool='attention' needs num_head_channels, the width of a head")
        else:
            heads = count_heads(channels, self.num_heads, self.num_head_channels)
            pooling = [AttentionPool2d(self.sizes[-1], channels, heads, self.out_channels)]
        return nn.Sequential(GroupNorm32(channels), nn.SiLU(), *pooling)


class AttentionPool2d(nn.Module):
    """Pools a feature map into (N, out_channels) by letting its mean attend to its pixels."""

    def __init__(self, size: int, channels: int, num_heads: int, out_channels: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.positional_embedding = nn.Parameter(
            torch.randn(channels, size * size + 1) / math.sqrt(channels)
        )
        self.qkv_proj = PixelwiseLinear(channels, 3 * channels)
        self.c_proj = PixelwiseLinear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, size, size) to (N, out_channels)."""
        pixels = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([pixels.mean(dim=1, keepdim=True), pixels], dim=1)
        tokens = tokens + self.positional_embedding.t().to(tokens.dtype)
        query, key, value = split_heads(self.qkv_proj(tokens), self.num_heads, heads_first=False)
        # Only the mean's answer is read, so only the mean asks.
        attended = F.scaled_dot_product_attention(query[:, :, :1], key, value)
        return self.c_proj(merge_heads(attended)).flatten(1)
