"""Whole loops and their every step against the original implementation."""

import pytest
import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler
from tests.diffusion.formula import (
    formula_gradient,
    formula_network,
    is_learned,
    settings,
)
from tests.reference import golden_names, load_golden

STEP = dict(rtol=1e-5, atol=1e-5)
LOOP = dict(rtol=1e-4, atol=1e-4)
LOOPS = [name for name in golden_names('diffusion', 'dd*') if name != 'ddim_reverse_8']


def scheduler_of(meta):
    arguments = dict(settings(meta), clip_sample=meta.get('clip_denoised', True))
    if meta.get('sampler', 'ddim') == 'ddim':
        scheduler = DDIMScheduler(**arguments, eta=meta.get('eta', 0.0))
    else:
        scheduler = DDPMScheduler(**arguments)
    scheduler.set_timesteps(meta['respacing'])
    return scheduler


@pytest.mark.parametrize('name', LOOPS)
class TestLoops:
    def run(self, golden, restart):
        """The loop's outputs; with ``restart`` each step begins at the original's sample."""
        scheduler = scheduler_of(golden.meta)
        guidance = formula_gradient(golden.y) if golden.meta['guided'] else None
        sample, outputs = golden.x_T, []
        for k, t in enumerate(scheduler.timesteps):
            if restart and k:
                sample = golden.samples[k - 1]
            timesteps = torch.full((len(sample),), scheduler.network_timestep(t))
            torch.testing.assert_close(timesteps, golden.network_timesteps[k])
            output = formula_network(sample, timesteps, is_learned(golden.meta))
            outputs.append(
                scheduler.step(output, t, sample, guidance=guidance, noise=golden.noise[k])
            )
            sample = outputs[-1].prev_sample
        assert len(outputs) == len(golden.samples)
        return outputs

    def test_a_walk_is_the_same_loop(self, name):
        golden = load_golden('diffusion', name)
        scheduler, told = scheduler_of(golden.meta), []

        def network(x, timesteps):
            told.append(timesteps)
            return formula_network(x, timesteps, is_learned(golden.meta))

        denoiser = make_denoiser(network, scheduler.process)
        walk = scheduler.walk(
            ClippedDenoiser(denoiser) if scheduler.clip_sample else denoiser,
            scheduler.init_noise(golden.x_T),
            guidance=formula_gradient(golden.y) if golden.meta['guided'] else None,
            noises=golden.noise,
        )
        last = list(walk)[-1]
        torch.testing.assert_close(torch.stack(told), golden.network_timesteps)
        torch.testing.assert_close(last.sample, golden.samples[-1], **LOOP)
        torch.testing.assert_close(last.pred_x0, golden.pred_xstart[-1], **LOOP)

    def test_every_step(self, name):
        golden = load_golden('diffusion', name)
        outputs = self.run(golden, restart=True)
        for output, sample, pred in zip(outputs, golden.samples, golden.pred_xstart, strict=True):
            torch.testing.assert_close(output.prev_sample, sample, **STEP)
            torch.testing.assert_close(output.pred_original_sample, pred, **STEP)

    def test_end_of_the_loop(self, name):
        golden = load_golden('diffusion', name)
        last = self.run(golden, restart=False)[-1]
        torch.testing.assert_close(last.prev_sample, golden.samples[-1], **LOOP)
        torch.testing.assert_close(last.pred_original_sample, golden.pred_xstart[-1], **LOOP)


def test_from_image_to_noise():
    golden = load_golden('diffusion', 'ddim_reverse_8')
    scheduler = scheduler_of(golden.meta)
    sample = golden.x_0
    for k, t in enumerate(reversed(scheduler.timesteps)):
        output = formula_network(sample, torch.full((len(sample),), t))
        sample = scheduler.reverse_step(output, t, sample).prev_sample
        torch.testing.assert_close(sample, golden.samples[k], **LOOP)


def test_the_way_from_image_to_noise_is_the_same_loop():
    golden = load_golden('diffusion', 'ddim_reverse_8')
    scheduler = scheduler_of(golden.meta)
    denoiser = ClippedDenoiser(make_denoiser(formula_network, scheduler.process))
    noise = scheduler.to_noise(denoiser, golden.x_0)
    torch.testing.assert_close(noise, golden.samples[-1], **LOOP)
