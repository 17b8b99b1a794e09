"""Either kind of network, under either kind of sampler."""

import pytest
import torch
from mmengine import MODELS
from torch import nn

from mmagic_adm.denoisers import (
    ClippedDenoiser,
    EDMPrecond,
    FiniteWatch,
    PreconditionedNetwork,
    make_denoiser,
)
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler, DiffusersScheduler, EDMHeunScheduler
from tests.reference import fill_by_name
from tests.tiny import UNET

LABELS = torch.tensor([3, 7])


def tiny_unet(**changes):
    return fill_by_name(MODELS.build({**UNET, '_scope_': 'mmagic_adm', **changes})).eval()


class Recorder(nn.Module):
    """A network that keeps what it is called with."""

    image_size, in_channels, num_classes, null_label = 8, 3, None, None

    def __init__(self, out_channels=3):
        super().__init__()
        self.out_channels = out_channels
        self.calls = []

    def forward(self, x, timesteps, **inputs):
        self.calls.append((x, timesteps, inputs))
        return x.sin().repeat(1, self.out_channels // 3, 1, 1)


class NormalData:
    """Normally distributed pixels, whose networks of both kinds are known."""

    mean, variance = 0.2, 0.3

    def image(self, x, sigma):
        return self.mean + self.variance / (self.variance + sigma**2) * (x - self.mean)

    def flow(self, noise, sigma):
        stretch = (self.variance / (self.variance + sigma**2)) ** 0.5
        return self.mean + stretch * (sigma * noise - self.mean)


class KnowsSigma(NormalData, PreconditionedNetwork):
    def __init__(self):
        super().__init__(Recorder())

    def denoise(self, x, sigma, inputs):
        return self.image(x, sigma)


class KnowsTimesteps(NormalData, Recorder):
    """Predicts the noise in x_t, and a variance."""

    def __init__(self, process):
        super().__init__(6)
        self.sigmas = torch.from_numpy(process.train_sigmas)

    def forward(self, x, timesteps, **inputs):
        t = timesteps.double().view(-1, 1, 1, 1)
        below = t.long().clamp(max=998)
        sigma = torch.lerp(self.sigmas[below], self.sigmas[below + 1], t - below)
        signal = 1 / (1 + sigma**2).sqrt()
        eps = (x - signal * self.image(x / signal, sigma)) / (signal * sigma)
        return torch.cat([eps, torch.zeros_like(eps)], dim=1)


def ends(scheduler, denoiser, noise):
    walk = scheduler.walk(denoiser, scheduler.init_noise(noise))
    return list(walk)[-1].sample.float()


# -- networks of a discrete process -------------------------------------------------------------


@pytest.mark.parametrize('prediction_type', ['epsilon', 'start_x', 'previous_x'])
@pytest.mark.parametrize('rescale', [False, True])
def test_at_a_timestep_it_is_the_network_as_trained(prediction_type, rescale):
    process = GaussianDiffusion(
        'cosine', 100, prediction_type=prediction_type, rescale_timesteps=rescale
    )
    network, x_t = tiny_unet(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        told = process.network_timesteps(torch.tensor([80, 80]))
        said = network(x_t, told, LABELS)[:, :3]
        prediction = make_denoiser(network, process, dict(labels=LABELS))(x_t, process.level(80))
    level = process.level(80)
    if prediction_type == 'epsilon':
        torch.testing.assert_close(prediction.eps, said)
    if prediction_type == 'start_x':
        torch.testing.assert_close(prediction.x_0, said)
    if prediction_type == 'previous_x':
        torch.testing.assert_close(process.posterior(prediction.x_0, x_t, 80).mean, said)
    mixed = level.mix(prediction.x_0, prediction.eps)
    torch.testing.assert_close(mixed, x_t, rtol=1e-4, atol=1e-4)


def test_it_is_told_the_timestep_itself():
    process, network = GaussianDiffusion(respacing='10'), Recorder(6)
    make_denoiser(network, process)(torch.zeros(2, 3, 8, 8), process.level(3))
    told = network.calls[0][1]
    assert told.tolist() == [333, 333]
    assert told.dtype == torch.int64
    assert told.stride(0) == 0  # one number, by which networks see that all share it


def test_a_level_says_the_same_in_edms_units():
    process, network = GaussianDiffusion(), Recorder(6)
    denoiser, x_t = make_denoiser(network, process), torch.randn(2, 3, 8, 8)
    level = process.level(500)
    ours = denoiser(x_t, level)
    edms = denoiser(x_t.double() / level.signal, NoiseLevel(1.0, level.sigma))
    torch.testing.assert_close(network.calls[1][1], torch.tensor([500.0, 500.0]))
    torch.testing.assert_close(edms.x_0, ours.x_0, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(edms.eps, ours.eps, rtol=1e-4, atol=1e-4)


def test_levels_between_timesteps_get_a_timestep_between_them():
    process, network = GaussianDiffusion('linear'), Recorder(6)
    between = (process.level(300).sigma + process.level(301).sigma) / 2
    make_denoiser(network, process)(torch.zeros(1, 3, 8, 8), NoiseLevel(1.0, between))
    torch.testing.assert_close(network.calls[0][1], torch.tensor([300.5]), rtol=0, atol=1e-3)


def test_levels_beyond_the_process_get_its_ends():
    network = Recorder(6)
    denoiser = make_denoiser(network, GaussianDiffusion('linear'))
    for sigma in (1e-4, 1e6):
        denoiser(torch.zeros(1, 3, 8, 8), NoiseLevel(1.0, sigma))
    assert [told.item() for _, told, _ in network.calls] == [0, 999]


def test_a_network_that_predicts_the_previous_image_knows_its_timesteps_alone():
    process = GaussianDiffusion(prediction_type='previous_x', variance_type='fixed_small')
    denoiser = make_denoiser(Recorder(), process)
    with pytest.raises(ValueError, match=r"'previous_x'.* not sigma=0\.7: DDPMScheduler and DDIM"):
        denoiser(torch.zeros(1, 3, 8, 8), NoiseLevel(1.0, 0.7))


def test_clipping_keeps_the_noise_as_the_network_has_it():
    process = GaussianDiffusion()
    denoiser, x_t = make_denoiser(Recorder(6), process), 5 * torch.randn(2, 3, 8, 8)
    plain, clipped = (
        each(x_t, process.level(900)) for each in (denoiser, ClippedDenoiser(denoiser))
    )
    assert torch.equal(clipped.x_0, plain.x_0.clamp(-1, 1))
    assert torch.equal(clipped.eps, plain.eps)
    assert not torch.equal(clipped.x_0, plain.x_0)


# -- under every sampler ------------------------------------------------------------------------

SCHEDULERS = {
    'ddpm': lambda: DDPMScheduler(variance_type='fixed_small', clip_sample=False),
    'ddim': lambda: DDIMScheduler(clip_sample=False),
    'edm': lambda: EDMHeunScheduler(sigma_min=0.02, beta_schedule='linear'),
    'dpm++': lambda: DiffusersScheduler(clip_sample=False),
}


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
@pytest.mark.parametrize('make', SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize('kind', ['timesteps', 'sigma'])
def test_either_kind_of_network_samples_the_data(kind, make):
    scheduler = make()
    scheduler.set_timesteps(500 if type(scheduler) is DDPMScheduler else 100)
    process = GaussianDiffusion('linear')
    network = KnowsTimesteps(process) if kind == 'timesteps' else KnowsSigma()
    end = ends(scheduler, make_denoiser(network, process), torch.randn(64, 3, 8, 8))
    assert end.mean().item() == pytest.approx(0.2, abs=0.02)
    assert end.var().item() == pytest.approx(0.3, rel=0.05)


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
@pytest.mark.parametrize('make', SCHEDULERS.values(), ids=SCHEDULERS)
def test_both_kinds_say_the_same_of_the_same_data(make):
    scheduler, process = make(), GaussianDiffusion('linear')
    scheduler.set_timesteps(10)
    noise, samples = torch.randn(4, 3, 8, 8), []
    for network in (KnowsTimesteps(process), KnowsSigma()):
        torch.manual_seed(0)
        samples.append(ends(scheduler, make_denoiser(network, process), noise))
    torch.testing.assert_close(*samples, rtol=0, atol=2e-3)


# -- numbers that are none ----------------------------------------------------------------------


class TestFiniteWatch:
    def test_on_a_cpu_an_output_is_judged_at_once(self):
        watch = FiniteWatch()
        watch(torch.ones(2, 3), 't=7')
        with pytest.raises(FloatingPointError, match=r't=5 \(call 2\) .* \(samples \[1\] of'):
            watch(torch.tensor([[1.0], [float('nan')]]), 't=5')

    def test_large_but_finite_output_passes(self):
        large = torch.full((1, 64), 3e38)
        assert large.sum().isinf()
        watch = FiniteWatch()
        watch(large, 't=7')
        watch.close()

    def test_elsewhere_it_is_judged_when_the_next_one_comes(self, monkeypatch):
        monkeypatch.setattr('mmagic_adm.denoisers.finite.is_at_hand', lambda output: False)
        watch = FiniteWatch()
        watch(torch.tensor([[float('inf')]]), 't=7')
        with pytest.raises(FloatingPointError, match=r't=7 \(call 1\)'):
            watch(torch.ones(1), 't=5')
        watch = FiniteWatch()
        watch(torch.tensor([[float('inf')]]), 't=7')
        with pytest.raises(FloatingPointError, match=r't=7 \(call 1\)'):
            watch.close()

    def test_where_nothing_can_be_read_nothing_is(self):
        watch = FiniteWatch()
        watch(torch.ones(2, device='meta'), 't=7')
        watch.close()


def test_other_networks_beside_one_are_of_their_own_kind():
    process = GaussianDiffusion()
    denoiser = make_denoiser(tiny_unet(), process, dict(labels=LABELS))
    edm = EDMPrecond(tiny_unet(out_channels=3))
    x, level = torch.randn(2, 3, 8, 8), process.level(500)
    with torch.no_grad():
        beside = denoiser.of(edm)(x, level)
        alone = make_denoiser(edm, process, dict(labels=LABELS))(x, level)
    assert torch.equal(beside.x_0, alone.x_0)
