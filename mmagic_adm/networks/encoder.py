"""The half that U-Net and classifier share: embeddings, the way down, and the middle."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmagic_adm.networks.architecture import (
    check_attention_resolutions,
    check_group_norm,
    count_heads,
    level_channels,
    level_sizes,
    resolve_channel_mult,
)
from mmagic_adm.networks.attention import AttentionBlock
from mmagic_adm.networks.convolution import Convolution, PixelwiseLinear
from mmagic_adm.networks.embedding import timestep_embedding
from mmagic_adm.networks.normalization import count_groups
from mmagic_adm.networks.residual import Downsample, Resample, ResidualBlock, Upsample

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


def type_of(module: nn.Module) -> torch.dtype:
    """The type of a module's first parameter."""
    return next(module.parameters()).dtype


class ADMEncoder(nn.Module):
    """Embeds the noise level, encodes an image level by level, and passes it through the middle.

    Args:
        image_size: Height and width of the image, in pixels.
        in_channels: Channels that the first convolution sees.
        model_channels: Width that the multipliers multiply.
        num_res_blocks: Residual blocks per level.
        attention_resolutions: Feature-map sizes, in pixels, at which to attend.
        channel_mult: Multiplier of each level, finest first; None takes the family's own.
        dropout: Probability of dropping an activation in a residual block.
        num_heads: Attention heads, where ``num_head_channels`` is -1.
        num_head_channels: Channels of an attention head; -1 fixes the number of heads instead.
        use_scale_shift_norm: Whether the embedding modulates the normalisation.
        resblock_updown: Whether residual blocks change the size, rather than plain resamplers.
        conv_resample: Whether plain resamplers convolve.
        use_new_attention_order: Channel layout of the attention's projection.
        skip_rescale: Whether every residual sum is divided by sqrt(2).
        min_group_channels: Channels a normalisation group has at least.
        use_checkpoint: Whether to recompute activations in the backward pass, for memory.
    """

    out: nn.Sequential
    memory_format: torch.memory_format = torch.preserve_format

    def __init__(
        self,
        *,
        image_size: int,
        in_channels: int,
        model_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        channel_mult: Sequence[float] | None,
        dropout: float,
        num_heads: int,
        num_head_channels: int,
        use_scale_shift_norm: bool,
        resblock_updown: bool,
        conv_resample: bool,
        use_new_attention_order: bool,
        skip_rescale: bool,
        min_group_channels: int,
        use_checkpoint: bool,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout is a probability below 1, not {dropout}')
        if num_res_blocks < 1:
            raise ValueError(f'num_res_blocks counts blocks per level, not {num_res_blocks}')
        channel_mult = resolve_channel_mult(image_size, channel_mult)
        self.widths = level_channels(model_channels, channel_mult)
        self.sizes = level_sizes(image_size, len(channel_mult))
        check_group_norm(self.widths, min_group_channels)
        self.attention_sizes = check_attention_resolutions(attention_resolutions, self.sizes)

        self.image_size = image_size
        self.model_channels = model_channels
        self.embedding_channels = 4 * model_channels
        self.num_heads = num_heads
        self.num_head_channels = num_head_channels
        self.resblock_updown = resblock_updown
        self.conv_resample = conv_resample
        self.block_options: dict[str, Any] = dict(
            embedding_channels=self.embedding_channels,
            dropout=dropout,
            use_scale_shift_norm=use_scale_shift_norm,
            skip_rescale=skip_rescale,
            min_group_channels=min_group_channels,
        )
        self.attention_options: dict[str, Any] = dict(
            use_new_attention_order=use_new_attention_order,
            skip_rescale=skip_rescale,
            min_group_channels=min_group_channels,
        )

        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, self.embedding_channels),
            nn.SiLU(),
            nn.Linear(self.embedding_channels, self.embedding_channels),
        )
        channels = self.widths[0]
        self.input_blocks = nn.ModuleList([Stage(Convolution(in_channels, channels, 3))])
        self.skip_channels = [channels]
        for level, (width, size) in enumerate(zip(self.widths, self.sizes, strict=True)):
            if level > 0:
                self.input_blocks.append(Stage(self._resampler(channels, 'down')))
                self.skip_channels.append(channels)
            for _ in range(num_res_blocks):
                layers: list[nn.Module] = [self._block(channels, width)]
                channels = width
                if size in self.attention_sizes:
                    layers.append(self._attention(channels))
                self.input_blocks.append(Stage(*layers))
                self.skip_channels.append(channels)
        self.middle_block = Stage(
            self._block(channels, channels),
            self._attention(channels),
            self._block(channels, channels),
        )
        self.checkpoint_stages([*self.input_blocks, self.middle_block], use_checkpoint)

    @property
    def dtype(self) -> torch.dtype:
        """The type that the blocks compute in."""
        return type_of(self.input_blocks)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute in a type; embeddings, norms and the head keep theirs."""
        blocks = [*self.input_blocks, self.middle_block, *getattr(self, 'output_blocks', ())]
        for block in blocks:
            for layer in block.modules():
                if isinstance(layer, nn.Conv2d | PixelwiseLinear):
                    layer.to(dtype)

    def apply_head(self, features: Tensor) -> Tensor:
        """What comes out, in the type of the head."""
        return self.out(features.to(type_of(self.out)))

    @property
    def least_group_channels(self) -> int:
        """Channels of the thinnest group of normalisation, on the feature maps that are small."""
        return min(
            (
                width // count_groups(width, self.block_options['min_group_channels'])
                for width, size in zip(self.widths, self.sizes, strict=True)
                if size < SMALL_MAP
            ),
            default=max(self.widths),
        )

    @staticmethod
    def checkpoint_stages(stages: Iterable[nn.Module], use_checkpoint: bool) -> None:
        """Tells stages whether to recompute their activations in the backward pass."""
        for stage in stages:
            assert isinstance(stage, Stage)
            stage.use_checkpoint = use_checkpoint

    def lay_out_channels_last(self) -> None:
        """Keeps kernels and activations with the channels of a pixel side by side in memory."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.memory_format = torch.channels_last

    def enter(self, x: Tensor) -> Tensor:
        """Images in the type and the layout that the blocks take."""
        return x.to(self.dtype, memory_format=self.memory_format)

    def embed_time(self, timesteps: Tensor) -> Tensor:
        """Embeds timesteps of shape (N,), or (1,) for a batch that shares one."""
        if len(timesteps) > 1 and timesteps.stride(0) == 0:
            timesteps = timesteps[:1]  # one that was expanded, so all that follows is shared
        embedding = timestep_embedding(timesteps, self.model_channels)
        return self.time_embed(embedding.to(type_of(self.time_embed)))

    def _block(self, in_channels: int, out_channels: int) -> ResidualBlock:
        return ResidualBlock(in_channels, out_channels, **self.block_options)

    def _resampler(self, channels: int, direction: Resample) -> nn.Module:
        if self.resblock_updown:
            return ResidualBlock(channels, channels, resample=direction, **self.block_options)
        plain = Upsample if direction == 'up' else Downsample
        return plain(channels, self.conv_resample)

    def _attention(self, channels: int, num_heads: int | None = None) -> AttentionBlock:
        heads = count_heads(channels, num_heads or self.num_heads, self.num_head_channels)
        return AttentionBlock(channels, heads, **self.attention_options)
