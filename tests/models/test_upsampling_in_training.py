"""Upsamplers learn from small images that are made of the large ones."""

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.models import upsampling  # noqa: F401
from tests.tiny import UNET


def build(**changes):
    config = dict(
        type='UpsamplerTraining',
        _scope_='mmagic_adm',
        unet=dict(UNET, type='ADMSuperResolutionUNet', num_classes=None),
        diffusion_scheduler=dict(type='DDIMScheduler'),
        low_res_size=4,
    )
    return MODELS.build({**config, **changes})


@pytest.mark.parametrize('size', [4, 2])  # at half the size, bilinear resizing is the same
def test_a_small_image_is_the_average_over_squares(size):
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    expected = images.reshape(2, 3, size, 8 // size, size, 8 // size).mean((3, 5))
    torch.testing.assert_close(build(low_res_size=size).degrade(images), expected)


def test_the_network_sees_the_small_image_and_the_loss_has_a_gradient():
    model = build()
    seen = {}
    model.unet.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    images = torch.rand(2, 3, 8, 8)
    loss = model(images, mode='loss')['loss']
    torch.testing.assert_close(seen['low_res'], model.degrade(images))
    loss.backward()
    assert model.unet.out[-1].weight.grad.abs().sum() > 0


def test_blur_and_noise_differ_from_image_to_image():
    images = torch.zeros(3, 3, 8, 8)
    images[..., 4:] = 1
    for changes in (dict(max_blur=1.0), dict(max_noise=0.3)):
        first, second, third = build(**changes).degrade(images)
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)
    assert build(max_noise=9.0).degrade(images).abs().max() <= 1


def test_negative_noise_is_refused():
    with pytest.raises(ValueError, match='max_noise=-1'):
        build(max_noise=-1)
