"""When guidance acts, and how strongly."""

import math
from types import SimpleNamespace

import pytest
import torch

from mmagic_adm.guidance import Form, Path
from mmagic_adm.guidance.pace import Pace
from mmagic_adm.schedulers import EDMHeunScheduler
from tests.guidance.simple import PRED_X0, PROCESS, TIMESTEPS, ColourTarget, moment, path_over

WALK = SimpleNamespace(guided_by={Form.GRADIENT}, full_process=PROCESS, is_of_ends=False)


def test_by_default_every_step_is_alike():
    pace = Pace()
    assert pace.is_even
    assert pace.factors(TIMESTEPS) == dict.fromkeys(TIMESTEPS, 1)


def test_an_interval_includes_both_its_ends():
    assert Pace(interval=(300, 700)).factors(TIMESTEPS) == {700: 1, 500: 1, 300: 1}


def test_a_step_that_acts_has_the_weight_of_those_that_are_skipped_after_it():
    factors = Pace(every=2).factors(TIMESTEPS)
    assert factors == {900: 2, 500: 2, 100: 1}
    assert sum(factors.values()) == len(TIMESTEPS)


def test_steps_are_counted_within_the_interval():
    assert Pace(interval=(100, 700), every=3).factors(TIMESTEPS) == {700: 3, 100: 1}


def test_a_timestep_at_which_the_network_is_called_twice_is_one_step():
    path = path_over([900, 700, 700, 500, 500])
    assert Pace(every=2).factors(path.timesteps) == {900: 2, 500: 1}


@pytest.mark.parametrize('name', ['linear', 'cosine'])
def test_a_schedule_rises_from_nothing_and_has_mean_one(name):
    factors = list(Pace(schedule=name).factors(range(999, -1, -1)).values())
    assert factors[0] == pytest.approx(0, abs=1e-6)
    assert factors == sorted(factors)
    assert factors[-1] == pytest.approx(2, abs=1e-3)
    assert sum(factors) / len(factors) == pytest.approx(1, abs=1e-3)


def test_a_schedule_may_be_a_function_of_how_noisy_it_still_is():
    factors = Pace(schedule=math.sqrt, every=2).factors([900, 400, 100])
    assert factors == {900: pytest.approx(1 + 2 / 3), 100: pytest.approx(1 / 3)}


def test_a_skipped_step_costs_nothing_and_pushes_nothing():
    source = ColourTarget(every=2, interval=(100, 700))
    guide = source.bind(path_over())
    pushes = {t: guide.push(moment(t), 1.0) for t in TIMESTEPS}
    assert [t for t, _ in source.calls] == [700, 300]
    plain = -2 * (PRED_X0 - 0.5)
    for t, factor in {900: 0, 700: 2, 500: 0, 300: 2, 100: 0}.items():
        torch.testing.assert_close(pushes[t], factor * plain)


def test_levels_that_are_no_timesteps_are_counted_too():
    """EDM's, which lie between those of the process."""
    scheduler = EDMHeunScheduler()
    scheduler.set_timesteps(6)
    levels = scheduler.calls()
    factor = Pace(every=2).over(Path(levels, scheduler.full_process))
    distinct = list(dict.fromkeys(levels))
    assert [factor(level) for level in distinct] == [2, 0, 2, 0, 2, 0]


class TestBadInput:
    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (dict(interval=(5, 3)), r't_low <= t_high, not \(5, 3\)'),
            (dict(interval=(5,)), r't_low, t_high'),
            (dict(every=0), r'k from 1 on, not 0'),
            (dict(schedule='sine'), r"'constant', 'linear', 'cosine' or a function, not 'sine'"),
        ],
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            Pace(**arguments)

    @pytest.mark.parametrize('interval', [(200, 1200), (-1, 500), (1500, 2000)])
    def test_an_interval_outside_the_process(self, interval):
        source = ColourTarget(interval=interval)
        with pytest.raises(ValueError, match=r'of ColourTarget lies outside .* from 0 to 999'):
            source.check_fits(torch.nn.Identity(), WALK)

    def test_the_whole_process_is_an_interval(self):
        ColourTarget(interval=(0, 1000)).check_fits(torch.nn.Identity(), WALK)

    def test_an_interval_between_two_steps(self):
        with pytest.raises(ValueError, match='holds none of the 5 timesteps from 900 to 100'):
            ColourTarget(interval=(510, 690)).bind(path_over())
