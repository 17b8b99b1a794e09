"""Which guidance is offered where."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.catalogue import facts_of, sampling_models
from mmagic_adm.demo.methods import (
    changes,
    methods_for,
    own_method,
    usual_interval,
    usual_scale,
)
from tests.demo.orders import DIGITS

IMAGENET = 'adm_ddim250_8xb32_imagenet-64x64'
ATTENTION = ['self-attention', 'perturbed-attention']


@pytest.mark.parametrize(
    ('model', 'scheduler', 'expected'),
    [
        (DIGITS, None, ['none', 'classifier', 'classifier-free', *ATTENTION]),
        (
            DIGITS,
            'ddpm',
            ['none', 'classifier', 'classifier-free', 'pixels-as-parameters', *ATTENTION],
        ),
        (DIGITS, 'unipc', ['none', 'classifier', 'classifier-free', *ATTENTION]),
        (IMAGENET, None, ['none', 'off-the-shelf', *ATTENTION]),
        ('adm_ddim250_8xb32_lsun-cat-256x256', None, ['none', *ATTENTION]),
        ('cm_step2_digits-16x16', None, ['none']),  # its guidance is in its weights
        ('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256', None, ['none', 'own']),
    ],
)
def test_only_what_goes_with_model_and_scheduler_is_offered(model, scheduler, expected):
    assert methods_for(facts_of(model), scheduler) == expected


@pytest.mark.parametrize('model', sampling_models())
def test_every_model_is_offered_what_it_is_configured_with(model):
    facts = facts_of(model)
    assert own_method(facts) in methods_for(facts)
    method = own_method(facts)
    assert changes(facts, method, usual_interval(facts, method)) == {}


def test_the_scale_is_the_configs():
    assert usual_scale(facts_of(DIGITS), 'classifier') == 2
    assert usual_scale(facts_of(DIGITS), 'classifier-free') == 1
    assert usual_scale(facts_of('adm-g_ddim25_8xb32_imagenet-512x512'), 'classifier') == 4


def test_another_interval_keeps_what_else_the_config_says():
    facts = facts_of('adm-ots_ddpm250_8xb32_imagenet-128x128_resnet50')
    guidance = changes(facts, 'off-the-shelf', (200, 800))['guidance']
    assert guidance == {**facts.guidance, 'interval': (200, 800)}
    assert 'interval' not in facts.guidance


def test_the_interval_of_edms_rule_is_its_sources():
    facts = facts_of('edm-ots_heun18_8xb32_imagenet-64x64')
    guidance = changes(facts, 'off-the-shelf', (200, 800))['guidance']
    assert guidance['source']['interval'] == (200, 800)
    assert 'interval' not in facts.guidance['source']


def test_no_guidance_takes_the_configs_away():
    assert changes(facts_of('adm-cfg_ddim25_digits-16x16'), 'none', None) == dict(guidance=None)
    assert changes(facts_of(DIGITS), 'none', None) == {}


def test_a_rule_that_the_own_scheduler_does_not_take_brings_its_scheduler():
    changed = changes(facts_of(DIGITS), 'pixels-as-parameters', None, 'ddpm')
    assert changed['diffusion_scheduler'] == dict(
        type='DDPMScheduler',
        beta_schedule='cosine',
        num_train_timesteps=1000,
        variance_type='learned_range',
    )
    assert 'diffusion_scheduler' not in changes(facts_of(DIGITS), 'classifier-free', None, 'ddpm')
