"""Guidance of the sample, whose length the step decides."""

import math

import pytest
import torch
from torch import nn

from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.guidance import ClassifierFreeGuidance, ClassifierGuidance, Form
from mmagic_adm.guidance.sample import SampleGuidance
from tests.guidance.simple import PROCESS, path_over


class Classifier(nn.Module):
    """Looks at the images themselves."""

    out_channels, image_size = 5, 4

    def __init__(self):
        super().__init__()
        self.seen = []
        self.linear = nn.Linear(48, 5)

    def forward(self, x, t):
        self.seen.append((x.detach(), t))
        return self.linear(x.flatten(1))


LABELS = torch.tensor([2, 4, 0])
T = torch.full((3,), 500)
LEVEL = NoiseLevel(1.0, PROCESS.level(500).sigma, timestep=500)


def push(rule, x, step=0, num_steps=10, x_hat=None, **kwargs):
    """What is added to the sample."""
    x_hat = x.clone() if x_hat is None else x_hat
    guide = rule.bind(path_over(), **kwargs)
    return guide.push_sample(x, x_hat, LEVEL, step, num_steps) - x_hat


def rms(x):
    return x.square().mean((1, 2, 3)).sqrt()


def up(x_t, t, pred_x0):
    """A gradient of ones."""
    return torch.ones_like(x_t)


@pytest.mark.parametrize('steepness', [1e-30, 1.0, 1e6])
def test_the_push_is_as_long_as_the_step_says_however_steep_the_score(steepness):
    x = torch.randn(3, 3, 4, 4) * torch.tensor([0.2, 1.0, 80.0]).view(3, 1, 1, 1)
    rule = SampleGuidance(lambda x_t, t, pred_x0: steepness * x_t.cos(), max_guidance=0.1)
    torch.testing.assert_close(rms(push(rule, x)), 0.1 * rms(x))


def test_the_push_falls_over_the_steps_with_more_in_their_middle():
    rule = SampleGuidance(up, max_guidance=0.1, add_factor=0.3)
    falling = [0.1 * (11 - i) / 11 for i in range(10)]
    bulge = [0.03 * math.sin(math.pi * i / 10) for i in range(10)]
    expected = [a + b for a, b in zip(falling, bulge, strict=True)]
    assert [rule.strength(i, 10) for i in range(10)] == pytest.approx(expected)
    assert SampleGuidance(up, max_guidance=0.0).strength(9, 10) == 1e-5


def test_the_classifier_sees_at_most_unit_size_and_the_size_of_small_samples():
    classifier = Classifier()
    x = torch.randn(3, 3, 4, 4, dtype=torch.float64) * torch.tensor([0.2, 1.5, 80]).view(3, 1, 1, 1)
    push(SampleGuidance(ClassifierGuidance(classifier)), x, labels=LABELS)
    [(seen, t)] = classifier.seen
    assert seen.dtype == torch.float32
    torch.testing.assert_close(rms(seen), torch.tensor([rms(x)[0].item(), 1, 1]))
    assert torch.equal(t, T)


def test_it_pushes_towards_the_label():
    classifier = Classifier()
    rule = SampleGuidance(ClassifierGuidance(classifier), max_guidance=0.01)
    x = torch.randn(3, 3, 4, 4)
    pushed = x + push(rule, x, labels=LABELS)
    before, after = (classifier(image, T).log_softmax(1)[range(3), LABELS] for image in (x, pushed))
    assert (after > before).all()


def test_noise_that_the_step_adds_stays_and_is_not_looked_at():
    classifier = Classifier()
    rule = SampleGuidance(ClassifierGuidance(classifier))
    x, noise = torch.randn(3, 3, 4, 4), torch.randn(3, 3, 4, 4)
    torch.testing.assert_close(
        push(rule, x, labels=LABELS, x_hat=x + noise), push(rule, x, labels=LABELS)
    )


def test_a_sample_does_not_depend_on_its_batch():
    rule = SampleGuidance(ClassifierGuidance(Classifier()))
    x = torch.randn(3, 3, 4, 4)
    together = push(rule, x, labels=LABELS)
    alone = push(rule, x[1:2], labels=LABELS[1:2])
    torch.testing.assert_close(together[1:2], alone)


def test_scales_are_factors_for_each_sample():
    rule, x = SampleGuidance(up, max_guidance=0.1), torch.randn(3, 3, 4, 4)
    whole, scaled = push(rule, x), push(rule, x, scale=[0.0, 1.0, 2.5])
    factors = torch.tensor([0.0, 1.0, 2.5]).view(3, 1, 1, 1)
    torch.testing.assert_close(scaled, whole * factors)
    assert rule.bind(path_over(), scale=0) is None
    assert rule.bind(path_over(), scale=[0.0, 0.0]) is None


def test_where_the_score_is_flat_there_is_no_push():
    rule = SampleGuidance(lambda x_t, t, pred_x0: torch.zeros_like(x_t))
    assert not push(rule, torch.randn(3, 3, 4, 4)).any()


def test_it_knows_what_its_source_is_made_for():
    rule = SampleGuidance(ClassifierGuidance(Classifier()))
    assert (rule.num_classes, rule.forms) == (5, {Form.SAMPLE})
    assert SampleGuidance(up).num_classes is None


def test_the_source_decides_in_which_steps_there_is_a_push():
    classifier = Classifier()
    rule = SampleGuidance(ClassifierGuidance(classifier, interval=(0, 400)))
    x = torch.randn(3, 3, 4, 4)
    for t, is_pushed in ((500, False), (300, True)):
        guide = rule.bind(path_over([500, 300]), LABELS)
        shifted = guide.push_sample(x, x, PROCESS.level(t), 0, 2)
        assert torch.equal(shifted, x) != is_pushed


def test_a_source_without_gradient_is_refused():
    with pytest.raises(ValueError, match='ClassifierFreeGuidance has none'):
        SampleGuidance(ClassifierFreeGuidance(2.0))
    with pytest.raises(ValueError, match='max_guidance is 0 or more, not -1'):
        SampleGuidance(up, max_guidance=-1)
