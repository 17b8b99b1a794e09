"""DiT: a transformer over the patches of an image, or of its latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmagic_adm.networks.architecture import count_heads
from mmagic_adm.networks.blocks import merge_heads, split_heads, zero_init
from mmagic_adm.networks.class_table import ClassTable
from mmagic_adm.networks.encoder import in_own_type, timestep_embedding
from mmagic_adm.registry import MODELS

# Width, blocks and heads of the paper's networks.
SIZES = {'S': (384, 12, 6), 'B': (768, 12, 12), 'L': (1024, 24, 16), 'XL': (1152, 28, 16)}
TIME_CHANNELS = 256


@MODELS.register_module()
class DiT(nn.Module):
    """Scalable Diffusion Models with Transformers (https://arxiv.org/abs/2212.09748), adaLN-Zero.

    State-dict keys are those of the released files. Residuals, norms and embeddings stay in float32
    whatever the blocks compute in.

    Args:
        image_size: Height and width of what is diffused: for latents an eighth of the image's.
        size: 'S', 'B', 'L' or 'XL' as in the paper; or width, blocks and heads.
        patch_size: Height and width of what becomes one token.
        in_channels: Channels of what is diffused.
        out_channels: As many, or twice as many with learned variance.
        num_classes: Classes to condition on; None for an unconditional network.
        class_dropout_prob: In training, how often a label is replaced by the null class. Above 0
            the network has one more class, for classifier-free guidance: see ``null_label``.
        mlp_ratio: Width between the layers of a block's perceptron, in widths of the network.
        use_checkpoint: Whether to recompute blocks in the backward pass, to save memory.
    """

    pos_embed: Tensor

    def __init__(
        self,
        image_size: int,
        size: str | Sequence[int] = 'XL',
        patch_size: int = 2,
        in_channels: int = 4,
        out_channels: int = 8,
        num_classes: int | None = 1000,
        class_dropout_prob: float = 0.1,
        mlp_ratio: float = 4.0,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        width, num_blocks, num_heads = _size(size)
        if image_size % patch_size:
            raise ValueError(
                f'image_size {image_size} does not divide into patches of patch_size={patch_size}'
            )
        count_heads(width, num_heads, -1)
        self.image_size, self.patch_size = image_size, patch_size
        self.in_channels, self.out_channels = in_channels, out_channels
        self.width, self.num_heads = width, num_heads
        self.num_classes, self.null_label = num_classes, None
        self.use_checkpoint = use_checkpoint

        # It is computed, and yet in the released files.
        self.register_buffer('pos_embed', position_embedding(image_size // patch_size, width))
        self.x_embedder = PatchEmbedder(in_channels, width, patch_size)
        self.t_embedder = TimestepEmbedder(width)
        if num_classes is not None:
            self.y_embedder = LabelEmbedder(num_classes, width, class_dropout_prob)
            self.null_label = self.y_embedder.embedding_table.null_label
        self.blocks = nn.ModuleList(
            DiTBlock(width, num_heads, int(mlp_ratio * width)) for _ in range(num_blocks)
        )
        self.final_layer = FinalLayer(width, patch_size**2 * out_channels)

    @property
    def dtype(self) -> torch.dtype:
        """The type that the blocks compute in."""
        return next(self.blocks.parameters()).dtype

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predicts from noisy images.

        Args:
            x: Noisy images or latents, (N, in_channels, H, W).
            timesteps: Noise level of each, (N,), or (1,) if they share it; whole or not.
            labels: Class of each, (N,). None is the null class, where there is one.

        Returns:
            Tensor of shape (N, out_channels, H, W) and the type of ``x``.
        """
        embedding = self.embed(timesteps, labels)
        h = self.x_embedder(x.to(self.pos_embed.dtype)) + self.pos_embed
        for block in self.blocks:
            if self.use_checkpoint and torch.is_grad_enabled():
                h = checkpoint(block, h, embedding, use_reentrant=False)
            else:
                h = block(h, embedding)
        patches = self.final_layer(h, embedding)
        side, p = self.image_size // self.patch_size, self.patch_size
        # A patch's channels are (row, column, channel).
        patches = patches.view(len(x), side, side, p, p, self.out_channels)
        image = patches.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return image.to(x.dtype)

    def embed(self, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """The embedding of time and class that every block is given, (N, width)."""
        shared = len(timesteps) > 1 and timesteps.stride(0) == 0
        embedding = self.t_embedder(timesteps[:1] if shared else timesteps)
        if self.num_classes is not None:
            return embedding + self.y_embedder(labels, timesteps)
        if labels is not None:
            raise ValueError('labels were given to an unconditional network (num_classes=None)')
        return embedding

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute in a type; what is around them keeps its own."""
        self.blocks.to(dtype)

    def attention_blocks(self) -> dict[str, Attention]:
        """What attends, by its block, such as 'blocks.14'."""
        return {f'blocks.{i}': block.attn for i, block in enumerate(self.blocks)}  # type: ignore[misc]


class DiTBlock(nn.Module):
    """Attention and a perceptron, each modulated by the embedding and let in by a gate."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.attn = Attention(width, num_heads)
        self.mlp = Perceptron(width, hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), zero_init(nn.Linear(width, 6 * width)))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Applies the block to tokens, (N, T, width), under an embedding of (N, width) or one."""
        modulation = in_own_type(self.adaLN_modulation[1], self.adaLN_modulation[0](embedding))
        parts = modulation.to(h.dtype).unsqueeze(1).chunk(6, dim=2)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        h = torch.addcmul(h, gate, self.attn(modulated(h, shift, scale)))
        return torch.addcmul(h, mlp_gate, self.mlp(modulated(h, mlp_shift, mlp_scale)))


class Attention(nn.Module):
    """Every token attends to every token."""

    attend = staticmethod(F.scaled_dot_product_attention)

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = _linear(width, 3 * width)
        self.proj = _linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attends, in the weights' type, and gives the input's back."""
        qkv = in_own_type(self.qkv, tokens)
        query, key, value = split_heads(qkv, self.num_heads, heads_first=False)
        return self.proj(merge_heads(self.attend(query, key, value))).to(tokens.dtype)


class Perceptron(nn.Module):
    """Two layers, applied to each token by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = _linear(width, hidden)
        self.fc2 = _linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Applies both, in the weights' type, and gives the input's back."""
        hidden = F.gelu(in_own_type(self.fc1, tokens), approximate='tanh')
        return self.fc2(hidden).to(tokens.dtype)


class FinalLayer(nn.Module):
    """From tokens to what their patches are predicted to be."""

    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.linear = zero_init(nn.Linear(width, out_channels))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), zero_init(nn.Linear(width, 2 * width)))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Maps (N, T, width) to (N, T, out_channels)."""
        shift, scale = self.adaLN_modulation(embedding).unsqueeze(1).chunk(2, dim=2)
        return self.linear(modulated(h, shift, scale))


class PatchEmbedder(nn.Module):
    """Makes a token of each patch."""

    def __init__(self, in_channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        nn.init.xavier_uniform_(self.proj.weight.flatten(1))
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to (N, T, width)."""
        return self.proj(x).flatten(2).transpose(1, 2)


class TimestepEmbedder(nn.Module):
    """Waves of the timestep through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(TIME_CHANNELS, width), nn.SiLU(), nn.Linear(width, width)
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, timesteps: Tensor) -> Tensor:
        """Maps (N,) to (N, width)."""
        return in_own_type(self.mlp, timestep_embedding(timesteps, TIME_CHANNELS))


class LabelEmbedder(nn.Module):
    """The table of classes, where the released files have it."""

    def __init__(self, num_classes: int, width: int, dropout_prob: float) -> None:
        super().__init__()
        self.embedding_table = ClassTable(num_classes, width, dropout_prob)
        nn.init.normal_(self.embedding_table.weight, std=0.02)

    def forward(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """See :class:`ClassTable`."""
        return self.embedding_table(labels, like)


def modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens normalised, without weights of their own, and then scaled and shifted."""
    return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:], eps=1e-6), 1 + scale)


def position_embedding(side: int, width: int) -> Tensor:
    """Sines and cosines of where each patch lies, (1, side², width), first of its column.

    It is computed in float64.
    """
    if width % 4:
        raise ValueError(f'positions are embedded in multiples of 4 channels, not {width}')
    quarter = width // 4
    rates = 10000 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64).outer(rates)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns = waves[None].expand(side, side, -1)
    return torch.cat([columns, columns.transpose(0, 1)], dim=2).flatten(0, 1)[None].float()


def _size(size: str | Sequence[int]) -> tuple[int, int, int]:
    if isinstance(size, str) and size in SIZES:
        return SIZES[size]
    if isinstance(size, str) or len(size) != 3 or min(size) < 1:
        raise ValueError(
            f'size is {", ".join(map(repr, SIZES))}, or width, blocks and heads; not {size!r}'
        )
    width, num_blocks, num_heads = size
    return width, num_blocks, num_heads


def _linear(in_channels: int, out_channels: int) -> nn.Linear:
    layer = nn.Linear(in_channels, out_channels)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
