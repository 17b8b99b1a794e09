"""Guided loops, and a smoothed classifier, against the original implementations."""

import pytest
import torch
import torchvision

from mmagic_adm.guidance import OffTheShelfGuidance, Path, PixelAsParamGuidance
from mmagic_adm.schedulers import DDPMScheduler
from tests.diffusion.formula import formula_gradient, formula_network
from tests.guidance.simple import push
from tests.reference import fill_by_name, golden_names, load_golden

STEP = dict(rtol=1e-5, atol=1e-5)
LOOP = dict(rtol=1e-4, atol=1e-4)


def scheduler_of(golden):
    scheduler = DDPMScheduler(beta_schedule=golden.meta['schedule'])
    scheduler.set_timesteps(golden.meta['respacing'])
    return scheduler


def guided_loop(golden, guidance, restart):
    """The samples of a loop; with ``restart`` each step begins at the original's sample."""
    scheduler = scheduler_of(golden)
    guide = guidance.bind(Path(scheduler.levels, scheduler.full_process), golden.y)
    x, samples = golden.x_T, []
    for k, t in enumerate(scheduler.timesteps):
        if restart and k:
            x = golden.samples[k - 1]
        output = formula_network(x, torch.full((len(x),), t))
        step = scheduler.step(output, t, x, guidance=guide, noise=golden.noise[k])
        x = step.prev_sample
        samples.append(x)
    return torch.stack(samples)


def pixel_as_param(golden):
    source = formula_gradient(golden.y)
    scale = golden.meta['gradient_scale']
    return PixelAsParamGuidance(
        lambda x_t, t, pred_x0: scale * source(x_t, t, pred_x0), golden.meta['variant']
    )


def off_the_shelf(golden):
    meta = golden.meta
    return OffTheShelfGuidance(
        lambda images: images.flatten(1) @ golden.weight.T,
        scale=meta['classifier_scale'],
        joint_temperature=meta['joint_temperature'],
        margin_temperature_discount=meta['margin_temperature_discount'],
        gamma_factor=meta['gamma_factor'],
    )


CASES = [(name, pixel_as_param) for name in golden_names('guidance', 'pixel_as_param*')] + [
    (name, off_the_shelf) for name in golden_names('guidance', 'off_the_shelf*')
]


@pytest.mark.parametrize(('name', 'guidance_of'), CASES, ids=[name for name, _ in CASES])
class TestLoops:
    def test_every_step(self, name, guidance_of):
        golden = load_golden('guidance', name)
        samples = guided_loop(golden, guidance_of(golden), restart=True)
        torch.testing.assert_close(samples, golden.samples, **STEP)

    def test_end_of_the_loop(self, name, guidance_of):
        golden = load_golden('guidance', name)
        samples = guided_loop(golden, guidance_of(golden), restart=False)
        torch.testing.assert_close(samples[-1], golden.samples[-1], **LOOP)


class TestSoftplusResNet50:
    @pytest.fixture(scope='class')
    @classmethod
    def golden(cls):
        return load_golden('guidance', 'softplus_resnet50')

    @pytest.fixture(scope='class')
    @classmethod
    def guidance(cls, golden):
        network = fill_by_name(torchvision.models.resnet50()).eval()
        return OffTheShelfGuidance(
            network,
            softplus_beta=golden.meta['softplus_beta'],
            joint_temperature=golden.meta['joint_temperature'],
            margin_temperature_discount=golden.meta['margin_temperature_discount'],
        )

    def test_logits(self, golden, guidance):
        with torch.no_grad():
            torch.testing.assert_close(guidance.logits(golden.x), golden.logits, **STEP)

    def test_gradient(self, golden, guidance):
        gradient = push(guidance, golden.y, x_t=golden.x, x_0=golden.x)
        torch.testing.assert_close(gradient, golden.gradient, rtol=1e-4, atol=1e-5)
        assert golden.gradient.abs().max() > 1e-3
