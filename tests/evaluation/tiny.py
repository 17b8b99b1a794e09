"""Stand-ins that are quick: a feature extractor, images, and processes."""

import multiprocessing
import traceback

import numpy as np
import torch
import torch.distributed

from mmagic_adm.evaluation import FeatureExtractor
from mmagic_adm.registry import MODELS


@MODELS.register_module(force=True)
class TinyFeatures(FeatureExtractor):
    """Fixed random features of the image's 4x4 means; counts how often it is asked."""

    kinds = ('pool', 'spatial', 'logits')
    published_as = 'fid'
    predicts_labels = True

    def __init__(self, dim=6):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(48, dim, generator=generator) / 7)
        self.calls = 0
        self.freeze()

    def extract(self, images):
        self.calls += 1
        small = torch.nn.functional.adaptive_avg_pool2d(images.float() / 64, 4)
        rows = small.flatten(1) @ self.weight.to(small.device)
        return dict(pool=rows, spatial=small[:, 0, :2].flatten(1), logits=4 * rows)


TINY = dict(type='TinyFeatures')


def blocky_images(count, seed=0, size=8, low=0, high=256):
    """Random images of 2x2 blocks, (N, size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(low, high, (count, size // 2, size // 2, 3), dtype=np.uint8)
    return blocks.repeat(2, axis=1).repeat(2, axis=2)


def as_samples(images, start=0):
    """Images as an evaluator hands them to its metrics."""
    return [
        dict(fake_img=torch.from_numpy(image).permute(2, 0, 1), index=start + i)
        for i, image in enumerate(images)
    ]


def run_on_processes(function, world_size, folder):
    """What ``function()`` returns on each of several processes that talk through gloo."""
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    address = f'file://{folder}/rendezvous'
    processes = [
        context.Process(target=_run, args=(function, rank, world_size, address, queue))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    failures = [result for result in results.values() if isinstance(result, str)]
    assert not failures, failures[0]
    return [results[rank] for rank in range(world_size)]


def _run(function, rank, world_size, address, queue):
    try:
        torch.distributed.init_process_group(
            'gloo', init_method=address, rank=rank, world_size=world_size
        )
        queue.put((rank, function()))
    except BaseException:
        queue.put((rank, traceback.format_exc()))
    finally:
        torch.distributed.destroy_process_group()
