"""Restarts: the walks of the original, what they leave of the distribution, their intervals."""

import pytest
import torch

from mmagic_adm.diffusion import Prediction
from mmagic_adm.schedulers import (
    BoostedHeunScheduler,
    DDIMRestartScheduler,
    DDIMScheduler,
    EDMHeunScheduler,
    RestartScheduler,
)
from tests.reference import golden_names, load_golden
from tests.schedulers.gaussian import GaussianData, ends
from tests.schedulers.test_gaussian_data import COVARIANCE, MEAN, error
from tests.tiny import build_model

PLAIN = dict(variance_type='fixed_small', clip_sample=False)


def formula(x, level):
    """The denoiser of the goldens, which sees and gives float32."""
    x, sigma = x.float(), level.noise
    x_0 = x * 0.25 / (sigma**2 + 0.25) + 0.1 * torch.sin(x / (1 + sigma))
    return Prediction(x_0, level.eps(x, x_0))


def walk_of(golden):
    """The scheduler of a golden, and all noise in the order in which it takes it."""
    names = ('sigma_min', 'sigma_max', 'rho', 'S_churn', 'S_min', 'S_max', 'S_noise')
    settings = {name: golden.meta[name] for name in names}
    scheduler = RestartScheduler(
        restarts=golden.meta['restart'], restart_gamma=golden.meta['restart_gamma'], **settings
    )
    scheduler.set_timesteps(golden.meta['steps'])
    jumps = dict(zip(golden.jump_after_step.tolist(), golden.noise_jump, strict=True))
    noises = []
    for k, noise in enumerate(golden.noise):
        if k - 1 in jumps:
            noises.append(jumps[k - 1])
        if golden.step_raised[k] > golden.step_from[k]:
            noises.append(noise)
    return scheduler, noises


@pytest.mark.parametrize('name', golden_names('restart'))
class TestOriginal:
    def test_every_step_of_the_walk(self, name):
        golden = load_golden('restart', name)
        scheduler, noises = walk_of(golden)
        walk = scheduler.walk(formula, scheduler.init_noise(golden.x), noises=noises)
        samples = torch.stack([step.sample for step in walk])
        scale = golden.samples.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1)
        torch.testing.assert_close(samples / scale, golden.samples / scale, rtol=0, atol=1e-5)

    def test_every_call(self, name):
        golden = load_golden('restart', name)
        scheduler, _ = walk_of(golden)
        sigmas = torch.tensor([level.noise for level in scheduler.calls()])
        torch.testing.assert_close(sigmas, golden.network_sigmas.float(), rtol=1e-6, atol=0)
        assert len(sigmas) == golden.meta['calls']


@pytest.mark.parametrize(
    ('scheduler', 'steps', 'walked'),
    [
        (RestartScheduler([[9, 2, 0.3, 2.0]], restart_gamma=0.05), 40, 56),
        (DDIMRestartScheduler([[31, 2, 500, 600]], **PLAIN), 250, 310),
    ],
    ids=['edm', 'ddim'],
)
def test_the_distribution_of_the_data_stays_what_it_is(scheduler, steps, walked):
    scheduler.set_timesteps(steps)
    assert len(scheduler.levels) == walked
    assert error(scheduler, takes_noise=True) < 0.01


@pytest.mark.parametrize(
    ('scheduler', 'plain'),
    [
        (RestartScheduler([[9, 4, 0.1, 10.0]]), EDMHeunScheduler()),
        (DDIMRestartScheduler([[9, 4, 100, 700]], **PLAIN), DDIMScheduler(**PLAIN)),
    ],
    ids=['edm', 'ddim'],
)
def test_errors_made_before_a_restart_are_contracted(scheduler, plain):
    data, start = GaussianData(MEAN, COVARIANCE), torch.arange(2.0).reshape(2, 1, 1, 1)
    moved = []
    for each in (scheduler, plain):
        each.set_timesteps(20)
        noises = torch.zeros(len(each.levels), 2, 3, 1, 1)
        one, other = ends(each, data, start.expand(2, 3, 1, 1), noises=noises)
        moved.append((one - other).abs().max())
    assert moved[0] < 0.1 * moved[1]


@pytest.mark.parametrize('kind', [RestartScheduler, BoostedHeunScheduler])
def test_beside_what_it_adds_it_is_edms_sampler_with_all_its_options(kind):
    data, start = GaussianData(MEAN, COVARIANCE), torch.full((1, 3, 1, 1), 2.0)
    options = dict(to_zero=False, clip_sample=True, S_churn=4.0)
    added = dict(restarts=[]) if kind is RestartScheduler else dict(boosting=False)
    walks = []
    for scheduler in (kind(**added, **options), EDMHeunScheduler(**options)):
        scheduler.set_timesteps(6)
        walk = scheduler.walk(
            lambda x, level: data(x, level).clipped(),
            scheduler.init_noise(start),
            noises=torch.ones(6, 1, 3, 1, 1),
        )
        walks.append(torch.stack([step.sample for step in walk]))
    torch.testing.assert_close(*walks)


def test_the_way_back_to_noise_has_no_restarts():
    data, image = GaussianData(MEAN, COVARIANCE), torch.full((1, 3, 1, 1), 0.2)
    restarting = RestartScheduler([[4, 1, 0.5, 2.0]])
    plain = EDMHeunScheduler()
    for scheduler in (restarting, plain):
        scheduler.set_timesteps(10)
    assert torch.equal(restarting.to_noise(data, image), plain.to_noise(data, image))


@pytest.mark.parametrize(
    ('restart', 'message'),
    [
        ([4, 1, 20, 90], r'\(4, 1, 20, 90\) goes from 90 down to 20, .* sigma_max=80'),
        ([4, 1, 0.001, 1], r'sigma_min=0.002'),
        ([4, 1, 2, 1], r'from 1 down to 2'),
        ([1, 1, 1, 2], r'1 points and 1 repeats'),
        ([4, 0, 1, 2], r'4 points and 0 repeats'),
        ([1, 2], r'\(points, repeats, t_min, t_max\)'),
    ],
)
def test_an_interval_that_is_none_is_refused_when_it_is_given(restart, message):
    with pytest.raises(ValueError, match=message):
        RestartScheduler(restarts=[restart])


def test_an_interval_between_two_levels_is_refused_before_the_walk():
    with pytest.raises(ValueError, match=r'begins at 42.4152, the nearest of the 10'):
        RestartScheduler(restarts=[[4, 1, 41, 42]]).set_timesteps(10)
    with pytest.raises(ValueError, match=r'begins at 80'):
        RestartScheduler(restarts=[[4, 1, 75, 79]]).set_timesteps(10)
    scheduler = dict(type='RestartScheduler', restarts=[[4, 1, 75, 79]])
    with pytest.raises(ValueError, match=r'begins at 80'):
        build_model(diffusion_scheduler=scheduler, num_inference_steps=10)


def test_timesteps_beyond_the_process_are_refused():
    with pytest.raises(ValueError, match=r'not within the last timestep=999'):
        DDIMRestartScheduler(restarts=[[4, 1, 500, 1200]])
    model = build_model(diffusion_scheduler=dict(type='DDIMScheduler', num_train_timesteps=100))
    with pytest.raises(ValueError, match=r'not within the last timestep=99'):
        model.make_scheduler(dict(type='DDIMRestartScheduler', restarts=[[4, 1, 50, 120]]))
