"""A conditional network is asked about another class in every step."""

import pytest
import torch
from mmengine import MODELS

from tests.tiny import CLASSIFIER, as_pixels, build_model, model_config


@pytest.fixture
def model():
    return build_model(redraw_labels=True, num_inference_steps=5)


def labels_asked_for(model, seeds):
    asked = []
    hook = model.unet.register_forward_hook(
        lambda _, inputs, kwargs, __: asked.append(kwargs['labels']), with_kwargs=True
    )
    result = model.infer(init_image=as_pixels(len(seeds)), seeds=seeds)
    hook.remove()
    return torch.stack(asked, dim=1), result


def test_every_sample_has_its_own_in_every_step(model):
    asked, result = labels_asked_for(model, [3, 4])
    assert result['labels'] is None
    assert all(len(set(row.tolist())) > 2 for row in asked)
    assert not torch.equal(*asked)


def test_they_follow_from_the_seed_alone(model):
    asked, both = labels_asked_for(model, [3, 4])
    alone, _ = labels_asked_for(model, [4])
    assert torch.equal(asked[1], alone[0])
    again = model.infer(init_image=as_pixels(2), seeds=[3, 4])['samples']
    assert torch.equal(both['samples'], again)


def test_all_classes_come_up(model):
    asked, _ = labels_asked_for(model, list(range(32)))
    assert set(asked.flatten().tolist()) == set(range(10))


def test_what_asks_for_a_class_is_refused(model):
    with pytest.raises(ValueError, match='or it redraws its labels'):
        model.infer(labels=3)
    with pytest.raises(ValueError, match=r'redraw_labels=True .* ClassifierGuidance'):
        build_model(redraw_labels=True, classifier=CLASSIFIER)
    with pytest.raises(ValueError, match=r'redraw_labels=True .* this ADMUNet has no classes'):
        build_model(redraw_labels=True, unet=dict(num_classes=None))


def test_an_upsampler_enlarges_images_of_no_class():
    config = model_config(unet=dict(type='ADMSuperResolutionUNet'), redraw_labels=True)
    model = MODELS.build({**config, 'type': 'AblatedUpsamplingModel', 'low_res_size': 4})
    result = model.infer(low_res=torch.zeros(2, 3, 4, 4), seeds=[0, 1])
    assert result['labels'] is None
    assert result['samples'].shape == (2, 3, 8, 8)
