"""DiT's weights as diffusers has them, in the folder of its transformer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmagic_adm.checkpoints.formats import Document
from mmagic_adm.checkpoints.parts import StateDict
from mmagic_adm.checkpoints.safetensors_files import SafetensorsFile
from mmagic_adm.files.whole import read_json
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


class DiffusersDiT(SafetensorsFile):
    """The weights of a DiTTransformer2DModel, beside its config."""

    layout = 'diffusers'
    is_written = False

    def knows(self, path: Path, head: bytes) -> bool:
        """Looks for the table of classes among the names of the tensors."""
        if not super().knows(path, head):
            return False
        with path.open('rb') as file:
            size = int.from_bytes(file.read(8), 'little')
            return b'norm1.emb.class_embedder.' in file.read(min(size, 1 << 20))

    def read(self, path: Path, mmap: bool = True) -> Document:
        """Reads the tensors, under the original's names."""
        state = super().read(path, mmap).state_dict
        config = read_json(path.with_name('config.json'), 'it belongs beside the weights')
        side = config['sample_size'] // config['patch_size']
        width = len(state['pos_embed.proj.bias'])
        return Document(original_state_dict(state, position_embedding(side, width)))


def original_state_dict(theirs: Mapping[str, Tensor], positions: Tensor) -> StateDict:
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


def diffusers_state_dict(ours: Mapping[str, Tensor]) -> StateDict:
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
                theirs[_BLOCK.format(each, place)] = tensor
        elif block is not None:
            theirs[_BLOCK.format(block, f'{IN_A_BLOCK[inside]}.{kind}')] = tensor
        else:
            theirs[f'{AROUND[name]}.{kind}'] = tensor
    return theirs
