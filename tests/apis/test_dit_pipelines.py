"""DiT beside diffusers' DiTPipeline, which is a peer in the same run."""

import pytest
import torch

from mmagic_adm.apis import from_diffusers, to_diffusers
from mmagic_adm.checkpoints import CheckpointError, load_network, read_checkpoint
from mmagic_adm.checkpoints.diffusers_dit import diffusers_state_dict
from tests.tiny import build_latent_model, build_model

STEPS = 5


@pytest.fixture(scope='module')
def model():
    return build_latent_model(
        unet=dict(num_classes=1000, size=(32, 2, 2)),
        diffusion_scheduler=dict(type='DDIMScheduler'),
        guidance=dict(type='ClassifierFreeGuidance', scale=3.0),
        num_inference_steps=STEPS,
    )


@pytest.fixture(scope='module')
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp('pipeline')
    to_diffusers(model).save_pretrained(folder)
    return folder


def test_it_takes_the_same_steps(model):
    pipeline, theirs, ours = to_diffusers(model), [], []
    pipeline.set_progress_bar_config(disable=True)
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


def test_there_and_back_again_through_a_folder(model, folder):
    back = from_diffusers(folder)
    for key, tensor in model.unet.state_dict().items():
        assert torch.equal(back.unet.state_dict()[key], tensor), key
    assert back.sample_shape == model.sample_shape
    for own, other in zip(
        back.infer(seeds=3, labels=7, num_inference_steps=STEPS)['samples'],
        model.infer(seeds=3, labels=7)['samples'],
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-4)


def test_its_weights_load_by_themselves(model, folder):
    file = folder / 'transformer' / 'diffusion_pytorch_model.safetensors'
    other = build_latent_model(unet=dict(num_classes=1000, size=(32, 2, 2))).unet
    torch.nn.init.zeros_(other.final_layer.linear.weight)
    assert load_network(other, file).layout == 'diffusers'
    assert torch.equal(other.final_layer.linear.weight, model.unet.final_layer.linear.weight)
    assert len(read_checkpoint(file, like=other.state_dict()).state_dict) == len(other.state_dict())
    (file.parent / 'config.json').rename(file.parent / 'elsewhere')
    with pytest.raises(CheckpointError, match=r'config\.json .* belongs beside the weights'):
        load_network(other, file)
    (file.parent / 'elsewhere').rename(file.parent / 'config.json')


def test_diffusers_own_embedding_of_time_is_another():
    """Which is why a pipeline that it read computes something else than the original."""
    from diffusers import DiTTransformer2DModel

    model = build_latent_model(unet=dict(num_classes=1000, size=(32, 2, 2)))
    bare = DiTTransformer2DModel(2, 16, 4, 8, 2, sample_size=8, norm_eps=1e-6).eval()
    bare.load_state_dict(diffusers_state_dict(model.unet.state_dict()))
    x, t, labels = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.tensor([3])
    with torch.no_grad():
        own, other = model.unet(x, t, labels), bare(x, t, labels).sample
    assert (own - other).norm() / own.norm() > 1e-4


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (build_model, 'a DiTPipeline is of a DiT in latents, not of ADMUNet and PixelCodec'),
        (build_latent_model, 'for 1000 classes and one for none; this network has 10'),
        (
            lambda: build_latent_model(unet=dict(num_classes=1000), codec=dict(scaling='edm2')),
            'one scale for all channels of the latents, and no shift',
        ),
    ],
)
def test_what_has_no_pipeline_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        to_diffusers(build())


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(CheckpointError, match=r"the folder of a pipeline, by DiTPipeline's"):
        from_diffusers(tmp_path)
