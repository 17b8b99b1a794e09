#!/usr/bin/env python
"""Training throughput: this project on MMEngine's runner beside a plain PyTorch loop.

Both train the same network on the same images, with the same loss, AdamW and moving average. On a
GPU the network is ImageNet's at 64x64, in half precision; on a CPU a smaller one. It also measures
how many images a second the data loader reads, crops and mirrors.

    python benchmarks/bench_training.py --iterations 40
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader

from mmagic_adm.checkpoints import config_directory
from mmagic_adm.datasets import ImageFolder, TrainingStream
from mmagic_adm.diffusion import training_losses
from mmagic_adm.engine import TrainingRunner
from mmagic_adm.files.pictures import as_images
from mmagic_adm.registry import MODELS

CPU_NETWORK = dict(
    type='ADMUNet',
    image_size=64,
    model_channels=32,
    out_channels=6,
    num_res_blocks=1,
    attention_resolutions=(8,),
    channel_mult=(1, 2, 2, 2),
    num_classes=10,
    num_head_channels=32,
)
EMA_RATE = 0.9999


class Clock(Hook):
    """Notes when each iteration has ended."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Notes the time."""
        self.times.append(now())


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iterations', type=int, default=40)
    parser.add_argument('--warm-up', type=int, default=5, help='iterations that do not count')
    parser.add_argument('--batch-size', type=int)
    parser.add_argument('--rounds', type=int, default=3, help='how often each takes its turn')
    parser.add_argument('--workers', type=int, default=0)
    parser.add_argument('--loader-images', type=int, default=256)
    arguments = parser.parse_args()
    found = measure(arguments)
    print(f'data loader: {found["loader"]:.0f} images a second, {arguments.workers} workers')
    print(f'ours:  {found["ours"]:8.2f} images a second')
    print(f'plain: {found["plain"]:8.2f} images a second')
    print(f'ours / plain: {found["ours"] / found["plain"]:.3f}')


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Images a second of the data loader, of training here, and of the plain loop."""
    init_default_scope('mmagic_adm')
    on_gpu = torch.cuda.is_available()
    arguments.batch_size = arguments.batch_size or (32 if on_gpu else 8)
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder) / 'images', count=arguments.loader_images)
        rate = loader_throughput(Path(folder), arguments)
        config = training_config(Path(folder), arguments, on_gpu)
        ours, plain = [], []
        for _ in range(arguments.rounds):
            ours += durations(train_here(config), arguments.warm_up)
            plain += durations(train_plainly(config, on_gpu), arguments.warm_up)
    per_second = [arguments.batch_size / statistics.median(times) for times in (ours, plain)]
    return dict(
        batch_size=arguments.batch_size, loader=rate, ours=per_second[0], plain=per_second[1]
    )


def training_config(folder: Path, arguments: argparse.Namespace, on_gpu: bool) -> Config:
    """The training of both."""
    models = config_directory() / 'guided_diffusion' / '_base_' / 'models'
    network = Config.fromfile(models / 'adm_imagenet-64x64.py').unet if on_gpu else CPU_NETWORK
    amp = dict(type='AmpOptimWrapper', dtype='bfloat16') if on_gpu else dict(type='OptimWrapper')
    return Config(
        dict(
            default_scope='mmagic_adm',
            work_dir=str(folder / 'work'),
            randomness=dict(seed=0),
            model=dict(
                type='AblatedDiffusionModel',
                _scope_='mmagic_adm',
                unet=network,
                diffusion_scheduler=dict(type='DDPMScheduler', beta_schedule='cosine'),
            ),
            train_dataloader=dict(
                batch_size=arguments.batch_size,
                num_workers=arguments.workers,
                sampler=dict(type='StreamSampler'),
                dataset=dict(type='TrainingStream', dataset=dataset_config(folder)),
            ),
            train_cfg=dict(type='TrainingLoop', max_iters=arguments.iterations + arguments.warm_up),
            optim_wrapper=dict(**amp, optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.0)),
            default_hooks=dict(
                checkpoint=dict(type='WholeCheckpoints', interval=10**9, save_last=False),
                sampler_seed=None,
            ),
            custom_hooks=[
                dict(type='StopOnNaN'),
                dict(type='TrainingState'),
                dict(type='MovingAverages', rates=(EMA_RATE,)),
            ],
            log_processor=dict(by_epoch=False),
            log_level='WARNING',
        )
    )


def dataset_config(folder: Path) -> dict:
    """JPEG files, cropped and mirrored."""
    return dict(
        type='ImageFolder',
        data_root=str(folder / 'images'),
        pipeline=[
            dict(type='ReadImage'),
            dict(type='CenterSquare', size=64),
            dict(type='RandomMirror'),
            dict(type='PackTrainingImage'),
        ],
    )


def train_here(config: Config) -> list[float]:
    """Trains on the runner; gives the times at which iterations ended."""
    clock = Clock()
    runner = TrainingRunner.from_cfg(copy.deepcopy(config))
    runner.register_hook(clock)
    runner.train()
    return clock.times


def train_plainly(config: Config, on_gpu: bool) -> list[float]:
    """Trains in a loop of a few lines."""
    device = torch.device('cuda' if on_gpu else 'cpu')
    model = MODELS.build(config.model).to(device).train()
    network, loss = model.unet, model.loss
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.0)
    loader = config.train_dataloader
    stream = TrainingStream(ImageFolder(**without_type(loader.dataset.dataset)))
    positions = range(loader.batch_size * config.train_cfg.max_iters)
    batches = DataLoader(
        stream,
        loader.batch_size,
        sampler=positions,
        num_workers=loader.num_workers,
        collate_fn=lambda items: (
            torch.stack([item['inputs'] for item in items]),
            torch.cat([item['data_samples'].gt_label.label for item in items]),
        ),
    )
    times = []
    for images, labels in batches:
        images, labels = as_images(images.to(device)), labels.to(device)
        t, weights, noise = loss.draw(images)
        t, weights = t.to(device), weights.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            terms = training_losses(loss.process, network, images, t, noise, labels=labels)
            mean = (terms['loss'] * weights).mean()
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(network.parameters()), 1 - EMA_RATE
            )
        if not torch.isfinite(mean):
            raise FloatingPointError('the loss is not finite')
        times.append(now())
    return times


def without_type(config: dict) -> dict:
    """A config as arguments."""
    return {key: value for key, value in config.items() if key != 'type'}


def durations(times: list[float], warm_up: int) -> list[float]:
    """How long each iteration took, after the first few."""
    return [later - sooner for sooner, later in itertools.pairwise(times)][warm_up:]


def loader_throughput(folder: Path, arguments: argparse.Namespace) -> float:
    """Images a second that come out of the loader."""
    stream = TrainingStream(ImageFolder(**without_type(dataset_config(folder))))
    batches = DataLoader(
        stream,
        arguments.batch_size,
        sampler=range(2 * arguments.loader_images),
        num_workers=arguments.workers,
        collate_fn=list,
    )
    counts, begin = 0, None
    for batch in batches:
        # Workers have started once the first batch is there.
        if begin is None:
            begin = now()
        else:
            counts += len(batch)
    return counts / (now() - begin)


def make_images(folder: Path, count: int) -> None:
    """JPEG files of about the size of ImageNet's, in ten classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (25, 32, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        path = folder / str(number % 10) / f'{number}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90)


def now() -> float:
    """The time, with the GPU's work done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == '__main__':
    main()
