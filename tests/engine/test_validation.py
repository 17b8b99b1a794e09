"""FID on the way: of samples from the averaged weights, and without a trace in the training."""

import torch

from mmagic_adm.engine import TrainingRunner
from mmagic_adm.evaluation import write_batch
from tests.engine.training import UNET, train, training_config
from tests.evaluation.tiny import TINY, blocky_images


def rgb_config(work_dir, data):
    """Trains on coloured images, which the metrics take."""
    config = training_config(work_dir, max_iters=2)
    config.model.unet = dict(UNET, in_channels=3, out_channels=6, num_classes=None)
    config.model.unet.class_dropout_prob = 0.0
    config.model.num_inference_steps = 2
    config.train_dataloader.dataset.dataset = dict(
        type='NpzImages', ann_file=str(data), pipeline=[dict(type='PackTrainingImage')]
    )
    return config


def test_the_averaged_weights_are_validated_and_training_goes_on_as_if_they_were_not(tmp_path):
    data = tmp_path / 'images.npz'
    write_batch(data, [blocky_images(16)], 16)
    plain = train(rgb_config(tmp_path / 'plain', data)).model.unet.state_dict()

    config = rgb_config(tmp_path / 'validated', data)
    config.train_cfg.val_interval = 1
    config.val_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        dataset=dict(type='SampleSpecs', num_samples=8, labels=None),
    )
    config.val_cfg = dict()
    config.val_evaluator = dict(
        type='SampleEvaluator',
        reference=str(data),
        features=TINY,
        metrics=[dict(type='FrechetInceptionDistance')],
    )
    runner = TrainingRunner.from_cfg(config)
    used = []
    runner.model.unet.register_forward_pre_hook(
        lambda unet, _: None if unet.training else used.append(unet.out[-1].weight.clone())
    )
    runner.train()

    assert all(
        torch.equal(plain[key], tensor) for key, tensor in runner.model.unet.state_dict().items()
    )
    assert len(runner.message_hub.get_scalar('val/FID').data[0]) == 2
    averaged = torch.load(tmp_path / 'validated' / 'iter_2.pth', weights_only=False)['state_dict']
    assert torch.equal(used[-1], averaged['unet.out.2.weight'])
