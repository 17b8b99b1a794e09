"""EDM2's learning rate, at the times of the original's."""

import pytest
import torch
from torch import nn

from mmagic_adm.engine import InverseSqrtLR
from tests.reference import load_golden


def test_it_stays_and_falls_as_edm2s_does():
    golden = load_golden('edm2', 'ema')
    settings = golden.meta['learning_rate']
    # In thousands of the original's steps, as the shape does not depend on their length.
    times = golden.lr_nimg / (1000 * settings['batch_size'])
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=settings['ref_lr'])
    falling = InverseSqrtLR(optimiser, flat=settings['ref_batches'] / 1000, by_epoch=False)
    rates = [optimiser.param_groups[0]['lr']]
    for _ in range(int(times[-1])):
        falling.step()
        rates.append(optimiser.param_groups[0]['lr'])
    for time, expected in zip(times[-4:].tolist(), golden.lr[-4:].tolist(), strict=True):
        assert rates[int(time)] == pytest.approx(expected, rel=1e-3)


def test_it_wants_a_time_to_fall_from():
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match='above 0, not 0'):
        InverseSqrtLR(optimiser, flat=0, by_epoch=False)
