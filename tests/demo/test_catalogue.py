"""What the page knows of models before their weights are there."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.catalogue import BUNDLED_MODEL, facts_of, sampling_models


def test_bundled_models_come_first_and_upsamplers_not_at_all():
    names = sampling_models()
    bundled = [facts_of(name).is_bundled for name in names]
    assert BUNDLED_MODEL in names
    assert bundled == sorted(bundled, reverse=True)
    assert any(bundled)
    assert 'adm_ddim250_8xb32_imagenet-64x64' in names
    assert 'adm-u_ddim25_8xb32_imagenet-64x64-256x256' not in names


def test_an_upsampler_is_refused():
    with pytest.raises(ValueError, match='does not sample from nothing'):
        facts_of('adm-u_ddim25_8xb32_imagenet-64x64-256x256')


def test_the_bundled_model():
    facts = facts_of('adm-g_ddim25_digits-16x16')
    assert (facts.image_size, facts.num_classes, facts.steps) == (16, 10, 25)
    assert (facts.has_classifier, facts.has_null_label, facts.is_bundled) == (True, True, True)
    assert facts.class_names == tuple('0123456789')
    assert facts.last_timestep == 1000


def test_classes_of_imagenet_have_names():
    facts = facts_of('adm-g_ddim25_8xb32_imagenet-64x64')
    assert facts.class_names[207] == 'golden retriever'
    assert not facts.is_bundled


def test_classes_may_be_those_of_the_classifier_alone():
    assert facts_of('adm-g_ddpm250_8xb32_imagenet-256x256-uncond').num_classes == 1000
    assert facts_of('adm_ddim250_8xb32_lsun-cat-256x256').num_classes is None


def test_a_cascade_has_the_classes_of_its_base_and_the_size_of_its_end():
    facts = facts_of('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256')
    assert (facts.is_cascade, facts.num_classes, facts.image_size) == (True, 1000, 256)


def test_the_process_of_edm_ends_where_guidance_is_told_that_it_does():
    assert facts_of('edm_heun18_8xb32_imagenet-64x64').last_timestep == 1000


def test_classes_are_called_what_the_config_calls_them():
    assert facts_of('edm-cfg-u_heun10_emoji-32x32-64x64').class_names[0] == 'face'
