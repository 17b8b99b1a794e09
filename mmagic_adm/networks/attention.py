"""Self-attention over pixels, and the attention that pools a feature map into logits."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.convolution import PixelwiseLinear
from mmagic_adm.networks.normalization import GroupNorm32
from mmagic_adm.networks.residual import zero_init


def split_heads(qkv: Tensor, num_heads: int, heads_first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts (N, T, 3 * C) into queries, keys and values of shape (N, heads, T, C / heads).

    Args:
        qkv: Output of the joint projection.
        num_heads: Number of heads.
        heads_first: How the channels are laid out: one (q, k, v) after another for each head
            (the older checkpoints), or all queries before all keys before all values.
    """
    n, length, channels = qkv.shape
    head_channels = channels // (3 * num_heads)
    if heads_first:
        parts = qkv.view(n, length, num_heads, 3, head_channels).permute(3, 0, 2, 1, 4)
    else:
        parts = qkv.view(n, length, 3, num_heads, head_channels).permute(2, 0, 3, 1, 4)
    query, key, value = parts.unbind(0)
    return query, key, value


def merge_heads(x: Tensor) -> Tensor:
    """Puts (N, heads, T, C / heads) back together as (N, T, C)."""
    return x.transpose(1, 2).flatten(2)


class AttentionBlock(nn.Module):
    """Every pixel attends to every pixel, beside a skip connection.

    Args:
        channels: Channels of the feature map.
        num_heads: Number of heads.
        use_new_attention_order: Whether the projection's channels are split into q, k, v before
            they are split into heads. Tells checkpoints apart, not architectures.
        skip_rescale: Whether the sum of the branches is divided by sqrt(2).
        min_group_channels: See :class:`GroupNorm32`.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        use_new_attention_order: bool = False,
        skip_rescale: bool = False,
        min_group_channels: int = 1,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.use_new_attention_order = use_new_attention_order
        self.skip_scale = 1 / math.sqrt(2) if skip_rescale else 1.0
        self.norm = GroupNorm32(channels, min_group_channels)
        self.qkv = PixelwiseLinear(channels, 3 * channels)
        self.proj_out = zero_init(PixelwiseLinear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block to (N, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(tokens)
        query, key, value = split_heads(qkv, self.num_heads, not self.use_new_attention_order)
        attended = F.scaled_dot_product_attention(query, key, value)
        change = self.proj_out(merge_heads(attended))
        total = x + change.transpose(1, 2).unflatten(2, x.shape[2:])
        return total * self.skip_scale if self.skip_scale != 1.0 else total


class AttentionPool2d(nn.Module):
    """Pools a feature map by letting its mean attend to its pixels.

    Args:
        size: Height and width of the feature map.
        channels: Channels of the feature map.
        num_heads: Number of heads.
        out_channels: Channels that go out.
    """

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
