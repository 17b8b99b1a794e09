"""Averages of the weights are what their definition says."""

import re

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmagic_adm.checkpoints import read_checkpoint
from mmagic_adm.engine import MovingAverages, TrainingRunner
from mmagic_adm.engine.moving_averages import MovingAverage
from tests.engine.training import training_config

RATES = (0.5, 0.9)


class Recorder(Hook):
    """Keeps the weights after each step of the optimiser."""

    priority = 'HIGHEST'

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.optim_wrapper.should_update():
            state = runner.model.unet.state_dict()
            self.weights.append({key: tensor.clone() for key, tensor in state.items()})


@pytest.mark.parametrize(('accumulative_counts', 'steps', 'ramp_up'), [(2, 3, None), (1, 6, 0.5)])
def test_averages_equal_their_definition(tmp_path, accumulative_counts, steps, ramp_up):
    config = training_config(tmp_path)
    config.default_hooks.checkpoint.interval = 6
    config.custom_hooks[-1].ramp_up = ramp_up
    config.optim_wrapper.accumulative_counts = accumulative_counts
    runner, recorder = TrainingRunner.from_cfg(config), Recorder()
    runner.register_hook(recorder)
    runner.train()

    assert len(recorder.weights) == steps
    checkpoint = torch.load(tmp_path / 'iter_6.pth', weights_only=False)
    stored = {
        RATES[0]: checkpoint['state_dict'],
        RATES[1]: checkpoint['other_averages']['0.9'],
    }
    for rate, prefix in zip(RATES, ('', 'module.'), strict=True):
        average = recorder.weights[0]
        for step, weights in enumerate(recorder.weights[1:], start=1):
            # Half of an average of half-life H steps is left after H.
            kept = rate if ramp_up is None else min(rate, 0.5 ** (1 / (ramp_up * step)))
            average = {key: kept * average[key] + (1 - kept) * weights[key] for key in average}
        for key, expected in average.items():
            torch.testing.assert_close(stored[rate][f'{prefix}unet.{key}'], expected)


def test_a_reader_gets_the_average_or_the_trained_weights(tmp_path):
    runner = TrainingRunner.from_cfg(training_config(tmp_path, max_iters=2))
    runner.train()
    trained = read_checkpoint(tmp_path / 'iter_2.pth', ema=False).state_dict
    averaged = read_checkpoint(tmp_path / 'iter_2.pth').state_dict
    own = runner.model.unet.state_dict()
    assert all(torch.equal(trained[key], own[key]) for key in own)
    assert any(not torch.equal(averaged[key], own[key]) for key in own)


def test_the_averages_ramp_up_is_that_of_edm():
    batch, half_life = 4096, 50_000_000
    average = MovingAverage(nn.Linear(1, 1), 1 - 0.5 ** (batch / half_life), ramp_up=0.05)
    for seen in (batch, 10 * batch, half_life, 20 * half_life, 40 * half_life):
        expected = 0.5 ** (batch / min(half_life, 0.05 * seen))
        # The number of steps is whole.
        assert 1 - average.momentum_after(seen // batch) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('rates', [(0.9, 1.0), (0.0,), ()])
def test_rates_that_average_nothing_are_refused(rates):
    with pytest.raises(ValueError, match=f'below 1, not {re.escape(str(rates))}'):
        MovingAverages(rates)


def test_a_ramp_up_of_nothing_is_refused():
    with pytest.raises(ValueError, match='above 0, not 0'):
        MovingAverages(ramp_up=0)
