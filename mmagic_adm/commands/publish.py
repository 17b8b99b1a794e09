"""Writes a trained network in half precision, as others need it to sample."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.parts import network_prefixes
from mmagic_adm.checkpoints.zoo import source_of
from mmagic_adm.files.download import fetch

EXAMPLES = """\
  mmagic-adm publish work_dirs/adm_1xb32_digits-16x16/iter_5000.pth unet.safetensors

The file holds the averaged weights, where training kept an average, and no more than the network.
mmagic-adm convert writes other layouts, with every bit of the weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument('checkpoint', help='checkpoint of a training: path, URL, or name')
    parser.add_argument('out', type=Path, help='file to write, ending in .safetensors')
    parser.add_argument('--network', help="'unet' or 'classifier' (default: the one there is)")
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')


def main(arguments: argparse.Namespace) -> Iterator[Path]:
    """Reads, halves and writes; gives the file."""
    if arguments.out.suffix != '.safetensors':
        raise ValueError(f'{arguments.out} is to end in .safetensors, as that is what it will be')
    file = fetch(source_of(arguments.checkpoint))
    state_dict = read_document(file).state_dict
    is_one_network = '' in network_prefixes(state_dict)
    networks = [''] if is_one_network else sorted({key.split('.')[0] for key in state_dict})
    network = arguments.network or networks[0]
    if network not in networks or (len(networks) > 1 and not arguments.network):
        raise ValueError(f'{arguments.checkpoint} holds {" and ".join(networks)}; give --network')
    prefix = network and f'{network}.'
    tensors = {
        key.removeprefix(prefix): tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in state_dict.items()
        if key.startswith(prefix)
    }
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f'{key} has numbers too large for half precision')
    write_checkpoint(
        tensors,
        arguments.out,
        'safetensors',
        arguments.overwrite,
        metadata=dict(source=file.name),
    )
    size = sum(tensor.nbytes for tensor in tensors.values())
    print(f'{len(tensors)} tensors of {network or file.name}, {size / 1e6:.1f} MB')
    yield arguments.out
