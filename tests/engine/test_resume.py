"""Training that was stopped and resumed ends like training that was not."""

import copy

import pytest
import torch

from tests.engine.training import consistency_model, resume, train, training_config


def load(path):
    return torch.load(path, weights_only=False)


def assert_same(a, b, name=''):
    """Equal in every bit, all the way down."""
    assert type(a) is type(b), name
    if isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_same(a[key], b[key], f'{name}.{key}')
    elif isinstance(a, (list, tuple)):
        for i, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f'{name}.{i}')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), name
    else:
        assert a == b, name


RAMPED_UP = dict(type='MovingAverages', rates=(0.5, 0.9), ramp_up=0.5)
ONE_CYCLE = dict(type='OneCycleLR', eta_max=1e-2, total_steps=6, by_epoch=False)
# Steps halve between the checkpoint that is resumed and the end.
PROGRESSIVE = consistency_model(type='ProgressiveDistillationLoss', scales=dict(start=8, period=5))


@pytest.mark.parametrize(
    'changes',
    [
        pytest.param(dict(), marks=pytest.mark.slow),  # which 'ramped-up' has too
        pytest.param(dict(optim_wrapper=dict(accumulative_counts=2)), marks=pytest.mark.slow),
        # MMEngine has functions among the state of this one.
        pytest.param(dict(param_scheduler=[ONE_CYCLE]), marks=pytest.mark.slow),
        dict(custom_hooks=[dict(type='TrainingState'), RAMPED_UP]),
        pytest.param(dict(model=consistency_model()), marks=pytest.mark.slow),
        pytest.param(dict(model=PROGRESSIVE), marks=pytest.mark.slow),
    ],
    ids=['plain', 'accumulating', 'one-cycle', 'ramped-up', 'consistency', 'progressive'],
)
def test_resumed_training_ends_bit_equal(tmp_path, changes):
    config = training_config(tmp_path / 'whole')
    config.merge_from_dict(copy.deepcopy(changes))
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    train(config)
    again = training_config(tmp_path / 'again')
    again.merge_from_dict(copy.deepcopy(changes))
    torch.rand(17)  # Whatever has been drawn before does not matter.
    resume(again, tmp_path / 'whole' / 'iter_4.pth')

    whole, resumed = (
        load(tmp_path / 'whole' / 'iter_6.pth'),
        load(tmp_path / 'again' / 'iter_6.pth'),
    )
    parts = ('state_dict', 'ema_state_dict', 'other_averages', 'optimizer', 'param_schedulers')
    for part in parts:
        assert_same(whole[part], resumed[part], part)
    assert_same(whole['training_state']['loss'], resumed['training_state']['loss'])
    untrained = load(tmp_path / 'whole' / 'iter_2.pth')['state_dict']
    assert any(not torch.equal(whole['state_dict'][key], untrained[key]) for key in untrained)
