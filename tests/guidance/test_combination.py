"""Sums of guidances."""

import pytest
import torch

from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.guidance import (
    ClassifierFreeGuidance,
    OffTheShelfGuidance,
    PixelAsParamGuidance,
    SumGuidance,
)
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler
from tests.guidance.simple import (
    LABELS,
    PROCESS,
    TIMESTEPS,
    ColourTarget,
    X,
    moment,
    path_over,
    push,
)

OUTPUT = torch.randn(3, 6, 4, 4, generator=torch.Generator().manual_seed(2))


def constant(x_t, t, pred_x0):
    return torch.ones_like(x_t)


def test_gradients_are_added_by_their_weights():
    together = push(SumGuidance([ColourTarget(3.0), constant], weights=[0.5, 2.0]))
    torch.testing.assert_close(together, 1.5 * push(ColourTarget()) + 2)


def test_the_batchs_scale_is_a_factor_on_all():
    guidance = SumGuidance([ColourTarget(3.0), constant])
    together = push(guidance, scale=[0.0, 1.0, 2.0])
    alone = push(guidance)
    torch.testing.assert_close(together, alone * torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1))


def test_a_part_of_weight_zero_costs_nothing():
    source = ColourTarget()
    push(SumGuidance([source, constant], weights=[0.0, 1.0]))
    assert source.calls == []


def test_parts_keep_their_own_pace_and_the_sum_has_one_too():
    early, late = ColourTarget(interval=(600, 999)), ColourTarget(interval=(0, 600))
    guidance = SumGuidance([early, late], interval=(200, 999))
    for t in TIMESTEPS:
        push(guidance, t=t)
    assert [t for t, _ in early.calls] == [900, 700]
    assert [t for t, _ in late.calls] == [500, 300]


@pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler])
def test_a_sum_of_one_is_that_one(make):
    steps = []
    for guidance in (ColourTarget(50.0), SumGuidance([ColourTarget(50.0)])):
        scheduler = make()
        scheduler.set_timesteps('5')
        guide, noise = guidance.bind(path_over(scheduler.timesteps), LABELS), torch.zeros_like(X)
        steps.append(scheduler.step(OUTPUT, 500, X, guidance=guide, noise=noise))
    torch.testing.assert_close(steps[0].prev_sample, steps[1].prev_sample)


def test_extra_weights_of_a_part_are_kept():
    def classifier(images):
        return images.mean(dim=(2, 3))

    part = OffTheShelfGuidance(classifier, gamma_factor=1.0)
    assert torch.equal(push(SumGuidance([part])), push(part))


class Labelled:
    """A network that says something else for every label."""

    null_label = 5

    def __call__(self, x, t, labels):
        return torch.cat([x * labels.view(-1, 1, 1, 1), x], dim=1)


class TestClassifierFreeInASum:
    denoiser = make_denoiser(Labelled(), PROCESS, dict(labels=LABELS))

    def said(self, guidance, scale=None):
        guide = guidance.bind(path_over(), LABELS, scale)
        return guide.wrap(self.denoiser)(X, PROCESS.level(5)).eps

    def test_it_acts_in_the_denoiser_and_the_rest_in_the_step(self):
        free, source = ClassifierFreeGuidance(2.0), ColourTarget()
        guidance = SumGuidance([free, source], weights=[0.5, 1.0])
        torch.testing.assert_close(self.said(guidance), self.said(free, 1.0))
        guide = guidance.bind(path_over(), LABELS)
        torch.testing.assert_close(guide.in_step.push(moment(), 1.0), push(source))

    def test_alone_it_leaves_the_step_alone(self):
        guide = SumGuidance([ClassifierFreeGuidance()]).bind(path_over(), LABELS)
        assert guide.in_step is None

    def test_a_part_of_weight_zero_is_not_there(self):
        guidance = SumGuidance([ClassifierFreeGuidance(), ColourTarget()], weights=[1.0, 0.0])
        assert guidance.bind(path_over(), LABELS).in_step is None

    def test_a_rule_over_such_a_sum_passes_it_on(self):
        guidance = PixelAsParamGuidance(SumGuidance([ClassifierFreeGuidance(), ColourTarget()]))
        assert not torch.allclose(self.said(guidance), self.denoiser(X, PROCESS.level(5)).eps)

    def test_its_pace_is_its_own(self):
        with pytest.raises(ValueError, match='give interval, every and schedule to its sources'):
            SumGuidance([ClassifierFreeGuidance(), ColourTarget()], every=2)


class TestBadInput:
    @pytest.mark.parametrize('arguments', [([],), ([constant], [1.0, 2.0])])
    def test_numbers_of_sources_and_weights(self, arguments):
        with pytest.raises(ValueError, match=r'\d sources and \d weights'):
            SumGuidance(*arguments)

    def test_a_rule_inside(self):
        with pytest.raises(ValueError, match=r'PixelAsParamGuidance is a rule; .* the sum'):
            SumGuidance([PixelAsParamGuidance(constant)])

    def test_two_that_change_the_networks_call(self):
        with pytest.raises(ValueError, match='both guidance that wraps the denoiser'):
            SumGuidance([ClassifierFreeGuidance(), ClassifierFreeGuidance()])

    def test_classifiers_of_different_numbers_of_classes(self):
        class Classes(ColourTarget):
            num_classes = None

        ten, seven = Classes(), Classes()
        ten.num_classes, seven.num_classes = 10, 7
        with pytest.raises(ValueError, match=r'10 \(Classes\), 7 \(Classes\)'):
            SumGuidance([ten, seven])
