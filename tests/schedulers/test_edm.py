"""EDM's sampler on data whose denoiser is known, and what it refuses."""

import math

import pytest
import torch

from mmagic_adm.diffusion import Prediction
from mmagic_adm.schedulers.edm import EDMHeunScheduler

MEAN = torch.tensor([0.3, -0.5, 0.1], dtype=torch.float64)
VARIANCE = torch.tensor([0.4, 0.3, 0.2], dtype=torch.float64)


def pixels(values):
    """One number for each channel of an image of one pixel."""
    return values.view(1, -1, 1, 1)


def denoiser_of(denoise):
    """A denoiser of a function of samples and sigma."""

    def denoiser(x, level):
        x_0 = denoise(x, level.noise)
        return Prediction(x_0, level.eps(x, x_0))

    return denoiser


@denoiser_of
def denoise_normal(x, sigma):
    """E[x_0 | x] for normally distributed data."""
    return pixels(MEAN) + pixels(VARIANCE / (VARIANCE + sigma**2)) * (x - pixels(MEAN))


@denoiser_of
def denoise_mixture(x, sigma):
    """E[x_0 | x] for a mixture of three normal distributions."""
    means = torch.tensor([[-0.6, 0.2], [0.5, 0.6], [0.4, -0.7]], dtype=torch.float64)
    variance, weights = 0.09, torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    offset = x[:, None] - means[None, :, :, None, None]
    log_share = weights.log() - offset.square().sum((2, 3, 4)) / (2 * (variance + sigma**2))
    within = means[None, :, :, None, None] + variance / (variance + sigma**2) * offset
    return (log_share.softmax(1)[:, :, None, None, None] * within).sum(1)


def walk(scheduler, denoiser, noise, **kwargs):
    return list(scheduler.walk(denoiser, scheduler.init_noise(noise), **kwargs))[-1].sample


def scheduler_of(steps, **kwargs):
    scheduler = EDMHeunScheduler(**kwargs)
    scheduler.set_timesteps(steps)
    return scheduler


# -- noise levels -------------------------------------------------------------------------------


def test_the_levels_are_those_of_the_paper():
    scheduler = scheduler_of(4, sigma_min=0.1, sigma_max=12.8, rho=7)
    first, last = 12.8 ** (1 / 7), 0.1 ** (1 / 7)
    levels = [(first + i / 3 * (last - first)) ** 7 for i in range(4)]
    assert [level.noise for level in scheduler.levels] == pytest.approx(levels)
    # Each step but the last is corrected, at the level where it ends.
    expected = [levels[0], *(level for level in levels[1:] for _ in range(2))]
    assert sigmas_of(scheduler) == pytest.approx(expected)


def sigmas_of(scheduler):
    """What the network is told, call by call."""
    told = []

    @denoiser_of
    def denoiser(x, sigma):
        told.append(sigma)
        return x / 2

    walk(scheduler, denoiser, torch.zeros(1, 1, 1, 1))
    return told


@pytest.mark.parametrize(('steps', 'calls'), [(1, 1), (10, 19), (18, 35), (256, 511)])
def test_a_step_calls_the_network_twice_but_for_the_last(steps, calls):
    assert len(sigmas_of(scheduler_of(steps))) == calls
    assert len(sigmas_of(scheduler_of(steps, solver='euler'))) == steps


@pytest.mark.parametrize(('spec', 'steps'), [('18', 18), (None, 18), ('7', 7)])
def test_the_number_of_steps_may_be_text_or_the_papers(spec, steps):
    assert len(scheduler_of(spec).levels) == steps


def test_the_network_is_told_the_level_that_noise_was_raised_to():
    plain, raised = scheduler_of(5), scheduler_of(5, S_churn=1, S_min=0.05, S_max=50)
    before, after = sigmas_of(plain), sigmas_of(raised)
    predicting = range(0, 9, 2)
    factor = [after[k] / before[k] for k in predicting]
    in_range = [0.05 <= before[k] <= 50 for k in predicting]
    assert factor == pytest.approx([1.2 if inside else 1 for inside in in_range])
    assert 0 < sum(in_range) < 5
    assert after[1::2] == before[1::2]


def test_noise_is_raised_by_no_more_than_makes_its_variance_double():
    plain, raised = scheduler_of(4), scheduler_of(4, S_churn=100)
    assert sigmas_of(raised)[0] / sigmas_of(plain)[0] == pytest.approx(math.sqrt(2))


# -- samples ------------------------------------------------------------------------------------


def test_on_a_gaussian_mixture_the_error_falls_at_the_solvers_order():
    noise = torch.randn(16, 2, 1, 1, dtype=torch.float64)
    exact = walk(scheduler_of(2000), denoise_mixture, noise)
    for solver, order in (('heun', 2), ('euler', 1)):
        errors = [
            (walk(scheduler_of(steps, solver=solver), denoise_mixture, noise) - exact).norm()
            for steps in (40, 80, 160)
        ]
        falls = [math.log2(errors[k] / errors[k + 1]) for k in range(2)]
        assert falls == pytest.approx([order, order], abs=0.25), solver


def test_it_follows_the_probability_flow():
    """For normal data that is a stretch by the ratio of standard deviations."""
    noise = torch.randn(8, 3, 1, 1, dtype=torch.float64)
    end = walk(scheduler_of(200), denoise_normal, noise)
    stretch = (VARIANCE / (VARIANCE + 80**2)).sqrt()
    expected = pixels(MEAN) + pixels(stretch) * (80 * noise - pixels(MEAN))
    torch.testing.assert_close(end, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize('kwargs', [{}, dict(S_churn=20), dict(S_churn=40, S_min=0.05, S_max=50)])
def test_samples_are_distributed_like_the_data(kwargs):
    """All is affine in the noise: mean and covariance follow from what becomes of unit vectors."""
    errors = []
    for steps in (30, 120):
        sources = 1 + steps
        inputs = torch.cat([torch.zeros(1, 3 * sources), torch.eye(3 * sources)]).double()
        inputs = inputs.reshape(-1, sources, 3, 1, 1).unbind(1)
        noises = dict(noises=inputs[1:]) if kwargs else {}
        ends = walk(scheduler_of(steps, **kwargs), denoise_normal, inputs[0], **noises).flatten(1)
        ways = ends[1:] - ends[0]
        off = torch.cat([ends[:1] - MEAN, ways.T @ ways - VARIANCE.diag()])
        errors.append(off.abs().max())
    assert errors[1] < min(0.01, errors[0] / 2)


def test_guidance_towards_data_is_the_product_of_densities():
    """Guided by log N(x_0; b, v) as it looks from x_t, samples come from the data times that."""
    target, width = torch.tensor([0.5, 0.0, -0.2]).double(), 0.3
    seen = []

    def guidance(x_t, t, pred_x0):
        """The gradient of log E[N(x_0; b, v) | x_t]."""
        seen.append(x_t)
        alpha_bar = scheduler.full_process.train_alphas_cumprod[t.round().long()]
        alpha_bar = torch.as_tensor(alpha_bar)[0].item()
        spread = 1 / (1 / VARIANCE + alpha_bar / (1 - alpha_bar))
        slope = pixels(spread * math.sqrt(alpha_bar) / (1 - alpha_bar))
        return slope * (pixels(target) - pred_x0) / pixels(spread + width)

    scheduler = scheduler_of(100, sigma_min=0.01)
    noise = torch.randn(4000, 3, 1, 1, dtype=torch.float64)
    samples = walk(scheduler, denoise_normal, noise, guidance=guidance).flatten(1)
    precision = 1 / VARIANCE + 1 / width
    mean = (MEAN / VARIANCE + target / width) / precision
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(samples.var(0), 1 / precision, rtol=0.1, atol=0)
    # What guidance sees has the variance of a discrete process, at every level of noise.
    assert seen[0].dtype == torch.float32
    assert all(x_t.std() < 1.1 for x_t in seen)


def test_guidance_is_told_the_timestep_with_as_much_noise():
    told = []

    def guidance(x_t, t, pred_x0):
        told.append(t)
        return torch.zeros_like(x_t)

    scheduler = scheduler_of(6, beta_schedule='linear')
    walk(scheduler, denoise_normal, torch.zeros(2, 3, 1, 1), guidance=guidance)
    alpha_bar = torch.from_numpy(scheduler.full_process.train_alphas_cumprod)
    sigmas = ((1 - alpha_bar) / alpha_bar).sqrt()
    for t, level in zip(told, sigmas_of(scheduler), strict=True):
        assert t.shape == (2,)
        nearest = (sigmas - level).abs().argmin()
        torch.testing.assert_close(t, nearest.float().expand(2), rtol=0, atol=0.5)


def test_a_sample_does_not_depend_on_its_batch():
    noise = torch.randn(3, 3, 1, 1)

    def generators(seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    scheduler = scheduler_of(8, S_churn=20)
    together = walk(scheduler, denoise_normal, noise, generators=generators([0, 1, 2]))
    alone = walk(scheduler, denoise_normal, noise[1:2], generators=generators([1]))
    assert torch.equal(together[1:2], alone)
    other = walk(scheduler, denoise_normal, noise[1:2], generators=generators([5]))
    assert not torch.equal(alone, other)


def test_without_churn_nothing_is_drawn():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    walk(scheduler_of(5), denoise_normal, torch.randn(2, 3, 1, 1), generators=generator)
    assert torch.equal(generator.get_state(), before)


def test_samples_accumulate_in_float64_and_images_come_beside_them():
    scheduler, denoised = scheduler_of(3, solver='euler'), torch.rand(2, 3, 1, 1)
    sample = scheduler.init_noise(torch.randn(2, 3, 1, 1))
    step = next(scheduler.walk(denoiser_of(lambda x, sigma: denoised), sample))
    assert sample.dtype == step.sample.dtype == torch.float64
    torch.testing.assert_close(step.pred_x0, denoised.double())
    first, second = (level.noise for level in scheduler.levels[:2])
    expected = sample + (second - first) * (sample - denoised) / first
    torch.testing.assert_close(step.sample, expected)


# -- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize('spec', ['ddim25', 0, -3, '10,20', 2.5])
def test_a_spacing_that_edm_does_not_have_is_refused(spec):
    with pytest.raises(ValueError, match='spaces its steps by itself: give their number'):
        EDMHeunScheduler().set_timesteps(spec)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(sigma_min=0.0), 'sigma_min 0.0 is not between 0 and sigma_max 80'),
        (dict(sigma_min=90), 'sigma_min 90 is not between 0 and sigma_max 80'),
        (dict(rho=0), r'rho is above 0 and .* not 0 and 0\.0'),
        (dict(S_churn=-1), r'S_churn 0 or more, not 7\.0 and -1'),
        (dict(solver='rk4'), "solver is one of heun, euler, dpm2, ancestral, not 'rk4'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        EDMHeunScheduler(**kwargs)
