"""What the ADM networks are made of: normalisation, residual blocks, resamplers and attention."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.convolution import Convolution, PixelwiseLinear

NUM_GROUPS = 32
Resample = Literal['up', 'down']


def zero_init(layer: nn.Module) -> nn.Module:
    """Zeroes a layer's parameters, so that the branch it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def count_groups(channels: int, min_group_channels: int) -> int:
    """Groups that channels are normalised in: 32, or fewer where they would get too thin."""
    return min(NUM_GROUPS, channels // min_group_channels)


class GroupNorm32(nn.GroupNorm):
    """Group normalisation that computes in float32 whatever type the network runs in."""

    def __init__(self, num_channels: int, min_group_channels: int = 1) -> None:
        super().__init__(count_groups(num_channels, min_group_channels), num_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises in float32 and gives the input's type back."""
        own = x
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if x.device.type == 'cpu' and weight.dtype == torch.float32:
            pass  # The kernel itself computes in float32 if the parameters are of that type.
        elif _accumulates(x):
            weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        else:
            own, weight, bias = x.float(), weight.float(), bias.float()
        return F.group_norm(own, self.num_groups, weight, bias, self.eps).to(x.dtype)


def _accumulates(x: Tensor) -> bool:
    """Whether torch's norm of a tensor sums in float32, and need not be given one of that type.

    A GPU's does, and rounds mean and deviation to the tensor's type after that. Compiled code
    converts in its registers, at no cost, and autocast converts whatever it is given.
    """
    return x.is_cuda and not torch.compiler.is_compiling() and not torch.is_autocast_enabled('cuda')


def resampler(channels: int, direction: Resample, use_conv: bool) -> nn.Sequential:
    """Doubles the size by repeating pixels, or halves it by averaging; or by a convolution.

    Modules are called as in the released checkpoints.
    """
    layers = nn.Sequential()
    if direction == 'up':
        layers.add_module('repeat', nn.Upsample(scale_factor=2))
        if use_conv:
            layers.add_module('conv', Convolution(channels, channels, 3))
    elif use_conv:
        layers.add_module('op', nn.Conv2d(channels, channels, 3, stride=2, padding=1))
    else:
        layers.add_module('op', nn.AvgPool2d(2))
    return layers


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection, modulated by the embedding of time and class."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int,
        resample: Resample | None = None,  # both branches double or halve the size first
        dropout: float = 0.0,  # before the second convolution
        use_scale_shift_norm: bool = True,  # modulate the second norm (ADM, eq. 3), or add before
        skip_rescale: bool = False,  # divide the sum of the branches by sqrt(2)
        min_group_channels: int = 1,  # channels that a group of normalisation has at least
    ) -> None:
        super().__init__()
        self.use_scale_shift_norm = use_scale_shift_norm
        self.skip_scale = 1 / math.sqrt(2) if skip_rescale else 1.0
        # Without parameters, and so in no checkpoint.
        self.resize: nn.Module = (
            resampler(in_channels, resample, use_conv=False) if resample else nn.Identity()
        )
        self.in_layers = nn.Sequential(
            GroupNorm32(in_channels, min_group_channels),
            nn.SiLU(),
            Convolution(in_channels, out_channels, 3),
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(),
            nn.Linear(embedding_channels, (2 if use_scale_shift_norm else 1) * out_channels),
        )
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels, min_group_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zero_init(Convolution(out_channels, out_channels, 3)),
        )
        self.skip_connection: nn.Module = (
            nn.Identity()
            if in_channels == out_channels
            else Convolution(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Applies the block to (N, C, H, W) under an embedding of shape (N, E) or (1, E)."""
        norm, _, convolution = self.in_layers
        h = convolution(self.resize(_activated(norm(x))))

        modulation = self.emb_layers(embedding)[:, :, None, None]
        norm, _, dropout, convolution = self.out_layers
        if self.use_scale_shift_norm:
            scale, shift = modulation.chunk(2, dim=1)
            h = torch.addcmul(shift.to(h.dtype), norm(h), (1 + scale).to(h.dtype))
        else:
            h = norm(h + modulation.to(h.dtype))
        h = convolution(dropout(_activated(h)))

        total = self.skip_connection(self.resize(x)) + h
        return total * self.skip_scale if self.skip_scale != 1.0 else total


def _activated(x: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else needs, in its own memory where autograd allows that."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class AttentionBlock(nn.Module):
    """Every pixel attends to every pixel, beside a skip connection."""

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(
        self,
        channels: int,
        num_heads: int,
        use_new_attention_order: bool = False,  # see split_heads
        skip_rescale: bool = False,  # divide the sum of the branches by sqrt(2)
        min_group_channels: int = 1,  # channels that a group of normalisation has at least
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
        change = self.proj_out(merge_heads(self.attend(query, key, value)))
        total = x + change.transpose(1, 2).unflatten(2, x.shape[2:])
        return total * self.skip_scale if self.skip_scale != 1.0 else total


def split_heads(qkv: Tensor, num_heads: int, heads_first: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Cuts (N, T, 3 * C) into queries, keys and values of shape (N, heads, T, C / heads).

    The channels hold one (q, k, v) after another for each head (``heads_first``, as in the older
    checkpoints), or all queries before all keys before all values.
    """
    if heads_first:
        parts = qkv.unflatten(2, (num_heads, 3, -1)).permute(3, 0, 2, 1, 4)
    else:
        parts = qkv.unflatten(2, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = parts.unbind(0)
    return query, key, value


def merge_heads(x: Tensor) -> Tensor:
    """Puts (N, heads, T, C / heads) back together as (N, T, C)."""
    return x.transpose(1, 2).flatten(2)
