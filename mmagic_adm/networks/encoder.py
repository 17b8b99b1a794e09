"""The half that U-Net and classifier share: embeddings, the way down, and the middle."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmagic_adm.arguments import whole
from mmagic_adm.networks.architecture import (
    check_attention_resolutions,
    check_group_norm,
    count_heads,
    level_sizes,
    resolve_channel_mult,
)
from mmagic_adm.networks.blocks import (
    AttentionBlock,
    Resample,
    ResidualBlock,
    count_groups,
    resampler,
)
from mmagic_adm.networks.convolution import Convolution, PixelwiseLinear

COUNTS = ('image_size', 'in_channels', 'model_channels', 'out_channels', 'num_res_blocks')

# Feature maps from this size on are normalised pixel by pixel.
SMALL_MAP = 32


class Stage(nn.Sequential):
    """Layers run one after another; those that take the embedding get it."""

    use_checkpoint: bool = False

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        """Runs the layers, recomputing them in the backward pass if asked to."""
        if self.use_checkpoint and torch.is_grad_enabled():
            return checkpoint(self._run, x, embedding, use_reentrant=False)
        return self._run(x, embedding)

    def _run(self, x: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResidualBlock) else layer(x)
        return x


@dataclass(eq=False, repr=False)
class ADMEncoder(nn.Module):
    """Embeds the noise level, encodes an image level by level, and passes it through the middle.

    Its fields are the constructor's arguments, which :class:`ADMUNet` and :class:`ADMClassifier`
    share; each has some of its own and its own defaults.

    Args:
        image_size: Height and width of the image, in pixels.
        in_channels: Channels of the image.
        model_channels: Width that the multipliers multiply.
        out_channels: What comes out: a U-Net's channels, or a classifier's classes.
        num_res_blocks: Residual blocks per level.
        attention_resolutions: Feature-map sizes, in pixels, at which to attend.
        channel_mult: Multiplier of each level, finest first; None takes the family's own.
        dropout: Probability of dropping an activation in a residual block.
        num_heads: Attention heads, where ``num_head_channels`` is -1.
        num_head_channels: Channels of an attention head; -1 fixes the number of heads instead.
        use_scale_shift_norm: Whether the embedding modulates the normalisation (AdaGN).
        resblock_updown: Whether residual blocks change the size (BigGAN), or plain resamplers.
        conv_resample: Whether plain resamplers convolve.
        use_new_attention_order: Channel layout of the attention's projection: all queries before
            all keys. Tells checkpoints apart, not architectures.
        use_checkpoint: Whether to recompute activations in the backward pass, for memory.
    """

    image_size: int
    in_channels: int = 3
    model_channels: int = 256
    out_channels: int = 6
    num_res_blocks: int = 2
    attention_resolutions: Sequence[int] = (32, 16, 8)
    channel_mult: Sequence[float] | None = None
    dropout: float = 0.0
    num_heads: int = 4
    num_head_channels: int = -1
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    conv_resample: bool = True
    use_new_attention_order: bool = False
    use_checkpoint: bool = False

    # What follows has no annotation, so it is no argument; some networks have their own.
    skip_rescale = False
    min_group_channels = 1
    images_seen = 1
    memory_format = torch.preserve_format

    def __post_init__(self) -> None:
        # A module's plain attributes can be set before this, its layers cannot.
        super().__init__()
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout is a probability below 1, not {self.dropout}')
        for name in COUNTS:
            whole(getattr(self, name), f'{name} of {type(self).__name__} is a number from 1 on')
        channel_mult = resolve_channel_mult(self.image_size, self.channel_mult)
        self.widths = [int(multiplier * self.model_channels) for multiplier in channel_mult]
        self.sizes = level_sizes(self.image_size, len(channel_mult))
        check_group_norm(self.widths, self.min_group_channels)
        self.attention_sizes = check_attention_resolutions(self.attention_resolutions, self.sizes)

        self.embedding_channels = 4 * self.model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(self.model_channels, self.embedding_channels),
            nn.SiLU(),
            nn.Linear(self.embedding_channels, self.embedding_channels),
        )
        channels = self.widths[0]
        seen = self.images_seen * self.in_channels
        self.input_blocks = nn.ModuleList([self._stage(Convolution(seen, channels, 3))])
        self.skip_channels = [channels]
        for level, (width, size) in enumerate(zip(self.widths, self.sizes, strict=True)):
            if level > 0:
                self.input_blocks.append(self._stage(self._resampler(channels, 'down')))
                self.skip_channels.append(channels)
            for _ in range(self.num_res_blocks):
                layers: list[nn.Module] = [self._block(channels, width)]
                channels = width
                if size in self.attention_sizes:
                    layers.append(self._attention(channels))
                self.input_blocks.append(self._stage(*layers))
                self.skip_channels.append(channels)
        self.middle_block = self._stage(
            self._block(channels, channels),
            self._attention(channels),
            self._block(channels, channels),
        )

    @property
    def dtype(self) -> torch.dtype:
        """The type that the blocks compute in."""
        return next(self.input_blocks.parameters()).dtype

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute in a type; embeddings, norms and the head keep theirs."""
        for layer in self.modules():
            if isinstance(layer, Stage):
                for part in layer.modules():
                    if isinstance(part, nn.Conv2d | PixelwiseLinear):
                        part.to(dtype)

    def lay_out_channels_last(self) -> None:
        """Keeps kernels and activations with the channels of a pixel side by side in memory."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.memory_format = torch.channels_last

    @property
    def least_group_channels(self) -> int:
        """Channels of the thinnest group of normalisation, on the feature maps that are small."""
        return min(
            (
                width // count_groups(width, self.min_group_channels)
                for width, size in zip(self.widths, self.sizes, strict=True)
                if size < SMALL_MAP
            ),
            default=max(self.widths),
        )

    def attention_blocks(self) -> dict[str, AttentionBlock]:
        """What attends, by the stage that it is in, such as 'input_blocks.14'."""
        return {
            name.rpartition('.')[0]: block
            for name, block in self.named_modules()
            if isinstance(block, AttentionBlock)
        }

    def enter(self, x: Tensor) -> Tensor:
        """Images in the type and the layout that the blocks take."""
        return x.to(self.dtype, memory_format=self.memory_format)

    def embed_time(self, timesteps: Tensor) -> Tensor:
        """Embeds timesteps of shape (N,), or (1,) for a batch that shares one."""
        if len(timesteps) > 1 and timesteps.stride(0) == 0:
            timesteps = timesteps[:1]  # one that was expanded, so all that follows is shared
        return in_own_type(self.time_embed, timestep_embedding(timesteps, self.model_channels))

    def _stage(self, *layers: nn.Module) -> Stage:
        stage = Stage(*layers)
        stage.use_checkpoint = self.use_checkpoint
        return stage

    def _block(
        self, in_channels: int, out_channels: int, resample: Resample | None = None
    ) -> ResidualBlock:
        return ResidualBlock(
            in_channels,
            out_channels,
            self.embedding_channels,
            resample,
            self.dropout,
            self.use_scale_shift_norm,
            self.skip_rescale,
            self.min_group_channels,
        )

    def _resampler(self, channels: int, direction: Resample) -> nn.Module:
        if self.resblock_updown:
            return self._block(channels, channels, direction)
        return resampler(channels, direction, self.conv_resample)

    def _attention(self, channels: int, num_heads: int | None = None) -> AttentionBlock:
        return AttentionBlock(
            channels,
            count_heads(channels, num_heads or self.num_heads, self.num_head_channels),
            self.use_new_attention_order,
            self.skip_rescale,
            self.min_group_channels,
        )


def timestep_embedding(timesteps: Tensor, channels: int, max_period: float = 10000.0) -> Tensor:
    """Cosines and sines of the timestep at frequencies falling geometrically to 1/max_period.

    Args:
        timesteps: Of shape (N,), whole or fractional.
        channels: Width of the embedding.
        max_period: Slowest wave, in timesteps.

    Returns:
        Float32 tensor of shape (N, channels).
    """
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps[:, None].float() * torch.exp(-math.log(max_period) * exponents)
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, channels % 2))


def in_own_type(layers: nn.Module, x: Tensor) -> Tensor:
    """What layers give for a tensor in the type that their first parameter has."""
    return layers(x.to(next(layers.parameters()).dtype))
