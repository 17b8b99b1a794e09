"""What a call runs on a GPU, counted where there is none, on tensors that have no memory."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmagic_adm.networks import ADMUNet, blocks

SHAPE = dict(
    image_size=8,
    model_channels=32,
    num_res_blocks=1,
    attention_resolutions=(4,),
    channel_mult=(1, 2),
    num_classes=10,
    num_head_channels=32,
)


@pytest.fixture(autouse=True)
def _attention_is_one_kernel(monkeypatch):
    """As it is on a GPU, but not here, where it converts for its softmax."""
    monkeypatch.setattr(blocks.AttentionBlock, 'attend', staticmethod(lambda q, k, v: v))


class Conversions(TorchDispatchMode):
    """Counts the numbers in feature maps that are converted to another type."""

    def __init__(self):
        super().__init__()
        self.converted = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        is_copy = func is torch.ops.aten._to_copy.default
        if is_copy and result.shape[2:].numel() > 1 and args[0].dtype != result.dtype:
            self.converted += result.numel()
        return result


def call(dtype=torch.bfloat16):
    """What a call of a network in half precision runs."""
    with torch.device('meta'):
        network = ADMUNet(**SHAPE).eval()
    network.compute_in(dtype)
    with FakeTensorMode(), torch.device('cuda'), torch.no_grad():
        weights = {k: torch.empty(v.shape, dtype=v.dtype) for k, v in network.named_parameters()}
        x, t = torch.empty(2, 3, *[network.image_size] * 2), torch.full((1,), 5).expand(2)
        with Conversions() as counted:
            assert torch.func.functional_call(network, weights, (x, t, t)).dtype == torch.float32
    return counted


def test_a_unet_converts_what_it_is_given_and_what_its_head_takes_and_nothing_between():
    image, features = 2 * 3 * 8 * 8, 2 * 32 * 8 * 8
    assert call().converted == image + features


def test_float32_copies_around_each_norm_would_be_seen(monkeypatch):
    monkeypatch.setattr(blocks, '_accumulates', lambda x: False)
    assert call().converted > 10 * 2 * 32 * 8 * 8
