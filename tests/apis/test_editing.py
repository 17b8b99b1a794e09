"""Working on images that exist."""

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.apis import (
    decode,
    encode,
    interpolate_images,
    interpolate_seeds,
    reconstruct,
    vary,
)
from mmagic_adm.apis.editing import _arc
from mmagic_adm.denoisers import EDMPrecond
from tests.tiny import UNET, build_model, model_config
from tests.toolbox import newer_diffusers


def knowing(model):
    """The model with its network made to know its data: about a grey of its own for each class."""

    def image(x, sigma, labels):
        centre = (labels.float().view(-1, 1, 1, 1) - 4.5) / 10
        return centre + 0.04 / (0.04 + sigma**2) * (x - centre)

    if isinstance(model.unet, EDMPrecond):
        model.unet.denoise = lambda x, sigma, inputs: image(x, sigma, inputs['labels'])
        return model
    sigmas = torch.from_numpy(model.process.train_sigmas)

    def exact(x, t, labels):
        below = t.double().clamp(0, 998).long()
        sigma = torch.lerp(sigmas[below], sigmas[below + 1], t.double() - below).view(-1, 1, 1, 1)
        signal = 1 / (1 + sigma**2).sqrt()
        eps = (x - signal * image(x / signal, sigma, labels)) / (signal * sigma)
        return torch.cat([eps, torch.zeros_like(eps)], dim=1).to(x.dtype)

    model.unet.forward = exact
    return model


def edm():
    """A model of EDM's that knows its data."""
    unet = dict(type='EDMPrecond', network=dict(UNET, out_channels=3))
    config = model_config(diffusion_scheduler=dict(type='EDMHeunScheduler'))
    return knowing(MODELS.build(config | dict(unet=unet, num_inference_steps=20)).eval())


MODELS_THAT_KNOW = {
    'timesteps': lambda: knowing(build_model(num_inference_steps=20)),
    'sigma': edm,
}


@pytest.fixture(scope='module', params=MODELS_THAT_KNOW.values(), ids=MODELS_THAT_KNOW)
def model(request):
    return request.param()


@pytest.fixture(scope='module')
def images():
    greys = torch.tensor([-0.15, 0.25]).view(2, 1, 1, 1)
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (greys + 0.2 * noise).clamp(-0.9, 0.9)


def test_encoding_and_decoding_returns_to_the_image(model, images):
    result = reconstruct(model, images, labels=[3, 7], steps=100)
    assert result.tensor.shape == images.shape
    assert result['noise'].shape == images.shape
    assert result['error'].max() < 0.05
    direct = (result.tensor - images).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(result['error'], direct)


def test_more_steps_reconstruct_better(model, images):
    errors = [reconstruct(model, images, [3, 7], steps=n)['error'].mean() for n in (10, 100)]
    assert errors[1] < errors[0] / 2


def test_the_ends_of_a_row_are_the_images_it_lies_between(model, images):
    row = interpolate_images(model, *images, count=5, labels=3, steps=100).tensor
    assert row.shape == (5, 3, 8, 8)
    back = reconstruct(model, images, labels=3, steps=100).tensor
    torch.testing.assert_close(row[[0, -1]], back, atol=1e-4, rtol=1e-4)
    assert (row[2] - row[0]).abs().max() > 1e-3


def test_the_ends_of_a_row_of_seeds_are_their_samples(model):
    row = interpolate_seeds(model, 11, 12, count=4, labels=3).tensor
    ends = model.infer(seeds=[11, 12], labels=3)['samples']
    torch.testing.assert_close(row[[0, -1]], ends, atol=1e-4, rtol=1e-4)


def test_without_a_label_a_row_has_the_class_that_its_first_seed_draws(model):
    drawn = model.infer(seeds=[11])['labels'].item()
    row = interpolate_seeds(model, 11, 12, count=3).tensor
    again = interpolate_seeds(model, 11, 12, count=3, labels=drawn).tensor
    torch.testing.assert_close(row, again)


def test_noise_between_two_noises_has_the_length_of_noise(model, images):
    noise = torch.randn(2, 3, 8, 8)
    lengths = _arc(noise[0], noise[1], 9).flatten(1).norm(dim=1)
    assert lengths.min() > 0.9 * lengths[0].min()


SCHEDULERS = {
    'own': None,
    'ddpm': dict(type='DDPMScheduler'),
    'ddim': dict(type='DDIMScheduler'),
    'edm': dict(type='EDMHeunScheduler', S_churn=2),
    **{
        name: dict(type='DiffusersScheduler', type_=f'{name}Scheduler')
        for name in ('DPMSolverMultistep', 'HeunDiscrete', 'EulerDiscrete', 'UniPCMultistep')
    },
}


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
class TestVariation:
    def test_a_little_strength_changes_a_little(self, model, images):
        def change(strength):
            varied = vary(model, images, strength, labels=[3, 7], seed=0, steps=20).tensor
            return (varied - images).abs().mean()

        assert change(0.1) < change(0.5) < change(1.0)

    def test_it_starts_from_the_image_noised_by_its_own_seed(self, model, images):
        both = vary(model, images, 0.5, labels=[3, 7], seeds=[4, 5], steps=10).tensor
        one = vary(model, images[1:], 0.5, labels=7, seeds=[5], steps=10).tensor
        torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize('strength', [0.3, 0.8, 1.0])
    @pytest.mark.parametrize('changes', SCHEDULERS.values(), ids=SCHEDULERS)
    def test_the_image_is_noised_to_the_level_that_the_walk_begins_at(
        self, model, images, changes, strength, monkeypatch
    ):
        """Under every scheduler; two steps off, and the noise is another by a tenth or more."""
        asked = []
        make = model.denoiser

        def watched(*args, **inputs):
            denoiser = make(*args, **inputs)

            def ask(x_t, level):
                asked.append((x_t, level))
                return denoiser(x_t, level)

            return ask

        monkeypatch.setattr(model, 'denoiser', watched)
        grey = torch.zeros(64, 3, 8, 8)
        options = dict(seed=0, steps=20, scheduler=changes, batch_size=64)
        vary(model, grey, strength, labels=3, **options)
        x_t, level = asked[0]
        assert x_t.std().item() == pytest.approx(level.noise, rel=0.02)
        scheduler = model.make_scheduler(changes, steps=20)
        assert len(scheduler.levels) == 20
        first = scheduler.calls(20 - round(20 * strength))[0]
        assert level.sigma == pytest.approx(first.sigma)

    @pytest.mark.parametrize(
        'name',
        ['edm', pytest.param('DPMSolverMultistep', marks=newer_diffusers), 'HeunDiscrete'],
    )
    def test_what_comes_out_is_like_the_data(self, model, name):
        data = (-0.15 + 0.2 * torch.randn(64, 3, 8, 8)).clamp(-1, 1)
        settings = dict(seed=0, steps=40, scheduler=SCHEDULERS[name], batch_size=64)
        varied = vary(model, data, 0.5, labels=3, **settings).tensor
        assert varied.mean().item() == pytest.approx(-0.15, abs=0.02)
        assert varied.std().item() == pytest.approx(0.2, abs=0.025)


class TestBadInput:
    def test_images_of_another_shape(self, model):
        with pytest.raises(ValueError, match=r'shape \(2, 3, 4, 4\)'):
            encode(model, torch.zeros(2, 3, 4, 4), labels=1)

    def test_images_in_another_range(self, model):
        images = torch.linspace(0, 255, 192).view(1, 3, 8, 8)
        with pytest.raises(ValueError, match='values from 0 to 255'):
            encode(model, images, labels=1)

    def test_no_label_for_a_conditional_model(self, model, images):
        with pytest.raises(ValueError, match='conditional on 10 classes: say which'):
            encode(model, images)

    def test_another_number_of_labels(self, model, images):
        with pytest.raises(ValueError, match='3 labels were given for 2 images'):
            encode(model, images, labels=[1, 2, 3])

    def test_strength_out_of_range(self, model, images):
        with pytest.raises(ValueError, match=r'strength .* not 1\.5'):
            vary(model, images, 1.5, labels=1)

    def test_a_row_of_one(self, model):
        with pytest.raises(ValueError, match='at least its two ends, not 1'):
            interpolate_seeds(model, 1, 2, count=1)

    def test_an_unconditional_model_has_no_labels(self, images):
        model = build_model(unet=dict(num_classes=None))
        assert decode(model, encode(model, images, steps=2), steps=2).tensor.shape == images.shape
