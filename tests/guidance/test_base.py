"""Guidance of a batch: what it is bound to, and ADM's two algorithms."""

import pytest
import torch

from mmagic_adm.guidance import (
    ClassifierGuidance,
    GradientSource,
    PixelAsParamGuidance,
    SampleGuidance,
)
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler, DiffusersScheduler, EDMHeunScheduler
from tests.guidance.simple import LABELS, PRED_X0, ColourTarget, X, moment, path_over, push

OUTPUT, NOISE = torch.randn(3, 6, 4, 4), torch.randn(3, 3, 4, 4)


def linear_classifier(x, t):
    """Logits whose gradient is easy to write down."""
    weight = torch.linspace(-1, 1, 3 * 48).view(3, 48)
    return x.flatten(1) @ weight.T * (1 + t[:, None] / 10)


def test_the_gradient_is_that_of_the_summed_log_probabilities():
    x = X.clone().requires_grad_()
    t = torch.tensor([5, 5, 5])
    log_p = linear_classifier(x, t).log_softmax(dim=1)[range(3), LABELS].sum()
    (expected,) = torch.autograd.grad(log_p, x)
    gradient = push(ClassifierGuidance(linear_classifier), scale=2.5, t=5)
    torch.testing.assert_close(gradient, 2.5 * expected)


def test_a_source_may_look_at_the_predicted_image():
    torch.testing.assert_close(push(ColourTarget()), -2 * (PRED_X0 - 0.5))
    torch.testing.assert_close(push(ColourTarget(looks_at='x_t')), -2 * (X - 0.5))


def test_scales_are_per_sample_if_there_is_one_each():
    scales = [0.0, 2.0, -1.0]
    expected = -2 * (PRED_X0 - 0.5) * torch.tensor(scales).view(3, 1, 1, 1)
    torch.testing.assert_close(push(ColourTarget(), scale=scales), expected)


@pytest.mark.parametrize('scale', [0, 0.0, [0.0, 0.0, 0.0], torch.zeros(3)])
def test_nothing_is_bound_where_nothing_is_to_be_done(scale):
    assert ColourTarget().bind(path_over(), scale=scale) is None


def test_half_precision_classifiers_give_float32_log_probabilities():
    def half(x, t):
        return linear_classifier(x, t).half() * 100

    gradient = push(ClassifierGuidance(half), t=5)
    assert gradient.dtype == torch.float32
    assert gradient.isfinite().all()


class TestAlgorithms:
    def scheduler(self, make, **kwargs):
        scheduler = make(**kwargs)
        scheduler.set_timesteps('5')
        return scheduler

    def test_the_mean_moves_along_the_gradient_by_the_variance(self):
        scheduler = self.scheduler(DDPMScheduler)
        plain, guided = (
            scheduler.step(OUTPUT, 500, X, guidance=guidance, noise=NOISE).prev_sample
            for guidance in (None, lambda x_t, t, pred_x0: 3 * x_t)
        )
        index = scheduler.process.timesteps.index(500)
        prediction = scheduler.process.read(OUTPUT, X, index)
        variance = scheduler.process.reverse(prediction, X, index).variance
        torch.testing.assert_close(guided - plain, variance * 3 * X, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize('rederive_eps', [True, False])
    def test_the_noise_moves_against_the_gradient_by_its_own_factor(self, rederive_eps):
        scheduler = self.scheduler(DDIMScheduler, clip_sample=False, rederive_eps=rederive_eps)
        index = scheduler.process.timesteps.index(500)
        here, there = scheduler.process.level(index), scheduler.process.level(index - 1)
        eps = OUTPUT[:, :3] - (1 - here.signal**2) ** 0.5 * 0.1 * X
        expected = there.mix(here.x_0(X, eps), eps)
        guided = scheduler.step(OUTPUT, 500, X, guidance=lambda x_t, t, pred_x0: 0.1 * x_t)
        torch.testing.assert_close(guided.prev_sample, expected, rtol=1e-4, atol=1e-5)

    def test_what_is_bound_guides_like_the_function(self):
        for make in (DDPMScheduler, DDIMScheduler):
            scheduler = self.scheduler(make)
            bound = ColourTarget(50.0).bind(path_over(scheduler.timesteps))
            one, other = (
                scheduler.step(OUTPUT, 500, X, guidance=guidance, noise=NOISE).prev_sample
                for guidance in (bound, lambda x_t, t, pred_x0: -100 * (pred_x0 - 0.5))
            )
            torch.testing.assert_close(one, other)


class TestWhereItActs:
    RULE = PixelAsParamGuidance(ColourTarget())
    PUSH = SampleGuidance(ColourTarget())

    @pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler, EDMHeunScheduler])
    def test_gradients_act_everywhere(self, make):
        ColourTarget().check_fits(None, make())

    @pytest.mark.parametrize(
        ('guidance', 'make'),
        [
            (RULE, DDIMScheduler),
            (RULE, DiffusersScheduler),
            (RULE, EDMHeunScheduler),
            (PUSH, DDPMScheduler),
            (PUSH, DDIMScheduler),
        ],
    )
    def test_rules_act_where_there_is_a_place_for_them(self, guidance, make):
        message = f'{type(guidance).__name__} .*, which {make.__name__} has no place for'
        with pytest.raises(ValueError, match=message):
            guidance.check_fits(None, make())

    def test_and_there_they_do(self):
        self.RULE.check_fits(None, DDPMScheduler())
        self.PUSH.check_fits(None, EDMHeunScheduler())


class TestNearestLevel:
    """A call that is not quite at a level of the walk belongs to the nearest one."""

    def test_a_level_of_the_walk_is_itself(self):
        assert path_over().nearest(moment(700).level) == 700

    def test_another_is_near_one(self):
        assert path_over().nearest(moment(620).level) == 700


class TestBadInput:
    def test_a_score_for_the_whole_batch(self):
        class Mean(GradientSource):
            def score(self, x, t, labels):
                return x.mean()

        with pytest.raises(ValueError, match=r'Mean gave scores of shape \(\) for 3 samples'):
            push(Mean())

    def test_a_score_that_does_not_depend_on_the_image(self):
        class Constant(GradientSource):
            def score(self, x, t, labels):
                return torch.zeros(len(x))

        with pytest.raises(ValueError, match='Constant does not depend on the image'):
            push(Constant())

    def test_no_labels(self):
        with pytest.raises(ValueError, match='needs labels'):
            push(ClassifierGuidance(linear_classifier), labels=None)
