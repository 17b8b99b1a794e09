"""Which network each tensor of a file belongs to, by the name that OpenAI or MMagic gave it."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
# By what the file calls them.
Networks = Mapping[str, StateDict]
Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal['unet', 'classifier']

# MMagic's U-Net and OpenAI's hold the same tensors under other names, one to one. Its classifier
# has OpenAI's names.
_OPENAI_NAMES = {
    'time_embedding.blocks': 'time_embed',
    'label_embedding': 'label_emb',
    'in_blocks': 'input_blocks',
    'mid_blocks': 'middle_block',
    'out_blocks': 'output_blocks',
    'conv_1': 'in_layers',
    'norm_with_embedding.norm': 'out_layers.0',
    'norm_with_embedding.embedding_layer': 'emb_layers',
    'conv_2.2': 'out_layers.3',
    'shortcut': 'skip_connection',
    'downsample': 'op',
    'out.gn': 'out.0',
    'out.conv': 'out.2',
}
_MMAGIC_NAMES = {openai: mmagic for mmagic, openai in _OPENAI_NAMES.items()}

# Every network of the family embeds the timestep, or the noise, so these tensors mark where one
# begins: one of ADM's, a DiT, a SongUNet, an EDM2UNet.
MMAGIC_MARK = 'time_embedding.blocks.0.weight'
_MARKS = (
    'time_embed.0.weight',
    MMAGIC_MARK,
    't_embedder.mlp.0.weight',
    'map_layer0.weight',
    'emb_noise.weight',
)


def openai_name(mmagic_name: str) -> str:
    """OpenAI's name for a tensor of MMagic's U-Net."""
    return _renamed(mmagic_name, _OPENAI_NAMES)


def mmagic_name(openai_name: str, kind: Kind = 'unet') -> str:
    """MMagic's name for a tensor of OpenAI's U-Net, or classifier."""
    return _renamed(openai_name, _MMAGIC_NAMES) if kind == 'unet' else openai_name


def _renamed(key: str, names: dict[str, str]) -> str:
    # Names stand between dots, and one pass renames each but once.
    longest_first = sorted(names, key=len, reverse=True)
    pattern = r'(?<=\.)(' + '|'.join(map(re.escape, longest_first)) + r')(?=\.)'
    return re.sub(pattern, lambda match: names[match[1]], f'.{key}.')[1:-1]


def kind_of(state: Iterable[str]) -> Kind:
    """Whether a network, of which these are the tensors in OpenAI's names, denoises or classifies.

    What denoises is called a U-Net, whatever it is.
    """
    halves = {key.partition('.')[0] for key in state}
    return 'classifier' if 'input_blocks' in halves and 'output_blocks' not in halves else 'unet'


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor of a state dict."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def digest(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors in their order: names, types, shapes and values."""
    found = hashlib.sha256()
    for name, tensor in state.items():
        found.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        found.update(tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def under_prefixes(networks: Networks) -> StateDict:
    """The tensors of networks in one dict, each under its network's name and a dot."""
    return {
        f'{part}.{key}' if part else key: tensor
        for part, state in networks.items()
        for key, tensor in state.items()
    }


def sort_into_parts(
    tensors: Mapping[str, Tensor], like: Collection[str] = ()
) -> tuple[dict[str, StateDict], StateDict]:
    """Finds the networks in a state dict, wherever they lie and whichever names they use.

    Args:
        tensors: The state dict.
        like: Names of a network's tensors. Where it is none of the family's, which are found by
            themselves, those of its kind are looked for instead.

    Returns:
        State dicts in OpenAI's names, by what the file calls each ('' in a file that is one network
        and nothing else); and the tensors that belong to no network.
    """
    others, within = dict(tensors), network_prefixes(like)
    prefixes = [] if like and not within else network_prefixes(tensors)
    if len(within) > 1:
        # A network that is made of several lies where all of these do.
        outer = [key.removesuffix(within[0]) for key in prefixes if key.endswith(within[0])]
        prefixes = [key for key in outer if all(key + part in prefixes for part in within)]
    prefixes = prefixes or prefixes_of(like, tensors)
    states: dict[str, StateDict] = {}
    # Longest first: what lies under 'unet_ema.' is not also part of a network at the top.
    for prefix in sorted(prefixes, key=len, reverse=True):
        keys = [key for key in others if key.startswith(prefix)]
        state = {key.removeprefix(prefix): others.pop(key) for key in keys}
        if MMAGIC_MARK in state:
            state = {openai_name(key): tensor for key, tensor in state.items()}
        states[prefix] = state
    # Distributed training puts a prefix of its own before the part's.
    networks = {
        prefix.removeprefix('module.').removesuffix('.'): states[prefix] for prefix in prefixes
    }
    return networks, others


def network_prefixes(keys: Iterable[str]) -> list[str]:
    """The prefixes, dot included, under which networks lie in a state dict, in its order."""
    return [
        key.removesuffix(mark) for key in keys for mark in _MARKS if f'.{key}'.endswith(f'.{mark}')
    ]


def prefixes_of(names: Collection[str], keys: Iterable[str]) -> list[str]:
    """The prefixes under which tensors of these names lie: all of them, or else the most."""
    known, counts = set(names), Counter[str]()
    for key in keys:
        words = key.split('.')
        tails = ('.'.join(words[n:]) for n in range(len(words)))
        counts.update(key.removesuffix(tail) for tail in tails if tail in known)
    complete = [prefix for prefix, count in counts.items() if count == len(known)]
    return complete or [prefix for prefix, _ in counts.most_common(1)]
