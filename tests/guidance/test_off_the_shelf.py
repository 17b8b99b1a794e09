"""Guidance by classifiers that were never shown noise."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmagic_adm.codecs import PIXELS
from mmagic_adm.guidance import OffTheShelfGuidance, PixelAsParamGuidance, SumGuidance
from mmagic_adm.guidance.assembly import check_sizes
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler
from tests.guidance.simple import LABELS, PRED_X0, X, moment, path_over, push

WEIGHT = torch.randn(5, 48, generator=torch.Generator().manual_seed(4))


def linear(images):
    return images.flatten(1) @ WEIGHT.T


def gradient_of(**settings):
    return push(OffTheShelfGuidance(linear, **settings))


def test_it_is_the_gradient_of_log_p_at_the_predicted_image():
    x = PRED_X0.clone().requires_grad_()
    linear(x).log_softmax(1)[range(3), LABELS].sum().backward()
    torch.testing.assert_close(gradient_of(scale=2.0), 2 * x.grad)


def test_temperatures_weigh_the_label_and_all_classes():
    x = PRED_X0.clone().requires_grad_()
    logits = linear(x)
    score = 0.8 * logits[range(3), LABELS] - (0.8 * 0.5 * logits).logsumexp(1)
    score.sum().backward()
    tempered = gradient_of(joint_temperature=0.8, margin_temperature_discount=0.5)
    torch.testing.assert_close(tempered, x.grad)


def test_images_are_preprocessed_before_the_classifier_and_the_gradient_passes_through():
    shown = []

    def classifier(images):
        shown.append(images.shape)
        return images.mean(dim=(2, 3))

    assert push(OffTheShelfGuidance(classifier, preprocess=dict(size=8))).abs().sum() > 0
    assert shown == [(3, 3, 8, 8)]


class TestGamma:
    """The extra weight: a share of the first step's, times half a sine wave."""

    def pushes(self, gamma, scale=1.0):
        timesteps = [999, 666, 333, 0]
        guidance = OffTheShelfGuidance(linear, scale=scale, gamma_factor=gamma)
        guide = guidance.bind(path_over(timesteps), LABELS)
        for t, weight in zip(timesteps, (0.9, 0.6, 0.3, 0.1), strict=True):
            yield guide.push(moment(t), torch.full_like(X, weight))

    def test_it_follows_the_sine(self):
        gradient = gradient_of()
        for i, pushed, weight in zip(
            (3, 2, 1, 0), self.pushes(0.3), (0.9, 0.6, 0.3, 0.1), strict=True
        ):
            extra = 0.3 * 0.9 * math.sin(math.pi * i / 4)
            torch.testing.assert_close(pushed, (weight + extra) * gradient, atol=1e-6, rtol=1e-4)

    def test_each_sample_has_the_weight_of_its_own_first_pixel(self):
        weights = torch.rand(3, 3, 4, 4)
        guide = OffTheShelfGuidance(linear, gamma_factor=1.0).bind(path_over([999, 0]), LABELS)
        extra = weights[:, :1, :1, :1] * math.sin(math.pi / 2)
        torch.testing.assert_close(
            guide.push(moment(999), weights), (weights + extra) * gradient_of()
        )

    def test_a_second_walk_over_the_same_path_begins_anew(self):
        guide = OffTheShelfGuidance(linear, gamma_factor=1.0).bind(path_over([999, 0]), LABELS)
        guide.push(moment(999), 5.0)
        torch.testing.assert_close(guide.push(moment(999), 1.0), 2 * gradient_of())

    @pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler])
    def test_every_scheduler_takes_it(self, make):
        scheduler = make()
        scheduler.set_timesteps('5')
        output = torch.randn(3, 6, 4, 4)
        steps = []
        for gamma in (0.0, 0.5):
            guidance = OffTheShelfGuidance(linear, gamma_factor=gamma)
            guide = guidance.bind(path_over(scheduler.timesteps), LABELS)
            noise = torch.zeros_like(X)
            steps.append(scheduler.step(output, 500, X, guidance=guide, noise=noise))
        assert not torch.allclose(*(step.prev_sample for step in steps))

    def test_the_pixels_as_parameters_rule_keeps_it(self):
        shown = [
            PixelAsParamGuidance(OffTheShelfGuidance(linear, gamma_factor=gamma))
            .bind(path_over([999, 0]), LABELS)
            .batch.parts[0]
            .push(moment(999), 0.5)
            for gamma in (0.0, 1.0)
        ]
        torch.testing.assert_close(shown[1], 2 * shown[0])


class TestNetworks:
    def test_a_classifier_by_name_is_built_frozen_and_belongs_to_the_guidance(self):
        config = dict(type='TorchvisionClassifier', name='squeezenet1_1', weights=None)
        guidance = OffTheShelfGuidance(config, softplus_beta=3.0)
        assert guidance.num_classes == 1000
        assert not any(weight.requires_grad for weight in guidance.parameters())
        assert not guidance.train().classifier.training
        images = torch.randn(3, 3, 32, 32)
        assert push(guidance, x_t=images, x_0=images).shape == images.shape

    def test_smoothing_leaves_the_classifier_as_it_was(self):
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU())
        plain = network(PRED_X0)
        smooth = OffTheShelfGuidance(network, softplus_beta=3.0).logits(PRED_X0)
        assert not torch.allclose(smooth, plain)
        assert torch.equal(network(PRED_X0), plain)

    def test_a_network_in_half_precision(self):
        config = dict(type='TorchvisionClassifier', name='squeezenet1_1', weights=None)
        guidance = OffTheShelfGuidance(config).bfloat16()
        images = torch.randn(3, 3, 32, 32)
        assert push(guidance, x_t=images, x_0=images).isfinite().all()


class TestBadInput:
    def test_softplus_where_nothing_is_a_relu(self):
        with torch.device('meta'), pytest.raises(ValueError, match='convnext_tiny has none'):
            OffTheShelfGuidance(
                dict(type='TorchvisionClassifier', name='convnext_tiny', weights=None),
                softplus_beta=3.0,
            )
        with pytest.raises(ValueError, match='softplus_beta takes the place of ReLUs'):
            push(OffTheShelfGuidance(linear, softplus_beta=3.0))

    def test_an_unknown_name(self):
        with pytest.raises(ValueError, match='did you mean resnet101'):
            OffTheShelfGuidance('resnet11O')

    def test_an_unknown_preprocessing(self):
        with pytest.raises(ValueError, match=r"'imagenet' .*, not 'cifar'"):
            OffTheShelfGuidance(linear, preprocess='cifar')

    def test_a_classifier_of_one_size_and_images_of_another(self):
        with torch.device('meta'):
            vit = dict(type='TorchvisionClassifier', name='vit_b_32', weights=None)
            guidance = OffTheShelfGuidance(vit)
            with pytest.raises(ValueError, match='to 128 pixels, and the classifier takes 224'):
                OffTheShelfGuidance(vit, preprocess=dict(size=128))
            resizing = OffTheShelfGuidance(vit, preprocess=dict(size=224))
        network = SimpleNamespace(in_channels=3, image_size=128)
        with pytest.raises(ValueError, match='images of 224 pixels, the network for 128'):
            check_sizes(SumGuidance([guidance]), network, PIXELS)
        check_sizes(resizing, network, PIXELS)

    def test_no_labels(self):
        with pytest.raises(ValueError, match='OffTheShelfGuidance needs labels'):
            push(OffTheShelfGuidance(linear), labels=None)
