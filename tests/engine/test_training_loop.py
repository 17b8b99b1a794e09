"""Iteration k is iteration k."""

import pytest
import torch

from mmagic_adm.engine import TrainingRunner
from mmagic_adm.engine.training_loop import seed_iteration
from mmagic_adm.models import profiles
from tests.engine.training import UNET, train, training_config
from tests.tiny import CLASSIFIER


def test_looking_at_samples_on_the_way_changes_nothing(tmp_path):
    plain = training_config(tmp_path / 'plain', max_iters=3)
    looking = training_config(tmp_path / 'looking', max_iters=3)
    looking.model.num_inference_steps = 2
    looking.custom_hooks.append(dict(type='SampleSheet', interval=1, num_samples=3))
    looking.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    weights = [train(config).model.unet.state_dict() for config in (plain, looking)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert len(list((tmp_path / 'looking').rglob('samples_*.png'))) == 3


def test_a_profile_for_sampling_rounds_no_weights_that_are_trained_or_averaged(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: True)
    config = training_config(tmp_path, max_iters=3)
    config.model.update(profile='fast', num_inference_steps=2)
    config.custom_hooks.append(dict(type='SampleSheet', interval=1, num_samples=2))
    config.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    train(config)
    stored = torch.load(tmp_path / 'iter_3.pth', weights_only=False)
    for weights in (
        stored['state_dict'],
        stored['ema_state_dict'],
        stored['other_averages']['0.9'],
    ):
        types = {tensor.dtype for name, tensor in weights.items() if name.endswith('weight')}
        assert types == {torch.float32}


def test_an_iteration_draws_the_same_whatever_was_drawn_before():
    seed_iteration(3, 7)
    expected = torch.rand(2)
    torch.rand(5)
    seed_iteration(3, 7)
    assert torch.equal(torch.rand(2), expected)
    seed_iteration(3, 8)
    assert not torch.equal(torch.rand(2), expected)


def test_a_training_needs_a_seed(tmp_path):
    config = training_config(tmp_path, randomness=dict(seed=None))
    with pytest.raises(ValueError, match=r'randomness=dict\(seed=0\)'):
        TrainingRunner.from_cfg(config).train()


def test_a_loader_that_cannot_be_entered_anywhere_is_refused(tmp_path):
    config = training_config(tmp_path)
    config.train_dataloader.dataset = config.train_dataloader.dataset.dataset
    config.train_dataloader.sampler = dict(type='InfiniteSampler')
    with pytest.raises(ValueError, match='not a HandwrittenDigits dealt by a InfiniteSampler'):
        TrainingRunner.from_cfg(config).train()


def test_a_label_without_a_class_is_named_before_training_starts(tmp_path):
    config = training_config(tmp_path)
    config.model.unet = dict(UNET, num_classes=9)
    with pytest.raises(ValueError, match=r'has the label 9, .* num_classes=9'):
        TrainingRunner.from_cfg(config).train()


def test_a_classifier_is_told_of_labels_that_it_has_no_class_for(tmp_path):
    config = training_config(tmp_path)
    config.model = dict(type='ClassifierTraining', classifier=dict(CLASSIFIER, out_channels=9))
    config.model.diffusion_scheduler = dict(type='DDIMScheduler')
    with pytest.raises(ValueError, match=r'has the label 9, .* num_classes=9'):
        TrainingRunner.from_cfg(config).train()
