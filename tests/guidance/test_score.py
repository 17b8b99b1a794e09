"""Scores that a person writes down."""

import sys

import pytest
import torch
from mmengine import Config
from torch import nn

from mmagic_adm.guidance import ScoreGuidance
from mmagic_adm.registry import MODELS
from tests.guidance import simple
from tests.guidance.simple import LABELS, PRED_X0, X


def darkness(images):
    return -images.flatten(1).sum(1)


def push(score, **settings):
    return simple.push(ScoreGuidance(score, **settings), t=5)


@MODELS.register_module(force=True)
def reaches(images, target=0.0):
    return -(images - target).square().flatten(1).sum(1)


@MODELS.register_module(force=True)
class Similarity(nn.Module):
    """What an embedding network and a prompt would be."""

    def __init__(self, features=4):
        super().__init__()
        self.embed = nn.Linear(48, features)

    def forward(self, images, labels):
        return self.embed(images.flatten(1))[range(len(labels)), labels]


def test_a_function_of_the_images():
    torch.testing.assert_close(push(darkness, scale=2.0), torch.full_like(X, -2.0))


def test_a_registered_function_by_name_and_with_arguments():
    torch.testing.assert_close(push('reaches'), -2 * PRED_X0)
    torch.testing.assert_close(push(dict(type='reaches', target=0.5)), -2 * (PRED_X0 - 0.5))


def test_a_registered_module_is_built_and_frozen():
    guidance = ScoreGuidance(dict(type='Similarity', features=3))
    assert not any(weight.requires_grad for weight in guidance.parameters())
    expected = next(guidance.parameters())[LABELS].view(3, 3, 4, 4)
    torch.testing.assert_close(simple.push(guidance), expected)


def test_it_is_told_what_it_asks_for():
    def score(images, t, labels):
        assert t.tolist() == [5, 5, 5]
        assert labels is not None
        return images.flatten(1).sum(1) * labels

    assert push(score)[:, 0, 0, 0].tolist() == LABELS.tolist()


def test_it_may_look_at_the_noisy_images():
    torch.testing.assert_close(push('reaches', looks_at='x_t'), -2 * X)


def test_a_file_and_ten_lines_of_config(tmp_path, monkeypatch):
    """The example in the documentation of ScoreGuidance."""
    (tmp_path / 'redness.py').write_text(
        'from mmagic_adm.registry import MODELS\n\n'
        '@MODELS.register_module()\n'
        'def redness(images, target=0.5):\n'
        '    return -(images[:, 0] - target).square().mean(dim=(1, 2))\n'
    )
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['redness'])\n"
        "guidance = dict(type='ScoreGuidance', score='redness', scale=1000.0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        config = Config.fromfile(tmp_path / 'config.py').guidance
        guidance = MODELS.build({'_scope_': 'mmagic_adm', **config})
        gradient = simple.push(guidance)
    finally:
        sys.modules.pop('redness', None)
        MODELS.module_dict.pop('redness', None)
    torch.testing.assert_close(gradient[:, 0], -2000 * (PRED_X0[:, 0] - 0.5) / 16)
    assert not gradient[:, 1:].any()


class TestBadInput:
    def test_a_score_for_the_batch(self):
        def mean(images):
            return images.mean()

        with pytest.raises(ValueError, match=r'mean gave scores of shape \(\) for 3 samples'):
            push(mean)

    def test_a_score_for_every_pixel(self):
        with pytest.raises(ValueError, match=r'one number per sample'):
            push(lambda images: images.square())

    def test_a_score_that_does_not_depend_on_the_images(self):
        def luck(images):
            return torch.rand(len(images))

        with pytest.raises(ValueError, match='score of luck does not depend on the image'):
            push(luck)

    def test_the_name_in_the_message_is_that_of_a_function_with_arguments(self):
        with pytest.raises(ValueError, match='reaches gave scores'):
            push(dict(type='reaches', target=torch.zeros(2, 1, 1, 1, 1)))

    def test_an_unknown_name(self):
        with pytest.raises(ValueError, match="there is no type 'beauty' in the registry"):
            ScoreGuidance('beauty')

    def test_an_unknown_place_to_look(self):
        with pytest.raises(ValueError, match="'x_t' or 'pred_x0', not 'eps'"):
            ScoreGuidance(darkness, looks_at='eps')
