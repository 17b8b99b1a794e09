"""A folder without the repository, in which what would take hours or a download is small.

Networks of 64 pixels and more are made small and filled by name; the bundled ones are themselves.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine import Config
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from PIL import Image

from mmagic_adm import registry
from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import checkpoint, find, load_network, write_checkpoint, zoo_names
from mmagic_adm.codecs.autoencoder import STABLE_DIFFUSION
from mmagic_adm.files.download import CACHE_VARIABLE, cached_path
from tests.reference import fill_by_name

SHRINKAGE = 8
LEAST_RELEASED_SIZE = 64
TREES = ('ash', 'oak', 'yew')
# The name under which a page's own code runs.
PAGE = 'page'
READ = Config.fromfile


@contextlib.contextmanager
def small_world(folder: Path, monkeypatch) -> Iterator[None]:
    """Works in such a folder, and leaves no trace in the process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(folder / 'cache'))
    monkeypatch.setattr(Config, 'fromfile', staticmethod(small_config))
    monkeypatch.setattr('mmagic_adm.models.adm.load_network', load_or_fill)
    # What a page adds to them is gone after it.
    monkeypatch.setattr(checkpoint, 'FORMATS', list(checkpoint.FORMATS))
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    write_what_readers_have()
    # No default scope, as in a new process; one that a page sets is gone after it.
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    try:
        yield
    finally:
        forget({PAGE, *(file.stem for file in folder.glob('*.py'))})


def forget(modules: set[str]) -> None:
    """Undoes the imports of modules, and what they registered."""
    for name in modules & set(sys.modules):
        del sys.modules[name]
    for child in registries():
        for name, registered in list(child.module_dict.items()):
            if registered.__module__ in modules:
                del child.module_dict[name]


def registries():
    """Those of the package."""
    kind = type(registry.MODELS)
    return [value for value in vars(registry).values() if isinstance(value, kind)]


def write_what_readers_have() -> None:
    """What pages take for granted: a released checkpoint, downloaded; images, a base model's."""
    unet = init_model('adm_ddim250_8xb32_imagenet-64x64', 'cpu').unet
    downloaded = cached_path(find('64x64_diffusion').weights())
    downloaded.parent.mkdir(parents=True)
    write_checkpoint(unet.state_dict(), downloaded)
    rng = np.random.default_rng(0)
    folders = dict.fromkeys([f'my_images/{tree}' for tree in TREES], 4) | {'my_thumbnails': 12}
    for name, count in folders.items():
        Path(name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f'{name}/{number}.png')


def load_or_fill(network: torch.nn.Module, source: str | Path, **options) -> object:
    """Loads a file; in place of a released one, which is too large, fills the network by name."""
    if str(source).startswith('https://') or source in zoo_names():
        return fill_by_name(network)
    return load_network(network, source, **options)


def small_config(path: str | Path, *arguments, **options) -> Config:
    """The config in a file, with networks of released sizes made small, but those that ship."""
    config = READ(path, *arguments, **options)
    ships = 'bundled://' in str(config.get('weights'))
    if 'model' in config and largest_size(config.model) >= LEAST_RELEASED_SIZE and not ships:
        shrink([config.model, config.get('train_dataloader')])
        config.model.num_inference_steps = 2
    return config


def largest_size(node) -> int:
    """The largest ``image_size`` in a config."""
    if isinstance(node, dict):
        sizes = [largest_size(value) for value in node.values()]
        return max([node.get('image_size') or 0, *sizes])
    return max(map(largest_size, node), default=0) if isinstance(node, (list, tuple)) else 0


def shrink(node) -> None:
    """Makes networks, and what prepares images for them, small where they stand."""
    if isinstance(node, (list, tuple)):
        for child in node:
            shrink(child)
    if not isinstance(node, dict):
        return
    for child in node.values():
        shrink(child)
    for size in ('size', 'low_res_size'):
        if isinstance(node.get(size), int):
            node[size] //= SHRINKAGE
    if node.get('type') == 'DiT':
        node.update(image_size=node['image_size'] // SHRINKAGE, size=(32, 1, 2))
    if node.get('type') == 'AutoencoderCodec':
        node.update(
            image_size=node['image_size'] // SHRINKAGE,
            weights=None,
            autoencoder=dict(STABLE_DIFFUSION, block_out_channels=(8,) * 4, norm_num_groups=4),
        )
    if 'model_channels' in node or str(node.get('type')).startswith('ADM'):
        size = node['image_size'] // SHRINKAGE
        node.update(
            image_size=size,
            model_channels=32,
            num_res_blocks=1,
            attention_resolutions=(size // 2,),
            channel_mult=(1, 2),
            num_head_channels=32,
        )
