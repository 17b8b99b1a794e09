"""Packed kernels: the same convolution, and never a stale one."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from mmagic_adm.networks.convolution import Convolution, PixelwiseLinear, pack, why_not_packing
from tests.tiny import CLASSIFIER, build_model

pytestmark = pytest.mark.skipif(why_not_packing() is not None, reason=str(why_not_packing()))


def image(channels: int = 24, requires_grad: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, 8, 8, generator=generator).requires_grad_(requires_grad)


def layer(kernel_size: int = 3) -> Convolution:
    torch.manual_seed(1)
    return Convolution(24, 40, kernel_size).requires_grad_(False)


@pytest.mark.parametrize('kernel_size', [1, 3])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_a_packed_convolution_is_the_convolution(kernel_size, memory_format):
    plain, x = layer(kernel_size), image().contiguous(memory_format=memory_format)
    packed = pack(copy.deepcopy(plain))
    assert packed.uses_pack(x)
    torch.testing.assert_close(packed(x), plain(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_so_is_its_gradient(kernel_size):
    plain = layer(kernel_size)
    packed = pack(copy.deepcopy(plain))
    pull = torch.randn(2, 40, 8, 8, generator=torch.Generator().manual_seed(2))
    expected, found = (
        torch.autograd.grad((convolve(x) * pull).sum(), x)[0]
        for convolve in (plain, packed)
        for x in [image(requires_grad=True)]
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_packed_linear_map_is_the_linear_map():
    torch.manual_seed(1)
    plain = PixelwiseLinear(24, 72).requires_grad_(False)
    packed = pack(copy.deepcopy(plain))
    tokens = image().flatten(2).transpose(1, 2)
    expected = F.linear(tokens, plain.weight.squeeze(2), plain.bias)
    torch.testing.assert_close(packed(tokens), expected, atol=1e-5, rtol=1e-5)


def test_a_changed_weight_is_packed_anew():
    convolve, x = pack(layer()), image()
    before = convolve(x)
    with torch.no_grad():
        convolve.weight.mul_(2)
    torch.testing.assert_close(
        convolve(x) - convolve.bias.view(-1, 1, 1),
        2 * (before - convolve.bias.view(-1, 1, 1)),
        atol=1e-4,
        rtol=1e-4,
    )


def test_loading_other_weights_takes_effect():
    convolve, x = pack(layer()), image()
    convolve(x)
    torch.manual_seed(5)
    other = Convolution(24, 40, 3)
    convolve.load_state_dict(other.state_dict())
    torch.testing.assert_close(convolve(x), other(x), atol=1e-5, rtol=1e-5)


def test_a_weight_is_not_packed_while_its_gradient_is_wanted():
    convolve = pack(Convolution(24, 40, 3))
    assert not convolve.uses_pack(image())
    convolve(image()).sum().backward()
    assert convolve.weight.grad is not None
    with torch.no_grad():
        assert convolve.uses_pack(image())


def test_the_state_dict_knows_nothing_of_packing():
    convolve = pack(layer())
    convolve(image())
    assert set(convolve.state_dict()) == {'weight', 'bias'}
    pack(convolve, False)
    assert not convolve.uses_pack(image())


def test_copies_and_pickles_leave_the_packed_kernel_behind():
    convolve, x = pack(layer()), image()
    expected = convolve(x)
    for other in (copy.deepcopy(convolve), pickle.loads(pickle.dumps(convolve))):
        assert other._packed is None
        torch.testing.assert_close(other(x), expected)


def test_whole_networks_say_the_same_packed_with_channels_side_by_side():
    model = build_model(classifier=CLASSIFIER)
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    t, labels = torch.tensor(500).expand(3), torch.arange(3)

    def said() -> list[torch.Tensor]:
        noisy = x.clone().requires_grad_()
        log_probability = model.classifier(noisy, t).log_softmax(1)[:, 0].sum()
        (gradient,) = torch.autograd.grad(log_probability, noisy)
        with torch.no_grad():
            return [model.unet(x, t, labels), gradient]

    expected = said()
    for network in (model.unet, model.classifier):
        network.lay_out_channels_last()
        pack(network)
    torch.testing.assert_close(said(), expected, atol=1e-5, rtol=1e-4)
