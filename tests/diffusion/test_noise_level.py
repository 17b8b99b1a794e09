"""One coordinate of noise, whichever way it is named."""

import math

import numpy as np
import pytest
import torch

from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel


@pytest.fixture(params=['linear', 'cosine'])
def process(request):
    return GaussianDiffusion(request.param)


def sigmas_of(process):
    return [process.level(t).sigma for t in range(process.num_timesteps)]


def test_edms_way_and_a_processs_name_the_same():
    edm = NoiseLevel(1.0, 3.0)
    unit = edm.unit()
    assert unit.signal**2 + unit.noise**2 == pytest.approx(1)
    assert unit.sigma == pytest.approx(3)
    assert [edm.alpha_bar, unit.alpha_bar] == pytest.approx([0.1, 0.1])
    assert (edm.name, NoiseLevel(0.6, 0.8, 500).name) == ('sigma=3', 't=500')
    assert [NoiseLevel(1.0, s).name for s in (57.5859, 0.0204)] == ['sigma=57.6', 'sigma=0.02']
    x = torch.randn(2, 3)
    torch.testing.assert_close(edm.to_unit(x), x / math.sqrt(10))


def test_a_level_of_unit_variance_stays_itself(process):
    level, x = process.level(123), torch.randn(2, 3)
    assert level.unit() is level
    assert level.to_unit(x) is x


def test_a_timestep_is_told_as_it_is_and_not_looked_up():
    process = GaussianDiffusion(respacing='10')
    assert process.level(3).timestep == 333
    # Even where signal and noise are those of another.
    assert process.told(NoiseLevel(1.0, 1e9, timestep=333)) == 333
    assert type(process.told(process.level(3))) is int


def test_rescaled_timesteps_are_told_rescaled():
    process = GaussianDiffusion(num_train_timesteps=100, rescale_timesteps=True)
    assert process.told(process.level(7)) == 70
    assert process.told(NoiseLevel(1.0, process.level(7).sigma)) == pytest.approx(70)


def test_from_timestep_to_sigma_and_back(process):
    for t in (0.0, 0.25, 17.5, 998.9, 999.0):
        level = process.level_at(t)
        assert level.timestep == t
        assert process.told(NoiseLevel(1.0, level.sigma)) == pytest.approx(t)


def test_in_between_it_is_linear_in_sigma(process):
    for t in np.linspace(0, 999, 77):
        expected = np.interp(t, np.arange(1000), sigmas_of(process))
        assert process.level_at(t).sigma == pytest.approx(expected)


def test_beyond_the_process_are_its_ends(process):
    assert process.told(NoiseLevel(1.0, 0.0)) == 0
    assert process.told(NoiseLevel(1.0, 1e9)) == 999


def test_respacing_does_not_change_it(process):
    level = NoiseLevel(1.0, 0.7)
    assert process.respaced('10').told(level) == process.told(level)


def test_a_level_may_differ_from_sample_to_sample(process):
    sigmas = torch.tensor([0.02, 0.7, 30.0, 1e9]).view(4, 1, 1, 1)
    told = process.told(NoiseLevel(1.0, sigmas))
    alone = [process.told(NoiseLevel(1.0, float(sigma))) for sigma in sigmas]
    torch.testing.assert_close(told, torch.tensor(alone, dtype=torch.float64))
