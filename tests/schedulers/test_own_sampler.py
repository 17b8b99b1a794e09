"""The sampler in docs/extending.md, written against public names, works as the package's own do."""

import itertools

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.apis import sample, vary
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from tests.docs.pages import DOCS, blocks_of
from tests.reference import fill_by_name
from tests.schedulers.gaussian import GaussianData, ends
from tests.tiny import CLASSIFIER, UNET

NAME = 'MidpointScheduler'
OWN = dict(type=NAME, sigma_max=40.0)
DATA = GaussianData([0.3, -0.2, 0.1], torch.diag(torch.tensor([0.4, 0.3, 0.2])))


@pytest.fixture(scope='module')
def sampler():
    """The class on the page, registered while the tests here run."""
    (text,) = (
        block.text for block in blocks_of(DOCS / 'extending.md') if block.title == 'midpoint.py'
    )
    names = {'__name__': 'midpoint'}
    exec(compile(text, 'midpoint.py', 'exec'), names)
    yield names[NAME]
    del DIFFUSION_SCHEDULERS.module_dict[NAME]


def start(count=4):
    return torch.randn(
        count, 3, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def error_of(sampler, steps):
    """How far from the exact end of the way samples of a perfect denoiser are."""
    scheduler = sampler(sigma_min=1e-3)
    scheduler.set_timesteps(steps)
    exact = DATA.flow(scheduler.init_noise(start()), scheduler.levels[0])
    return (ends(scheduler, DATA, start()) - exact).abs().max()


def test_it_is_of_second_order(sampler):
    errors = [error_of(sampler, steps) for steps in (40, 80, 160)]
    assert errors[2] < 1e-3
    for coarse, fine in itertools.pairwise(errors):
        assert 3 < coarse / fine < 5


def test_guided_by_an_exact_gradient_it_samples_the_product_of_densities(sampler):
    target, width = torch.tensor([0.5, 0.0, -0.2]).double().view(1, 3, 1, 1), 0.3
    scheduler = sampler()
    scheduler.set_timesteps(20)

    def guidance(x_t, t, pred_x0):
        """The gradient of log E[N(x_0; b, v) | x_t]."""
        level = scheduler.full_process.level_at(t[0].item())
        x_0, spread = DATA.posterior(x_t, level)
        variances = spread.diag().view(1, 3, 1, 1)
        slope = variances * level.signal / level.noise**2
        return slope * (target - x_0) / (variances + width)

    variances = DATA.covariance.diag()
    precision = 1 / variances + 1 / width
    mean = (DATA.mean / variances + target.flatten() / width) / precision
    product = GaussianData(mean, torch.diag(1 / precision))
    guided = ends(scheduler, DATA, start(), guidance=guidance)
    torch.testing.assert_close(guided, ends(scheduler, product, start()), rtol=0, atol=1e-3)


# Samples begin at sigma = 40, where float32 is as fine as 4e-6, and a guided step magnifies that.
ROUNDING = 1e-3
UNET3 = dict(UNET, out_channels=3, class_dropout_prob=0.1)
# A network that is told timesteps, with the sampler of its config, and one that is told sigma.
KINDS = {
    'timesteps': dict(
        unet=UNET3, diffusion_scheduler=dict(type='DDIMScheduler', variance_type='fixed_small')
    ),
    'sigma': dict(
        unet=dict(type='EDMPrecond', network=UNET3),
        diffusion_scheduler=dict(type='EDMHeunScheduler'),
    ),
}


@pytest.fixture(params=KINDS)
def make(request, sampler):
    """Builds a small model of either kind."""

    def build(**changes):
        config = dict(
            type='AblatedDiffusionModel',
            _scope_='mmagic_adm',
            num_inference_steps=3,
            **KINDS[request.param],
        )
        model = MODELS.build({**config, **changes}).eval()
        fill_by_name(model)
        return model

    return build


def infer(model, **changes):
    request = dict(labels=[3, 5], seeds=[0, 1], scheduler_kwargs=OWN)
    return model.infer(**request | changes)['samples']


def test_a_model_takes_it_by_name(make):
    model = make()
    by_config = infer(model, scheduler_kwargs=dict(type=NAME))
    by_name = sample(model, labels=[3, 5], seed=0, scheduler=NAME)['samples']
    assert torch.equal(by_config, by_name)
    assert not torch.allclose(by_config, infer(model, scheduler_kwargs=None), atol=1e-2)


def test_a_sample_is_the_same_in_any_batch(make):
    alone = infer(make(), labels=[5], seeds=[1])
    torch.testing.assert_close(infer(make())[1:], alone, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    'guidance',
    [
        dict(type='ClassifierGuidance', classifier=CLASSIFIER, scale=20.0),
        dict(type='ClassifierFreeGuidance', scale=3.0),
    ],
    ids=lambda guidance: guidance['type'],
)
def test_guidance_guides_it(make, guidance):
    model = make(guidance=guidance)
    guided, free = infer(model), infer(model, classifier_scale=0)
    assert not torch.allclose(guided, free, atol=1e-3)
    of_one = infer(model, classifier_scale=[0, model.guidance.scale])
    torch.testing.assert_close(of_one, torch.stack([free[0], guided[1]]), rtol=0, atol=ROUNDING)


def test_images_are_varied_the_less_the_fewer_steps_are_taken(make):
    model, images = make(), torch.full((2, 3, 8, 8), 0.3)
    every = dict(labels=3, seed=0, steps=10, scheduler=OWN)
    little, much = (vary(model, images, strength, **every).tensor for strength in (0.1, 0.9))
    assert (little - images).abs().mean() < 0.1 < (much - images).abs().mean()


def test_two_walks_of_one_sampler_do_not_disturb_each_other(sampler):
    scheduler = sampler()
    scheduler.set_timesteps(6)
    alone = ends(scheduler, DATA, start())
    first, second = (
        scheduler.walk(DATA, scheduler.init_noise(noise)) for noise in (start(), -start())
    )
    scheduler.set_timesteps(3)
    for step, _ in zip(first, second, strict=True):
        last = step.sample
    assert torch.equal(last, alone)
