"""The networks that a file's tensors make up, in OpenAI's names whoever wrote the file."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

from mmagic_adm.checkpoints.formats import StateDict
from mmagic_adm.checkpoints.mmagic_files import MMAGIC_MARK, openai_name

# Every network of the family embeds the timestep, so this tensor marks where one begins.
_MARK = 'time_embed.0.weight'


def sort_into_parts(
    tensors: Mapping[str, Tensor], like: Collection[str] = ()
) -> tuple[dict[str, StateDict], StateDict]:
    """Finds the networks in a state dict, wherever they lie and whichever names they use.

    Args:
        tensors: The state dict.
        like: Names of a network's tensors. Where it is none of ADM's, which are found by
            themselves, those of its kind are looked for instead.

    Returns:
        State dicts in OpenAI's names, by what the file calls each ('' in a file that is one network
        and nothing else); and the tensors that belong to no network.
    """
    others = dict(tensors)
    is_of_another_family = like and not network_prefixes(like)
    prefixes = [] if is_of_another_family else network_prefixes(tensors)
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
    """The prefixes, dot included, under which ADM's networks lie in a state dict, in its order."""
    return [
        key.removesuffix(mark)
        for key in keys
        for mark in (_MARK, MMAGIC_MARK)
        if key == mark or key.endswith(f'.{mark}')
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
