#!/usr/bin/env python
"""Memory of fine-tuning, as the config for it sets it up: what the parts take, and the peak.

Runs on a GPU where there is one, and on a CPU takes the process's resident memory instead.

    python benchmarks/finetune_memory.py --batch-size 4
"""

from __future__ import annotations

import argparse
import copy
import resource
from typing import Any

import torch
from bench_training import now
from mmagic.structures import DataSample

from mmagic_adm.models.configs import find_config
from mmagic_adm.networks.network import move
from mmagic_adm.registry import MODELS

CONFIG = 'finetune_1xb4_image-folder-256x256'
GIB = 2**30


def main() -> None:
    """Takes two steps of training, and prints the peak of each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--no-checkpointing', action='store_true', help='keep all activations')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments = parser.parse_args()
    found = measure(arguments.batch_size, not arguments.no_checkpointing, arguments.device)
    print(
        f'{CONFIG}, batch of {arguments.batch_size}, {arguments.device}: weights '
        f'{found["weights"]:.1f} GiB, with gradients, average and AdamW '
        f'{5 * found["weights"]:.1f} GiB, at the peak {found["peak"]:.1f} GiB'
    )


def measure(batch_size: int, use_checkpoint: bool, device: str, **changes: Any) -> dict[str, float]:
    """GiB of the weights and at the peak of two steps, and seconds of the second.

    Args:
        batch_size: Images in the batch.
        use_checkpoint: Whether activations are computed again in the backward pass.
        device: Where to train.
        **changes: Arguments of the network, in place of the config's.
    """
    config = find_config(CONFIG)
    settings = config.model.to_dict()
    settings.pop('pretrained_cfgs')
    settings['unet'].update(use_checkpoint=use_checkpoint, **changes)
    before = memory(device)
    model = MODELS.build(settings).to(device).train()
    average = copy.deepcopy(model.unet).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=config.optim_wrapper.optimizer.lr)
    weights = sum(parameter.nbytes for parameter in model.unet.parameters()) / GIB

    size = model.unet.image_size
    images = torch.rand(batch_size, 3, size, size, device=device) * 2 - 1
    labels = [DataSample().set_gt_label(0) for _ in images]
    for _ in range(2):
        begin = now()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            losses = model(images, labels, mode='loss')
        losses['loss'].backward()
        optimizer.step()
        optimizer.zero_grad()
        move(average, model.unet, 0.001)
        seconds = now() - begin
    return dict(weights=weights, peak=memory(device) - before, seconds=seconds)


def memory(device: str) -> float:
    """The most memory in use so far, in GiB."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


if __name__ == '__main__':
    main()
