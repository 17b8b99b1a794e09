"""Which levels consistency models are trained on, and how their errors are weighed."""

import numpy as np
import pytest
import torch

from mmagic_adm.diffusion.consistency import LogNormalLevels, Scales, weights
from tests.reference import load_golden


@pytest.mark.parametrize('case', range(5))
def test_scales_and_rates_at_every_step_are_the_originals(case):
    golden = load_golden('consistency', 'ema_and_scales')
    meta = golden.meta['cases'][case]
    growth = {'progdist': 'halving'}.get(meta['scale_mode'], meta['scale_mode'])
    scales = Scales(
        start=meta['start_scales'],
        end=meta['end_scales'],
        growth=growth,
        total_steps=meta['total_steps'],
        period=meta['distill_steps_per_iter'],
        start_rate=meta['start_ema'],
        is_adaptive=meta['target_ema_mode'] == 'adaptive',
    )
    steps = golden.arrays[f'steps_{case}'].tolist()
    counts = [scales.count(step) for step in steps]
    assert counts == golden.arrays[f'scales_{case}'].tolist()
    if growth != 'halving':  # whose teacher is no average
        rates = [scales.rate(step) for step in steps]
        np.testing.assert_allclose(rates, golden.arrays[f'ema_{case}'].numpy(), rtol=1e-12)


@pytest.mark.parametrize('name', ['r_0', 'r_1', 'r_2', 'r_3', 'r_4'])
def test_r_draws_nearer_as_in_easy_consistency_tuning(name):
    golden = load_golden('ect', 'mapping')
    settings = dict(golden.meta['settings'][name])
    stages, adjusted = settings.pop('stages'), settings.pop('adj') == 'sigmoid'
    levels = LogNormalLevels(**settings, **({} if adjusted else dict(k=0.0)))
    for stage, expected in zip(stages, golden.arrays[name], strict=True):
        torch.testing.assert_close(levels.nearer(golden.t, stage), expected, rtol=1e-5, atol=0)
    expected = golden.arrays[f'weight_{name[-1]}'][0]
    r = golden.arrays[name][0]
    torch.testing.assert_close(weights('gap', golden.t, r, 0.5), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('kind', ['snr', 'snr+1', 'karras', 'truncated-snr', 'uniform'])
def test_weights_are_the_originals(kind):
    golden = load_golden('consistency', 'losses_edm')
    ours = weights(kind, golden.sigma, torch.zeros(()), golden.meta['sigma_data'])
    torch.testing.assert_close(ours, golden.arrays[f'weight_{kind}'])


def test_neighbours_among_the_scales_are_drawn():
    scales = Scales(start=5)
    t, r = scales.draw(200, 0, torch.device('cpu'))
    grid = scales.sigma(torch.arange(5) / 4)
    pairs = {(round(a, 4), round(b, 4)) for a, b in zip(t.tolist(), r.tolist(), strict=True)}
    assert len(pairs) == 4
    torch.testing.assert_close(t.unique().flip(0), grid[:-1])
    torch.testing.assert_close(r.unique().flip(0), grid[1:])


def test_levels_are_log_normal_and_their_stages_last():
    torch.manual_seed(0)
    levels = LogNormalLevels(period=10, last_stage=2)
    t, r = levels.draw(20_000, 0, torch.device('cpu'))
    torch.testing.assert_close(t.log().mean().item(), -1.1, rtol=0, atol=0.05)
    torch.testing.assert_close(t.log().std().item(), 2.0, rtol=0, atol=0.05)
    for step, stage in ((9, 0), (10, 1), (29, 2), (1000, 2)):
        t, r = levels.draw(8, step, torch.device('cpu'))
        torch.testing.assert_close(r, levels.nearer(t, stage))


@pytest.mark.parametrize(
    ('settings', 'match'),
    [
        (dict(growth='linear'), "growth is one of fixed, progressive, halving, not 'linear'"),
        (dict(start=1), 'scales start at 2 or more'),
        (dict(sigma_min=80.0), 'from 80.0 to 80.0'),
        (dict(growth='halving', start=40), 'power of 2, not 40'),
    ],
)
def test_scales_that_cannot_be_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        Scales(**settings)
