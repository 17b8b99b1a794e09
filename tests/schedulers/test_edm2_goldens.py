"""EDM's sampler on EDM2's networks: alone, with churn, guided by another network."""

import pytest
import torch

from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.guidance import ClassifierFreeGuidance, Path
from mmagic_adm.schedulers import EDMHeunScheduler
from tests.networks.test_edm2 import edm2
from tests.reference import load_golden

CASES = ['autoguidance', 'autoguidance_float64', 'guidance_uncond', 'unguided_churn']


@pytest.mark.parametrize('name', CASES)
def test_every_step_ends_where_edm2s_does(name):
    golden = load_golden('edm2', name)
    meta = golden.meta
    scheduler = EDMHeunScheduler(
        meta['sigma_min'], meta['sigma_max'], meta['rho'], **meta.get('churn', {})
    )
    scheduler.set_timesteps(meta['steps'])
    network = edm2(meta['kwargs'])
    denoiser = make_denoiser(network, scheduler.full_process, dict(labels=golden.y))
    if 'guide' in meta:
        guidance = ClassifierFreeGuidance(
            meta['guidance'] - 1, edm2(meta['guide']['kwargs'], 'guide.')
        )
        guidance.check_fits(network, scheduler)
        path = Path(scheduler.calls(), scheduler.full_process)
        denoiser = guidance.bind(path, golden.y).wrap(denoiser)
    noises = dict(noises=golden.noise) if 'noise' in golden else {}
    with torch.no_grad():
        walk = scheduler.walk(denoiser, scheduler.init_noise(golden.x), **noises)
        samples = torch.stack([step.sample for step in walk])
    # Random weights make samples of 10 and more, of which the states in float32 keep 6 digits.
    scale = golden.samples.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=10)
    torch.testing.assert_close(samples / scale, golden.samples.double() / scale, rtol=0, atol=2e-5)
