import pytest
import torch

from mmagic_adm.schedulers import DDPMScheduler
from tests.diffusion.formula import reverse_distribution


def test_a_number_of_steps_is_spaced_with_both_ends():
    scheduler = DDPMScheduler()
    scheduler.set_timesteps(25)
    by_number = scheduler.timesteps
    scheduler.set_timesteps('25')
    assert by_number == scheduler.timesteps
    assert (by_number[0], by_number[-1]) == (999, 0)


def test_every_step_draws_noise_and_the_last_adds_none():
    scheduler = DDPMScheduler()
    scheduler.set_timesteps(5)
    sample, output = torch.randn(1, 3, 4, 4), torch.randn(1, 6, 4, 4)
    generator = torch.Generator().manual_seed(0)
    for t in scheduler.timesteps:
        before = generator.get_state()
        result = scheduler.step(output, t, sample, generator=generator)
        assert not torch.equal(before, generator.get_state())
    mean = scheduler.step(output, t, sample, noise=torch.zeros_like(sample))
    assert torch.equal(result.prev_sample, mean.prev_sample)


@pytest.mark.parametrize('variance_type', ['fixed_small', 'fixed_large'])
def test_noise_has_the_steps_variance(variance_type):
    scheduler = DDPMScheduler(variance_type=variance_type)
    scheduler.set_timesteps(10)
    sample, output = torch.randn(2, 1, 3, 4, 4)
    free, noisy = (
        scheduler.step(output, 555, sample, noise=torch.full_like(sample, z)).prev_sample
        for z in (0.0, 1.0)
    )
    p = reverse_distribution(scheduler.process, output, sample, 5)
    torch.testing.assert_close((noisy - free) ** 2, p.variance.contiguous())
