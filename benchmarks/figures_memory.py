#!/usr/bin/env python
"""How much memory and time the figures of features take that look at every pair of images.

Draws the features of a reference and of as many samples, and says of each figure how far the memory
of the process rose above what it had before there were any features.

    python benchmarks/figures_memory.py --rows 50000 --features 1024

All pieces that distances are computed in are of one size. So a few tell the memory, where all would
take an hour: --pieces 8.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch
from mmengine.device import get_device
from torch import Tensor

from mmagic_adm.evaluation import gaussian_mmd, prdc
from mmagic_adm.evaluation.metrics import kernels, neighbours


def peak_bytes() -> int:
    """The most memory that the process had so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


FIGURES: dict[str, Callable[[Tensor, Tensor], object]] = {
    'precision, recall, density, coverage': lambda x, y: prdc(x, y),
    'CMMD': gaussian_mmd,
    'nearest images': lambda x, y: neighbours.nearest(y, x, 3),
}


def some_blocks(blocks: Callable[..., Iterator], count: int | None, *sides: Tensor) -> Iterator:
    """The first of the pieces."""
    return islice(blocks(*sides), count)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, default=50_000)
    parser.add_argument('--features', type=int, default=1024)
    parser.add_argument('--device', default=get_device())
    parser.add_argument('--pieces', type=int, help='only so many pieces of the distances')
    arguments = parser.parse_args()
    kernels.blocks = neighbours.blocks = partial(  # type: ignore[assignment]
        some_blocks, neighbours.blocks, arguments.pieces
    )
    # What the libraries take the first time is not the figures'.
    small = torch.randn(100, arguments.features, device=arguments.device)
    for figure in FIGURES.values():
        figure(small, small)
    before = peak_bytes()
    sides = [
        torch.randn(arguments.rows, arguments.features, device=arguments.device) for _ in range(2)
    ]
    print(f'2 x {arguments.rows} x {arguments.features} features on {arguments.device}, of which')
    print(f'the features themselves take {sum(side.nbytes for side in sides) / 2**20:.0f} MiB')
    is_cuda = arguments.device.startswith('cuda')
    for name, figure in FIGURES.items():
        begin = time.perf_counter()
        figure(*sides)
        seconds = time.perf_counter() - begin
        peak = torch.cuda.max_memory_allocated() if is_cuda else peak_bytes() - before
        print(f'{name:<40} {peak / 2**20:7.0f} MiB {seconds:8.1f} s')


if __name__ == '__main__':
    main()
