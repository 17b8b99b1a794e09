"""What the page knows of models before their weights are there."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.catalogue import BUNDLED_MODEL, facts_of, offered_models
from mmagic_adm.guidance import Need


def test_models_are_in_groups_the_bundled_first_and_upsamplers_not_at_all():
    listed = offered_models()
    groups = [text.split(' · ')[0] for text in listed.values()]
    each_once = list(dict.fromkeys(groups))
    assert each_once[0] == 'Bundled'
    assert {'ImageNet 64×64', 'ImageNet 256×256', 'LSUN', 'Enlarged', 'EDM', 'DiT'} < set(each_once)
    assert groups == sorted(groups, key=each_once.index)
    assert listed[BUNDLED_MODEL] == f'Bundled · {BUNDLED_MODEL}'
    name = 'adm_ddim250_8xb32_imagenet-64x64'
    assert listed[name] == f'ImageNet 64×64 · {name} · 1.2 GB'
    assert listed['ffhq_p2'].startswith('Faces · ffhq_p2')
    for name in ('adm-u_ddim25_8xb32_imagenet-64x64-256x256', 'upsample_cond_500K'):
        assert name not in listed


def test_an_upsampler_is_refused():
    with pytest.raises(ValueError, match='does not sample from nothing'):
        facts_of('adm-u_ddim25_8xb32_imagenet-64x64-256x256')


def test_the_bundled_model():
    facts = facts_of('adm-g_ddim25_digits-16x16')
    assert (facts.image_size, facts.steps) == (16, 25)
    assert facts.offers == {Need.CLASSIFIER, Need.NULL_LABEL, Need.MIDDLE}
    assert facts.class_names == tuple('0123456789')
    assert facts.last_timestep == 1000


def test_classes_of_imagenet_have_names():
    facts = facts_of('adm-g_ddim25_8xb32_imagenet-64x64')
    assert facts.class_names[207] == 'golden retriever'
    assert Need.IMAGENET in facts.offers


def test_classes_may_be_those_of_the_classifier_alone():
    assert len(facts_of('adm-g_ddpm250_8xb32_imagenet-256x256-uncond').class_names) == 1000
    assert facts_of('adm_ddim250_8xb32_lsun-cat-256x256').class_names == ()


def test_a_cascade_has_the_classes_of_its_base_and_the_size_of_its_end():
    facts = facts_of('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256')
    assert (facts.is_cascade, len(facts.class_names), facts.image_size) == (True, 1000, 256)


def test_the_process_of_edm_ends_where_guidance_is_told_that_it_does():
    assert facts_of('edm_heun18_8xb32_imagenet-64x64').last_timestep == 1000


def test_classes_are_called_what_the_config_calls_them():
    assert facts_of('edm-cfg-u_heun10_emoji-32x32-64x64').class_names[0] == 'face'
