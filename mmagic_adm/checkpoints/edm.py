"""EDM's and EDM2's network snapshots: the U-Net in them, as a state dict of ours."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.parts import StateDict
from mmagic_adm.checkpoints.stand_ins import RecordedObject
from mmagic_adm.checkpoints.unpickling import unpickle
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.networks.song import TAPS, Layout

# What EDM's files call the ADM U-Net, and that of score-based models, of which the embedding of the
# noise level tells the layout; and the ways of calling them that are known here.
_NETWORK, _SONG = 'DhariwalUNet', 'SongUNet'
_LAYOUTS: dict[str, Layout] = {'PositionalEmbedding': 'ddpm++', 'FourierEmbedding': 'ncsn++'}
_PRECONDITIONINGS = ('EDMPrecond', 'iDDPMPrecond')

# What its code has fixed, in the arguments of our network.
_FIXED = dict(
    type='ADMUNet', num_head_channels=64, use_new_attention_order=True, min_group_channels=4
)
_DROPOUT = 0.1

# EDM's layers around its blocks, and those of a block, which holds what here is a residual block
# and the attention behind it.
_AROUND = {
    'map_layer0': 'time_embed.0',
    'map_layer1': 'time_embed.2',
    'map_label': 'label_emb',
    'out_norm': 'out.0',
    'out_conv': 'out.2',
}
_RESIDUAL = {
    'norm0': 'in_layers.0',
    'conv0': 'in_layers.2',
    'affine': 'emb_layers.1',
    'norm1': 'out_layers.0',
    'conv1': 'out_layers.3',
    'skip': 'skip_connection',
}
_ATTENTION = {'norm2': 'norm', 'qkv': 'qkv', 'proj': 'proj_out'}
_BLOCK = re.compile(r'model\.((?:enc|dec)\.\d+x\d+_(?:conv|down|in\d|up|block\d+))\.')

# Its convolutions that change the size keep the filter that does so. ADM's takes the mean.
_FILTER = 'resample_filter'
_MEAN = torch.full((1, 1, 2, 2), 0.25)


class EDMFile(Format):
    """The averaged weights in a snapshot of EDM's, of an ADM U-Net or a ``SongUNet``, or of EDM2's.

    What is read says of itself its config as far as the file tells it, and the preconditioning
    that the network was trained in.
    """

    layout = 'edm'

    def knows(self, path: Path, head: bytes) -> bool:
        """Looks for the module that rebuilds EDM's objects, which is named near the start."""
        with path.open('rb') as file:
            return head.startswith(b'\x80') and b'torch_utils.persistence' in file.read(1 << 16)

    def read(self, path: Path, mmap: bool = True) -> Document:
        """Reads the tensors; other networks are refused by their names."""
        content = unpickle(path)
        average = content.get('ema') if isinstance(content, dict) else content
        if not isinstance(average, RecordedObject):
            is_dict = isinstance(content, dict)
            held = ', '.join(map(str, content)) if is_dict else type(content).__name__
            raise CheckpointError(f"{path} holds no network under the name 'ema', but {held}")
        if 'unet' in average.dict_in('_modules'):
            return _edm2_document(average, path)
        network = _network_in(average, path)
        if network.class_name == _SONG:
            return _song_document(average, network, path)
        try:
            state_dict = adm_state_dict(dict(_tensors(network, path, 'model')))
        except ValueError as error:
            raise CheckpointError(f'{path} holds a {_NETWORK} that is no ADM: {error}') from error
        unet = dict(
            _FIXED,
            image_size=average.state.get('img_resolution'),
            dropout=network.dict_in('_init_kwargs').get('dropout', _DROPOUT),
        )
        preconditioning = dict(type=average.class_name)
        if 'sigma_data' in average.state:
            preconditioning['sigma_data'] = average.state['sigma_data']
        return Document(state_dict, dict(config=dict(unet=unet), preconditioning=preconditioning))


def _network_in(average: RecordedObject, path: Path) -> RecordedObject:
    """The U-Net within its preconditioning; refuses other networks by their name."""
    network = average.dict_in('_modules').get('model')
    if not isinstance(network, RecordedObject):
        raise CheckpointError(f'{path} holds a {average.class_name}, which is no network of EDM')
    if network.class_name not in (_NETWORK, _SONG):
        raise CheckpointError(
            f'{path} holds a {network.class_name}, which is another architecture; of EDM, '
            f'{_NETWORK} and {_SONG} are read'
        )
    if average.class_name not in _PRECONDITIONINGS:
        raise CheckpointError(
            f'{path} holds a network trained in {average.class_name}; those in '
            f'{" or ".join(_PRECONDITIONINGS)} are read'
        )
    return network


def _song_document(average: RecordedObject, network: RecordedObject, path: Path) -> Document:
    """A network of score-based models, whose tensors are named like ours."""
    embedding = network.dict_in('_modules').get('map_noise')
    layout = _LAYOUTS.get(getattr(embedding, 'class_name', ''))
    if layout is None:
        raise CheckpointError(f'{path} holds a {_SONG} that is neither DDPM++ nor NCSN++')
    row = torch.tensor(TAPS[layout])
    weights = row.outer(row) / row.sum() ** 2
    state_dict = {}
    for key, tensor in _tensors(network, path, 'model'):
        if not key.endswith(_FILTER):
            state_dict[key.removeprefix('model.')] = tensor
        elif not torch.equal(tensor.float().squeeze(), weights):
            raise CheckpointError(f'{path} holds a {layout} network with another {key}')
    unet = dict(
        type=_SONG,
        image_size=average.state.get('img_resolution'),
        layout=layout,
        num_classes=average.state.get('label_dim') or None,
        dropout=network.dict_in('_init_kwargs').get('dropout', _DROPOUT),
    )
    preconditioning = dict(type='EDMPrecond', sigma_data=average.state.get('sigma_data', 0.5))
    return Document(state_dict, dict(config=dict(unet=unet), preconditioning=preconditioning))


def _edm2_document(average: RecordedObject, path: Path) -> Document:
    """EDM2's network, whose tensors are named like ours but for the place of the U-Net."""
    tensors = dict(_tensors(average, path, 'net'))
    state_dict = {
        key.removeprefix('net.').removeprefix('unet.'): tensor for key, tensor in tensors.items()
    }
    unet = dict(
        type='EDM2UNet',
        image_size=average.state.get('img_resolution'),
        in_channels=average.state.get('img_channels'),
        num_classes=average.state.get('label_dim') or None,
    )
    preconditioning = dict(type='EDMPrecond', sigma_data=average.state.get('sigma_data', 0.5))
    return Document(state_dict, dict(config=dict(unet=unet), preconditioning=preconditioning))


def _tensors(network: RecordedObject, path: Path, place: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a network, by its name in the state dict of what it is at a place of."""
    seen = set()
    modules: list[tuple[str, Any]] = [(place, network)]
    while modules:
        place, module = modules.pop()
        # A module in two places could be in so many that there is no end to it.
        if id(module) in seen or not isinstance(module, RecordedObject):
            raise CheckpointError(f'{path} is damaged: {place} is no module of its own')
        seen.add(id(module))
        tensors = module.dict_in('_parameters') | module.dict_in('_buffers')
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor):
                if tensor.nbytes > tensor.untyped_storage().nbytes():
                    raise ValueError(f'{name} repeats its numbers, which are laid out anew here')
                yield f'{place}.{name}', tensor
        children = module.dict_in('_modules').items()
        modules += reversed([(f'{place}.{n}', m) for n, m in children if m is not None])


def adm_state_dict(edm_state: Mapping[str, Tensor]) -> StateDict:
    """The state dict of an ADM U-Net, from that of EDM's ``DhariwalUNet`` in its preconditioning.

    The U-Net is one with ``use_new_attention_order=True`` and ``min_group_channels=4``.

    Args:
        edm_state: Tensors under EDM's names, in its order.

    Raises:
        ValueError: The tensors are not all of such a network.
    """
    layers = {f'model.{theirs}': ours for theirs, ours in _AROUND.items()} | _blocks(edm_state)
    if not any('_block' in layer for layer in layers):
        raise ValueError('its tensors are not called like those of a DhariwalUNet')
    state, strangers = {}, []
    for key, tensor in edm_state.items():
        layer, _, kind = key.rpartition('.')
        if layer not in layers or kind not in ('weight', 'bias', _FILTER):
            strangers.append(key)
        elif kind != _FILTER:
            name = f'{layers[layer]}.{kind}'
            state[name] = _laid_out(name, tensor)
        elif tensor.shape != _MEAN.shape or not torch.equal(tensor.float(), _MEAN):
            raise ValueError(f'{key} is not the mean of 2x2 pixels, by which ADM resamples')
    if strangers:
        raise ValueError(
            f'ADM has no place for {len(strangers)} of its tensors, such as {strangers[0]}'
        )
    return state


def _blocks(edm_keys: Collection[str]) -> dict[str, str]:
    """Our name of each layer of a block, by EDM's.

    EDM's blocks come in the order of ours, which are numbered by stages: a block is a stage, but
    for those of the middle, which are one, and for one that goes up, which ends the stage before.
    """
    layers = {}
    encoder = decoder = last = 0
    for block in dict.fromkeys(match[1] for match in map(_BLOCK.match, edm_keys) if match):
        attends = f'model.{block}.qkv.weight' in edm_keys
        if block.endswith('_conv'):
            layers[f'model.{block}'] = 'input_blocks.0.0'
            continue
        if block.startswith('enc.'):
            encoder += 1
            stage, place = f'input_blocks.{encoder}', 0
        elif block.endswith(('_in0', '_in1')):
            stage, place = 'middle_block', 2 * int(block[-1])
        elif block.endswith('_up'):
            stage, place = f'output_blocks.{decoder - 1}', last + 1
        else:
            stage, place = f'output_blocks.{decoder}', 0
            decoder += 1
        last = place + attends
        layers |= {f'model.{block}.{k}': f'{stage}.{place}.{n}' for k, n in _RESIDUAL.items()}
        layers |= {f'model.{block}.{k}': f'{stage}.{last}.{n}' for k, n in _ATTENTION.items()}
    return layers


def _laid_out(name: str, tensor: Tensor) -> Tensor:
    """One tensor, from EDM's layout into that of ours which has this name."""
    if name == 'label_emb.weight':
        # A matrix that one-hot labels are multiplied with, against a row for each label.
        return tensor.T.contiguous()
    if '.qkv.' in name:
        # (q, k, v) of one channel after another, against all of q before all of k before all of v.
        tensor = tensor.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)
    if name.endswith(('.qkv.weight', '.proj_out.weight')):
        # A convolution of pixels on a plane, against one of pixels in a row.
        tensor = tensor.flatten(2)
    return tensor
