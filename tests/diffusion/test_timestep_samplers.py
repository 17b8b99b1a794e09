import numpy as np
import pytest
import torch
import torch.multiprocessing

from mmagic_adm.diffusion import LossSecondMomentTimestepSampler, UniformTimestepSampler
from tests.reference import load_golden


def golden_sampler():
    golden = load_golden('diffusion', 'loss_second_moment')
    meta = golden.meta
    sampler = LossSecondMomentTimestepSampler(
        meta['num_timesteps'], meta['history_per_term'], meta['uniform_prob']
    )
    return golden, sampler


def test_weights_equal_the_original():
    golden, sampler = golden_sampler()
    for t, losses in zip(golden.t, golden.loss, strict=True):
        sampler.update(t, losses)
    assert sampler.is_warmed_up == golden.warm.item()
    torch.testing.assert_close(sampler.weights(), golden.weights)


def test_uniform_until_every_timestep_has_its_history():
    sampler = LossSecondMomentTimestepSampler(4, history_per_term=2)
    sampler.update(torch.tensor([0, 0, 0, 1, 1, 2, 2, 3]), torch.arange(8.0))
    assert torch.equal(sampler.weights(), torch.ones(4, dtype=torch.float64))
    sampler.update(torch.tensor([3]), torch.tensor([100.0]))
    assert sampler.weights().argmax() == 3


@pytest.mark.parametrize('skewed', [False, True])
def test_weighted_losses_have_the_uniform_expectation(skewed):
    sampler = LossSecondMomentTimestepSampler(5, history_per_term=1)
    loss_at = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    if skewed:
        sampler.update(torch.arange(5), loss_at)
    t, factors = sampler.sample(20000, generator=torch.Generator().manual_seed(0))
    assert (factors * loss_at[t]).mean().item() == pytest.approx(loss_at.mean().item(), rel=0.02)
    share = torch.bincount(t, minlength=5) / len(t)
    expected = loss_at / loss_at.sum() if skewed else torch.full((5,), 0.2)
    torch.testing.assert_close(share, expected, rtol=0, atol=0.02)


def test_uniform_sampler_reaches_every_timestep_with_factor_one():
    t, factors = UniformTimestepSampler(10).sample(1000)
    assert sorted(set(t.tolist())) == list(range(10))
    assert t.dtype == torch.int64
    torch.testing.assert_close(factors, torch.ones(1000))


@pytest.mark.parametrize('sampler_type', [UniformTimestepSampler, LossSecondMomentTimestepSampler])
def test_resumed_sampler_draws_what_the_uninterrupted_one_does(sampler_type, tmp_path):
    sampler, resumed = sampler_type(6), sampler_type(6)
    rng = np.random.default_rng(0)
    for _ in range(20):
        sampler.update(torch.from_numpy(rng.integers(0, 6, 8)), torch.from_numpy(rng.random(8)))
    torch.save(sampler.state_dict(), tmp_path / 'sampler.pth')
    resumed.load_state_dict(torch.load(tmp_path / 'sampler.pth', weights_only=True))
    for _ in range(3):
        batches = [
            s.sample(16, generator=torch.Generator().manual_seed(3)) for s in (sampler, resumed)
        ]
        assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
        for s in (sampler, resumed):
            s.update(batches[0][0], batches[0][1])


def test_a_saved_state_does_not_change_afterwards():
    sampler = LossSecondMomentTimestepSampler(3, history_per_term=1)
    state = sampler.state_dict()
    sampler.update(torch.tensor([1]), torch.tensor([5.0]))
    assert state['losses'].abs().sum() == 0


def test_state_of_another_process():
    sampler = LossSecondMomentTimestepSampler(6, history_per_term=4)
    with pytest.raises(
        ValueError, match='has 8 timesteps with 10 losses each, this one has 6 with 4'
    ):
        sampler.load_state_dict(LossSecondMomentTimestepSampler(8).state_dict())


def test_no_timesteps():
    with pytest.raises(ValueError, match='at least one timestep, not 0'):
        UniformTimestepSampler(0)


def _update_on_one_of_two(rank, folder):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2
    )
    golden, sampler = golden_sampler()
    # The batches of the two processes differ in size.
    own = slice(0, 3) if rank == 0 else slice(3, 4)
    for t, losses in zip(golden.t, golden.loss, strict=True):
        sampler.update(t[own], losses[own])
    torch.save(sampler.weights(), f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_keep_one_history(tmp_path):
    torch.multiprocessing.spawn(_update_on_one_of_two, args=(str(tmp_path),), nprocs=2)
    golden, _ = golden_sampler()
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f'{rank}.pth'), golden.weights)
