"""Files laid out like EDM's network snapshots, made without EDM's code."""

import contextlib
import itertools
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mmagic_adm.checkpoints.architecture import read_architecture
from mmagic_adm.checkpoints.parts import shapes_of
from tests.reference import load_golden, weight_from_name

# What the files bring along as the source of their classes. Running it leaves a trace.
SOURCE = 'open("trace", "w").close()\n'

# EDM's layers around its blocks, and those of a block, which holds what here is a residual block
# and the attention behind it.
_FIRST = {'map_layer0': 'time_embed.0', 'map_layer1': 'time_embed.2', 'map_label': 'label_emb'}
_LAST = {'out_norm': 'out.0', 'out_conv': 'out.2'}
_RESIDUAL = {
    'norm0': 'in_layers.0',
    'conv0': 'in_layers.2',
    'affine': 'emb_layers.1',
    'norm1': 'out_layers.0',
    'conv1': 'out_layers.3',
    'skip': 'skip_connection',
}
_ATTENTION = {'norm2': 'norm', 'qkv': 'qkv', 'proj': 'proj_out'}

# Its convolutions that change the size keep the filter that does so. ADM's takes the mean.
_FILTER = 'resample_filter'
_MEAN = torch.full((1, 1, 2, 2), 0.25)

_PREFIX = 'model.'


def edm_state(name='edm_heun'):
    """The state dict of a golden's network, under EDM's names."""
    shapes = load_golden('edm', name).meta['state_dict_shapes']
    return {
        key: torch.full(shape, 0.25)
        if key.endswith('resample_filter')
        else weight_from_name(key, tuple(shape))
        for key, shape in shapes.items()
    }


class Persistent:
    """An object of one of EDM's classes, which pickles with the source of that class."""

    def __init__(self, class_name, state):
        self.class_name = class_name
        self.state = state

    def __reduce__(self):
        meta = dict(type='class', version=6, module_src=SOURCE)
        return _rebuild, (dict(meta, class_name=self.class_name, state=self.state),)


def snapshot(state=None, precond='EDMPrecond', network='DhariwalUNet'):
    """What a file holds: the average weights, and the loss and data that they were trained with."""
    ema = module(precond, _nested(edm_state() if state is None else state))
    ema.state.update(img_resolution=16, sigma_data=0.5, sigma_max=float('inf'))
    model = ema.state['_modules']['model']
    model.class_name = network
    model.state['_init_kwargs'] = dict(model_channels=32, dropout=0.2)
    return dict(
        ema=ema,
        loss_fn=Persistent('EDMLoss', dict(P_mean=-1.2, P_std=np.float64(1.2))),
        augment_pipe=None,
        dataset_kwargs=_EasyDict(path='imagenet-64x64.zip', use_labels=True),
    )


def edm2_snapshot(state):
    """The same of EDM2's, from a state dict under its names; as released, in half precision."""
    ema = module('Precond', _nested({key: value.half() for key, value in state.items()}))
    ema.state.update(img_resolution=16, img_channels=4, label_dim=10, sigma_data=0.5)
    return dict(ema=ema, encoder=Persistent('StandardRGBEncoder', {}), dataset_kwargs=_EasyDict())


def module(class_name, node=None):
    """A module of EDM's, from a tree of tensors."""
    node = node or {}
    tensors = {name: value for name, value in node.items() if torch.is_tensor(value)}
    state = _module_state(
        tensors,
        {
            name: _container(value) if name in ('enc', 'dec') else module('UNetBlock', value)
            for name, value in node.items()
            if name not in tensors
        },
    )
    return Persistent(
        class_name, dict(state, _init_args=(), _init_kwargs=dict(init_weight=np.sqrt(1 / 3)))
    )


def write_edm(path, content, protocol=4):
    """Pickles it, with EDM's modules to be found as long as that takes."""
    with _edm_modules():
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def _nested(state):
    tree = {}
    for key, tensor in state.items():
        *places, name = key.split('.')
        node = tree
        for place in places:
            node = node.setdefault(place, {})
        node[name] = tensor
    return tree


def _container(node):
    """A container of torch's, which EDM has as it is."""
    container = torch.nn.ModuleDict.__new__(torch.nn.ModuleDict)
    modules = {name: module('UNetBlock', value) for name, value in node.items()}
    container.__dict__.update(_module_state({}, modules))
    return container


def _module_state(tensors, modules):
    buffers = OrderedDict(
        (name, value)
        for name, value in tensors.items()
        if name in ('resample_filter', 'freqs', 'phases')
    )
    parameters = OrderedDict(
        (name, torch.nn.Parameter(value, requires_grad=False))
        for name, value in tensors.items()
        if name not in buffers
    )
    return dict(
        training=False,
        _parameters=parameters | OrderedDict(absent=None),
        _buffers=buffers,
        _non_persistent_buffers_set=set(),
        _backward_hooks=OrderedDict(),
        _modules=OrderedDict(modules, absent=None),
    )


class _EasyDict(dict):
    """EDM's dict."""


def _rebuild(meta):
    raise AssertionError('EDM would run the source in the file here')


_EasyDict.__module__, _EasyDict.__qualname__ = 'dnnlib.util', 'EasyDict'
_rebuild.__module__, _rebuild.__qualname__ = (
    'torch_utils.persistence',
    '_reconstruct_persistent_obj',
)


@contextlib.contextmanager
def _edm_modules():
    """Modules under EDM's names, for pickle to look its functions up in."""
    modules = {name: types.ModuleType(name) for name in ('torch_utils', 'dnnlib')}
    modules['torch_utils.persistence'] = types.ModuleType('torch_utils.persistence')
    modules['torch_utils.persistence']._reconstruct_persistent_obj = _rebuild
    modules['dnnlib.util'] = types.ModuleType('dnnlib.util')
    modules['dnnlib.util'].EasyDict = _EasyDict
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def edm_state_dict(adm_state, image_size):
    """The state dict under EDM's names, from that of an ADM U-Net; `adm_state_dict` undoes it.

    Args:
        adm_state: The state dict of an ADMUNet with ``use_new_attention_order=True``.
        image_size: Its image size, which EDM's names mention.
    """
    architecture = read_architecture(shapes_of(adm_state))
    layout = _Layout(
        image_size,
        num_levels=architecture.num_levels,
        num_blocks=architecture.fields['num_res_blocks'],
        attending=frozenset(architecture.attention_resolutions(image_size)),
    )
    names = layout.names()
    assert adm_state.keys() <= set(names.values())
    state = {}
    for key, name in names.items():
        if key.endswith(_FILTER):
            state[key] = _MEAN.clone()
        elif name in adm_state:
            state[key] = _laid_out_as_edm(name, adm_state[name])
    return state


class _Block(NamedTuple):
    """A block of EDM's, and what it is here; no ``attention`` where it does not attend."""

    name: str
    residual: str
    attention: str = ''
    resamples: bool = False


@dataclass(frozen=True)
class _Layout:
    """How a U-Net's blocks are arranged.

    Args:
        image_size: Height and width of the image.
        num_levels: Levels, each of half the size of the one before.
        num_blocks: Residual blocks of a level, on the way down.
        attending: Sizes at which the blocks attend.
    """

    image_size: int
    num_levels: int
    num_blocks: int
    attending: frozenset[int]

    def names(self) -> dict[str, str]:
        """Our names of all tensors that there may be, by EDM's and in its order.

        The filters, which have no counterpart here, have an empty name.
        """
        size = self.image_size
        layers = {**_FIRST, f'enc.{size}x{size}_conv': 'input_blocks.0.0'}
        filters = set()
        for block in self._blocks():
            layers |= {f'{block.name}.{k}': f'{block.residual}.{n}' for k, n in _RESIDUAL.items()}
            if block.attention:
                layers |= {
                    f'{block.name}.{k}': f'{block.attention}.{n}' for k, n in _ATTENTION.items()
                }
            if block.resamples:
                filters |= {f'{block.name}.conv0', f'{block.name}.skip'}
        layers |= _LAST

        names = {}
        for theirs, ours in layers.items():
            names[f'{_PREFIX}{theirs}.weight'] = f'{ours}.weight'
            names[f'{_PREFIX}{theirs}.bias'] = f'{ours}.bias'
            if theirs in filters:
                names[f'{_PREFIX}{theirs}.{_FILTER}'] = ''
        return names

    def _blocks(self) -> Iterator[_Block]:
        """The blocks, in their order."""
        sizes = [self.image_size >> level for level in range(self.num_levels)]
        stages = map('input_blocks.{}'.format, itertools.count(1))
        for size in sizes:
            if size != sizes[0]:
                yield _Block(f'enc.{size}x{size}_down', f'{next(stages)}.0', resamples=True)
            for i in range(self.num_blocks):
                yield self._block(f'enc.{size}x{size}_block{i}', next(stages), size)

        middle = f'dec.{sizes[-1]}x{sizes[-1]}'
        yield _Block(f'{middle}_in0', 'middle_block.0', 'middle_block.1')
        yield _Block(f'{middle}_in1', 'middle_block.2')

        stages, stage = map('output_blocks.{}'.format, itertools.count()), ''
        for size in reversed(sizes):
            if size != sizes[-1]:
                # In the stage before, behind the residual block and the attention if any.
                last = 2 if size // 2 in self.attending else 1
                yield _Block(f'dec.{size}x{size}_up', f'{stage}.{last}', resamples=True)
            for i in range(self.num_blocks + 1):
                stage = next(stages)
                yield self._block(f'dec.{size}x{size}_block{i}', stage, size)

    def _block(self, name: str, stage: str, size: int) -> _Block:
        return _Block(name, f'{stage}.0', f'{stage}.1' if size in self.attending else '')


def _laid_out_as_edm(name, tensor):
    """One tensor of ours of this name, as EDM lays it out."""
    if name == 'label_emb.weight':
        return tensor.T.contiguous()
    if '.qkv.' in name:
        tensor = tensor.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1)
    if _is_attention_weight(name):
        tensor = tensor.unsqueeze(-1)
    return tensor


def _is_attention_weight(name):
    return name.endswith(('.qkv.weight', '.proj_out.weight'))
