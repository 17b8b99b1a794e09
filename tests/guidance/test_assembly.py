"""Guidance out of a model's config."""

import pytest
from torch import nn

from mmagic_adm.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    PixelAsParamGuidance,
    SumGuidance,
    named_guidance,
)
from mmagic_adm.guidance.assembly import build_guidance
from tests.tiny import CLASSIFIER

MODELS_OWN = nn.Identity()


def test_a_classifier_alone_guides_by_itself():
    guidance = build_guidance(None, MODELS_OWN, 3.0)
    assert isinstance(guidance, ClassifierGuidance)
    assert guidance.classifier is MODELS_OWN
    assert guidance.scale == 3.0


def test_without_anything_there_is_none():
    assert build_guidance(None) is None


def test_a_rule_without_a_source_takes_the_models_classifier_and_scale():
    guidance = build_guidance(dict(type='PixelAsParamGuidance'), MODELS_OWN, 3.0)
    assert isinstance(guidance, PixelAsParamGuidance)
    assert guidance.source.classifier is MODELS_OWN
    assert guidance.source.scale == 3.0


def test_a_source_deep_in_a_config_does_too():
    part = dict(type='ClassifierGuidance', scale=0.5, every=2)
    own = dict(type='ClassifierGuidance', classifier=CLASSIFIER)
    config = dict(
        type='PixelAsParamGuidance',
        variant='clsden_clsdiv',
        source=dict(type='SumGuidance', sources=[part, own]),
    )
    first, second = build_guidance(config, MODELS_OWN, 3.0).source.sources
    assert first.classifier is MODELS_OWN
    assert first.scale == 0.5
    assert first.pace.every == 2
    assert type(second.classifier).__name__ == 'ADMClassifier'
    assert 'classifier' not in part  # the config stays as it was


def test_a_classifier_that_nothing_uses_is_refused():
    with pytest.raises(ValueError, match='a classifier that its ClassifierFreeGuidance does not'):
        build_guidance(dict(type='ClassifierFreeGuidance'), MODELS_OWN)
    with pytest.raises(ValueError, match=r'classifier_scale=2.0 .* ScoreGuidance its own scale'):
        build_guidance(dict(type='ScoreGuidance', score=len), None, 2.0)


def test_what_is_built_already_is_taken():
    guidance = SumGuidance([ClassifierGuidance(MODELS_OWN)])
    assert build_guidance(guidance) is guidance


@pytest.mark.parametrize('kind', ['ClassifierGuidance', 'PixelAsParamGuidance'])
def test_a_classifier_that_nobody_has(kind):
    with pytest.raises(ValueError, match='takes the classifier of the model, and the model has'):
        build_guidance(dict(type=kind))


class TestNames:
    def test_every_guidance_says_its_own(self):
        assert set(named_guidance()) >= {
            *('cfg', 'classifier', 'autoguidance', 'off-the-shelf', 'pixels', 'sag', 'pag'),
            *('discriminator', 'score', 'sample', 'sum'),
        }

    def test_a_name_stands_for_a_config_or_its_type(self):
        assert type(build_guidance('cfg')) is ClassifierFreeGuidance
        assert build_guidance(dict(type='cfg', scale=3.0)).scale == 3.0
        assert build_guidance('classifier', MODELS_OWN, 2.0).scale == 2.0
        pixels = build_guidance('pixels', MODELS_OWN, 2.0)
        assert pixels.variant == 'clsden_clsdiv'  # what is usual
        assert pixels.source.classifier is MODELS_OWN
        worse = build_guidance(dict(type='autoguidance', other=nn.Identity()))
        assert isinstance(worse.other, nn.Identity)

    @pytest.mark.parametrize(
        ('guidance', 'message'),
        [
            ('cgf', r"no guidance is called 'cgf'; there are autoguidance, cfg, .*or give its"),
            ('autoguidance', r"needs other: guidance=dict\(type='autoguidance', other=\.\.\.\)"),
            (dict(type='sample'), r"needs source: guidance=dict\(type='sample', source"),
        ],
    )
    def test_what_is_none_is_refused_with_a_word(self, guidance, message):
        with pytest.raises(ValueError, match=message):
            build_guidance(guidance)
