import pytest
import torch

from mmagic_adm.schedulers import DDIMScheduler
from tests.diffusion.formula import formula_gradient, formula_network


def walk(scheduler, sample, steps, guidance=None):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        output = formula_network(sample, torch.full((len(sample),), t))
        result = scheduler.step(output, t, sample, guidance=guidance)
        sample = result.prev_sample
    return result


@pytest.mark.parametrize('steps', [25, 50, 250, 1000])
def test_a_number_of_steps_is_spaced_evenly_where_that_exists(steps):
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps == list(range(0, 1000, 1000 // steps))[::-1]


@pytest.mark.parametrize('steps', [7, 60, 400, 999])
def test_a_number_of_steps_is_that_many(steps):
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == steps


def test_no_noise_is_drawn_at_eta_zero():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(5)
    sample = torch.randn(1, 3, 4, 4)
    scheduler.step(torch.randn(1, 6, 4, 4), 800, sample, generator=generator)
    assert torch.equal(before, generator.get_state())


def test_both_variants_agree_where_nothing_is_clipped():
    x_t = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    guidance = formula_gradient(torch.tensor([1, 2]))
    variants = [
        walk(DDIMScheduler(rederive_eps=rederive, clip_sample=False), x_t, 10, guidance)
        for rederive in (True, False)
    ]
    torch.testing.assert_close(variants[0].prev_sample, variants[1].prev_sample)


def test_mmagics_variant_keeps_eps_and_clips_the_image_last():
    scheduler = DDIMScheduler(variance_type='fixed_small', rederive_eps=False)
    scheduler.set_timesteps('ddim4')
    sample, eps, gradient = torch.randn(3, 2, 3, 4, 4)
    result = scheduler.step(eps, 500, sample, guidance=lambda *_: gradient)
    here, there = (scheduler.full_process.level(t) for t in (500, 250))
    guided = eps - here.noise * gradient
    x_0 = here.x_0(sample, guided).clamp(-1, 1)
    torch.testing.assert_close(result.pred_original_sample, x_0)
    torch.testing.assert_close(result.prev_sample, there.mix(x_0, guided))


def test_last_step_gives_the_predicted_image():
    result = walk(DDIMScheduler(), torch.randn(2, 3, 4, 4), 5)
    assert torch.equal(result.prev_sample, result.pred_original_sample)


@pytest.mark.parametrize('prediction_type', ['start_x', 'previous_x'])
def test_every_prediction_walks_the_same_way(prediction_type):
    """Networks that predict the image, or the step before, in place of the noise."""
    scheduler = DDIMScheduler(variance_type='fixed_small', prediction_type=prediction_type)
    reference = DDIMScheduler(variance_type='fixed_small')
    for each in (scheduler, reference):
        each.set_timesteps(10)
    x_t, eps = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    x_0 = reference.process.level(5).x_0(x_t, eps)
    output = x_0
    if prediction_type == 'previous_x':
        output = scheduler.process.posterior(x_0, x_t, 5).mean
    expected = reference.step(eps, 500, x_t)
    torch.testing.assert_close(scheduler.step(output, 500, x_t).prev_sample, expected.prev_sample)


@pytest.mark.parametrize('eta', [-0.1, 1.5])
def test_eta_out_of_range(eta):
    with pytest.raises(ValueError, match=f'eta is between 0 and 1, not {eta}'):
        DDIMScheduler(eta=eta)
