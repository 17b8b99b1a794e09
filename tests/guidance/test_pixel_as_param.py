"""The rule that settles conflicts between the directions of a step."""

import pytest
import torch

from mmagic_adm.compat.mmagic_schedulers import EditDDPMScheduler
from mmagic_adm.guidance import ClassifierFreeGuidance, PixelAsParamGuidance
from mmagic_adm.guidance.pixel_as_param import VARIANTS, without_conflict
from mmagic_adm.schedulers import DDPMScheduler
from tests.guidance.simple import PRED_X0, ColourTarget, X, path_over

OUTPUT = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(2))
NOISE = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(3))


def step(guidance, rows=slice(None), t=500, scale=None):
    scheduler = DDPMScheduler()
    scheduler.set_timesteps('1000')
    guide = guidance.bind(path_over(scheduler.timesteps), scale=scale)
    return scheduler.step(OUTPUT[rows], t, X[rows], guidance=guide, noise=NOISE[rows]).prev_sample


def per_sample(x, y):
    return (x * y).flatten(1).sum(1)


class TestWithoutConflict:
    def test_what_points_apart_becomes_orthogonal(self):
        apart = -PRED_X0 + 0.1 * X
        settled = without_conflict(apart, PRED_X0)
        torch.testing.assert_close(per_sample(settled, PRED_X0), torch.zeros(3), atol=1e-5, rtol=0)

    def test_what_agrees_stays(self):
        agrees = PRED_X0 + 0.1 * X
        assert torch.equal(without_conflict(agrees, PRED_X0), agrees)

    def test_each_sample_is_settled_by_itself(self):
        other = torch.stack([PRED_X0[0], -PRED_X0[1], PRED_X0[2]])
        settled = without_conflict(PRED_X0, other)
        assert torch.equal(settled[[0, 2]], PRED_X0[[0, 2]])
        torch.testing.assert_close(settled[1], torch.zeros(3, 4, 4), atol=1e-6, rtol=0)

    def test_nothing_conflicts_with_nothing(self):
        assert torch.equal(without_conflict(X, torch.zeros_like(X)), X)


@pytest.mark.parametrize('variant', VARIANTS)
class TestEveryVariant:
    def test_a_sample_does_not_depend_on_its_neighbours(self, variant):
        guidance = PixelAsParamGuidance(ColourTarget(scale=300.0), variant)
        together = step(guidance)
        for i in range(3):
            torch.testing.assert_close(step(guidance, rows=[i])[0], together[i])
        shuffled = [2, 0, 1]
        torch.testing.assert_close(step(guidance, rows=shuffled), together[shuffled])

    def test_scales_per_sample_are_the_same_one_by_one(self, variant):
        guidance = PixelAsParamGuidance(ColourTarget(), variant)
        scales = [0.0, 300.0, -50.0]
        together = step(guidance, scale=scales)
        for i, scale in enumerate(scales):
            torch.testing.assert_close(step(guidance, rows=[i], scale=scale)[0], together[i])

    def test_a_weak_push_that_agrees_is_the_default_rule(self, variant):
        def along_the_noise(x_t, t, pred_x0):
            return NOISE + 3 * pred_x0

        rule = step(PixelAsParamGuidance(along_the_noise, variant))
        default = DDPMScheduler()
        default.set_timesteps('1000')
        expected = default.step(OUTPUT, 500, X, guidance=along_the_noise, noise=NOISE)
        torch.testing.assert_close(rule, expected.prev_sample)

    def test_the_last_step_has_no_noise_to_conflict_with(self, variant):
        assert step(PixelAsParamGuidance(ColourTarget(100.0), variant), t=0).isfinite().all()


def test_a_step_that_is_skipped_is_the_unguided_one():
    source = ColourTarget(scale=300.0)
    rule = PixelAsParamGuidance(source, 'clsden', interval=(600, 999))
    torch.testing.assert_close(step(rule), step(PixelAsParamGuidance(ColourTarget(0.0))))
    assert source.calls == []
    step(rule, t=600)
    assert len(source.calls) == 1


class TestBadInput:
    def test_an_unknown_variant(self):
        with pytest.raises(ValueError, match=r"'clsden', .*, not 'pcgrad'"):
            PixelAsParamGuidance(ColourTarget(), 'pcgrad')

    def test_a_source_without_a_gradient(self):
        with pytest.raises(ValueError, match='ClassifierFreeGuidance has none'):
            PixelAsParamGuidance(ClassifierFreeGuidance())

    def test_a_rule_as_its_source(self):
        with pytest.raises(ValueError, match='PixelAsParamGuidance has none'):
            PixelAsParamGuidance(PixelAsParamGuidance(ColourTarget()))


@pytest.mark.parametrize('variant', VARIANTS)
def test_mmagics_ddpm_takes_it_too(variant):
    scheduler = EditDDPMScheduler(variance_type='learned_range')
    ours, plain = (
        scheduler.step(OUTPUT, 0, X, guidance=guidance, noise=NOISE).prev_sample
        for guidance in (PixelAsParamGuidance(ColourTarget(9.0), variant).bind(path_over()), None)
    )
    expected = step(PixelAsParamGuidance(ColourTarget(9.0), variant), t=0)
    torch.testing.assert_close(ours, expected)
    assert not torch.allclose(ours, plain)
