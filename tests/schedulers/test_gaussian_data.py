"""Normally distributed data, whose perfect network is known, through every scheduler."""

import functools
import math

import pytest
import torch

from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusersScheduler,
    EDMHeunScheduler,
)
from tests.schedulers.gaussian import (
    PLAIN,
    GaussianData,
    ends,
    plain_solver,
    sampled_mean_and_covariance,
)
from tests.toolbox import newer_diffusers

# diffusers is not yet at home with NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')

MEAN = [0.3, -0.5, 0.1]
COVARIANCE = [[0.4, 0.15, 0.0], [0.15, 0.3, -0.1], [0.0, -0.1, 0.2]]


def error(scheduler, takes_noise=False):
    """The largest error in the mean and in the covariance of what is sampled."""
    data = GaussianData(MEAN, COVARIANCE)
    mean, covariance = sampled_mean_and_covariance(scheduler, data, data.dim, takes_noise)
    return max((mean - data.mean).abs().max(), (covariance - data.covariance).abs().max()).item()


def flow_error(scheduler, steps):
    """How far from the exact solution of the probability flow a solver ends."""
    data = GaussianData(MEAN, COVARIANCE)
    noise = torch.randn(8, 3, 1, 1, dtype=torch.float64)
    scheduler.set_timesteps(steps)
    end = ends(scheduler, data, noise)
    return (end - data.flow(noise, scheduler.levels[0].unit())).abs().max().item()


@pytest.mark.parametrize('beta_schedule', ['linear', 'cosine'])
@pytest.mark.parametrize('variance_type', ['fixed_small', 'fixed_large'])
def test_ddpm_samples_the_data(variance_type, beta_schedule):
    scheduler = DDPMScheduler(
        variance_type=variance_type, beta_schedule=beta_schedule, clip_sample=False
    )
    errors = []
    for steps in (50, 400):
        scheduler.set_timesteps(steps)
        errors.append(error(scheduler, takes_noise=True))
    assert errors[1] < min(0.02, errors[0] / 4)


@pytest.mark.parametrize('prediction_type', ['epsilon', 'start_x', 'previous_x'])
@pytest.mark.parametrize('variance_type', ['learned', 'learned_range'])
def test_ddpm_is_exact_in_any_number_of_steps_if_the_variance_is(variance_type, prediction_type):
    """What reverses a step of noise on normal data is normal: few steps are enough."""
    scheduler = DDPMScheduler(
        variance_type=variance_type, prediction_type=prediction_type, clip_sample=False
    )
    scheduler.set_timesteps(5)
    process = scheduler.process
    data = GaussianData(MEAN, torch.diag(torch.tensor([0.4, 0.3, 0.2])))

    def predict(x_t, timesteps):
        index = process.timesteps.index(int(timesteps[0]))
        level = process.level(index)
        x_0, spread = data.posterior(x_t, level)
        posterior = process.posterior(x_0, x_t, index)
        of_x_0 = process.image_share(index, x_t)
        log_variance = (posterior.variance + of_x_0**2 * spread.diag().reshape(1, 3, 1, 1)).log()
        if variance_type == 'learned_range':
            low, high = posterior.log_variance, math.log(process.betas[index])
            log_variance = (2 * log_variance - high - low) / (high - low)
        prediction = {
            'epsilon': level.eps(x_t, x_0),
            'start_x': x_0,
            'previous_x': posterior.mean,
        }[prediction_type]
        return torch.cat([prediction, log_variance], dim=1)

    denoiser = make_denoiser(predict, process)
    mean, covariance = sampled_mean_and_covariance(scheduler, denoiser, 3, takes_noise=True)
    # The noise that the last step leaves out has a variance of 1e-4.
    torch.testing.assert_close(mean, data.mean, rtol=0, atol=2e-4)
    torch.testing.assert_close(covariance, data.covariance, rtol=0, atol=2e-4)


@pytest.mark.parametrize('eta', [0.0, 0.5, 1.0])
def test_ddim_samples_the_data(eta):
    scheduler = DDIMScheduler(**PLAIN, eta=eta)
    errors = []
    for steps in (50, 400):
        scheduler.set_timesteps(str(steps))
        errors.append(error(scheduler, takes_noise=eta > 0))
    assert errors[1] < min(0.02, errors[0] / 4)


def test_ddim_at_eta_one_is_ddpm():
    samples = []
    for scheduler in (DDIMScheduler(**PLAIN, eta=1.0), DDPMScheduler(**PLAIN)):
        scheduler.set_timesteps('20')
        data = GaussianData(MEAN, COVARIANCE)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(20, 4, 3, 1, 1, dtype=torch.float64, generator=generator)
        samples.append(ends(scheduler, data, noise[0], noises=noise))
    torch.testing.assert_close(*samples)


@pytest.mark.parametrize(
    ('name', 'solver_kwargs', 'tolerance'),
    [
        pytest.param('DPMSolverMultistepScheduler', {}, 5e-3, marks=newer_diffusers),
        ('DPMSolverMultistepScheduler', {'use_karras_sigmas': True}, 2e-2),
        ('UniPCMultistepScheduler', {}, 5e-3),
        ('HeunDiscreteScheduler', {}, 5e-3),
        ('HeunDiscreteScheduler', {'use_karras_sigmas': True}, 2e-2),
        ('EulerDiscreteScheduler', {}, 4e-2),
        ('DEISMultistepScheduler', {}, 5e-3),
        pytest.param('LMSDiscreteScheduler', {}, 5e-3, marks=pytest.mark.slow),
        ('KDPM2DiscreteScheduler', {}, 5e-3),
        ('PNDMScheduler', {}, 5e-3),
        ('DDIMScheduler', {}, 4e-2),
        pytest.param('DPMSolverSinglestepScheduler', {}, 2e-2, marks=newer_diffusers),
    ],
)
def test_solvers_sample_the_data(name, solver_kwargs, tolerance):
    scheduler = plain_solver(name)
    if solver_kwargs:
        scheduler = DiffusersScheduler(name, **PLAIN, **solver_kwargs)
    scheduler.set_timesteps(60)
    assert error(scheduler) < tolerance


@newer_diffusers
def test_stochastic_solver_samples_the_data():
    scheduler = DiffusersScheduler(**PLAIN, algorithm_type='sde-dpmsolver++')
    scheduler.set_timesteps(80)
    assert error(scheduler, takes_noise=True) < 0.02


@pytest.mark.parametrize(
    ('name', 'order'),
    [
        ('own DDIM', 1),
        ('EulerDiscreteScheduler', 1),
        pytest.param('DPMSolverMultistepScheduler', 2, marks=newer_diffusers),
        pytest.param('UniPCMultistepScheduler', 2, marks=newer_diffusers),
        ('HeunDiscreteScheduler', 2),
    ],
)
def test_errors_fall_at_the_solvers_order_as_steps_double(name, order):
    scheduler = DDIMScheduler(**PLAIN) if name == 'own DDIM' else DiffusersScheduler(name, **PLAIN)
    errors = []
    for steps in (20, 40, 80):
        torch.manual_seed(1)
        errors.append(flow_error(scheduler, steps))
    measured = math.log2(errors[0] / errors[-1]) / 2
    assert order - 0.2 < measured < order + 0.75


@pytest.mark.parametrize(
    'make',
    [
        lambda: DDIMScheduler(**PLAIN),
        lambda: DDIMScheduler(**PLAIN, rederive_eps=False),
        EDMHeunScheduler,
        lambda: EDMHeunScheduler(solver='euler'),
    ],
    ids=['ddim', 'ddim_mmagic', 'edm', 'edm_euler'],
)
def test_inversion_then_sampling_returns_to_the_start(make):
    errors = []
    for steps in (50, 200):
        scheduler = make()
        scheduler.set_timesteps(steps)
        data = GaussianData(MEAN, COVARIANCE)
        start = data.mean.reshape(1, 3, 1, 1) + 0.5 * torch.randn(4, 3, 1, 1, dtype=torch.float64)
        returned = ends(scheduler, data, scheduler.to_noise(data, start))
        errors.append((returned - start).abs().max().item())
    assert errors[1] < min(0.03, errors[0] / 2)


@pytest.mark.parametrize('make', [lambda: DDIMScheduler(**PLAIN), EDMHeunScheduler])
def test_inversion_gives_standard_normal_noise(make):
    scheduler = make()
    scheduler.set_timesteps(1000)
    data = GaussianData(MEAN, COVARIANCE)
    root = torch.linalg.cholesky(data.covariance)
    ways = torch.cat([torch.zeros(1, 3, dtype=torch.float64), root.T]) + data.mean
    noise = scheduler.to_noise(data, ways.reshape(4, 3, 1, 1)).flatten(1)
    ways = noise[1:] - noise[0]
    torch.testing.assert_close(noise[0], torch.zeros_like(noise[0]), rtol=0, atol=0.02)
    torch.testing.assert_close(ways.T @ ways, torch.eye(3).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    'make',
    [
        lambda: DDPMScheduler(**PLAIN),
        lambda: DDIMScheduler(**PLAIN),
        lambda: DDIMScheduler(**PLAIN, rederive_eps=False, eta=0.5),
        lambda: plain_solver('HeunDiscreteScheduler'),
        lambda: plain_solver('EulerAncestralDiscreteScheduler'),
        lambda: EDMHeunScheduler(sigma_min=0.01, beta_schedule='linear', S_churn=20),
    ],
    ids=['ddpm', 'ddim', 'ddim_mmagic', 'heun', 'ancestral', 'edm'],
)
def test_guidance_towards_data_is_the_product_of_densities(make):
    """Guided by log N(x_0; b, v), as it looks from x_t, samples come from the data times that.

    Both are normal and so is their product, whose mean and variance are known.
    """
    target, width = torch.tensor([0.5, 0.0, -0.2]).double(), 0.3
    scheduler = make()
    scheduler.set_timesteps(200)
    variances = torch.tensor([0.4, 0.3, 0.2]).double()
    data = GaussianData(MEAN, torch.diag(variances))

    def guidance(x_t, t, pred_x0):
        """The gradient of log E[N(x_0; b, v) | x_t], exact for this data."""
        level = scheduler.full_process.level_at(t[0].item())
        x_0, spread = data.posterior(x_t, level)
        slope = (spread.diag() * level.signal / level.noise**2).reshape(1, 3, 1, 1)
        distance = target.reshape(1, 3, 1, 1) - x_0
        return slope * distance / (spread.diag().reshape(1, 3, 1, 1) + width)

    noise = torch.randn(3000, 3, 1, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    samples = ends(scheduler, data, noise, guidance=guidance, generators=generator).double()
    precision = 1 / variances + 1 / width
    mean = (data.mean / variances + target / width) / precision
    torch.testing.assert_close(samples.flatten(1).mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(samples.flatten(1).var(0), 1 / precision, rtol=0.1, atol=0)


SAMPLERS = {
    'ddpm': lambda: DDPMScheduler(**PLAIN),
    'ddim': lambda: DDIMScheduler(**PLAIN),
    'edm': EDMHeunScheduler,
    'edm_churn': lambda: EDMHeunScheduler(S_churn=20),
}
# A solver with a history, one at another scale, and one that calls the network twice a step.
QUICK = ('DPMSolverMultistep', 'EulerAncestralDiscrete', 'HeunDiscrete')
OTHERS = (
    'DPMSolverSinglestep',
    'UniPCMultistep',
    'EulerDiscrete',
    'KDPM2Discrete',
    'LMSDiscrete',
    'DEISMultistep',
    'DDIM',
)
SOLVERS = [
    pytest.param(functools.partial(plain_solver, f'{name}Scheduler'), id=name, marks=marks)
    for names, marks in ((QUICK, ()), (OTHERS, (pytest.mark.slow, newer_diffusers)))
    for name in names
]


@pytest.mark.parametrize(
    'make', [*(pytest.param(make, id=name) for name, make in SAMPLERS.items()), *SOLVERS]
)
def test_a_walk_may_begin_in_the_middle_from_noised_data(make):
    """What is data at the start, with the noise of that level, is data at the end."""
    scheduler, data = make(), GaussianData([0.3, -0.5], [[0.4, 0.1], [0.1, 0.3]])
    scheduler.set_timesteps(200)
    generator = torch.Generator().manual_seed(0)
    x_0, noise = torch.randn(2, 4000, 2, generator=generator, dtype=torch.float64)
    images = (data.mean + x_0 @ torch.linalg.cholesky(data.covariance).T).view(-1, 2, 1, 1)
    start = scheduler.noised(images, noise.view(-1, 2, 1, 1), skip=117)
    walk = scheduler.walk(data, start, generators=generator, skip=117)
    end = list(walk)[-1].sample.flatten(1).double()
    torch.testing.assert_close(end.mean(0), data.mean, rtol=0, atol=0.04)
    torch.testing.assert_close(end.T.cov(), data.covariance, rtol=0, atol=0.04)
