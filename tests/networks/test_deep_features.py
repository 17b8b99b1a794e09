"""Inner levels recalled from an earlier call: what is computed, what is not, and when it ends."""

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.networks.deep_features import reused_deep_features
from tests.reference import fill_by_name
from tests.tiny import UNET


@pytest.fixture
def unet():
    config = {**UNET, '_scope_': 'mmagic_adm', 'channel_mult': (1, 2, 2), 'num_res_blocks': 2}
    network = MODELS.build(config).eval()
    fill_by_name(network)
    return network


def call(unet, t: int, seed: int = 0, count: int = 2) -> torch.Tensor:
    x = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return unet(x, torch.full((count,), t), torch.arange(count))


def count_calls(module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_inner_blocks_run_in_every_kth_call_only(unet):
    middle, first, last = map(
        count_calls, (unet.middle_block, unet.input_blocks[0], unet.output_blocks[-1])
    )
    with reused_deep_features(unet, every=3):
        for t in range(7):
            call(unet, t)
    assert (len(middle), len(first), len(last)) == (3, 7, 7)


def test_the_same_input_again_gives_the_same_output(unet):
    expected = call(unet, 500)
    with reused_deep_features(unet, every=2):
        torch.testing.assert_close(call(unet, 500), expected)
        torch.testing.assert_close(call(unet, 500), expected)


def test_another_input_is_answered_from_its_own_outer_levels(unet):
    exact = call(unet, 480, seed=1)
    with reused_deep_features(unet, every=2):
        call(unet, 500, seed=0)
        reused = call(unet, 480, seed=1)
    assert not torch.allclose(reused, exact, atol=1e-4)
    with reused_deep_features(unet, every=2, levels=2):
        call(unet, 500, seed=0)
        closer = call(unet, 480, seed=1)
    assert (closer - exact).abs().mean() < (reused - exact).abs().mean()


def test_every_call_computes_all_at_1_and_after_the_end(unet):
    expected = call(unet, 480, seed=1)
    for every in (1, 4):
        with reused_deep_features(unet, every=every):
            call(unet, 500)
            if every == 1:
                torch.testing.assert_close(call(unet, 480, seed=1), expected)
        torch.testing.assert_close(call(unet, 480, seed=1), expected)


def test_a_batch_of_another_size_is_computed_whole(unet):
    expected = call(unet, 480, count=3)
    with reused_deep_features(unet, every=2):
        call(unet, 500, count=2)
        torch.testing.assert_close(call(unet, 480, count=3), expected)


@pytest.mark.parametrize('levels', [0, 3])
def test_levels_must_leave_something_to_reuse(unet, levels):
    with pytest.raises(ValueError, match=f'has 3 levels.*not {levels}'):  # noqa: SIM117
        with reused_deep_features(unet, every=2, levels=levels):
            pass
    assert unet.deep_features is None


def test_every_counts_from_1(unet):
    with pytest.raises(ValueError, match='k from 1 on, not 0'), reused_deep_features(unet, every=0):
        pass


def test_a_walk_inside_a_walk_recalls_its_own_features_and_leaves_the_outer_ones(unet):
    def walk(inside=None):
        outputs = []
        with reused_deep_features(unet, every=3):
            for t in range(500, 505):
                outputs.append(call(unet, t, seed=t))
                if inside is not None:
                    inside()
        return outputs

    def inner(every):
        with reused_deep_features(unet, every=every):
            torch.testing.assert_close(call(unet, 100, seed=1), expected)

    expected = call(unet, 100, seed=1)
    undisturbed = walk()
    for every in (1, 2):
        torch.testing.assert_close(walk(lambda every=every: inner(every)), undisturbed)


def test_a_network_that_cannot_recall_is_named():
    with pytest.raises(ValueError, match=r'reuse_every=2 needs .* Identity has no deep_features'):  # noqa: SIM117
        with reused_deep_features(torch.nn.Identity(), every=2):
            pass
    with reused_deep_features(torch.nn.Identity(), every=1):
        pass
