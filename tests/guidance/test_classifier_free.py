"""Guidance away from no class in particular."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmagic_adm.denoisers import make_denoiser
from mmagic_adm.guidance import ClassifierFreeGuidance
from mmagic_adm.schedulers import DDIMScheduler
from tests.guidance.simple import LABELS, PROCESS, TIMESTEPS, X, path_over

NULL = 9


class LabelNetwork(nn.Module):
    """Predicts something that depends on everything it is given; remembers its batches."""

    null_label, num_classes, image_size, in_channels, out_channels = NULL, 9, 4, 3, 6

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x, timesteps, labels, low_res=None):
        self.batches.append(len(x))
        shift = labels.view(-1, 1, 1, 1) + timesteps.view(-1, 1, 1, 1) / 1000
        eps = (x + shift).sin() + (0 if low_res is None else low_res)
        return torch.cat([eps, eps.cos()], dim=1)


class UnconditionalNetwork(LabelNetwork):
    num_classes = null_label = None

    def forward(self, x, timesteps):
        return super().forward(x, timesteps, torch.full((len(x),), NULL))


def predict(guidance, network=None, scale=None, rows=slice(None), t=500, **inputs):
    """What the guided denoiser says: the noise, and the variance."""
    inputs = dict(labels=LABELS[rows], **inputs)
    denoiser = make_denoiser(network or LabelNetwork(), PROCESS, inputs)
    guide = guidance.bind(path_over(), LABELS[rows], scale)
    said = guide.wrap(denoiser)(X[rows], PROCESS.level_at(t))
    level = PROCESS.level_at(t)
    torch.testing.assert_close(said.x_0, level.x_0(X[rows], said.eps), rtol=1e-4, atol=1e-4)
    return torch.cat([said.eps, said.variance.output], dim=1)


def at(t, count=3):
    return torch.full((count,), t)


def expected(scale):
    network = LabelNetwork()
    conditional = network(X, at(500), LABELS)
    null = network(X, at(500), torch.full((3,), NULL))
    eps = (1 + scale) * conditional[:, :3] - scale * null[:, :3]
    return torch.cat([eps, conditional[:, 3:]], dim=1)


def test_the_noise_is_led_away_from_the_null_label_and_the_variance_stays():
    torch.testing.assert_close(predict(ClassifierFreeGuidance(1.5)), expected(1.5))


def test_both_predictions_come_from_one_call():
    network = LabelNetwork()
    predict(ClassifierFreeGuidance(), network)
    assert network.batches == [6]


def test_only_guided_samples_are_in_the_batch_twice():
    network = LabelNetwork()
    output = predict(ClassifierFreeGuidance(), network, scale=[0.0, 2.0, 0.0])
    assert network.batches == [4]
    torch.testing.assert_close(output[1], expected(2.0)[1])
    torch.testing.assert_close(output[[0, 2]], expected(0.0)[[0, 2]])


def test_scales_per_sample_are_the_same_one_by_one():
    scales = [0.5, 3.0, -1.0]
    together = predict(ClassifierFreeGuidance(), scale=scales)
    for i, scale in enumerate(scales):
        alone = predict(ClassifierFreeGuidance(), scale=scale, rows=[i])
        torch.testing.assert_close(alone[0], together[i])


def test_every_input_of_a_sample_is_doubled():
    small = torch.randn(3, 3, 4, 4)
    output = predict(ClassifierFreeGuidance(1.0), scale=[0.0, 1.0, 1.0], low_res=small)
    torch.testing.assert_close(output[:, :3], expected(1.0)[:, :3].index_copy(
        0, torch.tensor([0]), expected(0.0)[:1, :3]) + small)  # fmt: skip


def test_another_network_may_take_the_null_labels_place():
    network, other = LabelNetwork(), UnconditionalNetwork()
    output = predict(ClassifierFreeGuidance(1.5, other=other), network)
    torch.testing.assert_close(output, expected(1.5))
    assert (network.batches, other.batches) == ([3], [3])


def test_a_conditional_one_is_told_the_labels():
    class Worse(LabelNetwork):
        def forward(self, x, timesteps, labels):
            return super().forward(0.9 * x, timesteps, labels)

    network = LabelNetwork()
    conditional = network(X, at(500), LABELS)
    worse = Worse()(X, at(500), LABELS)
    output = predict(ClassifierFreeGuidance(2.0, other=Worse()))
    torch.testing.assert_close(output[:, :3], (3 * conditional - 2 * worse)[:, :3])


def test_a_skipped_step_is_one_plain_call():
    network = LabelNetwork()
    guide = ClassifierFreeGuidance(interval=(300, 700), every=2).bind(path_over(), LABELS, 1.0)
    denoiser = guide.wrap(make_denoiser(network, PROCESS, dict(labels=LABELS)))
    for t in TIMESTEPS:
        denoiser(X, PROCESS.level_at(t))
    assert network.batches == [3, 6, 3, 6, 3]


def test_it_leaves_the_step_alone():
    assert ClassifierFreeGuidance().bind(path_over(), LABELS).in_step is None


@pytest.mark.parametrize('scale', [0, [0.0, 0.0, 0.0]])
def test_nothing_is_bound_where_nothing_is_to_be_done(scale):
    assert ClassifierFreeGuidance().bind(path_over(), LABELS, scale) is None


class TestBadInput:
    def test_a_network_without_a_null_label(self):
        network = SimpleNamespace(num_classes=10, null_label=None)
        with pytest.raises(ValueError, match=r'label dropout .* SimpleNamespace has no null label'):
            ClassifierFreeGuidance().check_fits(network, DDIMScheduler())

    def test_another_network_that_does_not_match(self):
        other = UnconditionalNetwork()
        other.image_size = 8
        with pytest.raises(ValueError, match=r'image_size=8, and the LabelNetwork .* has 4'):
            ClassifierFreeGuidance(other=other).check_fits(LabelNetwork(), DDIMScheduler())
