#!/usr/bin/env python
"""What a guided step asks of a GPU, counted without one: operations, conversions, and memory.

The networks are of their real sizes, on the `meta` device, where every operation is asked for and
none is computed. Attention stands for a GPU's fused kernel, and norms are those that a GPU runs.

    python benchmarks/count_step.py --model adm-g_ddim25_8xb32_imagenet-256x256 --batch-size 8
"""

from __future__ import annotations

import argparse
import weakref
from typing import Any

import bench_sampling
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmagic_adm.apis import init_model
from mmagic_adm.networks import blocks

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.clone.default, aten.copy_.default}
ROW = '{:26}{:>12}{:>9}{:>20}{:>14}'


class Count(TorchDispatchMode):
    """Counts what runs while it is on.

    Attributes:
        operations: Those that are not views; a norm or a convolution is one.
        copies: Those that copy a tensor, as it is or to another type.
        converted: Bytes that are written in another type than they are read in.
        peak: Bytes of tensors that were made since and lived at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.copies = self.converted = self.peak = 0
        self._live: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        known = {storage._cdata for storage in storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        aliased = [a.alias_info for a in func._schema.arguments if a.alias_info]
        if not any(not alias.is_write for alias in aliased):
            self.operations += 1
        if func in COPIES:
            self.copies += 1
            source = args[1] if func is aten.copy_.default else args[0]
            self.converted += result.nbytes * (source.dtype != result.dtype)
        for storage in storages(result):
            key = storage._cdata
            if key not in known and key not in self._live:
                self._live[key] = storage.nbytes()
                weakref.finalize(storage, self._live.pop, key, None)
        self.peak = max(self.peak, sum(self._live.values()))
        return result


def storages(tree: Any) -> list[torch.UntypedStorage]:
    """What the tensors in a tree lie in."""
    return [x.untyped_storage() for x in tree_leaves(tree) if isinstance(x, Tensor)]


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention as the kernel that a GPU has for the type."""
    if query.dtype == torch.float32:
        wants = torch.is_grad_enabled()
        return aten._scaled_dot_product_efficient_attention(query, key, value, None, wants)[0]
    return aten._scaled_dot_product_flash_attention(query, key, value)[0]


def counted(pair: bench_sampling.Pair, batch: dict[str, Tensor]) -> Count:
    """What a guided step of networks takes."""
    with Count() as count:
        bench_sampling.guided_step(pair, batch)
    return count


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='adm-g_ddim25_8xb32_imagenet-64x64')
    parser.add_argument('--batch-size', type=int, default=32)
    arguments = parser.parse_args()
    with torch.device('meta'):
        model = init_model(arguments.model, 'meta', weights=False)
    batch = bench_sampling.inputs(model, arguments.batch_size)
    blocks.AttentionBlock.attend = staticmethod(fused)  # type: ignore[assignment]

    print(ROW.format('', 'operations', 'copies', 'converted, MB', 'tensors, GiB'))
    for name, spec, accumulates in [
        ('plain, float16', None, True),
        ('fast, norms in float32', dict(dtype='bfloat16'), False),
        ('fast, not compiled', dict(dtype='bfloat16'), True),
        ('exact', dict(dtype='float32'), True),
    ]:
        blocks._accumulates = lambda x, accumulates=accumulates: accumulates
        pair = (
            bench_sampling.plain_pair(model, half=True)
            if spec is None
            else bench_sampling.profiled_pair(model, name, dict(base='exact', **spec))
        )
        count = counted(pair, batch)
        figures = f'{count.converted / 1e6:.0f}', f'{count.peak / 2**30:.2f}'
        print(ROW.format(name, count.operations, count.copies, *figures))


if __name__ == '__main__':
    main()
