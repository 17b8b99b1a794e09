"""Discriminator guidance: the original's steps and loops, boosting, and whom it refuses."""

import math

import pytest
import torch
from torch import nn

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance import DiscriminatorGuidance, Moment, Path
from mmagic_adm.schedulers import BoostedHeunScheduler, DDPMScheduler
from tests.diffusion.formula import formula_network
from tests.reference import fill_by_name, golden_names, load_golden
from tests.schedulers.test_restart import formula
from tests.tiny import CLASSIFIER, as_pixels, build_model

LOOPS = golden_names('discriminator_guidance', 'edm_loop*')
DISCRIMINATOR = dict(
    type='ADMDiscriminator', classifier=CLASSIFIER, model_channels=32, num_head_channels=32
)
GUIDANCE = dict(type='DiscriminatorGuidance', discriminator=DISCRIMINATOR)


class Linear(nn.Module):
    """The goldens' discriminator, told the time by way of ``tau_of``."""

    def __init__(self, golden, tau_of):
        super().__init__()
        self.weight, self.tau_of = golden.W, tau_of
        self.num_classes = len(golden.W) if len(golden.W) > 1 else None

    def forward(self, x, timesteps, labels=None):
        rows = self.weight[torch.zeros(len(x), dtype=torch.long) if labels is None else labels]
        tau = self.tau_of(timesteps).reshape(-1, 1)
        flat = x.flatten(1)
        real = (rows * flat).sum(1) + 0.3 * (3 * tau).cos()[:, 0] * flat.square().mean(1)
        return torch.stack([torch.zeros_like(real), real], dim=1)


class LinearProcess:
    """The continuous process that the original tells its discriminators times of, up to 1."""

    first, last, offset = 0.1, 20.0, 0.008

    def __init__(self, cosine=False):
        self.cosine = cosine

    def told(self, level: NoiseLevel):
        sigma = torch.as_tensor(level.noise, dtype=torch.float64)
        rise = self.last - self.first
        log = (1 + sigma**2).log()
        tau = ((self.first**2 + 2 * rise * log).sqrt() - self.first) / rise
        if self.cosine:
            start = math.cos(self.offset / (1 + self.offset) * math.pi / 2)
            angle = torch.arccos(start * (1 + sigma**2) ** -0.5)
            tau = (1 + self.offset) * 2 / math.pi * angle - self.offset
        return tau.float().flatten() if tau.numel() > 1 else float(tau)

    def at(self, tau: float) -> NoiseLevel:
        """The level at a time of the linear process, whatever is told of it."""
        log = 0.5 * tau**2 * (self.last - self.first) + tau * self.first
        return NoiseLevel(1.0, math.expm1(log) ** 0.5)

    def between(self, tau_min: float, tau_max: float) -> tuple[float, float]:
        """What is told of two times of the linear process."""
        return self.told(self.at(tau_min)), self.told(self.at(tau_max))


@pytest.mark.parametrize('name', golden_names('discriminator_guidance', 'ddpm*'))
def test_ddpm_steps_are_the_originals(name):
    golden = load_golden('discriminator_guidance', name)
    meta = golden.meta
    scheduler = DDPMScheduler(beta_schedule=meta['schedule'])
    scheduler.set_timesteps(meta['respacing'])
    guidance = DiscriminatorGuidance(
        Linear(golden, lambda t: t / 999), meta['dg_scale'], interval=(meta['time_min'] + 1, 999)
    )
    guide = guidance.bind(Path(scheduler.levels, scheduler.full_process), golden.y)
    denoiser = make_denoiser(formula_network, scheduler.process)
    denoiser = ClippedDenoiser(denoiser) if meta['clip_denoised'] else denoiser
    walk = scheduler.walk(denoiser, golden.x_T, guidance=guide, noises=golden.noise)
    samples = torch.stack([step.sample for step in walk])
    torch.testing.assert_close(samples, golden.samples, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', golden_names('discriminator_guidance', 'edm_*_time*'))
def test_the_correction_of_a_score(name):
    golden = load_golden('discriminator_guidance', name)
    labels = golden.y if 'y' in golden else None
    process = LinearProcess(golden.meta['cosine_time'])
    levels = [NoiseLevel(1.0, float(sigma)) for sigma in golden.sigma]
    interval = process.between(golden.meta['time_min'], golden.meta['time_max'])
    guidance = DiscriminatorGuidance(Linear(golden, lambda t: t), interval=interval)
    guide = guidance.bind(Path(levels[::-1], process), labels)
    rows = zip(levels, golden.x, golden.correction, golden.log_ratio, strict=True)
    for level, x, expected, ratio in rows:
        moment = Moment(level.to_unit(x), level, x)
        correction = -level.noise * guide.push(moment, level.unit().noise)
        torch.testing.assert_close(correction, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(guidance.doubts(moment, guide.batch), ratio < 0)


@pytest.mark.parametrize('name', LOOPS)
def test_edm_loops_are_the_originals(name):
    golden = load_golden('discriminator_guidance', name)
    meta = golden.meta
    names = ('sigma_min', 'sigma_max', 'rho', 'S_churn', 'S_min', 'S_max', 'S_noise')
    scheduler = BoostedHeunScheduler(
        boosting=bool(meta['boosting']), **{name: meta[name] for name in names}
    )
    scheduler.set_timesteps(meta['steps'])
    process = LinearProcess(cosine=meta['resolution'] == 64)
    interval = process.between(meta['time_min'], meta['time_max'])
    guidance = DiscriminatorGuidance(Linear(golden, lambda t: t), meta['weight'], interval=interval)
    labels = golden.y if 'y' in golden else None
    guide = guidance.bind(Path(scheduler.calls(), process), labels)
    walk = scheduler.walk(
        formula, scheduler.init_noise(golden.x), guidance=guide, noises=golden.noise
    )
    samples = torch.stack([step.sample for step in walk])
    scale = golden.samples.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1)
    torch.testing.assert_close(samples / scale, golden.samples / scale, rtol=0, atol=1e-5)


def test_what_is_doubted_gets_new_noise_in_every_fifth_step():
    scheduler, steps = BoostedHeunScheduler(), 11
    scheduler.set_timesteps(steps)
    seen = []

    def doubting(x, timesteps):
        nothing = 0 * x.flatten(1).sum(1)
        return torch.stack([nothing + 1, nothing], dim=1)

    def denoiser(x, level):
        seen.append((x, float(level.noise)))
        return formula(x, level)

    path = Path(scheduler.calls(), scheduler.full_process)
    guide = DiscriminatorGuidance(doubting).bind(path)
    x, noises = scheduler.init_noise(torch.ones(1, 3, 2, 2)), torch.ones(steps, 1, 3, 2, 2)
    for step in scheduler.walk(denoiser, x, guidance=guide, noises=noises):
        # S_churn 4 and S_noise 1, in steps 0, 5 and 10; before the first it doubts nothing.
        t = float(step.level.noise)
        raised = t * (1 + 4 / steps) if step.index in (5, 10) else t
        x_hat, t_hat = seen[2 * step.index]
        assert t_hat == pytest.approx(raised)
        torch.testing.assert_close(x_hat, x + (raised**2 - t**2) ** 0.5, rtol=1e-5, atol=1e-6)
        x = step.sample


def test_at_scale_0_nothing_changes_and_nothing_is_computed():
    plain = build_model().infer(init_image=as_pixels(2), labels=[1, 2])['samples']
    model = build_model(guidance=GUIDANCE)
    model.guidance.classifier.forward = None  # not to be called
    off = model.infer(init_image=as_pixels(2), labels=[1, 2], classifier_scale=0)['samples']
    assert torch.equal(off, plain)


@pytest.mark.parametrize('scheduler', ['DDIMScheduler', 'EDMHeunScheduler', 'BoostedHeunScheduler'])
def test_every_sampler_that_takes_a_gradient_is_guided(scheduler):
    model = fill_by_name(build_model(guidance=GUIDANCE, diffusion_scheduler=dict(type=scheduler)))
    guided, plain = (
        model.infer(init_image=as_pixels(2), labels=[1, 2], classifier_scale=scale)['samples']
        for scale in (20.0, 0.0)
    )
    assert guided.isfinite().all()
    assert (guided - plain).abs().max() > 1e-3


def test_a_label_is_told_to_a_discriminator_that_has_classes():
    guidance = dict(GUIDANCE, discriminator=dict(DISCRIMINATOR, num_classes=10))
    guide = fill_by_name(build_model(guidance=guidance)).guidance
    x, t = as_pixels(2), torch.tensor([5, 5])
    one, other = (guide.score(x, t, torch.full((2,), label)) for label in (1, 2))
    assert (one - other).abs().min() > 1e-4
    with pytest.raises(ValueError, match='DiscriminatorGuidance needs labels'):
        guide.score(x, t, None)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            dict(classifier=dict(CLASSIFIER, image_size=16, attention_resolutions=())),
            r'of DiscriminatorGuidance .* 16 pixels',
        ),
        (dict(num_classes=7), r'DiscriminatorGuidance tells 7 classes apart, the network has 10'),
    ],
)
def test_a_discriminator_of_something_else_is_refused_when_the_model_is_built(change, message):
    with pytest.raises(ValueError, match=message):
        build_model(guidance=dict(GUIDANCE, discriminator=dict(DISCRIMINATOR, **change)))


def test_boosting_without_a_discriminator_is_refused():
    model = build_model(
        classifier=CLASSIFIER, diffusion_scheduler=dict(type='BoostedHeunScheduler')
    )
    with pytest.raises(ValueError, match=r'BoostedHeunScheduler .* ClassifierGuidance is none'):
        model.infer(labels=1)
