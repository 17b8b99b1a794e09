"""The ADM U-Net, and the one that also sees a small image to enlarge."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.networks.blocks import GroupNorm32, zero_init
from mmagic_adm.networks.class_table import ClassTable
from mmagic_adm.networks.convolution import Convolution
from mmagic_adm.networks.deep_features import DeepFeatures
from mmagic_adm.networks.encoder import ADMEncoder, in_own_type
from mmagic_adm.registry import MODELS


@MODELS.register_module()
@dataclass(eq=False, repr=False)
class ADMUNet(ADMEncoder):
    """Predicts noise (and its variance) from a noisy image, the timestep and the class.

    The default width and depth are those of the ImageNet 256x256 network. State-dict keys are
    those of the released checkpoints. Takes these arguments besides those of :class:`ADMEncoder`,
    of which ``out_channels`` are the image's, or twice as many with learned variance.

    Args:
        num_classes: Classes to condition on; None for an unconditional network.
        num_heads_upsample: Attention heads on the way up; -1 for as many as on the way down.
        skip_rescale: Whether every residual sum is divided by sqrt(2).
        class_dropout_prob: In training, how often a label is replaced by the null class. Above 0
            the network has one more class, for classifier-free guidance: see ``null_label``.
        min_group_channels: Channels a normalisation group has at least.
    """

    num_classes: int | None = None
    num_heads_upsample: int = -1
    skip_rescale: bool = False
    class_dropout_prob: float = 0.0
    min_group_channels: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.deep_features: DeepFeatures | None = None
        self.null_label = self._add_classes()

        heads_up = None if self.num_heads_upsample == -1 else self.num_heads_upsample
        skip_channels = list(self.skip_channels)
        channels = self.widths[-1]
        self.output_blocks = nn.ModuleList()
        for width, size in reversed(list(zip(self.widths, self.sizes, strict=True))):
            for block in range(self.num_res_blocks + 1):
                layers: list[nn.Module] = [self._block(channels + skip_channels.pop(), width)]
                channels = width
                if size in self.attention_sizes:
                    layers.append(self._attention(channels, heads_up))
                if block == self.num_res_blocks and size != self.image_size:
                    layers.append(self._resampler(channels, 'up'))
                self.output_blocks.append(self._stage(*layers))

        self.out = nn.Sequential(
            GroupNorm32(channels, self.min_group_channels),
            nn.SiLU(),
            zero_init(Convolution(channels, self.out_channels, 3)),
        )

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predicts from noisy images.

        Args:
            x: Noisy images, (N, in_channels, H, W).
            timesteps: Noise level of each image, (N,), or (1,) if they share it; whole or not.
            labels: Class of each image, (N,). None is the null class, where there is one.

        Returns:
            Tensor of shape (N, out_channels, H, W) and the type of ``x``.
        """
        embedding, memory = self.embed(timesteps, labels), self.deep_features
        recalled = None if memory is None else memory.recall(x)
        outer = len(self.input_blocks) if memory is None else memory.outer_blocks
        h, skips = self.enter(x), []
        for block in self.input_blocks if recalled is None else self.input_blocks[:outer]:
            h = block(h, embedding)
            skips.append(h)
        h = self.middle_block(h, embedding) if recalled is None else recalled
        while skips:
            if memory is not None and len(skips) == outer:
                memory.keep(h)
            block = self.output_blocks[-len(skips)]
            # In one name, so that what was joined is freed before the block runs.
            h = torch.cat([h, skips.pop()], dim=1)
            h = block(h, embedding)
        return in_own_type(self.out, h).to(x.dtype)

    def embed(self, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """The embedding of time and class that every block is given, (N, E)."""
        embedding = self.embed_time(timesteps)
        if self.num_classes is None:
            if labels is not None:
                raise ValueError('labels were given to an unconditional network (num_classes=None)')
            return embedding
        return embedding + self.label_emb(labels, timesteps)

    def count_outer_blocks(self, levels: int) -> int:
        """Blocks of the way down, and as many of the way up, that the finest levels have."""
        if not 1 <= levels < len(self.widths):
            raise ValueError(
                f'this network has {len(self.widths)} levels, of which 1 to {len(self.widths) - 1} '
                f'can be computed in every step while the rest is reused; not {levels}'
            )
        return len(self.input_blocks) * levels // len(self.widths)

    def _add_classes(self) -> int | None:
        """Makes the table of class embeddings; gives the index of the null class, if any."""
        if self.num_classes is None:
            if self.class_dropout_prob:
                raise ValueError('class_dropout_prob needs num_classes: there is no label to drop')
            return None
        self.label_emb = ClassTable(
            self.num_classes, self.embedding_channels, self.class_dropout_prob
        )
        return self.label_emb.null_label


@MODELS.register_module()
class ADMSuperResolutionUNet(ADMUNet):
    """An :class:`ADMUNet` that also sees a small image, enlarged to the noisy one's size.

    Takes the arguments of :class:`ADMUNet`; ``image_size`` is the large size and ``in_channels``
    counts the channels of one image.
    """

    images_seen = 2

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        labels: Tensor | None = None,
        low_res: Tensor | None = None,
    ) -> Tensor:
        """Predicts from noisy large images and clean small ones.

        Args:
            x: Noisy images, (N, in_channels, H, W).
            timesteps: Noise level of each image, (N,), or (1,) if they share it.
            labels: Class of each image, (N,).
            low_res: Small images, (N, in_channels, h, w).

        Returns:
            Tensor of shape (N, out_channels, H, W) and the type of ``x``.
        """
        if low_res is None:
            raise ValueError('an upsampling network needs low_res, the small images to enlarge')
        enlarged = F.interpolate(low_res.to(x.dtype), x.shape[-2:], mode='bilinear')
        return super().forward(torch.cat([x, enlarged], dim=1), timesteps, labels)
