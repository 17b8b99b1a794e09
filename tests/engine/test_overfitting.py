"""A network that cannot learn sixteen images by heart cannot learn."""

import pytest
import torch

from mmagic_adm.datasets import TrainingStream
from mmagic_adm.engine import TrainingRunner
from tests.engine.training import UNET, training_config


@pytest.mark.slow
def test_sixteen_images_are_learnt_by_heart(tmp_path):
    config = training_config(tmp_path, max_iters=800)
    config.model.unet = dict(UNET, dropout=0.0, class_dropout_prob=0.0, num_classes=None)
    config.model.timestep_sampler = 'uniform'
    config.model.num_inference_steps = 20
    config.train_dataloader.batch_size = 16
    digits = config.train_dataloader.dataset.dataset
    digits.indices = list(range(16))
    digits.pipeline[0].max_shift = 0.0
    config.optim_wrapper.optimizer.lr = 3e-3
    config.param_scheduler.T_max = 800
    config.default_hooks.checkpoint.interval = 800
    config.custom_hooks[-1].rates = (0.98,)
    runner = TrainingRunner.from_cfg(config)
    runner.train()

    stream: TrainingStream = runner.train_dataloader.dataset
    images = torch.stack([stream[i]['inputs'] for i in range(16)]).float() / 127.5 - 1
    assert len({image.numpy().tobytes() for image in images}) == 16
    samples = runner.model.eval().infer(seeds=range(32))['samples']
    distances = (samples[:, None] - images[None]).square().flatten(2).mean(2)
    between = (images[:, None] - images[None]).square().flatten(2).mean(2)
    between.fill_diagonal_(torch.inf)
    # Nearer to one of the sixteen than any of these is to another, by far.
    assert distances.min(1).values.median() < 0.05 * between.min(1).values.mean()
    assert len(distances.argmin(1).unique()) > 8
