"""A base model and its upsamplers as one."""

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.models import CascadedDiffusionModel
from mmagic_adm.models.cascade import SEED_STRIDE
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, build_model, model_config

CLOSE = dict(atol=1e-5, rtol=1e-4)


def upsampler_config(**changes):
    unet = dict(type='ADMSuperResolutionUNet', image_size=16, attention_resolutions=(8,))
    config = model_config(unet=unet, low_res_size=8, **changes)
    return {**config, 'type': 'AblatedUpsamplingModel'}


@pytest.fixture
def cascade():
    base = build_model(classifier=CLASSIFIER, num_inference_steps=2)
    upsampler = MODELS.build(upsampler_config(num_inference_steps=2)).eval()
    fill_by_name(upsampler.unet)
    return CascadedDiffusionModel(base, [upsampler])


def test_it_equals_its_stages_run_by_hand(cascade):
    result = cascade.infer(seeds=[5, 6], num_inference_steps=[3, 2], classifier_scale=2.0)

    base, upsampler = cascade.stages
    small = base.infer(seeds=[5, 6], num_inference_steps=3, classifier_scale=2.0)
    handed_over = ((small['samples'] + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    seeds = [(seed + SEED_STRIDE) % 2**32 for seed in (5, 6)]
    large = upsampler.infer(handed_over, labels=small['labels'], seeds=seeds, num_inference_steps=2)
    torch.testing.assert_close(result['samples'], large['samples'])
    assert result['samples'].shape == (2, 3, 16, 16)
    torch.testing.assert_close(result['stages'][0], small['samples'])
    assert result['labels'].tolist() == small['labels'].tolist()
    assert result['seeds'] == [5, 6]


def test_a_sample_is_its_seed(cascade):
    together = cascade.infer(seeds=[5, 6, 7])
    alone = cascade.infer(seeds=[6])
    # Images are rounded between the stages, where the last digit may tip over.
    assert (alone['samples'][0] - together['samples'][1]).abs().mean() < 1e-3


def test_stages_draw_different_noise(cascade):
    """What the networks of two stages see first, where both images are all noise, is unlike."""
    seen = {}

    def note(name):
        def hook(module, args):
            seen.setdefault(name, args[0].flatten(1))

        return hook

    for name, unet in (('base', cascade.base.unet), ('large', cascade.upsamplers[0].unet)):
        unet.register_forward_pre_hook(note(name))
    cascade.infer(seeds=range(20), labels=3, num_inference_steps=1, classifier_scale=0)
    small, large = seen['base'], seen['large'][:, : seen['base'].shape[1]]
    assert torch.corrcoef(torch.stack([small.flatten(), large.flatten()]))[0, 1].abs() < 0.05


class TestLabels:
    """They go to the stages that have classes, and are drawn once."""

    def cascade(self, base, upsampler):
        large = upsampler_config()
        large['unet']['num_classes'] = upsampler
        return CascadedDiffusionModel(
            build_model(unet=dict(num_classes=base)), [fill_model(MODELS.build(large))]
        )

    def test_an_unconditional_upsampler_gets_none(self):
        cascade = self.cascade(10, None)
        result = cascade.infer(seeds=[5, 6])
        assert result['labels'].tolist() == cascade.base.infer(seeds=[5, 6])['labels'].tolist()
        assert cascade.infer(seeds=[5], labels=3)['labels'].tolist() == [3]

    def test_a_conditional_one_behind_an_unconditional_base_gets_those_that_are_given(self):
        cascade = self.cascade(None, 10)
        told = []
        cascade.upsamplers[0].unet.register_forward_pre_hook(
            lambda module, args, kwargs: told.append(kwargs['labels'].tolist()), with_kwargs=True
        )
        result = cascade.infer(seeds=[5, 6], labels=[3, 4])
        assert told[0] == [3, 4]
        assert list(result['labels']) == [3, 4]

    def test_a_class_of_images_that_are_there_is_not_drawn(self):
        with pytest.raises(ValueError, match='conditional on 10 classes, and its base knows none'):
            self.cascade(None, 10).infer(seeds=[5])

    def test_stages_of_other_classes_do_not_go_together(self):
        with pytest.raises(ValueError, match='the same classes; these have 7 and 10'):
            self.cascade(10, 7)


def fill_model(model):
    fill_by_name(model.unet)
    return model.eval()


def test_stages_may_leave_the_device_when_they_are_done(cascade):
    result = cascade.infer(seeds=[5], offload=True)
    torch.testing.assert_close(result['samples'], cascade.infer(seeds=[5])['samples'])


def test_the_runners_protocol(cascade):
    (sample,) = cascade.test_step(dict(inputs=dict(seed=[5], label=[3], index=[0])))
    assert sample.fake_img.shape == (3, 16, 16)
    assert sample.gt_label.label.item() == 3


def test_a_config_names_its_stages(tmp_path):
    base, large = tmp_path / 'base.py', tmp_path / 'large.py'
    Config(dict(model=model_config(classifier=CLASSIFIER))).dump(base)
    Config(dict(model=upsampler_config())).dump(large)
    config = dict(type='CascadedDiffusionModel', base=str(base), upsamplers=[str(large)])

    trained = build_model(classifier=CLASSIFIER)
    write_checkpoint(trained.state_dict(), tmp_path / 'base.safetensors', 'safetensors')
    model = init_model(
        Config(dict(model=config)),
        device='cpu',
        weights=[tmp_path / 'base.safetensors', False],
    )
    for ours, theirs in zip(model.base.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('sizes', ['64x64-256x256', '128x128-512x512'])
def test_the_released_cascades_build(sizes):
    with torch.device('meta'):
        model = init_model(f'adm-g-u_ddpm250_8xb32_imagenet-{sizes}', device='meta', weights=False)
    small, large = (size.split('x')[0] for size in sizes.split('-'))
    assert [stage.unet.image_size for stage in model.stages] == [int(small), int(large)]
    assert [stage.num_inference_steps for stage in model.stages] == [250, 250]
    assert model.base.classifier is not None


class TestBadInput:
    def test_sizes_that_do_not_meet(self):
        with pytest.raises(ValueError, match=r'gives images of 8 pixels, .* of 4'):
            CascadedDiffusionModel(model_config(), [upsampler_config() | dict(low_res_size=4)])

    def test_no_upsampler(self):
        with pytest.raises(ValueError, match='at least one upsampler'):
            CascadedDiffusionModel(model_config(), [])

    def test_settings_for_another_number_of_stages(self, cascade):
        with pytest.raises(ValueError, match=r'3 numbers of steps were given; .* 2 stages'):
            cascade.infer(num_inference_steps=[1, 2, 3])

    def test_steps_that_a_stage_does_not_take_are_refused_before_the_first_begins(self, cascade):
        assert [len(each.levels) for each in cascade.make_scheduler(steps=[3, 'ddim2'])] == [3, 2]
        with pytest.raises(ValueError, match='Cannot read 0'):
            cascade.make_scheduler(steps=[3, 0])

    def test_a_base_model_in_an_upsamplers_place(self):
        with pytest.raises(ValueError, match='AblatedDiffusionModel is not an upsampling model'):
            CascadedDiffusionModel(model_config(), [model_config()])

    def test_an_unknown_name(self):
        with pytest.raises(ValueError, match="no config called 'adm-nothing'"):
            CascadedDiffusionModel('adm-nothing', [upsampler_config()])

    def test_weights_for_another_number_of_stages(self):
        with pytest.raises(ValueError, match='2 stages; give weights as a list'):
            init_model('adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256', weights='file.pt')
