"""A training small enough for a test: a tiny network on digits."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from mmengine import Config

from mmagic_adm.engine import TrainingRunner

PIPELINE = [
    dict(type='EnlargeScan', image_size=8, max_shift=0.5),
    dict(type='PackTrainingImage'),
]
UNET = dict(
    type='ADMUNet',
    image_size=8,
    in_channels=1,
    model_channels=32,
    out_channels=2,
    num_res_blocks=1,
    attention_resolutions=(4,),
    channel_mult=(1, 1),
    num_classes=10,
    num_head_channels=32,
    dropout=0.1,
    class_dropout_prob=0.1,
)


def consistency_model(**loss) -> dict:
    """A model that learns from another and from an average of itself."""
    teacher = dict(
        type='AblatedDiffusionModel',
        unet=UNET,
        diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='cosine'),
        guidance=dict(type='ClassifierFreeGuidance'),
    )
    pairs = dict(type='Scales', start=4, start_rate=0.5)
    return dict(
        _delete_=True,
        type='AblatedDiffusionModel',
        unet=dict(type='EDMPrecond', network=dict(UNET, out_channels=1), sigma_min=0.002),
        diffusion_scheduler=dict(type='ConsistencyScheduler'),
        num_inference_steps=2,
        loss=loss or dict(type='ConsistencyLoss', teacher=teacher, pairs=pairs),
    )


def training_config(work_dir: Path | str, max_iters: int = 6, **changes) -> Config:
    """Everything that a training has; ``changes`` replace entries at the top level."""
    config = dict(
        default_scope='mmagic_adm',
        work_dir=str(work_dir),
        experiment_name=Path(work_dir).name,
        randomness=dict(seed=3),
        model=dict(
            type='AblatedDiffusionModel',
            unet=UNET,
            diffusion_scheduler=dict(type='DDIMScheduler', beta_schedule='cosine'),
            timestep_sampler=dict(type='loss_second_moment', history_per_term=1),
        ),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='StreamSampler'),
            dataset=dict(
                type='TrainingStream',
                dataset=dict(type='HandwrittenDigits', pipeline=PIPELINE),
            ),
        ),
        train_cfg=dict(type='TrainingLoop', max_iters=max_iters),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-3),
            clip_grad=dict(max_norm=1.0),
        ),
        param_scheduler=dict(type='CosineAnnealingLR', T_max=6, by_epoch=False),
        default_hooks=dict(
            checkpoint=dict(type='WholeCheckpoints', interval=2),
            sampler_seed=None,
        ),
        custom_hooks=[
            dict(type='StopOnNaN'),
            dict(type='TrainingState'),
            dict(type='MovingAverages', rates=(0.5, 0.9)),
        ],
        log_processor=dict(by_epoch=False),
        log_level='WARNING',
    )
    return Config({**config, **changes})


def train(config: Config) -> TrainingRunner:
    """Runs a training, and gives the runner."""
    runner = TrainingRunner.from_cfg(config)
    runner.train()
    return runner


def resume(config: Config, checkpoint: Path) -> TrainingRunner:
    """Goes on with a training from one of its checkpoints."""
    return train(Config({**config.to_dict(), 'resume': True, 'load_from': str(checkpoint)}))


def in_two_processes(function: Callable, *arguments: Any) -> None:
    """Calls a function on each of two processes, which ``launcher='pytorch'`` joins.

    Args:
        function: Of a module.
        *arguments: What it is given.
    """
    port = 20000 + os.getpid() % 20000
    torch.multiprocessing.spawn(_process, (port, function, arguments), nprocs=2)


def _process(rank: int, port: int, function: Callable, arguments: tuple) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    function(*arguments)
