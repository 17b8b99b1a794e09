"""Two processes take the steps that one takes with twice the batch, and one goes on with theirs."""

import pytest
import torch

from mmagic_adm.engine import TrainingRunner
from tests.engine.training import UNET, in_two_processes, training_config


def draw_by_content(images):
    """Timesteps and noise that follow from the images, wherever in a batch they stand."""
    noise, timesteps = [], []
    for image in images:
        generator = torch.Generator().manual_seed(int(image.double().sum().abs() * 1e6))
        timesteps.append(int(torch.randint(1000, (), generator=generator)))
        noise.append(torch.randn(image.shape, generator=generator))
    return torch.tensor(timesteps), torch.ones(len(images)), torch.stack(noise)


def run(work_dir, batch_size, launcher='none', **changes):
    """Three steps without a random number but those of the content; gives where they start."""
    config = training_config(work_dir, max_iters=3, launcher=launcher, **changes)
    config.model.unet = dict(UNET, dropout=0.0, class_dropout_prob=0.0)
    config.model.timestep_sampler = 'uniform'
    config.train_dataloader.batch_size = batch_size
    # Adam would make much of differences between gradients that are nearly 0.
    config.optim_wrapper.optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    config.default_hooks.checkpoint.interval = 1
    runner = TrainingRunner.from_cfg(config)
    model = runner.model.module if launcher != 'none' else runner.model
    model.loss.draw = draw_by_content
    start = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    runner.train()
    return start


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    in_two_processes(run, tmp_path / 'two', 4, 'pytorch')
    start = run(tmp_path / 'one', batch_size=8)
    begun = str(tmp_path / 'two' / 'iter_2.pth')
    run(tmp_path / 'both', batch_size=8, resume=True, load_from=begun)
    one, two, both = (
        torch.load(tmp_path / name / 'iter_3.pth', weights_only=False)
        for name in ('one', 'two', 'both')
    )
    for part in ('state_dict', 'ema_state_dict'):
        for key, expected in one[part].items():
            for other in (two, both):
                torch.testing.assert_close(other[part][key], expected, atol=1e-6, rtol=1e-4)
    moved = max((two['state_dict'][key] - start[key]).abs().max() for key in start)
    assert moved > 1e-3
