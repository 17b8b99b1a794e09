"""Guidance that asks a network twice: what it costs, whom it concerns, and whom it refuses."""

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.guidance import Path, SelfAttentionGuidance
from mmagic_adm.networks.deep_features import reused_deep_features
from tests.models.test_edm_model import edm_model
from tests.networks.own import Plain
from tests.tiny import as_pixels, build_model

SELF = dict(type='SelfAttentionGuidance', stage='output_blocks.0', scale=1.5, kernel=5)
PERTURBED = dict(type='PerturbedAttentionGuidance', stages=['output_blocks.0'], scale=1.5)
both = pytest.mark.parametrize('guidance', [SELF, PERTURBED], ids=['self', 'perturbed'])
LABELS = [3, 1, 4]


def sample(model, **arguments):
    """The samples, and the sizes of the batches that the network was called with."""
    batches: list[int] = []
    hook = model.unet.register_forward_hook(lambda _, inputs, __: batches.append(len(inputs[0])))
    arguments = dict(init_image=as_pixels(3), labels=LABELS, seeds=[7, 8, 9]) | arguments
    samples = model.infer(**arguments)['samples']
    hook.remove()
    return samples, batches


@both
def test_at_scale_0_nothing_changes_and_nothing_is_computed(guidance):
    plain, calls = sample(build_model())
    off, calls_off = sample(build_model(guidance=guidance), classifier_scale=0)
    assert torch.equal(off, plain)
    assert calls_off == calls == [3] * 4


@pytest.mark.parametrize(
    ('guidance', 'batches'), [(SELF, [3, 3] * 4), (PERTURBED, [6] * 4)], ids=['self', 'perturbed']
)
def test_a_step_costs_one_call_more_or_a_batch_twice_as_large(guidance, batches):
    assert sample(build_model(guidance=guidance))[1] == batches


@both
def test_outside_of_its_interval_it_costs_nothing(guidance):
    model = build_model(guidance=dict(guidance, interval=(0, 100)))
    _, batches = sample(model)
    assert batches[:3] == [3] * 3
    assert sum(batches[3:]) == 6


@both
def test_samples_of_scale_0_are_left_alone_and_the_others_are_the_same_without_them(guidance):
    model = build_model(guidance=guidance)
    plain, _ = sample(build_model())
    some, batches = sample(model, classifier_scale=[0.0, 1.5, 0.0])
    assert sum(batches) == 4 * 4
    torch.testing.assert_close(some[[0, 2]], plain[[0, 2]])
    alone, _ = sample(model, init_image=as_pixels(3)[1:2], labels=[1], seeds=[8])
    torch.testing.assert_close(some[1:2], alone, rtol=1e-4, atol=1e-4)
    assert (alone - plain[1:2]).abs().max() > 1e-2


@both
def test_deep_features_are_those_of_the_same_question(guidance):
    """Recalled from a call about the same sample, they change nothing, whoever asked between."""
    model = build_model(guidance=guidance)
    level = model.diffusion_scheduler.full_process.level_at(500)
    labels = torch.tensor(LABELS)
    path = Path([level], model.diffusion_scheduler.full_process)
    guide = model.guidance.bind(path, labels)
    denoiser = model.denoiser(guide=guide, labels=labels)
    with torch.no_grad():
        whole = denoiser(as_pixels(3), level).eps
        with reused_deep_features(model.unet, every=2):
            for _ in range(2):
                torch.testing.assert_close(denoiser(as_pixels(3), level).eps, whole)


@both
def test_edm_is_guided_too(guidance):
    plain, calls = sample(edm_model(num_inference_steps=2))
    guided, calls_guided = sample(edm_model(guidance=guidance, num_inference_steps=2))
    assert sum(calls_guided) == 2 * sum(calls)
    assert (guided - plain).abs().max() > 1e-3


@both
def test_a_network_that_does_not_attend_there_is_refused_when_the_model_is_built(guidance):
    name = guidance['type']
    with pytest.raises(ValueError, match=rf'{name} .* output_blocks.0, and this ADMUNet attends'):
        build_model(guidance=guidance, unet=dict(attention_resolutions=()))
    model = build_model()
    with pytest.raises(ValueError, match=rf'{name} .* Plain does not say'):
        MODELS.build({**guidance, '_scope_': 'mmagic_adm'}).check_fits(
            Plain(), model.diffusion_scheduler
        )


def test_a_blur_wider_than_the_image_is_refused_when_the_model_is_built():
    with pytest.raises(ValueError, match=r'kernel=31 .* the 8 pixels of the ADMUNet'):
        build_model(guidance=dict(SELF, kernel=31))


def test_a_blur_reaches_as_far_as_its_kernel():
    spot = torch.zeros(1, 1, 16, 16)
    spot[..., 8, 8] = 1
    said = Prediction(spot, torch.zeros_like(spot))
    guidance = SelfAttentionGuidance(blur_sigma=9.0, kernel=5)
    blurred = guidance.degraded(said, NoiseLevel(1.0, 0.0), attention=torch.full((1, 64), 2.0))
    assert (blurred > 0).sum() == 25


def test_heads_that_do_not_divide_the_projection_are_refused_when_the_model_is_built():
    with pytest.raises(ValueError, match=r'192 channels of output_blocks.0 .* map_heads=7'):
        build_model(guidance=dict(SELF, map_heads=7))


def test_the_stage_that_is_looked_at_matters():
    here, _ = sample(build_model(guidance=SELF))
    there, _ = sample(build_model(guidance=dict(SELF, stage='input_blocks.3')))
    assert (here - there).abs().max() > 1e-2
