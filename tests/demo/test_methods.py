"""Which guidance is offered where, and that a new one appears by itself."""

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

import gradio as gr

from mmagic_adm.apis.sampling import named_schedulers
from mmagic_adm.arguments import Argument
from mmagic_adm.demo.catalogue import facts_of, offered_models
from mmagic_adm.demo.fields import Fields
from mmagic_adm.demo.methods import methods_for, own_method, title, usual_numbers
from mmagic_adm.guidance import Form, Guidance, Need, named_guidance
from mmagic_adm.guidance.base import SCALE
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS
from mmagic_adm.schedulers import DDIMScheduler
from tests.demo.orders import DIGITS, order

IMAGENET = 'adm_ddim250_8xb32_imagenet-64x64'


@pytest.mark.parametrize(
    ('model', 'scheduler', 'expected'),
    [
        (DIGITS, None, {'none', 'classifier', 'cfg', 'sag', 'pag'}),
        (DIGITS, 'ddpm', {'none', 'classifier', 'cfg', 'sag', 'pag', 'pixels'}),
        (DIGITS, 'unipc', {'none', 'classifier', 'cfg', 'sag', 'pag'}),
        (IMAGENET, None, {'none', 'off-the-shelf', 'sag', 'pag'}),
        ('adm_ddim250_8xb32_lsun-cat-256x256', None, {'none', 'sag', 'pag'}),
        ('edm-autog_heun18_emoji-32x32', 'ddpm', {'none', 'cfg', 'sag', 'pag'}),
        ('cm_step2_digits-16x16', None, {'none'}),  # its guidance is in its weights
        ('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256', None, {'none', 'classifier'}),
    ],
)
def test_only_what_goes_with_model_and_scheduler_is_offered(model, scheduler, expected):
    assert set(methods_for(facts_of(model), scheduler)) == expected


def test_every_model_is_offered_what_it_is_configured_with():
    for model in offered_models():
        facts = facts_of(model)
        method = own_method(facts)
        assert method in methods_for(facts), model
        between = (facts.own_guidance or {}).get('interval') if not facts.is_cascade else None
        text = '' if between is None else f'{between[0]}-{between[1]}'
        numbers = usual_numbers(facts, method).values() if method != 'none' else ()
        asked = order(model=model, method=method, interval=text, scale=None, numbers=numbers)
        assert asked.changes == {}, model


def test_the_scale_is_the_configs():
    assert usual_numbers(facts_of(DIGITS), 'classifier') == dict(scale=2)
    assert usual_numbers(facts_of(DIGITS), 'cfg') == dict(scale=1)
    assert usual_numbers(facts_of(DIGITS), 'sag') == dict(scale=0.5, blur_sigma=3)
    strong = facts_of('adm-g_ddim25_8xb32_imagenet-512x512')
    assert usual_numbers(strong, 'classifier') == dict(scale=4)


def test_another_interval_keeps_what_else_the_config_says():
    model = 'adm-ots_ddpm250_8xb32_imagenet-128x128_resnet50'
    facts = facts_of(model)
    usual = usual_numbers(facts, 'off-the-shelf').values()
    asked = order(
        model=model, method='off-the-shelf', interval='200-800', scale=None, numbers=usual
    )
    assert asked.changes['guidance'] == {**facts.guidance, 'interval': (200, 800)}
    assert 'interval' not in facts.guidance


def test_a_number_of_a_method_goes_into_its_config():
    changed = order(method='sag', scale=0.5, numbers=[2]).changes
    assert changed == dict(guidance=dict(type='sag', blur_sigma=2))


def test_no_guidance_takes_the_configs_away():
    assert order(model='adm-cfg_ddim25_digits-16x16', method='none').changes == dict(guidance=None)
    assert order(method='none').changes == {}


def test_a_rule_that_the_own_scheduler_does_not_take_brings_its_scheduler():
    assert order(method='pixels', scheduler='ddpm').changes['diffusion_scheduler'] == dict(
        type='DDPMScheduler',
        beta_schedule='cosine',
        num_train_timesteps=1000,
        variance_type='learned_range',
    )
    assert 'diffusion_scheduler' not in order(method='cfg', scheduler='ddpm').changes


@pytest.fixture
def registered():
    """A method and a scheduler that the page has never heard of."""

    @MODELS.register_module()
    class PatientGuidance(Guidance):
        """Does nothing, patiently."""

        short_name = 'patient'
        forms = frozenset({Form.DENOISER})
        requires = frozenset({Need.NULL_LABEL})
        arguments = (SCALE, Argument('patience', 7, 1, 9, 'how long to wait'))

        def __init__(self, scale=1.0, patience=7, **pace):
            super().__init__(scale, **pace)

    @DIFFUSION_SCHEDULERS.register_module()
    class PatientScheduler(DDIMScheduler):
        """DDIM, by another name."""

        short_name = 'patient-ddim'

    yield
    MODELS.module_dict.pop('PatientGuidance')
    DIFFUSION_SCHEDULERS.module_dict.pop('PatientScheduler')


def test_a_new_method_and_scheduler_appear_by_themselves(registered):
    assert 'patient' in named_guidance()
    assert 'patient' in methods_for(facts_of(DIGITS))
    assert 'patient' not in methods_for(facts_of(IMAGENET))
    with gr.Blocks():
        fields = Fields([DIGITS], DIGITS, False, {})
    assert ('Patient', 'patient') in fields.method.choices
    assert ('patient-ddim', 'patient-ddim') in fields.scheduler.choices
    _, _, _, patience, *rest = fields._on_method(DIGITS, 'own', 'patient')
    assert (patience['label'], patience['info']) == ('Patience', 'how long to wait')
    assert (patience['minimum'], patience['maximum'], patience['value']) == (1, 9, 7)
    assert not any(each['visible'] for each in rest)
    asked = order(method='patient', scheduler='patient-ddim', numbers=[3])
    assert asked.changes['guidance'] == dict(type='patient', patience=3)
    with pytest.raises(ValueError, match='patience is a whole number from 1 to 9, not 10'):
        order(method='patient', numbers=[10])


def test_a_models_own_scheduler_is_listed_once():
    with gr.Blocks():
        fields = Fields([DIGITS], DIGITS, False, {})
    listed = [value for _, value in fields.scheduler.choices]
    assert fields.scheduler.choices[0] == ('ddim (own)', 'own')
    assert sorted(listed) == sorted(['own', *(named_schedulers().keys() - {'ddim'})])


def test_titles_say_what_the_class_and_its_short_name_say():
    assert title('cfg') == 'Classifier free (cfg)'
    assert title('off-the-shelf') == 'Off the shelf'
