"""Zero-shot editing by consistency models: what is known is put back after every call."""

import math

import pytest
import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.diffusion import GaussianDiffusion
from mmagic_adm.guidance import Path
from mmagic_adm.schedulers import ConsistencyScheduler
from tests.consistency import network_of, precond
from tests.reference import golden_names, load_golden

measurements = pytest.importorskip('mmagic_adm.measurements')


def operator_of(golden):
    """What is seen of an image, in units of the image."""
    shape, edit = tuple(golden.images.shape[1:]), golden.meta['edit']
    if edit == 'inpainting':
        return measurements.Inpainting(shape, golden.mask[:, :1])
    if edit == 'colorization':
        return measurements.Greyscale(shape, golden.direction.tolist())
    return measurements.Downsampling(shape, golden.meta['patch_size'])


@pytest.mark.parametrize('name', golden_names('consistency', 'edit_*'))
def test_an_edit_is_ddnm_under_its_sampler(name):
    golden = load_golden('consistency', name)
    operator = operator_of(golden)
    scheduler = ConsistencyScheduler(num_scales=golden.meta['steps'])
    scheduler.set_timesteps(','.join(map(str, golden.meta['ts'])))
    y = operator(golden.images)
    method = measurements.DDNM().on(measurements.Measurement(y, operator))
    guide = method.bind(Path(scheduler.calls(), scheduler.full_process))
    network = precond(network_of(golden))
    denoiser = guide.correct(ClippedDenoiser(make_denoiser(network, GaussianDiffusion())))
    with torch.no_grad():
        walk = scheduler.walk(denoiser, scheduler.init_noise(golden.x_T), noises=golden.noise)
        samples = torch.stack([step.sample for step in walk])
    torch.testing.assert_close(samples, golden.samples, rtol=1e-5, atol=1e-4)
    assert math.isfinite(float(y.sum()))
