"""The residual block that goes up, down or stays, and the plain resamplers."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.convolution import Convolution
from mmagic_adm.networks.normalization import GroupNorm32

Resample = Literal['up', 'down']


def zero_init(layer: nn.Module) -> nn.Module:
    """Zeroes a layer's parameters, so that the branch it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def upsample(x: Tensor) -> Tensor:
    """Doubles the size by repeating pixels."""
    return F.interpolate(x, scale_factor=2, mode='nearest')


def downsample(x: Tensor) -> Tensor:
    """Halves the size by averaging 2x2 pixels."""
    return F.avg_pool2d(x, 2)


def activate(x: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else needs, in its own memory where autograd allows that."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class Upsample(nn.Module):
    """Doubles the size by repeating pixels, then convolves if asked."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        if use_conv:
            self.conv = Convolution(channels, channels, 3)
        self.use_conv = use_conv

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = upsample(x)
        return self.conv(x) if self.use_conv else x


class Downsample(nn.Module):
    """Halves the size, by a convolution of stride 2 or by averaging."""

    def __init__(self, channels: int, use_conv: bool) -> None:
        super().__init__()
        self.op: nn.Module = (
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) if use_conv else nn.AvgPool2d(2)
        )

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.op(x)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection, modulated by the embedding of time and class.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        embedding_channels: Width of the embedding.
        dropout: Probability of dropping an activation before the second convolution.
        resample: Whether both branches double ('up') or halve ('down') the size first.
        use_scale_shift_norm: Whether the embedding scales and shifts the second normalisation
            (adaptive group normalisation, ADM eq. 3), or is added before it.
        skip_rescale: Whether the sum of the branches is divided by sqrt(2).
        min_group_channels: See :class:`GroupNorm32`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int,
        dropout: float = 0.0,
        resample: Resample | None = None,
        use_scale_shift_norm: bool = True,
        skip_rescale: bool = False,
        min_group_channels: int = 1,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.use_scale_shift_norm = use_scale_shift_norm
        self.skip_scale = 1 / math.sqrt(2) if skip_rescale else 1.0

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
        h = convolution(self._resampled(activate(norm(x))))

        modulation = self.emb_layers(embedding)[:, :, None, None]
        norm, _, dropout, convolution = self.out_layers
        if self.use_scale_shift_norm:
            scale, shift = modulation.chunk(2, dim=1)
            h = torch.addcmul(shift.to(h.dtype), norm(h), (1 + scale).to(h.dtype))
        else:
            h = norm(h + modulation.to(h.dtype))
        h = convolution(dropout(activate(h)))

        total = self.skip_connection(self._resampled(x)) + h
        return total * self.skip_scale if self.skip_scale != 1.0 else total

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == 'up':
            return upsample(x)
        if self.resample == 'down':
            return downsample(x)
        return x
