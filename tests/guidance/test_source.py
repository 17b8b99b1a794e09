"""Sources: gradients of scores, or given ones."""

import gc
import weakref

import pytest
import torch
from torch import nn

from mmagic_adm.guidance import GradientSource
from mmagic_adm.guidance.source import GivenGradient, as_guidance
from tests.guidance.simple import LABELS, PRED_X0, ColourTarget, X, push


def test_only_pushed_samples_are_looked_at():
    source = ColourTarget()
    pushed = push(source, scale=[0.0, 2.0, 0.0])
    assert source.calls == [(500, 1)]
    assert not pushed[[0, 2]].any()
    torch.testing.assert_close(pushed[1], -4 * (PRED_X0[1] - 0.5))


def test_samples_that_are_pushed_keep_their_labels():
    class TowardsLabel(GradientSource):
        def score(self, x, t, labels):
            return x.flatten(1).sum(1) * labels

    pushed = push(TowardsLabel(), scale=[0.0, 1.0, 1.0])
    assert pushed[:, 0, 0, 0].tolist() == [0.0, 2.0, 1.0]


class TestGivenGradient:
    def test_it_is_given_the_whole_batch(self):
        def of_batch(x_t, t, pred_x0):
            return LABELS.view(-1, 1, 1, 1) - x_t

        expected = of_batch(X, None, None) * torch.tensor([0.0, 2.0, 1.0]).view(3, 1, 1, 1)
        pushed = push(GivenGradient(of_batch), scale=[0.0, 2.0, 1.0])
        torch.testing.assert_close(pushed, expected)

    def test_a_function_becomes_one(self):
        guidance = as_guidance(lambda x_t, t, pred_x0: x_t + pred_x0)
        torch.testing.assert_close(push(guidance), X + PRED_X0)


def test_networks_of_guidance_stay_in_evaluation_mode():
    class WithNetwork(ColourTarget):
        def __init__(self):
            super().__init__()
            self.network = nn.BatchNorm2d(3).eval()

    model = nn.Sequential(WithNetwork()).train()
    assert not model[0].network.training


def test_the_graph_of_the_score_is_gone_after_the_step():
    seen = []

    class Watched(GradientSource):
        def score(self, x, t, labels):
            hidden = x.sin()
            seen.append(weakref.ref(hidden))
            return hidden.square().flatten(1).sum(1)

    pushed = push(Watched())
    gc.collect()
    assert seen[0]() is None
    assert not pushed.requires_grad


def test_a_score_with_weights_that_never_looks_at_the_image():
    class Deaf(GradientSource):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.ones(()))

        def score(self, x, t, labels):
            return self.bias.expand(len(x)) * 2

    with pytest.raises(ValueError, match='Deaf does not depend on the image'):
        push(Deaf())
