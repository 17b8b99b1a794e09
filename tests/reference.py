"""Reference numbers, and weights that follow from their names."""

import functools
import json
import math
import pathlib
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from mmagic_adm.networks import DiT

GOLDENS = pathlib.Path(__file__).parent / 'goldens'
REPOSITORY = pathlib.Path(__file__).parent.parent


class Golden:
    """One file of reference numbers: arrays as tensors by attribute, and its set-up in ``meta``."""

    def __init__(self, path: pathlib.Path) -> None:
        with np.load(path) as file:
            self.meta = json.loads(str(file['meta']))
            self.arrays = {
                name: torch.from_numpy(file[name]) for name in file.files if name != 'meta'
            }

    def __getattr__(self, name: str) -> torch.Tensor:
        try:
            return self.arrays[name]
        except KeyError:
            raise AttributeError(name) from None

    def __contains__(self, name: str) -> bool:
        return name in self.arrays


def golden_names(folder: str, pattern: str = '*') -> list[str]:
    """Names of the cases in a folder, to parametrize a test with."""
    names = sorted(path.stem for path in (GOLDENS / folder).glob(f'{pattern}.*'))
    assert names, f'no golden matches {folder}/{pattern}'
    return names


def load_golden(folder: str, name: str) -> Golden:
    return Golden(GOLDENS / folder / f'{name}.npz')


# Manifests like others that the quick tests build the networks of.
LIKE_OTHERS = {
    '512x512_diffusion_uncond_finetune_008100',
    '128x128_classifier',
    '128x128_diffusion',
    '128_512_upsampler',
    '256x256_classifier',
    '512x512_classifier',
    '512x512_diffusion',
    'DiT-XL-2-512x512',
    'lsun_cat',
    'lsun_horse',
    'lsun_horse_nodropout',
    'imagenet64_cond_270M_250K',
    'imagenet64_uncond_100M_1500K',
    'imagenet64_uncond_vlb_100M_1500K',
    'cifar10_uncond_vlb_50M_500K',
    'lsun_uncond_100M_1200K_bs128',
    'lsun_uncond_100M_2400K_bs64',
    'upsample_cond_500K',
    'ffhq_p2',
    'ffhq',
    'celeba256_250000',
    'places256_300000',
}


def built(names: Iterable[str]) -> list[Any]:
    """Names of checkpoints whose networks a test builds, some of them in the slow tests alone."""
    marks = {name: pytest.mark.slow if name in LIKE_OTHERS else () for name in names}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


def load_manifest(name: str) -> dict:
    """The manifest of a released checkpoint: flags, number of parameters, keys and shapes."""
    return json.loads((GOLDENS / 'checkpoints' / f'{name}.json').read_text())


def weight_from_name(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value that the goldens give to the tensor of this name (goldens/README.md)."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    weight = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) >= 2:
        weight /= math.sqrt(math.prod(shape[1:]))
    elif key.endswith('running_var'):
        weight = 1 + 0.1 * np.abs(weight)
    elif key.endswith('weight'):
        weight = 1 + 0.1 * weight
    else:
        weight = 0.1 * weight
    return torch.from_numpy(np.asarray(weight))


# Most tests fill the same few networks.
_small_weight = functools.lru_cache(maxsize=4096)(weight_from_name)
SMALL = 1 << 16


def fill_by_name(module: torch.nn.Module, name_of=lambda key: key) -> torch.nn.Module:
    """Fills a module's weights from their keys; ``name_of`` maps ours to the original's."""
    kept = ('num_batches_tracked', 'resample_filter', 'freqs', 'pos_embed')
    for key, value in module.state_dict().items():
        if not key.endswith(kept):
            weight = _small_weight if value.numel() <= SMALL else weight_from_name
            value.copy_(weight(name_of(key), tuple(value.shape)))
    return module


def dit(golden: Golden) -> torch.nn.Module:
    """The DiT of a golden, its weights filled from their names."""
    kwargs = golden.meta['kwargs']
    network = DiT(
        kwargs['input_size'],
        (kwargs['hidden_size'], kwargs['depth'], kwargs['num_heads']),
        kwargs['patch_size'],
        out_channels=kwargs['in_channels'] * (1 + kwargs['learn_sigma']),
        num_classes=kwargs['num_classes'],
    )
    return fill_by_name(network).eval()
