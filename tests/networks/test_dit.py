"""DiT against the original, and its released files."""

import pytest
import torch

from mmagic_adm.checkpoints.zoo import build_without_weights
from mmagic_adm.networks import DiT, check_network
from mmagic_adm.networks.attention import attending
from mmagic_adm.networks.dit import SIZES
from mmagic_adm.networks.network import sharding_units
from tests.reference import dit, golden_names, load_golden, load_manifest

CLOSE = dict(rtol=1e-5, atol=1e-5)
TINY = dict(image_size=8, size=(32, 2, 2), num_classes=5)


@pytest.fixture(params=golden_names('dit', 'network*'))
def case(request):
    golden = load_golden('dit', request.param)
    return golden, dit(golden)


def test_it_is_the_original(case):
    golden, network = case
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert ours == golden.meta['state_dict_shapes']
    check_network(network)
    assert network.null_label == network.num_classes == 10
    torch.testing.assert_close(network.pos_embed, golden.pos_embed, rtol=0, atol=1e-7)

    x = golden.x.requires_grad_()
    out = network(x, golden.t, golden.y)
    torch.testing.assert_close(out, golden.out, **CLOSE)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, golden.gradient, **CLOSE)
    assert golden.y[-1] == network.null_label
    torch.testing.assert_close(network(x[-1:], golden.t[-1:]), golden.out[-1:], **CLOSE)


@pytest.mark.parametrize('pixels', [256, 512])
def test_the_released_network_has_exactly_these_tensors(pixels):
    manifest = load_manifest(f'DiT-XL-2-{pixels}x{pixels}')
    state = build_without_weights(dict(type='DiT', image_size=pixels // 8)).state_dict()
    ours = {key: list(value.shape) for key, value in state.items()}
    assert ours == manifest['state_dict_shapes']
    assert sum(value.numel() for value in state.values()) == manifest['num_parameters']


# Table 1 of the paper, which counts neither positions nor labels of 1001 classes as they grow.
@pytest.mark.parametrize(('size', 'millions'), [('S', 33), ('B', 130), ('L', 458), ('XL', 675)])
def test_its_sizes_are_the_papers(size, millions):
    network = build_without_weights(dict(type='DiT', image_size=32, size=size))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.6)
    assert len(network.blocks) == SIZES[size][1]


def test_it_starts_as_nothing_and_what_it_is_made_of_stays_when_shared():
    network, x = DiT(**TINY), torch.randn(3, 4, 8, 8)
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, given, out: seen.append(torch.equal(given[0], out)))
    assert not network(x, torch.tensor([7]), torch.tensor([0, 1, 2])).any()
    assert seen == [True, True]  # adaLN-Zero: no block does anything
    embeddings = [network.y_embedder.embedding_table, *network.t_embedder.mlp[::2]]
    assert [each.weight.std().item() for each in embeddings] == pytest.approx([0.02] * 3, rel=0.2)
    assert sharding_units(network) == list(network.blocks)


def test_one_timestep_for_all_is_embedded_once(case):
    golden, network = case
    count, t = len(golden.x), golden.t[:1]
    shared = network(golden.x, t.expand(count), golden.y)
    torch.testing.assert_close(shared, network(golden.x, t.repeat(count), golden.y), **CLOSE)


def test_blocks_compute_in_half_and_the_rest_does_not():
    golden = load_golden('dit', 'network')
    network = dit(golden)
    network.compute_in(torch.bfloat16)
    assert network.dtype == torch.bfloat16 != network.x_embedder.proj.weight.dtype
    out = network(golden.x, golden.t, golden.y)
    assert out.dtype == torch.float32
    error = (out - golden.out).norm() / golden.out.norm()
    assert 1e-5 < error < 2e-2


def test_blocks_recomputed_in_the_backward_pass_have_the_same_gradient():
    golden = load_golden('dit', 'network')
    network, x = dit(golden), golden.x.requires_grad_()
    network.use_checkpoint, calls = True, []
    network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    (gradient,) = torch.autograd.grad(network(x, golden.t, golden.y).sum(), x)
    assert len(calls) == 2
    torch.testing.assert_close(gradient, golden.gradient, **CLOSE)


def test_attention_can_be_replaced():
    golden = load_golden('dit', 'network')
    network = dit(golden)
    with attending(network, {'blocks.1': lambda query, key, value: value}):
        assert (network(golden.x, golden.t, golden.y) - golden.out).abs().max() > 1e-3
    torch.testing.assert_close(network(golden.x, golden.t, golden.y), golden.out, **CLOSE)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(patch_size=3), 'image_size 8 does not divide into patches of patch_size=3'),
        (dict(size='M'), "size is 'S', 'B', 'L', 'XL', or width, blocks and heads; not 'M'"),
        (dict(size=(32, 2, 5)), '32 channels do not divide into heads by num_heads=5'),
        (dict(size=(30, 2, 2)), 'multiples of 4 channels, not 30'),
        (dict(class_dropout_prob=1.0), 'class_dropout_prob is a probability below 1, not 1.0'),
    ],
)
def test_what_is_no_network_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DiT(**{**TINY, **changes})


def test_labels_for_an_unconditional_network():
    with pytest.raises(ValueError, match='unconditional'):
        DiT(**{**TINY, 'num_classes': None})(
            torch.zeros(1, 4, 8, 8), torch.zeros(1), torch.zeros(1)
        )
