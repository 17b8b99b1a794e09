"""Power-function averages, and those that are mixed of them, against the original."""

import numpy as np
import pytest
import torch
from torch import nn

from mmagic_adm.engine import posthoc_average
from mmagic_adm.engine.moving_averages import MovingAverages, PowerFunctionAverage, exponent_of
from mmagic_adm.engine.posthoc_averages import coefficients, profile_product
from tests.reference import load_golden


@pytest.fixture(scope='module')
def golden():
    return load_golden('edm2', 'ema')


def array(golden, name):
    return golden.arrays[name].double().numpy()


def test_exponents_of_widths(golden):
    found = [exponent_of(std) for std in golden.stds.tolist()]
    np.testing.assert_allclose(found, array(golden, 'std_to_exp'), rtol=1e-6)
    back = [exponent_of(std) for std in golden.exp_to_std.tolist()]
    np.testing.assert_allclose(back, array(golden, 'exps'), atol=1e-6)


def test_a_tracked_average(golden):
    weights = nn.Linear(1, 1, bias=False)
    average = PowerFunctionAverage(weights, golden.meta['track']['std'])
    found = []
    for value in golden.track_values.tolist():
        nn.init.constant_(weights.weight, value)
        average.update_parameters(weights)
        found.append(average.module.weight.item())
    torch.testing.assert_close(torch.tensor(found), golden.track_ema.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('case', range(3))
def test_shares_of_averages_in_others(golden, case):
    times, stds, at, wanted = (
        array(golden, f'{name}_{case}') for name in ('in_ofs', 'in_std', 'out_ofs', 'out_std')
    )
    own, other = ([exponent_of(std) for std in each] for each in (stds, wanted))
    products = profile_product(times[:, None], np.array(own)[:, None], at, np.array(other))
    np.testing.assert_allclose(products, array(golden, f'correlation_{case}'), rtol=1e-6)
    np.testing.assert_allclose(
        coefficients(times, stds, at, wanted), array(golden, f'coefficients_{case}'), atol=1e-6
    )


def test_an_average_of_any_width_is_mixed_of_those_that_were_kept(tmp_path):
    torch.manual_seed(0)
    weights, steps, width = nn.Linear(3, 1, bias=False), 400, 0.12
    kept = {std: PowerFunctionAverage(weights, std) for std in (0.05, 0.1)}
    wanted = PowerFunctionAverage(weights, width)
    files, drift = [], torch.zeros(1, 3)
    for step in range(1, steps + 1):
        drift += torch.randn(1, 3) / steps**0.5
        weights.weight.data.copy_(drift)
        for average in (*kept.values(), wanted):
            average.update_parameters(weights)
        if step % 50 == 0:
            averages = {f'std={std}': average.state_dict() for std, average in kept.items()}
            files.append(tmp_path / f'iter_{step}.pth')
            torch.save(
                dict(state_dict=weights.state_dict(), meta={}, other_averages=averages), files[-1]
            )
    found = posthoc_average(files, width)['weight']
    exact = wanted.module.weight
    assert (found - exact).norm() < 0.02 * (exact - kept[0.05].module.weight).norm()
    with pytest.raises(ValueError, match='none of 0 checkpoints holds power-function averages'):
        posthoc_average([], 0.1)


@pytest.mark.parametrize('std', [0.0, 0.4])
def test_a_width_that_no_average_has_is_refused(std):
    with pytest.raises(ValueError, match=r'above 0, up to 0.288'):
        MovingAverages(stds=(std,))
