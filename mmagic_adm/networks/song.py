"""DDPM++ and NCSN++, the U-Nets of score-based models (Song et al. 2021), as EDM trains them.

Tensors have the names of EDM's files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.architecture import check_attention_resolutions, level_sizes
from mmagic_adm.networks.blocks import GroupNorm32
from mmagic_adm.registry import MODELS

Layout = Literal['ddpm++', 'ncsn++']
Way = Literal['up', 'down']

# By which pixels are weighed where the size changes.
TAPS: dict[Layout, tuple[float, ...]] = {'ddpm++': (1, 1), 'ncsn++': (1, 3, 3, 1)}
_SUM = math.sqrt(0.5)  # on every sum of two branches
_ALMOST_NOTHING = 1e-5  # scale of what ends a branch, at the start of training


@MODELS.register_module()
class SongUNet(nn.Module):
    """Predicts from noisy images, ln(sigma) / 4 and classes; goes into an ``EDMPrecond``.

    Args:
        image_size: Height and width of the image, in pixels.
        layout: 'ddpm++': time as waves, sizes changed by repeating and averaging. 'ncsn++': time as
            random waves, sizes changed by a wider filter, and the image itself, made smaller, is
            added on every level of the way down.
        in_channels: Channels of the image.
        model_channels: Width that the multipliers multiply.
        channel_mult: Multiplier of each level, finest first.
        num_blocks: Residual blocks per level.
        attention_resolutions: Feature-map sizes, in pixels, at which to attend.
        num_classes: Classes to condition on; None for an unconditional network.
        dropout: Probability of dropping an activation in a residual block.
        augment_channels: Numbers that tell in training how an image was augmented; 0 for none.
    """

    null_label = None

    def __init__(
        self,
        image_size: int,
        layout: Layout = 'ddpm++',
        in_channels: int = 3,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_blocks: int = 4,
        attention_resolutions: Sequence[int] = (16,),
        num_classes: int | None = None,
        dropout: float = 0.1,
        augment_channels: int = 9,
    ) -> None:
        super().__init__()
        if layout not in get_args(Layout):
            raise ValueError(f'layout is {" or ".join(get_args(Layout))}, not {layout!r}')
        self.image_size, self.in_channels, self.out_channels = image_size, in_channels, in_channels
        self.num_classes = num_classes
        adds_image = layout == 'ncsn++'
        sizes = level_sizes(image_size, len(channel_mult))
        attended = check_attention_resolutions(attention_resolutions, sizes)
        taps, embedded = TAPS[layout], 4 * model_channels
        noise_channels = model_channels * (2 if adds_image else 1)

        self.map_noise = _RandomWaves(noise_channels) if adds_image else _Waves(noise_channels)
        self.map_label = _linear(num_classes, noise_channels) if num_classes else None
        self.map_augment = (
            _linear(augment_channels, noise_channels, bias=False) if augment_channels else None
        )
        self.map_layer0 = _linear(noise_channels, embedded)
        self.map_layer1 = _linear(embedded, embedded)

        def block(into: int, out: int, way: Way | None = None, attends: bool = False) -> _Block:
            return _Block(into, out, embedded, taps, way, attends, dropout)

        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()
        width, seen, skips = model_channels, in_channels, [model_channels]
        for level, (size, multiplier) in enumerate(zip(sizes, channel_mult, strict=True)):
            place = f'{size}x{size}'
            if level == 0:
                self.enc[f'{place}_conv'] = _Conv(in_channels, width, 3)
            else:
                self.enc[f'{place}_down'] = block(width, width, 'down')
                skips.append(width)
            if level > 0 and adds_image:
                # The image goes through the kernel first, and is made smaller then.
                self.enc[f'{place}_aux_residual'] = _Conv(seen, width, 3, taps, 'down', last=True)
                seen = width
            for n in range(num_blocks):
                attends, before = size in attended, width
                width = model_channels * multiplier
                self.enc[f'{place}_block{n}'] = block(before, width, None, attends)
                skips.append(width)
        for size, multiplier in reversed(list(zip(sizes, channel_mult, strict=True))):
            place = f'{size}x{size}'
            if size == sizes[-1]:
                self.dec[f'{place}_in0'] = block(width, width, None, True)
                self.dec[f'{place}_in1'] = block(width, width)
            else:
                self.dec[f'{place}_up'] = block(width, width, 'up')
            for n in range(num_blocks + 1):
                before, width = width + skips.pop(), model_channels * multiplier
                attends = n == num_blocks and size in attended
                self.dec[f'{place}_block{n}'] = block(before, width, None, attends)
        self.dec[f'{place}_aux_norm'] = _norm(width)
        self.dec[f'{place}_aux_conv'] = _Conv(width, in_channels, 3, gain=_ALMOST_NOTHING)

    @property
    def dtype(self) -> torch.dtype:
        """The type that the blocks compute in."""
        return next(self.parameters()).dtype

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        labels: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """Predicts from images.

        Args:
            x: Noisy images, scaled, (N, C, H, W).
            timesteps: ln(sigma) / 4 of each image, (N,), or (1,) if they share it.
            labels: Class of each image, (N,).
            augment: How each was augmented, (N, augment_channels); None for not at all.
        """
        embedding = self._embed(timesteps.expand(len(x)), labels, augment)
        skips: list[Tensor] = []
        h, image = x, x
        for layer in self.enc.values():
            if isinstance(layer, _Block):
                h = layer(h, embedding)
                skips.append(h)
            elif skips:
                h = skips[-1] = image = (h + layer(image)) * _SUM
            else:
                h = layer(h)
                skips.append(h)
        for name, layer in self.dec.items():
            if isinstance(layer, _Block):
                if '_block' in name:
                    h = torch.cat([h, skips.pop()], dim=1)
                h = layer(h, embedding)
            else:
                h = F.silu(layer(h)) if isinstance(layer, nn.GroupNorm) else layer(h)
        return h

    def _embed(self, timesteps: Tensor, labels: Tensor | None, augment: Tensor | None) -> Tensor:
        embedding = self.map_noise(timesteps)
        if (self.map_label is None) != (labels is None):
            raise ValueError(
                'this network needs labels: it is conditional'
                if labels is None
                else 'labels were given to an unconditional network (num_classes=None)'
            )
        if self.map_label is not None and labels is not None:
            assert self.num_classes is not None
            classes = F.one_hot(labels, self.num_classes).to(embedding.dtype)
            embedding = embedding + self.map_label(classes * math.sqrt(self.num_classes))
        if augment is not None:
            if self.map_augment is None:
                raise ValueError('this network is not told of augmentation (augment_channels=0)')
            embedding = embedding + self.map_augment(augment)
        return F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))


class _Block(nn.Module):
    """Two convolutions beside a skip connection; and attention, of one head, beside another."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_channels: int,
        taps: Sequence[float],
        way: Way | None,
        attends: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm0 = _norm(in_channels)
        self.conv0 = _Conv(in_channels, out_channels, 3, taps, way)
        self.affine = _linear(embedding_channels, out_channels)
        self.norm1 = _norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = _Conv(out_channels, out_channels, 3, gain=_ALMOST_NOTHING)
        changes = in_channels != out_channels or way is not None
        self.skip = _Conv(in_channels, out_channels, 1, taps, way) if changes else nn.Identity()
        self.attends = attends
        if attends:
            self.norm2 = _norm(out_channels)
            self.qkv = _Conv(out_channels, 3 * out_channels, 1, gain=math.sqrt(0.2))
            self.proj = _Conv(out_channels, out_channels, 1, gain=_ALMOST_NOTHING)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Applies the block to (N, C, H, W) under an embedding of shape (N, E)."""
        h = self.conv0(F.silu(self.norm0(x))) + self.affine(embedding)[:, :, None, None]
        h = self.conv1(self.dropout(F.silu(self.norm1(h))))
        x = (self.skip(x) + h) * _SUM
        if not self.attends:
            return x
        # (q, k, v) of one channel after another.
        parts = self.qkv(self.norm2(x)).flatten(2).unflatten(1, (-1, 3))
        query, key, value = parts.permute(2, 0, 3, 1)
        seen = F.scaled_dot_product_attention(query, key, value)
        return (x + self.proj(seen.transpose(1, 2).reshape(x.shape))) * _SUM


class _Conv(nn.Conv2d):
    """A convolution, before or after which the size changes by a fixed filter."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        taps: Sequence[float] = (1, 1),
        way: Way | None = None,
        last: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        _initialise(self, gain)
        self.way, self.last = way, last
        if way is not None:
            row = torch.tensor(taps)
            weights = row.outer(row) / row.sum() ** 2
            self.register_buffer('resample_filter', weights[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Applies it to (N, C, H, W)."""
        if self.way is None:
            return super().forward(x)
        padding = (self.resample_filter.shape[-1] - 1) // 2
        if not self.last:
            return super().forward(self._resized(x, padding))
        h = F.conv2d(x, self.weight, padding=padding + self.weight.shape[-1] // 2)
        return self._resized(h, 0) + self.bias[:, None, None]  # type: ignore[index]

    def _resized(self, x: Tensor, padding: int) -> Tensor:
        channels = x.shape[1]
        weights = self.resample_filter.expand(channels, 1, -1, -1)
        if self.way == 'up':
            return F.conv_transpose2d(x, 4 * weights, stride=2, padding=padding, groups=channels)
        return F.conv2d(x, weights, stride=2, padding=padding, groups=channels)


class _Waves(nn.Module):
    """Sines and cosines of c_noise at frequencies from 1 down to 1/10000, both of them included."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.count = channels // 2

    def forward(self, c_noise: Tensor) -> Tensor:
        steps = torch.arange(self.count, device=c_noise.device) / (self.count - 1)
        angles = c_noise[:, None] * (1 / 10_000) ** steps
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class _RandomWaves(nn.Module):
    """Sines and cosines of c_noise at random frequencies, which are in the file."""

    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer('freqs', torch.randn(channels // 2) * scale)

    def forward(self, c_noise: Tensor) -> Tensor:
        angles = c_noise[:, None] * (2 * math.pi * self.freqs)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def _norm(channels: int) -> GroupNorm32:
    norm = GroupNorm32(channels, min_group_channels=4)
    norm.eps = 1e-6
    return norm


def _linear(into: int, out: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(into, out, bias)
    _initialise(layer, 1.0)
    return layer


def _initialise(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
