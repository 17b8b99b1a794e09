"""The noise-aware classifier: the U-Net's first half with a head on top."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mmagic_adm.networks.architecture import count_heads
from mmagic_adm.networks.attention import AttentionPool2d
from mmagic_adm.networks.convolution import Convolution
from mmagic_adm.networks.encoder import ADMEncoder
from mmagic_adm.networks.normalization import GroupNorm32
from mmagic_adm.networks.residual import zero_init
from mmagic_adm.registry import MODELS

Pool = Literal['adaptive', 'attention', 'spatial', 'spatial_v2']
SPATIAL_HIDDEN_CHANNELS = 2048


@MODELS.register_module()
class ADMClassifier(ADMEncoder):
    """Classifies noisy images, told how noisy they are.

    State-dict keys are those of the released checkpoints.

    Args:
        image_size: Height and width of the image, in pixels.
        in_channels: Channels of the image.
        model_channels: Width that the multipliers multiply.
        out_channels: Number of classes.
        num_res_blocks: Residual blocks per level.
        attention_resolutions: Feature-map sizes, in pixels, at which to attend.
        channel_mult: Multiplier of each level, finest first; None takes the family's own.
        num_heads: Attention heads, where ``num_head_channels`` is -1.
        num_head_channels: Channels of an attention head; -1 fixes the number of heads instead.
        use_scale_shift_norm: Whether the embedding modulates the normalisation (AdaGN).
        resblock_updown: Whether residual blocks change the size (BigGAN), or plain resamplers.
        pool: How the head pools: 'attention' or 'adaptive' over the last feature map, 'spatial'
            or 'spatial_v2' over the means of all of them.
        conv_resample: Whether plain resamplers convolve.
        use_new_attention_order: Channel layout of the attention's projection.
        dropout: Probability of dropping an activation in a residual block.
        use_checkpoint: Whether to recompute activations in the backward pass, for memory.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        model_channels: int = 128,
        out_channels: int = 1000,
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (32, 16, 8),
        channel_mult: Sequence[float] | None = None,
        num_heads: int = 1,
        num_head_channels: int = 64,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        pool: Pool = 'attention',
        conv_resample: bool = True,
        use_new_attention_order: bool = False,
        dropout: float = 0.0,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__(
            image_size=image_size,
            in_channels=in_channels,
            model_channels=model_channels,
            num_res_blocks=num_res_blocks,
            attention_resolutions=attention_resolutions,
            channel_mult=channel_mult,
            dropout=dropout,
            num_heads=num_heads,
            num_head_channels=num_head_channels,
            use_scale_shift_norm=use_scale_shift_norm,
            resblock_updown=resblock_updown,
            conv_resample=conv_resample,
            use_new_attention_order=use_new_attention_order,
            skip_rescale=False,
            min_group_channels=1,
            use_checkpoint=use_checkpoint,
        )
        if pool not in get_args(Pool):
            raise ValueError(f'pool is one of {", ".join(get_args(Pool))}, not {pool!r}')
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.pool = pool
        self.out = self._head(out_channels)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Classifies noisy images.

        Args:
            x: Noisy images, (N, in_channels, H, W).
            timesteps: Noise level of each image, (N,), or (1,) if they share it.

        Returns:
            Logits of shape (N, out_channels) and the type of ``x``.
        """
        embedding = self.embed_time(timesteps)
        pools_every_level = self.pool.startswith('spatial')
        h = self.enter(x)
        means = []
        for block in [*self.input_blocks, self.middle_block]:
            h = block(h, embedding)
            if pools_every_level:
                means.append(h.mean(dim=(2, 3)))
        features = torch.cat(means, dim=1) if pools_every_level else h
        return self.apply_head(features).to(x.dtype)

    def _head(self, out_channels: int) -> nn.Sequential:
        channels, size = self.widths[-1], self.sizes[-1]
        if self.pool == 'adaptive':
            return nn.Sequential(
                GroupNorm32(channels),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(1),
                zero_init(Convolution(channels, out_channels, 1)),
                nn.Flatten(),
            )
        if self.pool == 'attention':
            if self.num_head_channels == -1:
                raise ValueError("pool='attention' needs num_head_channels, the width of a head")
            heads = count_heads(channels, self.num_heads, self.num_head_channels)
            return nn.Sequential(
                GroupNorm32(channels),
                nn.SiLU(),
                AttentionPool2d(size, channels, heads, out_channels),
            )
        every_level = sum(self.skip_channels) + channels
        hidden = SPATIAL_HIDDEN_CHANNELS
        if self.pool == 'spatial':
            return nn.Sequential(
                nn.Linear(every_level, hidden), nn.ReLU(), nn.Linear(hidden, out_channels)
            )
        return nn.Sequential(
            nn.Linear(every_level, hidden),
            GroupNorm32(hidden),
            nn.SiLU(),
            nn.Linear(hidden, out_channels),
        )
