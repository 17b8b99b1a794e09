"""Attention that is looked at, or done in another way, for the time of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmagic_adm.networks.network import Attends, unwrapped

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What pixels get of each other: from queries, keys and values, (N, heads, pixels, channels)."""


def attention_blocks(network: nn.Module, stages: Sequence[str], asker: str) -> list[Any]:
    """What attends at some stages of a network, such as 'middle_block'.

    Args:
        network: The network, or a module around it.
        stages: Their names.
        asker: Who wants to know.

    Raises:
        ValueError: The network does not say where it attends, or attends elsewhere.
    """
    inner = unwrapped(network)
    if not isinstance(inner, Attends):
        raise ValueError(
            f'{asker} is about the attention of a network, and {type(inner).__name__} does not say '
            'where it attends: it has no attention_blocks()'
        )
    blocks = inner.attention_blocks()
    if strangers := [stage for stage in stages if stage not in blocks]:
        raise ValueError(
            f'{asker} is about the attention at {", ".join(strangers)}, and this '
            f'{type(inner).__name__} attends at {", ".join(blocks)}'
        )
    return [blocks[stage] for stage in stages]


@contextmanager
def attending(network: nn.Module, ways: Mapping[str, Attend]) -> Iterator[None]:
    """While this lasts, a network attends in another way at some of its stages.

    Args:
        network: The network, or a module around it.
        ways: What to do instead of attention, by the stage.
    """
    blocks = attention_blocks(network, list(ways), 'attending')
    for block, way in zip(blocks, ways.values(), strict=True):
        block.attend = way
    try:
        yield
    finally:
        for block in blocks:
            del block.attend  # the class's own is behind it
