"""Reading the architectures of the family's younger networks off the shapes of their tensors."""

import re
from collections.abc import Callable
from typing import Any

from mmagic_adm.checkpoints.parts import Shapes
from mmagic_adm.networks.dit import SIZES

_BLOCK = re.compile(r'enc\.(\d+)x\d+_block(\d+)\.')


def _dit(shapes: Shapes) -> dict[str, Any]:
    _, tokens, width = shapes['pos_embed']
    _, in_channels, patch_size, _ = shapes['x_embedder.proj.weight']
    num_blocks = len({key.split('.')[1] for key in shapes if key.startswith('blocks.')})
    named = [name for name, (*size, _) in SIZES.items() if size == [width, num_blocks]]
    # Heads leave no trace; most networks have them 64 channels wide.
    heads = width // 64 if width % 64 == 0 else 1
    return dict(
        type='DiT',
        image_size=patch_size * round(tokens**0.5),
        size=named[0] if named else (width, num_blocks, heads),
        patch_size=patch_size,
        in_channels=in_channels,
        out_channels=shapes['final_layer.linear.weight'][0] // patch_size**2,
        num_classes=shapes.get('y_embedder.embedding_table.weight', (None,))[0],
        mlp_ratio=shapes['blocks.0.mlp.fc1.weight'][0] / width,
    )


def _song(shapes: Shapes) -> dict[str, Any]:
    fields, num_blocks = _levels(shapes, 'conv0', 'qkv')
    return fields | dict(
        type='SongUNet',
        layout='ncsn++' if 'map_noise.freqs' in shapes else 'ddpm++',
        num_blocks=num_blocks,
        num_classes=shapes.get('map_label.weight', (0, None))[1],
        augment_channels=shapes.get('map_augment.weight', (0, 0))[1],
    )


def _edm2(shapes: Shapes) -> dict[str, Any]:
    fields, num_blocks = _levels(shapes, 'conv_res0', 'attn_qkv')
    return fields | dict(
        type='EDM2UNet',
        in_channels=fields['in_channels'] - 1,  # beside the image it sees ones
        num_res_blocks=num_blocks,
        num_classes=shapes.get('emb_label.weight', (0, None))[1],
        logvar_channels=shapes['logvar_fourier.freqs'][0],
    )


def _levels(shapes: Shapes, convolution: str, attention: str) -> tuple[dict[str, Any], int]:
    """What tells the levels of a U-Net whose blocks are called by their sizes; blocks of each."""
    blocks = {match.groups() for match in map(_BLOCK.match, shapes) if match}
    sizes = sorted({int(size) for size, _ in blocks}, reverse=True)
    first = [f'enc.{size}x{size}_block0' for size in sizes]
    width, in_channels, *_ = shapes[f'{first[0].removesuffix("block0")}conv.weight']
    return dict(
        image_size=sizes[0],
        in_channels=in_channels,
        model_channels=width,
        channel_mult=tuple(shapes[f'{name}.{convolution}.weight'][0] // width for name in first),
        attention_resolutions=tuple(
            size
            for size, name in zip(sizes, first, strict=True)
            if f'{name}.{attention}.weight' in shapes
        ),
    ), len(blocks) // len(sizes)


# By a tensor that no other network has.
_READERS: dict[str, Callable[[Shapes], dict[str, Any]]] = {
    't_embedder.mlp.0.weight': _dit,
    'map_layer0.weight': _song,
    'emb_noise.weight': _edm2,
}


def read_other(shapes: Shapes) -> dict[str, Any] | None:
    """The constructor arguments that shapes tell, and the type; None of a network of ADM's.

    Raises:
        LookupError: A tensor is missing that every such network has.
        ValueError: The tensors are not shaped as in one.
    """
    for mark, read in _READERS.items():
        if mark in shapes:
            try:
                return read(shapes)
            except (ValueError, IndexError, ArithmeticError) as error:
                raise ValueError(f'around {mark} nothing is shaped as here') from error
    return None
