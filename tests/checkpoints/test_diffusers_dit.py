"""DiT in diffusers' pipelines, which are peers in the same run; and back."""

import json

import pytest
import torch
from diffusers import DiTPipeline

from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import (
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
    write_pipeline,
)
from tests.commands.running import fail, succeed
from tests.tiny import build_latent_model
from tests.toolbox import newer_diffusers

STEPS = 5
GUIDANCE = dict(type='ClassifierFreeGuidance', scale=3.0)


def build(**changes):
    return build_latent_model(
        unet=dict(num_classes=1000, size=(32, 2, 2), **changes.pop('unet', {})),
        diffusion_scheduler=dict(type='DDIMScheduler'),
        guidance=GUIDANCE,
        num_inference_steps=STEPS,
        **changes,
    )


@pytest.fixture(scope='module')
def model():
    return build()


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
    """The pipeline that the command makes of a saved model."""
    folder = tmp_path_factory.mktemp('dit')
    model.save_pretrained(folder / 'saved')
    succeed('convert', folder / 'saved', folder / 'pipeline', '--to', 'diffusers')
    return folder / 'pipeline'


@newer_diffusers
def test_diffusers_takes_the_same_steps(model, folder):
    pipeline, theirs, ours = DiTPipeline.from_pretrained(folder), [], []
    pipeline.set_progress_bar_config(disable=True)
    for block in pipeline.transformer.transformer_blocks:
        # What is another network's by one step of the waves, see below.
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    step = pipeline.scheduler.step

    def noted(*args, **kwargs):
        result = step(*args, **kwargs)
        theirs.append(result.prev_sample[:2])
        return result

    pipeline.scheduler.step = noted
    images = pipeline([3, 999], num_inference_steps=STEPS, output_type='np', generator=seeded())
    noise = torch.randn(2, 4, 8, 8, generator=seeded())
    made = model.infer(
        init_image=noise, labels=[3, 999], on_step=lambda step: ours.append(step.sample)
    )
    assert len(ours) == len(theirs) == STEPS
    for own, other in zip(ours, theirs, strict=True):
        close = dict(rtol=0, atol=1e-5 * float(other.abs().max()))
        torch.testing.assert_close(own, other, **close)
    shown = torch.from_numpy(images.images).permute(0, 3, 1, 2) * 2 - 1
    torch.testing.assert_close(made['samples'], shown, rtol=0, atol=1e-4)


def seeded():
    return torch.Generator().manual_seed(0)


@newer_diffusers
def test_its_own_waves_of_time_are_others(model, folder):
    """Which is why a pipeline that it read computes something else than the original."""
    bare = DiTPipeline.from_pretrained(folder).transformer
    x, t, labels = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.tensor([3])
    with torch.no_grad():
        own, other = model.unet(x, t, labels), bare(x, t, labels).sample
    assert (own - other).norm() / own.norm() > 1e-4


@pytest.mark.parametrize('name', ['pipeline', 'saved'])
def test_a_folder_is_a_model_with_its_autoencoder(model, folder, name):
    folder = folder.parent / name
    back = init_model(folder, 'cpu', guidance=GUIDANCE)
    for key, tensor in model.unet.state_dict().items():
        assert torch.equal(back.unet.state_dict()[key], tensor), key
    assert back.sample_shape == model.sample_shape
    for own, other in zip(
        back.infer(seeds=3, labels=7, num_inference_steps=STEPS)['samples'],
        model.infer(seeds=3, labels=7)['samples'],
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-4)
    # And without its weights it is one of the same parts.
    assert init_model(folder, 'cpu', weights=False).sample_shape == model.sample_shape


@newer_diffusers
def test_what_diffusers_saves_goes_back(model, folder, tmp_path):
    pipeline = DiTPipeline.from_pretrained(folder)
    pipeline.save_pretrained(tmp_path / 'theirs')
    file = tmp_path / 'theirs' / 'transformer' / 'config.json'
    # As they called it when the released ones were converted.
    file.write_text(file.read_text().replace('DiTTransformer2DModel', 'Transformer2DModel'))
    succeed('convert', tmp_path / 'theirs', tmp_path / 'dit.safetensors', '--to', 'safetensors')
    again = read_checkpoint(tmp_path / 'dit.safetensors')
    assert again.state_dict.keys() == model.unet.state_dict().keys()
    for key, tensor in model.unet.state_dict().items():
        assert torch.equal(again.state_dict[key], tensor), key
    inspection = succeed('convert', '--inspect', tmp_path / 'theirs')
    assert 'size = (32, 2, 2)' in inspection
    assert "type = 'DDIMScheduler'" in inspection


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_classes=10), 'for 1000 classes and one for none; this network has 10'),
        (dict(class_dropout_prob=0.0), 'one for none; this network has no class for none'),
        (dict(mlp_ratio=2.0), 'have a mlp_ratio of 2, which is 4 there'),
        (dict(), 'a DiTPipeline has an autoencoder, and none was given'),
    ],
)
def test_what_has_no_pipeline_is_refused(tmp_path, changes, message):
    dit = dict(type='DiT', image_size=8, size=(32, 1, 2)) | changes
    parts = dict(unet=dit, diffusion_scheduler=dict(type='DDPMScheduler', clip_sample=False))
    with pytest.raises(CheckpointError, match=message):
        write_pipeline(tmp_path / 'out', parts, {})


def test_latents_of_channels_that_differ_have_none(tmp_path, model):
    build(codec=dict(scaling='edm2')).save_pretrained(tmp_path / 'saved')
    said = fail('convert', tmp_path / 'saved', tmp_path / 'out', '--to', 'diffusers')
    assert 'one scale for all channels of latents, and no shift' in said


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (dict(activation_fn='geglu'), "it is no DiT: activation_fn is 'geglu', where one has"),
        (dict(num_layers=10**9), 'its config has more blocks than there are tensors'),
        (dict(num_layers=1), r'do not agree on transformer_blocks\.1\.attn1'),
        (dict(patch_size=4), r'do not agree on pos_embed\.proj\.weight'),
        (dict(sample_size=None), 'transformer: .*NoneType'),
        (dict(patch_size=0), 'transformer: .*by zero'),
        (dict(_class_name=''), 'is of a ; of diffusers, UNet2DModel and DiT'),
    ],
)
def test_a_config_that_is_not_the_weights_is_refused(folder, change, complaint):
    file = folder / 'transformer' / 'config.json'
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), **change}))
    try:
        with pytest.raises(CheckpointError, match=complaint):
            read_checkpoint(folder)
    finally:
        file.write_text(before)


def test_another_autoencoder_may_go_along(model, folder, tmp_path):
    dit = write_checkpoint(
        dict(model.unet.state_dict()),
        tmp_path / 'dit.safetensors',
        'safetensors',
        metadata=dict(config=dict(unet=model.built_from['unet'], codec=model.built_from['codec'])),
    )
    target = tmp_path / 'out'
    succeed('convert', dit, target, '--to', 'diffusers', '--autoencoder', folder)
    for part in ('vae', 'transformer'):
        name = f'{part}/diffusion_pytorch_model.safetensors'
        assert (target / name).stat().st_size == (folder / name).stat().st_size
