"""Models in latents: DiT against the original, and images wherever images are looked at."""

import pytest
import torch
from mmengine import MODELS
from torch import nn

from mmagic_adm.apis import restore
from mmagic_adm.apis.editing import reconstruct, vary
from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.diffusion import training_losses
from mmagic_adm.guidance import ClassifierFreeGuidance, OffTheShelfGuidance, Path, ScoreGuidance
from mmagic_adm.models.profiles import networks_of
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler
from tests.reference import dit, golden_names, load_golden
from tests.tiny import build_latent_model, latent_model_config

NOISE = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = [1, 5, 7]


class TestAgainstTheOriginal:
    def test_guidance_is_of_three_channels(self):
        golden = load_golden('dit', 'network')
        network, scale = dit(golden), golden.meta['cfg_scale']
        n = len(golden.cfg_x) // 2
        x, labels, t = golden.cfg_x[:n], golden.cfg_y[:n], golden.t
        process = DDPMScheduler(clip_sample=False).full_process

        def said(**how):
            guidance = ClassifierFreeGuidance(scale=scale - 1, **how)
            level = process.level(t[:n], x)
            guide = guidance.bind(Path([level], process), labels)
            denoiser = guide.wrap(make_denoiser(network, process, dict(labels=labels)))
            prediction = denoiser(x, level)
            torch.testing.assert_close(
                prediction.x_0, level.x_0(x, prediction.eps), rtol=1e-4, atol=1e-2
            )
            return torch.cat([prediction.eps, prediction.variance.output], dim=1)

        torch.testing.assert_close(said(channels=3), golden.cfg_out[:n], rtol=1e-5, atol=1e-5)
        of_all = said()
        torch.testing.assert_close(of_all[:, :3], golden.cfg_out[:n, :3], rtol=1e-5, atol=1e-5)
        assert (of_all[:, 3] - golden.cfg_out[:n, 3]).abs().max() > 0.1

    @pytest.mark.parametrize('name', golden_names('dit', 'dd*'))
    def test_every_step_of_a_guided_walk(self, name):
        golden = load_golden('dit', name)
        meta, network = golden.meta, dit(golden)
        if meta['sampler'] == 'ddpm':
            scheduler = DDPMScheduler(clip_sample=False)
        else:
            scheduler = DDIMScheduler(clip_sample=False, eta=meta['eta'])
        scheduler.set_timesteps(meta['respacing'])
        assert scheduler.timesteps == golden.network_timesteps.tolist()
        process = scheduler.full_process
        guidance = ClassifierFreeGuidance(scale=meta['cfg_scale'] - 1, channels=3)
        guide = guidance.bind(Path(scheduler.levels, process), golden.y)
        denoiser = guide.wrap(make_denoiser(network, process, dict(labels=golden.y)))
        begins = [golden.x_T, *golden.samples[:-1]]
        for k, (x, largest) in enumerate(
            zip(begins, meta['largest_value_of_each_step'], strict=True)
        ):
            noise = golden.noise[k : k + 1, : len(x)]
            with torch.no_grad():
                step = next(scheduler.walk(denoiser, x, noises=noise, skip=k))
            predicted = golden.pred_xstart[k]
            torch.testing.assert_close(step.sample, golden.samples[k], rtol=0, atol=1e-5 * largest)
            close = dict(rtol=0, atol=1e-5 * float(predicted.abs().max()))
            torch.testing.assert_close(step.pred_x0, predicted, **close)

    def test_losses(self):
        golden = load_golden('dit', 'losses')
        network, process = dit(golden), DDPMScheduler().full_process
        labels = golden.y.masked_fill(golden.drop.bool(), network.null_label)
        terms = training_losses(
            process, network, golden.x_0, golden.t, golden.noise, 'mse', labels=labels
        )
        for name in ('loss', 'mse', 'vb'):
            torch.testing.assert_close(terms[name], golden.arrays[name], rtol=1e-4, atol=1e-5)


def brightness(images):
    assert images.shape[1:] == (3, 16, 16)
    return images.mean(dim=(1, 2, 3))


class TestSampling:
    def test_noise_is_of_latents_and_samples_are_images(self):
        model = build_latent_model()
        assert (model.latent_shape, model.sample_shape) == ((4, 8, 8), (3, 16, 16))
        made = model.infer(init_image=NOISE, labels=LABELS, seeds=0, return_trajectory=1)
        assert made['samples'].shape == (3, 3, 16, 16)
        assert made['samples'].abs().max() <= 1
        for name in ('x_t', 'pred_x0'):
            assert made['trajectory'][name].shape == (3, 3, 3, 16, 16)
        last = made['trajectory']['x_t'][-1].clamp(-1, 1)
        torch.testing.assert_close(made['samples'], last, rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match=r'\(1, 3, 16, 16\), this model starts from \(1, 4, 8'):
            model.infer(init_image=torch.randn(1, 3, 16, 16))

    def test_what_follows_the_steps_may_look_at_images(self):
        model, seen = build_latent_model(), []
        model.infer(seeds=0, on_step=lambda step: seen.append((step.pred_x0, step.images)))
        assert [(x.shape[1:], images.shape[1:]) for x, images in seen] == [
            ((4, 8, 8), (3, 16, 16))
        ] * 3

    def test_sample_i_is_sample_i_under_guidance_through_the_decoder(self):
        model = build_latent_model(
            guidance=dict(type='ScoreGuidance', score=brightness, scale=1e3),
            codec=dict(slice_size=2),
        )
        batch = model.infer(seeds=[4, 5, 6], labels=LABELS)['samples']
        alone = model.infer(seeds=[5], labels=[5])['samples']
        torch.testing.assert_close(batch[1:2], alone, rtol=1e-4, atol=1e-4)
        assert (
            alone - build_latent_model().infer(seeds=[5], labels=[5])['samples']
        ).abs().max() > 0.01

    def test_images_are_edited_by_way_of_their_latents(self):
        model = build_latent_model(diffusion_scheduler=dict(type='DDIMScheduler'))
        images = torch.rand(2, 3, 16, 16) * 2 - 1
        latents = model.codec.encode(images)
        back = reconstruct(model, images, labels=3, steps=2)
        assert back['noise'].shape == latents.shape
        assert back.tensor.shape == images.shape
        varied = vary(model, images, 0.5, labels=3, seeds=[7, 8], steps=2)
        alone = vary(model, images[1:], 0.5, labels=3, seeds=[8], steps=2)
        torch.testing.assert_close(varied.tensor[1:], alone.tensor, rtol=1e-4, atol=1e-4)

    def test_another_scheduler_does_not_clip_either(self):
        model = build_latent_model()
        for kind in ('DDIMScheduler', 'EDMHeunScheduler', 'DiffusersScheduler'):
            scheduler = model.make_scheduler(dict(type=kind))
            assert not scheduler.clip_sample
        made = model.infer(seeds=0, scheduler_kwargs=dict(type='EDMHeunScheduler'))
        assert made['samples'].shape == (1, 3, 16, 16)

    def test_the_autoencoder_is_no_network_of_a_profile(self):
        model = build_latent_model()
        assert networks_of(model) == [model.unet]
        assert all(key.startswith('unet.') for key in model.state_dict())


class Classifier(nn.Module):
    """Of images of 16 pixels."""

    out_channels, image_size = 10, 16

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)
        )

    def forward(self, images):
        return self.layers(images)


@pytest.mark.parametrize('slice_size', [1, 3])
def test_off_the_shelf_gradient_is_that_by_the_latents(slice_size):
    model = build_latent_model(codec=dict(slice_size=slice_size))
    guidance = OffTheShelfGuidance(Classifier(), softplus_beta=3.0, margin_temperature_discount=0.5)
    t, labels = torch.full((3,), 500), torch.tensor(LABELS)
    gradient = guidance.gradient(NOISE, t, NOISE, labels, model.codec)
    assert gradient.shape == NOISE.shape

    direction = torch.randn(NOISE.shape, generator=torch.Generator().manual_seed(1))
    autoencoder, (convolution, _, flatten, linear) = (
        model.codec.autoencoder.double(),
        guidance.classifier.double().layers,
    )

    @torch.no_grad()
    def score(z):
        images = autoencoder.decode(z / 0.18215).sample
        logits = linear(flatten(nn.functional.softplus(convolution(images), 3.0)))
        return logits[range(3), LABELS] - (0.5 * logits).logsumexp(dim=1)

    step, z = 1e-5 * direction.double(), NOISE.double()
    slopes = (score(z + step) - score(z - step)) / 2e-5
    found = (gradient * direction).flatten(1).sum(1).double()
    torch.testing.assert_close(found, slopes, rtol=2e-3, atol=1e-5)


class TestTraining:
    def test_images_and_their_kept_latents_train_alike(self):
        model = build_latent_model(loss_type='mse', codec=dict(draws=False))
        images = torch.rand(2, 3, 16, 16) * 2 - 1
        losses = []
        for given in (images, model.codec.encode(images)):
            torch.manual_seed(0)
            losses.append(
                model.loss(
                    model.unet, model.codec.latents_of(given), dict(labels=torch.tensor([1, 2]))
                )
            )
        assert losses[0]['loss'] == losses[1]['loss']
        assert losses[0]['loss'].requires_grad


class TestMeasurements:
    def test_images_are_measured_through_the_decoder(self):
        model = build_latent_model(num_inference_steps=30)
        truth = model.infer(seeds=1, labels=[3])['samples']
        y = truth[..., ::2, ::2]

        def error(samples):
            return (samples[..., ::2, ::2] - y).square().mean()

        restored = restore(
            model, y, lambda images: images[..., ::2, ::2], 'dps', labels=3, seed=2, scale=20.0
        )
        plain = model.infer(seeds=2, labels=[3])['samples']
        assert restored['samples'].shape == (1, 3, 16, 16)
        assert error(restored['samples']) < error(plain)

    def test_what_wants_a_linear_operator_is_refused(self):
        model = build_latent_model()
        with pytest.raises(ValueError, match=r'MMPS needs an operator with .* DPS takes'):
            restore(model, torch.zeros(1, 3, 4, 4), 'downsampling', 'mmps')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(unet=dict(in_channels=3, out_channels=6)),
            'latents of 4 channels, and the DiT is of 3',
        ),
        (
            dict(unet=dict(image_size=16)),
            'images of 16 pixels have latents of 8, and the DiT is of 16',
        ),
        (dict(diffusion_scheduler=dict(clip_sample=True)), 'latents go beyond: clip_sample=False'),
        (
            dict(guidance=dict(type='ClassifierFreeGuidance', channels=5)),
            'guides channels=5 of the noise, and the DiT has 4',
        ),
        (dict(reuse_every=2), 'reuse_every=2 needs a U-Net'),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(latent_model_config(**changes))


def test_a_classifier_of_another_size_than_the_images_is_refused():
    classifier = Classifier()
    fits = OffTheShelfGuidance(classifier)
    assert MODELS.build(latent_model_config(guidance=fits)).guidance is fits
    classifier.image_size = 8  # that of the latents
    with pytest.raises(ValueError, match='for images of 8 pixels, the network for 16'):
        MODELS.build(latent_model_config(guidance=OffTheShelfGuidance(classifier)))


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match='label 11 is out of range: the classes are 0 to 9'):
        build_latent_model().infer(labels=11)


def test_a_score_is_shown_images():
    guidance = ScoreGuidance(brightness)
    model = build_latent_model()
    t, rows = torch.full((3,), 500), slice(0, 1)
    whole = guidance.gradient(NOISE, t, NOISE, None, model.codec)
    first = guidance.gradient(NOISE[rows], t[rows], NOISE[rows], None, model.codec)
    torch.testing.assert_close(whole[rows], first, rtol=1e-4, atol=1e-6)
