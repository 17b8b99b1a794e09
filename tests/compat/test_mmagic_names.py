"""MMagic's names build our networks, sample as MMagic does, and refuse what is not ADM."""

import pytest
import torch
from mmengine import MODELS
from mmengine.registry import DefaultScope

from mmagic_adm.checkpoints.parts import mmagic_name
from mmagic_adm.compat.mmagic_names import (
    AblatedDiffusionModel,
    DataPreprocessor,
    DenoisingUnet,
    EncoderUNetModel,
)
from mmagic_adm.models import AblatedDiffusionModel as Ours
from mmagic_adm.registry import MODELS as OUR_MODELS
from tests.reference import fill_by_name, golden_names, load_golden

ATTENTION = dict(type='MultiHeadAttentionBlock', num_head_channels=32)
UNET = dict(
    image_size=16,
    base_channels=32,
    resblocks_per_downsample=1,
    attention_res=8,
    channels_cfg=[1, 2],
    attention_cfg=ATTENTION,
)
CLASSIFIER = dict(
    image_size=16,
    in_channels=3,
    model_channels=32,
    out_channels=10,
    num_res_blocks=1,
    attention_resolutions=[2],
    channel_mult=[1, 2],
    num_head_channels=32,
)


@pytest.mark.parametrize('name', golden_names('mmagic'))
def test_network_and_images_equal_mmagics(name):
    case = load_golden('mmagic', name)
    with DefaultScope.overwrite_default_scope('mmagic_adm'):
        model = MODELS.build(case.meta['model']).eval()
    fill_by_name(model.unet, lambda key: f'unet.{mmagic_name(key)}')
    if model.classifier is not None:
        fill_by_name(model.classifier, lambda key: f'classifier.{key}')

    with torch.no_grad():
        out = model.unet(case.x, case.t, case.y)
    torch.testing.assert_close(out, case.unet_out, atol=1e-5, rtol=1e-5)

    def sample(x):
        return model.infer(init_image=x, labels=case.y, **case.meta['infer'])['samples']

    # These loops start where the image is all noise, and dividing by what is left of the signal
    # magnifies the last digit of the start about a thousandfold. The two agree as far as digits go.
    last_digit = torch.finfo(torch.float32).eps
    unavoidable = (sample(case.x * (1 + last_digit)) - sample(case.x)).abs().max()
    model.double()  # so that the golden's rounding is all that is left, and not ours too
    error = (sample(case.x) - case.samples).abs()
    assert error.max() <= max(2 * unavoidable, 1e-4)
    assert error.quantile(0.9) < 1e-4


def test_attention_of_the_classifier_counts_shrinkage():
    assert EncoderUNetModel(**CLASSIFIER).attention_sizes == {8}


@pytest.mark.parametrize(
    ('changes', 'out_channels'),
    [
        ({}, 6),
        ({'output_cfg': dict(mean='eps', var='fixed_small')}, 3),
        ({'out_channels': 6, 'output_cfg': dict(mean='eps', var='fixed_small')}, 6),
    ],
)
def test_output_channels_follow_from_the_variance(changes, out_channels):
    assert DenoisingUnet(**UNET, **changes).out_channels == out_channels


def test_no_classes_is_zero_in_mmagic():
    assert DenoisingUnet(**UNET, num_classes=0).num_classes is None


def test_half_precision_is_asked_for_at_construction():
    assert DenoisingUnet(**UNET, use_fp16=True).dtype == torch.float16
    assert EncoderUNetModel(**CLASSIFIER, use_fp16=True).dtype == torch.float16


def test_multipliers_come_by_image_size_too():
    table = {16: [1, 2], 32: [1, 2, 2, 2]}
    assert DenoisingUnet(**{**UNET, 'channels_cfg': table}).widths == [32, 64]


@pytest.fixture(scope='module')
def model():
    return AblatedDiffusionModel(
        dict(type='DataPreprocessor'),
        dict(type='DenoisingUnet', **UNET, num_classes=10),
        dict(type='EditDDIMScheduler', beta_schedule='squaredcos_cap_v2'),
        classifier=dict(type='EncoderUNetModel', **CLASSIFIER),
        classifier_scale=5.0,
    ).eval()


class TestMMagicsCallers:
    """The model and its network answer to calls that were written for MMagic's."""

    @pytest.fixture
    def scales(self, model, monkeypatch):
        """The scales that guidance is asked for."""
        asked, bind = [], model.guidance.bind
        monkeypatch.setattr(
            model.guidance, 'bind', lambda *args: asked.append(args[2]) or bind(*args)
        )
        return asked

    @pytest.mark.parametrize('name', ['ADM', 'GuidedDiffusion'])
    def test_names(self, name):
        assert OUR_MODELS.get(name) is AblatedDiffusionModel

    def test_guidance_has_to_be_asked_for(self, model, scales):
        model.infer(None, None, 1, 2, 3)
        model.infer(None, None, 1, 2, 3, 2.0)
        assert scales == [0.0, 2.0]

    def test_a_runners_samples_are_guided_by_the_config(self, model, scales):
        model.test_step(dict(inputs=dict(num_batches=1, sample_kwargs=dict(num_inference_steps=2))))
        assert scales == [None]

    def test_a_scheduler_of_mmagics_walks_its_own_process(self, model):
        five = dict(type='EditDDPMScheduler', variance_type='learned_range', num_train_timesteps=5)
        walked = model.infer(five, None, 1, 5, 3, return_trajectory=1)['trajectory']['timesteps']
        assert walked == [4, 3, 2, 1, 0]

    def test_the_network_answers_in_a_dict(self, model):
        x, y = torch.randn(2, 3, 16, 16), torch.tensor([3, 5])
        model.unet.out[-1].weight.data.normal_()
        with torch.no_grad():
            ours = model.unet(x, torch.tensor([10, 10]), y)
            assert torch.equal(model.unet(x, 10, label=y)['sample'], ours)
            assert torch.equal(model.unet(x, torch.tensor(10), y)['sample'], ours)

    def test_their_order_of_arguments_under_our_name(self, model):
        with pytest.raises(TypeError, match=r"init_image .* MMagic's order .* type='ADM'"):
            Ours.infer(model, dict(type='EditDDPMScheduler'))
        with pytest.raises(TypeError, match=r"unet .* MMagic's order .* type='ADM'"):
            Ours(dict(type='DataPreprocessor'), model.unet, dict(type='DDIMScheduler'))


class TestBadInput:
    @pytest.mark.parametrize(
        ('build', 'message'),
        [
            (lambda: DenoisingUnet(**{**UNET, 'attention_cfg': None}), 'not an ADM network'),
            (lambda: DenoisingUnet(**UNET, unet_type='stable'), "unet_type='stable'"),
            (lambda: EncoderUNetModel(**CLASSIFIER, dims=3), 'dims=3'),
            (lambda: DataPreprocessor(mean=0.5), 'mean=0.5'),
        ],
    )
    def test_settings_that_adm_does_not_have(self, build, message):
        with pytest.raises(ValueError, match=message):
            build()

    def test_unknown_arguments(self):
        with pytest.raises(TypeError, match="no argument 'colour'"):
            DenoisingUnet(**UNET, colour=3)
