"""EDM2's network in its preconditioning, against the original."""

import numpy as np
import pytest
import torch

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.networks.attention import attending
from mmagic_adm.networks.edm2 import EDM2UNet
from tests.reference import golden_names, load_golden, weight_from_name, zlib

CLOSE = dict(rtol=1e-5, atol=1e-5)
NAMES = {
    'img_resolution': 'image_size',
    'img_channels': 'in_channels',
    'num_blocks': 'num_res_blocks',
    'attn_resolutions': 'attention_resolutions',
    'label_dim': 'num_classes',
    'channels_per_head': 'num_head_channels',
}


def original_name(key: str) -> str:
    return key if key.startswith('logvar') else f'unet.{key}'


def weight(key: str, shape) -> torch.Tensor:
    """Filled by the original's name, with the exceptions that the goldens make."""
    raw = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    drawn = torch.from_numpy(np.asarray(raw.standard_normal(tuple(shape), dtype=np.float32)))
    if key.endswith(('.freqs', '.phases')):
        return 2 * torch.pi * drawn
    return 1 + 0.1 * drawn if key.endswith('_gain') else weight_from_name(key, tuple(shape))


def edm2(kwargs: dict, prefix: str = '') -> EDMPrecond:
    """The network of a golden, whose names begin with a prefix."""
    settings = {NAMES.get(name, name): value for name, value in kwargs.items()}
    settings['num_classes'] = settings['num_classes'] or None
    network = EDM2UNet(**settings)
    network.load_state_dict(
        {
            key: weight(prefix + original_name(key), value.shape)
            for key, value in network.state_dict().items()
        }
    )
    return EDMPrecond(network).eval()


@pytest.fixture(params=golden_names('edm2', 'network*'))
def case(request):
    golden = load_golden('edm2', request.param)
    network = edm2(golden.meta['kwargs'])
    return golden, network, {'labels': golden.y} if 'y' in golden else {}


def test_it_has_the_originals_tensors(case):
    golden, network, _ = case
    ours = {original_name(key): list(value.shape) for key, value in network.state_dict().items()}
    assert ours == golden.meta['state_dict_shapes']


def test_what_it_sees_and_how_sure_it_is(case):
    golden, network, inputs = case
    with torch.no_grad():
        torch.testing.assert_close(
            network(golden.x, golden.sigma, **inputs), golden.denoised, **CLOSE
        )
        logvar = network.network.log_variance(golden.sigma.log() / 4).flatten()
        torch.testing.assert_close(logvar, golden.logvar, **CLOSE)
        if 'denoised_no_label' in golden:
            found = network(golden.x, golden.sigma)
            torch.testing.assert_close(found, golden.denoised_no_label, **CLOSE)


def test_training_forces_weights_onto_their_sphere(case):
    golden, network, inputs = case
    with torch.no_grad():
        seen = network.train()(golden.x, golden.sigma, **inputs)
    torch.testing.assert_close(seen, golden.denoised_train, **CLOSE)
    state = network.state_dict()
    for name, expected in golden.arrays.items():
        if name.startswith('forced:'):
            found = state[name.removeprefix('forced:unet.')]
            torch.testing.assert_close(found, expected, **CLOSE)
    with torch.no_grad():
        after = network.eval()(golden.x, golden.sigma, **inputs)
    torch.testing.assert_close(after, golden.denoised_after_forced, **CLOSE)


def test_activations_are_kept_within_their_bounds():
    golden = load_golden('edm2', 'network')
    network = edm2(golden.meta['kwargs']).network
    block = network.dec['8x8_in1']
    block.clip_act, x = 0.5, torch.randn(1, block.conv_res0.weight.shape[1], 8, 8)
    with torch.no_grad():
        out = block(x, torch.randn(1, block.emb_linear.weight.shape[1]))
    assert out.abs().max() == 0.5


def test_where_it_attends_can_be_looked_at():
    golden = load_golden('edm2', 'network')
    network = edm2(golden.meta['kwargs'])
    assert 'dec.8x8_in0' in network.network.attention_blocks()
    with torch.no_grad(), attending(network, {'dec.8x8_in0': lambda query, key, value: value}):
        perturbed = network(golden.x, golden.sigma, golden.y)
    assert (perturbed - golden.denoised).abs().max() > 1e-3


def test_half_precision_is_near_and_leaves_the_weights():
    golden = load_golden('edm2', 'network')
    network = edm2(golden.meta['kwargs'])
    network.network.compute_in(torch.bfloat16)
    with torch.no_grad():
        found = network(golden.x, golden.sigma, golden.y)
    assert next(network.parameters()).dtype == torch.float32
    off = (found - golden.denoised).abs().mean() / golden.denoised.abs().mean()
    assert 0 < off < 0.02
