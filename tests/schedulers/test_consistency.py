"""Sampling in few steps, and by the other samplers of consistency models' teachers."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.apis import encode, vary
from mmagic_adm.denoisers import ClippedDenoiser, PreconditionedNetwork, make_denoiser
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.engine import LikelihoodLoop
from mmagic_adm.guidance import ClassifierFreeGuidance
from mmagic_adm.schedulers import ConsistencyScheduler, EDMHeunScheduler
from tests.consistency import network_of, precond
from tests.reference import fill_by_name, golden_names, load_golden
from tests.tiny import UNET, build_model, model_config

SOLVERS = dict(heun='heun', dpm='dpm2', euler='euler', ancestral='ancestral', progdist='euler')
SAMPLERS = sorted(
    name
    for name in golden_names('consistency')
    if name.split('_')[0] in (*SOLVERS, 'multistep', 'onestep')
)


def scheduler_of(meta):
    if meta['sampler'] in ('multistep', 'onestep'):
        scheduler = ConsistencyScheduler(
            num_scales=meta['steps'], clip_sample=meta['clip_denoised']
        )
        scheduler.set_timesteps(','.join(map(str, meta['ts'])) if 'ts' in meta else 1)
        return scheduler
    churn = {name[:2].upper() + name[2:]: value for name, value in meta.get('churn', {}).items()}
    churn = {name.replace('tm', 'm'): value for name, value in churn.items()}
    scheduler = EDMHeunScheduler(
        solver=SOLVERS[meta['sampler']],
        to_zero=meta['sampler'] != 'progdist',
        clip_sample=meta['clip_denoised'],
        **churn,
    )
    scheduler.set_timesteps(meta['steps'])
    return scheduler


def end_of(walk):
    return list(walk)[-1].sample.float()


@pytest.mark.parametrize('name', SAMPLERS)
def test_every_step_ends_where_the_originals_does(name):
    golden = load_golden('consistency', name)
    scheduler = scheduler_of(golden.meta)
    network = precond(network_of(golden), golden.meta['distillation']).eval()
    inputs = dict(labels=golden.y) if 'y' in golden else {}
    denoiser = make_denoiser(network, GaussianDiffusion(), inputs)
    if scheduler.clip_sample:
        denoiser = ClippedDenoiser(denoiser)
    if golden.meta['sampler'] not in ('multistep', 'onestep'):
        # The original's are of float32, whose last digit shows in the network's timestep.
        levels = [NoiseLevel(1.0, float(sigma)) for sigma in golden.sigmas[: len(scheduler.levels)]]
        assert all(
            math.isclose(ours.noise, theirs.noise, rel_tol=1e-5)
            for ours, theirs in zip(scheduler.levels, levels, strict=True)
        )
        scheduler.levels = levels
    noises = golden.noise if 'noise' in golden else []
    with torch.no_grad():
        walk = scheduler.walk(denoiser, scheduler.init_noise(golden.x_T), noises=noises)
        samples = torch.stack([step.sample for step in walk]).float()
    called = torch.tensor([float(level.noise) for level in scheduler.calls()])
    torch.testing.assert_close(called, golden.network_sigmas[:, 0], rtol=1e-6, atol=0)
    torch.testing.assert_close(samples, golden.samples, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(samples[-1].clamp(-1, 1), golden.sample, rtol=0, atol=1e-4)


def test_two_steps_of_easy_consistency_tuning():
    golden = load_golden('ect', 'two_step')

    class Named(PreconditionedNetwork):
        def denoise(self, x, sigma, inputs):
            return 0.25 * x / (sigma**2 + 0.25) + 0.1 * torch.sin(x / (1 + sigma))

    # It leaves no noise at the end, and so takes all of the next level's.
    scheduler = ConsistencyScheduler(sigma_min=0.0, clip_sample=False)
    scheduler.levels = [NoiseLevel(1.0, t) for t in (golden.meta['t_max'], *golden.meta['mid_t'])]
    denoiser = make_denoiser(Named(network_of(load_golden('consistency', 'onestep'))), None)
    walk = scheduler.walk(denoiser, scheduler.init_noise(golden.x), noises=golden.noise)
    torch.testing.assert_close(end_of(walk), golden.sample.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize('count', [1, 2, 4])
def test_a_number_of_steps_is_spaced_evenly(count):
    scheduler = ConsistencyScheduler(num_scales=41)
    scheduler.set_timesteps(count)
    assert len(scheduler.levels) == count
    assert scheduler.levels[0].noise == 80
    scheduler.set_timesteps(','.join(str(40 * i // count) for i in range(count + 1)))
    assert len(scheduler.levels) == count


def test_a_walk_that_begins_late_begins_with_less_noise():
    scheduler = ConsistencyScheduler(num_scales=41)
    scheduler.set_timesteps('20,40')
    assert scheduler.init_noise(torch.ones(())) == scheduler.levels[0].noise < 5


@pytest.mark.parametrize(
    ('spec', 'match'),
    [
        ('0,22,22,39', 'rise one by one'),
        ('22,0,39', 'rise one by one'),
        ('0,22,40', 'end at 39'),
        ('0,22', 'end at 39'),
        (40, '40 scales allow 1 to 39 steps'),
        ('ddim2', "places such as '0,22,39'"),
    ],
)
def test_steps_that_lead_nowhere_are_refused(spec, match):
    with pytest.raises(ValueError, match=match):
        ConsistencyScheduler().set_timesteps(spec)


# -- guidance -----------------------------------------------------------------------------------


class NormalEnds(PreconditionedNetwork):
    """The end of the flow of standard normal pixels: x / √(1 + σ²), as if σ_min were 0."""

    def denoise(self, x, sigma, inputs):
        return x / (1 + sigma**2).sqrt()


def test_a_gradient_moves_what_is_between_the_steps_by_its_variance():
    scheduler = ConsistencyScheduler(sigma_min=0.0, sigma_max=100.0, clip_sample=False)
    scheduler.set_timesteps('0,15,39')
    denoiser = make_denoiser(NormalEnds(network_of(load_golden('consistency', 'onestep'))), None)
    x, noise = torch.randn(2, 1, 3, 4, 4)

    def sampled(guidance):
        start = scheduler.init_noise(x)
        return end_of(scheduler.walk(denoiser, start, noises=noise[None], guidance=guidance))

    guided = sampled(lambda x_t, t, x_0: torch.full_like(x_t, 0.5))
    # In units of unit variance x ← x + Σ g, and those the flow ends in.
    sigma = scheduler.levels[1].noise
    pushed = torch.full_like(x, 0.5 * sigma**2 / (1 + sigma**2))
    torch.testing.assert_close(guided - sampled(None), pushed)


def test_in_one_step_there_is_nothing_to_guide():
    scheduler = ConsistencyScheduler()
    scheduler.set_timesteps(1)
    denoiser = make_denoiser(NormalEnds(network_of(load_golden('consistency', 'onestep'))), None)
    walk = scheduler.walk(denoiser, torch.ones(1, 3, 4, 4), guidance=lambda x_t, t, x_0: x_t)
    with pytest.raises(ValueError, match='GivenGradient acts between steps, and one step'):
        next(walk)


def test_guidance_that_needs_the_mean_is_refused_by_name():
    with pytest.raises(ValueError, match=r'ClassifierFreeGuidance wraps .* means, and Consist'):
        build_model(
            unet=dict(class_dropout_prob=0.1),
            guidance=ClassifierFreeGuidance(),
            diffusion_scheduler=dict(type='ConsistencyScheduler'),
        )


# -- through the model --------------------------------------------------------------------------


@pytest.fixture(scope='module')
def model():
    unet = dict(type='EDMPrecond', network=dict(UNET, out_channels=3), sigma_min=0.002)
    scheduler = dict(type='ConsistencyScheduler')
    built = MODELS.build({**model_config(diffusion_scheduler=scheduler), 'unet': unet}).eval()
    fill_by_name(built.unet)
    return built


def test_sample_i_is_sample_i_with_noise_between_the_steps(model):
    together = model.infer(seeds=[4, 5, 6], labels=[1, 2, 3], num_inference_steps='0,22,39')
    alone = model.infer(seeds=[5], labels=[2], num_inference_steps='0,22,39')
    torch.testing.assert_close(together['samples'][1:2], alone['samples'], rtol=0, atol=1e-5)
    other = model.infer(seeds=[5], labels=[2], num_inference_steps='0,21,39')
    assert not torch.allclose(other['samples'], alone['samples'], atol=1e-3)


def test_images_are_varied_and_not_led_back_to_their_noise(model):
    images = torch.zeros(1, 3, 8, 8)
    assert vary(model, images, strength=0.5, labels=1, steps=4).tensor.shape == images.shape
    with pytest.raises(ValueError, match='from none to its noise: take the model'):
        encode(model, images, labels=1)
    loop = SimpleNamespace(runner=SimpleNamespace(model=model))
    with pytest.raises(ValueError, match='bits per dim need the mean'):
        LikelihoodLoop.run(loop)
