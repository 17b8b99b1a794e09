"""EDM's preconditioning; and a network in one is loaded, saved and copied as if it were bare."""

import copy

import pytest
import torch
from mmengine import MODELS
from mmengine.runner import load_checkpoint, save_checkpoint
from torch import nn

from mmagic_adm.denoisers import EDMPrecond, PreconditionedNetwork
from tests.denoisers.test_making import LABELS, Recorder, tiny_unet
from tests.reference import fill_by_name
from tests.tiny import UNET as WITH_VARIANCE

UNET = dict(WITH_VARIANCE, out_channels=3)


@pytest.fixture
def network():
    return fill_by_name(MODELS.build(dict(UNET, _scope_='mmagic_adm')))


def assert_same(left, right):
    assert list(left) == list(right)
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_its_state_dict_is_the_networks(network):
    assert_same(PreconditionedNetwork(network).state_dict(), network.state_dict())


def test_within_a_model_and_another_wrapper_too(network):
    bare = nn.ModuleDict(dict(unet=network))
    wrapped = PreconditionedNetwork(PreconditionedNetwork(network))
    model = nn.ModuleDict(dict(unet=wrapped, unet2=nn.Linear(2, 2)))
    state = model.state_dict()
    assert_same({k: v for k, v in state.items() if k.startswith('unet.')}, bare.state_dict())
    assert set(state) - set(bare.state_dict()) == {'unet2.weight', 'unet2.bias'}


def test_it_loads_what_the_network_saved(network):
    state = network.state_dict()
    other = PreconditionedNetwork(dict(UNET, _scope_='mmagic_adm'))
    other.load_state_dict(state)
    assert_same(other.network.state_dict(), state)
    model = nn.ModuleDict(dict(unet=PreconditionedNetwork(dict(UNET, _scope_='mmagic_adm'))))
    model.load_state_dict({f'unet.{key}': tensor for key, tensor in state.items()})
    assert_same(model['unet'].state_dict(), state)


def test_tensors_that_are_missing_or_too_many_are_still_refused(network):
    state = network.state_dict() | {'extra': torch.zeros(1)}
    del state['out.2.bias']
    with pytest.raises(RuntimeError, match=r'Missing.*out\.2\.bias.*[\s\S]*Unexpected.*extra'):
        PreconditionedNetwork(network).load_state_dict(state)


def test_mmengine_saves_and_loads_it(network, tmp_path):
    path = str(tmp_path / 'net.pth')
    save_checkpoint(dict(state_dict=PreconditionedNetwork(network).state_dict(), meta={}), path)
    other = PreconditionedNetwork(dict(UNET, _scope_='mmagic_adm'))
    load_checkpoint(other, path, strict=True)
    assert_same(other.state_dict(), network.state_dict())


def test_a_copy_is_as_good(network):
    copied = copy.deepcopy(PreconditionedNetwork(network))
    copied.load_state_dict({key: tensor + 1 for key, tensor in network.state_dict().items()})
    assert torch.equal(copied.network.out[2].bias, network.out[2].bias + 1)


def test_it_says_of_itself_what_the_network_does(network):
    wrapper = PreconditionedNetwork(network.half())
    for name in ('image_size', 'in_channels', 'out_channels', 'num_classes', 'null_label', 'dtype'):
        assert getattr(wrapper, name) == getattr(network, name)
    assert wrapper.dtype == torch.float16


# -- EDM's preconditioning ----------------------------------------------------------------------


def test_the_network_sees_unit_variance_and_a_quarter_of_the_logarithm():
    network = Recorder()
    sigma = torch.tensor([0.01, 0.5, 80.0])
    images = 0.5 * torch.randn(3, 3, 64, 64)
    EDMPrecond(network)(images + sigma.view(-1, 1, 1, 1) * torch.randn(3, 3, 64, 64), sigma)
    [(seen, told, _)] = network.calls
    torch.testing.assert_close(seen.std((1, 2, 3)), torch.ones(3), rtol=0.05, atol=0)
    torch.testing.assert_close(told, sigma.log() / 4)


@pytest.mark.parametrize('sigma_data', [0.5, 1.0])
def test_the_networks_task_has_unit_variance_at_every_level(sigma_data):
    """What is left of the image for the network to add, divided by c_out (EDM, eq. 8)."""
    images = sigma_data * torch.randn(3, 3, 64, 64)
    sigma = torch.tensor([0.05, 0.5, 20.0])
    noisy = images + sigma.view(-1, 1, 1, 1) * torch.randn(3, 3, 64, 64)

    class Nothing(Recorder):
        def forward(self, x, timesteps, **inputs):
            return torch.zeros_like(x)

    class One(Recorder):
        def forward(self, x, timesteps, **inputs):
            return torch.ones_like(x)

    skipped = EDMPrecond(Nothing(), sigma_data)(noisy, sigma)
    c_out = EDMPrecond(One(), sigma_data)(noisy, sigma) - skipped
    task = (images - skipped) / c_out
    torch.testing.assert_close(task.std((1, 2, 3)), torch.ones(3), rtol=0.05, atol=0)


def test_at_no_noise_the_image_is_what_it_is():
    x = torch.randn(2, 3, 8, 8)
    denoiser = EDMPrecond(tiny_unet(out_channels=3))
    denoised = denoiser(x, torch.full((2,), 1e-6), LABELS)
    torch.testing.assert_close(denoised, x, rtol=0, atol=1e-4)


def test_samples_come_in_float64_and_go_through_a_network_in_half_precision():
    denoiser = EDMPrecond(tiny_unet(out_channels=3).half())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert denoiser(x, torch.ones(1), LABELS).dtype == torch.float32


def test_an_upsampler_gets_its_small_images():
    network = tiny_unet(type='ADMSuperResolutionUNet', out_channels=3)
    low_res = torch.randn(2, 3, 4, 4)
    x, sigma = torch.randn(2, 3, 8, 8), torch.ones(2)
    given = EDMPrecond(network)(x, sigma, LABELS, low_res=low_res)
    other = EDMPrecond(network)(x, sigma, LABELS, low_res=-low_res)
    assert not torch.allclose(given, other)


def test_a_network_with_a_variance_is_refused():
    with pytest.raises(ValueError, match='3 output channels, like its input, not 6; one that'):
        EDMPrecond(tiny_unet())


def test_a_config_builds():
    config = dict(type='EDMPrecond', _scope_='mmagic_adm', network=UNET)
    assert isinstance(MODELS.build(config), EDMPrecond)
