"""EDM2's network: a U-Net whose activations and weights keep their magnitudes on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.architecture import (
    check_attention_resolutions,
    count_heads,
    level_sizes,
)
from mmagic_adm.networks.blocks import Resample
from mmagic_adm.registry import MODELS

EPSILON = 1e-4
# The root mean square of SiLU of a standard normal variable.
SILU_RMS = 0.596


@MODELS.register_module()
class EDM2UNet(nn.Module):
    """Analyzing and Improving the Training Dynamics of Diffusion Models, configuration G.

    It stands in EDM's preconditioning (:class:`EDMPrecond`), and is told c_noise. State-dict keys
    are those of the released files. In training mode a forward pass first puts all weights on the
    sphere that they stay on (eq. 66). It computes convolutions in the type that is asked
    for, from weights that stay in float32.

    Args:
        image_size: Height and width of the image, in pixels.
        in_channels: Channels of the image.
        model_channels: Width that the multipliers multiply.
        channel_mult: Multiplier of each level, finest first.
        num_res_blocks: Residual blocks per level of the encoder; the decoder has one more.
        attention_resolutions: Feature-map sizes, in pixels, at which to attend.
        num_classes: Classes to condition on; None for an unconditional network.
        dropout: Probability of dropping an activation in a residual block.
        num_head_channels: Channels of an attention head.
        label_balance: Share of the class in the embedding, from 0 to 1.
        concat_balance: Share of the skip connections in what the decoder's blocks see.
        res_balance: Share of the residual branch in a block.
        attn_balance: Share of the attention in a block.
        clip_act: Activations are kept within this on either side.
        logvar_channels: Width of the features that the uncertainty is read off, see
            :meth:`log_variance`.
    """

    null_label = None

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        model_channels: int = 192,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        num_res_blocks: int = 3,
        attention_resolutions: Sequence[int] = (16, 8),
        num_classes: int | None = None,
        dropout: float = 0.0,
        num_head_channels: int = 64,
        label_balance: float = 0.5,
        concat_balance: float = 0.5,
        res_balance: float = 0.3,
        attn_balance: float = 0.3,
        clip_act: float = 256.0,
        logvar_channels: int = 128,
    ) -> None:
        super().__init__()
        self.image_size, self.num_classes = image_size, num_classes
        self.in_channels = self.out_channels = in_channels
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.dtype = torch.float32
        widths = [model_channels * multiplier for multiplier in channel_mult]
        sizes = level_sizes(image_size, len(widths))
        attends_at = check_attention_resolutions(attention_resolutions, sizes)
        embedding = max(widths)

        block = partial(
            EDM2Block,
            embedding_channels=embedding,
            num_head_channels=num_head_channels,
            dropout=dropout,
            res_balance=res_balance,
            attn_balance=attn_balance,
            clip_act=clip_act,
        )

        self.emb_fourier = MagnitudePreservingFourier(widths[0])
        self.emb_noise = MagnitudePreservingLinear(widths[0], embedding)
        if num_classes is not None:
            self.emb_label = MagnitudePreservingLinear(num_classes, embedding)

        # Besides the image, the first convolution sees a channel of ones, in place of biases.
        self.enc = nn.ModuleDict()
        channels, skips = in_channels + 1, []
        for level, (width, size) in enumerate(zip(widths, sizes, strict=True)):
            name = f'{size}x{size}'
            if level == 0:
                self.enc[f'{name}_conv'] = MagnitudePreservingConv(channels, width, 3)
                channels = width
            else:
                self.enc[f'{name}_down'] = block('enc', channels, channels, resample='down')
            skips.append(channels)
            for i in range(num_res_blocks):
                self.enc[f'{name}_block{i}'] = block(
                    'enc', channels, width, attends=size in attends_at
                )
                channels = width
                skips.append(channels)

        self.dec = nn.ModuleDict()
        for level, (width, size) in reversed([*enumerate(zip(widths, sizes, strict=True))]):
            name = f'{size}x{size}'
            if level == len(widths) - 1:
                self.dec[f'{name}_in0'] = block('dec', channels, channels, attends=True)
                self.dec[f'{name}_in1'] = block('dec', channels, channels)
            else:
                self.dec[f'{name}_up'] = block('dec', channels, channels, resample='up')
            for i in range(num_res_blocks + 1):
                seen = channels + skips.pop()
                self.dec[f'{name}_block{i}'] = block('dec', seen, width, attends=size in attends_at)
                channels = width
        self.out_conv = MagnitudePreservingConv(channels, in_channels, 3)
        self.out_gain = nn.Parameter(torch.zeros([]))

        self.logvar_fourier = MagnitudePreservingFourier(logvar_channels)
        self.logvar_linear = MagnitudePreservingLinear(logvar_channels, 1)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """F(x; c_noise) of EDM's preconditioning.

        Args:
            x: Noisy images, (N, in_channels, H, W), of unit variance.
            timesteps: c_noise of each image, (N,), or (1,) if they share it.
            labels: Class of each image, (N,). None is none of them.

        Returns:
            Tensor of the shape and type of ``x``.
        """
        embedding = silu(self.embed(timesteps, labels))
        h = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).to(self.dtype)
        skips = []
        for layer in self.enc.values():
            h = layer(h, embedding) if isinstance(layer, EDM2Block) else layer(h)
            skips.append(h)
        for name, layer in self.dec.items():
            if 'block' in name:
                h = concatenated(h, skips.pop(), self.concat_balance)
            h = layer(h, embedding)
        return self.out_conv(h, gain=self.out_gain).to(x.dtype)

    def embed(self, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        """The embedding of noise and class, (N, E)."""
        embedding = self.emb_noise(self.emb_fourier(timesteps))
        if self.num_classes is None:
            if labels is not None:
                raise ValueError('labels were given to an unconditional network (num_classes=None)')
            return embedding
        if labels is None:
            classes = embedding.new_zeros(1, self.num_classes)
        else:
            classes = F.one_hot(labels, self.num_classes).to(embedding)
        of_class = self.emb_label(classes * math.sqrt(self.num_classes))
        return balanced(embedding, of_class, self.label_balance)

    def log_variance(self, timesteps: Tensor) -> Tensor:
        """How uncertain the network is of images so noisy, u(σ) of eq. 21, (N, 1, 1, 1)."""
        return self.logvar_linear(self.logvar_fourier(timesteps)).view(-1, 1, 1, 1)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute in a type; embeddings and the weights stay in float32."""
        self.dtype = dtype

    def attention_blocks(self) -> dict[str, EDM2Block]:
        """What attends, by its name, such as 'enc.8x8_block0'."""
        blocks = {name: m for name, m in self.named_modules() if isinstance(m, EDM2Block)}
        return {name: block for name, block in blocks.items() if block.num_heads}


Kind = Literal['enc', 'dec']


class EDM2Block(nn.Module):
    """Two convolutions and, in some blocks, attention, each beside a skip connection."""

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(
        self,
        kind: Kind,  # encoder's blocks normalise pixels, decoder's do not
        in_channels: int,
        out_channels: int,
        *,
        embedding_channels: int,
        num_head_channels: int,
        dropout: float,
        res_balance: float,
        attn_balance: float,
        clip_act: float,
        attends: bool = False,
        resample: Resample | None = None,  # both branches halve or double the size first
    ) -> None:
        super().__init__()
        self.kind, self.resample = kind, resample
        self.num_heads = count_heads(out_channels, -1, num_head_channels) if attends else 0
        self.dropout, self.clip_act = dropout, clip_act
        self.res_balance, self.attn_balance = res_balance, attn_balance
        self.emb_gain = nn.Parameter(torch.zeros([]))
        inner = out_channels if kind == 'enc' else in_channels
        self.conv_res0 = MagnitudePreservingConv(inner, out_channels, 3)
        self.emb_linear = MagnitudePreservingLinear(embedding_channels, out_channels)
        self.conv_res1 = MagnitudePreservingConv(out_channels, out_channels, 3)
        self.conv_skip: nn.Module | None = None
        if in_channels != out_channels:
            self.conv_skip = MagnitudePreservingConv(in_channels, out_channels, 1)
        if attends:
            self.attn_qkv = MagnitudePreservingConv(out_channels, 3 * out_channels, 1)
            self.attn_proj = MagnitudePreservingConv(out_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Applies the block to (N, C, H, W) under an embedding of shape (N, E) or (1, E)."""
        if self.resample == 'down':
            x = F.avg_pool2d(x, 2)
        elif self.resample == 'up':
            x = F.interpolate(x, scale_factor=2.0)
        if self.kind == 'enc':
            x = normalised(self._skip(x), dims=(1,))

        h = self.conv_res0(silu(x))
        modulation = self.emb_linear(embedding, gain=self.emb_gain) + 1
        h = silu(h * modulation[:, :, None, None].to(h.dtype))
        h = self.conv_res1(F.dropout(h, self.dropout, self.training))
        x = balanced(x if self.kind == 'enc' else self._skip(x), h, self.res_balance)

        if self.num_heads:
            x = balanced(x, self._attended(x), self.attn_balance)
        return x.clip(-self.clip_act, self.clip_act)

    def _skip(self, x: Tensor) -> Tensor:
        return x if self.conv_skip is None else self.conv_skip(x)

    def _attended(self, x: Tensor) -> Tensor:
        # (N, heads, channels of a head, three, pixels)
        qkv = self.attn_qkv(x).flatten(2).unflatten(1, (self.num_heads, -1, 3))
        query, key, value = normalised(qkv, dims=(2,)).movedim(4, 2).unbind(4)
        attended = self.attend(query, key, value)
        return self.attn_proj(attended.transpose(2, 3).reshape(x.shape))


class MagnitudePreservingWeight(nn.Module):
    """A weight that only its direction counts of, for every output (eq. 47)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))

    def effective(self, gain: Tensor | float, dtype: torch.dtype) -> Tensor:
        """What the input is multiplied with."""
        if self.training:
            with torch.no_grad():
                self.weight.copy_(normalised(self.weight.float()))  # eq. 66
        weight = normalised(self.weight.float())
        return (weight * (gain / math.sqrt(weight[0].numel()))).to(dtype)


class MagnitudePreservingLinear(MagnitudePreservingWeight):
    """A linear layer, without a bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(out_channels, in_channels)

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """Maps (N, C) to (N, C')."""
        return F.linear(x, self.effective(gain, x.dtype))


class MagnitudePreservingConv(MagnitudePreservingWeight):
    """A convolution that keeps the image's size, without a bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(out_channels, in_channels, kernel, kernel)

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """Maps (N, C, H, W) to (N, C', H, W)."""
        return F.conv2d(x, self.effective(gain, x.dtype), padding=self.weight.shape[-1] // 2)


class MagnitudePreservingFourier(nn.Module):
    """Cosines of a number, at frequencies and phases that were drawn once (eq. 75)."""

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer('freqs', 2 * math.pi * torch.randn(channels))
        self.register_buffer('phases', 2 * math.pi * torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N,) to (N, channels)."""
        angles = x.float().outer(self.freqs.float()) + self.phases.float()
        return angles.cos() * math.sqrt(2)


def normalised(x: Tensor, dims: tuple[int, ...] | None = None) -> Tensor:
    """Scaled to a root mean square of 1 over some dimensions; None is all but the first."""
    dims = tuple(range(1, x.ndim)) if dims is None else dims
    norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=torch.float32)
    norm = EPSILON + norm * math.sqrt(norm.numel() / x.numel())
    return x / norm.to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """SiLU that keeps the magnitude (eq. 81)."""
    return F.silu(x) / SILU_RMS


def balanced(a: Tensor, b: Tensor, t: float) -> Tensor:
    """A sum that keeps the magnitude, with a share t of b (eq. 88)."""
    return a.lerp(b, t) / math.sqrt((1 - t) ** 2 + t**2)


def concatenated(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Channels side by side at the same magnitudes, with a share t of b (eq. 103)."""
    channels_a, channels_b = a.shape[1], b.shape[1]
    scale = math.sqrt((channels_a + channels_b) / ((1 - t) ** 2 + t**2))
    of_a, of_b = (1 - t) * scale / math.sqrt(channels_a), t * scale / math.sqrt(channels_b)
    return torch.cat([of_a * a, of_b * b], dim=1)
