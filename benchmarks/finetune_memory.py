#!/usr/bin/env python
"""Memory of fine-tuning, as the config for it sets it up: what the parts take, and the peak.

Runs on a GPU where there is one, and on a CPU takes the process's resident memory instead.

    python benchmarks/finetune_memory.py --batch-size 4
"""

from __future__ import annotations

import argparse
import copy
import resource

import torch
from mmagic.structures import DataSample

from mmagic_adm.models.configs import find_config
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

    config = find_config(CONFIG)
    settings = config.model.to_dict()
    settings.pop('pretrained_cfgs')
    settings['unet']['use_checkpoint'] = not arguments.no_checkpointing
    before = memory(arguments.device)
    model = MODELS.build(settings).to(arguments.device).train()
    average = copy.deepcopy(model.unet).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.unet.parameters(), lr=config.optim_wrapper.optimizer.lr)
    weights = sum(parameter.nbytes for parameter in model.unet.parameters()) / GIB

    size = model.unet.image_size
    images = torch.rand(arguments.batch_size, 3, size, size, device=arguments.device) * 2 - 1
    labels = [DataSample().set_gt_label(0) for _ in images]
    for _ in range(2):
        with torch.autocast(torch.device(arguments.device).type, torch.bfloat16):
            losses = model(images, labels, mode='loss')
        losses['loss'].backward()
        optimizer.step()
        optimizer.zero_grad()
        pairs = zip(average.parameters(), model.unet.parameters(), strict=True)
        for kept, new in pairs:
            kept.lerp_(new.detach(), 0.001)
    peak = memory(arguments.device) - before
    print(
        f'{CONFIG}, batch of {arguments.batch_size}, {arguments.device}: weights {weights:.1f} '
        f'GiB, with gradients, average and AdamW {5 * weights:.1f} GiB, at the peak {peak:.1f} GiB'
    )


def memory(device: str) -> float:
    """The most memory in use so far, in GiB."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


if __name__ == '__main__':
    main()
