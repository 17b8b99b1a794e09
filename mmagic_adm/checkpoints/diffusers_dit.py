"""DiT as diffusers' ``DiTTransformer2DModel``, there and back, every bit of its weights kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.checkpoints.diffusers_schedulers import to_diffusers_scheduler
from mmagic_adm.checkpoints.parts import StateDict, shapes_of
from mmagic_adm.checkpoints.zoo import build_without_weights
from mmagic_adm.networks.dit import position_embedding

# Our names and diffusers', of what is there once and of what is in every block.
AROUND = {
    'x_embedder.proj': 'pos_embed.proj',
    'final_layer.adaLN_modulation.1': 'proj_out_1',
    'final_layer.linear': 'proj_out_2',
}
IN_A_BLOCK = {
    'adaLN_modulation.1': 'norm1.linear',
    'attn.proj': 'attn1.to_out.0',
    'mlp.fc1': 'ff.net.0.proj',
    'mlp.fc2': 'ff.net.2',
}
QUERY_KEY_VALUE = ('attn1.to_q', 'attn1.to_k', 'attn1.to_v')
# The embedders, of which diffusers has one in each block, all alike.
EMBEDDERS = {
    't_embedder.mlp.0': 'timestep_embedder.linear_1',
    't_embedder.mlp.2': 'timestep_embedder.linear_2',
    'y_embedder.embedding_table': 'class_embedder.embedding_table',
}
_BLOCK = 'transformer_blocks.{}.{}'
_EMBEDDER = 'norm1.emb.{}'
# What DiTPipeline gives the network in place of a label; no other number will do.
_NULL_LABEL = 1000

# What their class takes where its config is silent: first where ours has no choice. norm_eps is
# passed over: released folders say 1e-5, and DiT was trained with 1e-6.
_FIXED: dict[str, Any] = dict(
    activation_fn='gelu-approximate',
    attention_bias=True,
    dropout=0.0,
    norm_elementwise_affine=False,
    norm_type='ada_norm_zero',
    upcast_attention=False,
)
_THEIR_DEFAULTS = _FIXED | dict(
    attention_head_dim=72,
    in_channels=4,
    num_attention_heads=16,
    num_embeds_ada_norm=1000,
    num_layers=28,
    out_channels=None,
    patch_size=2,
    sample_size=32,
)


def to_dit_transformer(
    dit: Mapping[str, Any], state: StateDict, _: Mapping[str, Any]
) -> tuple[dict[str, Any], StateDict]:
    """Config and tensors of the ``DiTTransformer2DModel`` that a DiT is.

    Raises:
        ValueError: There is none; the message says why.
    """
    network: Any = build_without_weights(dit)
    ratio = network.blocks[0].mlp.fc1.out_features / network.width
    if ratio != 4:
        raise ValueError(f'its perceptrons have a mlp_ratio of {ratio:g}, which is 4 there')
    config = _FIXED | dict(
        attention_head_dim=network.width // network.num_heads,
        in_channels=network.in_channels,
        norm_eps=1e-6,
        num_attention_heads=network.num_heads,
        num_embeds_ada_norm=network.num_classes,
        num_layers=len(network.blocks),
        out_channels=network.out_channels,
        patch_size=network.patch_size,
        sample_size=network.image_size,
    )
    return config, _theirs(state)


def from_dit_transformer(
    config: Mapping[str, Any], tensors: StateDict, _: Mapping[str, Any]
) -> tuple[dict[str, Any], StateDict, dict[str, Any]]:
    """The same backwards; what their network tells of the scheduler's config is nothing.

    The DiT computes as the original does, which spaces the waves of the timestep by 128 steps, and
    diffusers by 127.

    Raises:
        ValueError: It is no DiT; the message says why.
    """
    theirs = {**_THEIR_DEFAULTS, **config}
    for name, value in _FIXED.items():
        if theirs[name] != value:
            raise ValueError(f'it is no DiT: {name} is {theirs[name]!r}, where one has {value!r}')
    if theirs['num_layers'] > len(tensors):
        raise ValueError('its config has more blocks than there are tensors')
    heads, side = theirs['num_attention_heads'], theirs['sample_size'] // theirs['patch_size']
    width = heads * theirs['attention_head_dim']
    dit = dict(
        type='DiT',
        image_size=theirs['sample_size'],
        size=(width, theirs['num_layers'], heads),
        patch_size=theirs['patch_size'],
        in_channels=theirs['in_channels'],
        out_channels=theirs['out_channels'] or theirs['in_channels'],
        num_classes=theirs['num_embeds_ada_norm'],
    )
    wanted = shapes_of(_theirs(build_without_weights(dit).state_dict()))
    if differences := sorted(dict(wanted.items() ^ shapes_of(tensors).items())):
        raise ValueError(f'its weights and its config do not agree on {differences[0]}')
    return dit, _ours(tensors, position_embedding(side, width)), {}


def pipeline_of_dit(
    dit: Mapping[str, Any], scheduler: Mapping[str, Any], around: Any
) -> tuple[str, dict[str, Any]]:
    """The pipeline that samples from a DiT, and the config of its scheduler.

    Raises:
        ValueError: None does; the message says why.
    """
    null_label = build_without_weights(dit).null_label
    if null_label != _NULL_LABEL:
        classes = 'no class for none' if null_label is None else f'{null_label}'
        raise ValueError(
            f'a DiTPipeline is for {_NULL_LABEL} classes and one for none; this network has '
            f'{classes}'
        )
    if scheduler['type'] in ('DDPMScheduler', 'DDIMScheduler'):
        # It drops the variance that a network learned.
        scheduler = {**scheduler, 'type': 'DDIMScheduler', 'variance_type': 'fixed_small'}
        scheduler['rederive_eps'] = False
    return 'DiTPipeline', to_diffusers_scheduler(scheduler, around)


def _ours(theirs: Mapping[str, Tensor], positions: Tensor) -> StateDict:
    """Tensors under the original's names, from those of diffusers, which keeps no positions."""
    ours: StateDict = {'pos_embed': positions}
    count = 1 + max(int(m[1]) for m in map(re.compile(r'\w+\.(\d+)\.').match, theirs) if m)
    for kind in ('weight', 'bias'):
        for name, other in AROUND.items():
            ours[f'{name}.{kind}'] = theirs[f'{other}.{kind}']
        for name, other in EMBEDDERS.items():
            key = _BLOCK.format(0, f'{_EMBEDDER.format(other)}.{kind}')
            if key in theirs:  # a table has no bias
                ours[f'{name}.{kind}'] = theirs[key]
        for i in range(count):
            for name, other in IN_A_BLOCK.items():
                ours[f'blocks.{i}.{name}.{kind}'] = theirs[_BLOCK.format(i, f'{other}.{kind}')]
            parts = [theirs[_BLOCK.format(i, f'{other}.{kind}')] for other in QUERY_KEY_VALUE]
            ours[f'blocks.{i}.attn.qkv.{kind}'] = torch.cat(parts)
    return ours


def _theirs(ours: Mapping[str, Tensor]) -> StateDict:
    """Tensors under diffusers' names, from the original's."""
    theirs: StateDict = {}
    blocks = {match[1] for match in map(re.compile(r'blocks\.(\d+)\.').match, ours) if match}
    for key, tensor in ours.items():
        name, _, kind = key.rpartition('.')
        block, inside = re.fullmatch(r'(?:blocks\.(\d+)\.)?(.*)', name).groups()  # type: ignore[union-attr]
        if key == 'pos_embed':
            continue
        if inside == 'attn.qkv':
            for other, part in zip(QUERY_KEY_VALUE, tensor.chunk(3), strict=True):
                theirs[_BLOCK.format(block, f'{other}.{kind}')] = part.clone()
        elif name in EMBEDDERS:
            for each in blocks:
                place = f'{_EMBEDDER.format(EMBEDDERS[name])}.{kind}'
                theirs[_BLOCK.format(each, place)] = tensor.clone()
        elif block is not None:
            theirs[_BLOCK.format(block, f'{IN_A_BLOCK[inside]}.{kind}')] = tensor
        else:
            theirs[f'{AROUND[name]}.{kind}'] = tensor
    return theirs
