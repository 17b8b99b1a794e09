import math

import pytest
import torch

from mmagic_adm import diffusion
from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.diffusion import GaussianDiffusion, prior_bits_per_dim
from mmagic_adm.diffusion.losses import bound_term
from tests.diffusion.formula import formula_network, process_of
from tests.reference import golden_names, load_golden


def bits_per_dim(process, network, *args, **kwargs):
    return diffusion.bits_per_dim(process, make_denoiser(network, process), *args, **kwargs)


def test_bound_equals_the_original():
    golden = load_golden('diffusion', 'bits_per_dim_16')
    result = bits_per_dim(process_of(golden.meta), formula_network, golden.x_0, golden.noise)
    for key, value in result.items():
        torch.testing.assert_close(value, golden.arrays[key], rtol=1e-4, atol=1e-5)
    assert set(result) == set(golden.arrays) - {'x_0', 'noise'}


@pytest.mark.parametrize('name', golden_names('diffusion', 'step_*'))
def test_prior_term_equals_the_original(name):
    golden = load_golden('diffusion', name)
    prior = prior_bits_per_dim(process_of(golden.meta), golden.x_0)
    torch.testing.assert_close(prior, golden.prior_bpd, rtol=0.02, atol=1e-8)


def test_terms_add_up():
    process = GaussianDiffusion(respacing='8')
    x_0, noises = torch.rand(3, 3, 4, 4) * 2 - 1, torch.randn(8, 3, 3, 4, 4)
    result = bits_per_dim(process, formula_network, x_0, noises)
    torch.testing.assert_close(result['total_bpd'], result['prior_bpd'] + result['vb'].sum(1))
    for k, step in enumerate(reversed(range(8))):
        t = torch.full((3,), step)
        x_t = process.add_noise(x_0, t, noises[k])
        output = formula_network(x_t, process.network_timesteps(t))
        bits = bound_term(process, process.read(output, x_t, t).clipped(), x_0, x_t, t)
        torch.testing.assert_close(result['vb'][:, k], bits)


def test_a_network_that_knows_the_image_pays_for_its_last_step_alone():
    """With the true x_0 and the posterior's variance no step but the decoder's costs anything."""
    process = GaussianDiffusion(prediction_type='start_x', variance_type='fixed_small')
    x_0 = (torch.randint(0, 256, (2, 3, 4, 4)) / 127.5 - 1).double()
    result = bits_per_dim(process, lambda x, t: x_0, x_0)
    assert result['vb'][:, :-1].abs().max() < 1e-6
    assert result['xstart_mse'].abs().max() == 0
    assert result['mse'].abs().max() < 1e-12
    assert (result['vb'][:, -1] >= 0).all()
    assert (result['vb'][:, -1] < 1.5).all()


def test_the_bound_is_above_the_entropy_of_noise():
    """Uniformly random 8-bit images hold 8 bits a dimension; no model can do with fewer."""
    process = GaussianDiffusion(prediction_type='start_x', variance_type='fixed_small')
    x_0 = torch.randint(0, 256, (64, 1, 8, 8)) / 127.5 - 1

    def network(x_t, timesteps):
        level = process.level(int(timesteps[0]))  # the best linear guess at uniform noise
        prior_variance = 1 / 3
        gain = level.signal * prior_variance
        return x_t * gain / (level.signal**2 * prior_variance + level.noise**2)

    total = bits_per_dim(process, network, x_0, generator=torch.Generator().manual_seed(1))
    assert 8 < total['total_bpd'].mean() < 9


def test_noise_comes_from_each_images_own_generator():
    process = GaussianDiffusion(respacing='4')
    x_0 = torch.rand(3, 3, 4, 4) * 2 - 1

    def generators(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    batch = bits_per_dim(process, formula_network, x_0, generator=generators(5, 6, 7))
    alone = bits_per_dim(process, formula_network, x_0[1:2], generator=generators(6))
    torch.testing.assert_close(batch['vb'][1:2], alone['vb'])


def test_noises_of_another_number():
    with pytest.raises(ValueError, match='3 noises for 4 timesteps'):
        bits_per_dim(
            GaussianDiffusion(respacing='4'),
            formula_network,
            torch.zeros(1, 3, 4, 4),
            torch.randn(3, 1, 3, 4, 4),
        )


def test_images_of_another_range():
    with pytest.raises(ValueError, match=r'images in \[-1, 1\]; these reach from 0 to 255'):
        bits_per_dim(
            GaussianDiffusion(), formula_network, torch.linspace(0, 255, 48).reshape(1, 3, 4, 4)
        )


def test_bits_are_those_of_a_known_decoder():
    """One step whose decoder is a normal distribution around the image itself."""
    process = GaussianDiffusion([0.5], 1, prediction_type='start_x', variance_type='fixed_large')
    x_0 = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    result = bits_per_dim(process, lambda x, t: x_0, x_0)
    probability = math.erf(1 / 255 / math.sqrt(0.5) / math.sqrt(2))
    assert result['vb'].item() == pytest.approx(-math.log2(probability), rel=1e-3)
    kl = 0.5 * (0.5 - 1 - math.log(0.5))
    assert result['prior_bpd'].item() == pytest.approx(kl / math.log(2))
