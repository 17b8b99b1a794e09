"""Networks small enough to sample from in a test, and the models made of them."""

import torch
from mmengine import MODELS

from tests.reference import fill_by_name

UNET = dict(
    type='ADMUNet',
    image_size=8,
    model_channels=32,
    num_res_blocks=1,
    attention_resolutions=(4,),
    channel_mult=(1, 2),
    num_classes=10,
    num_head_channels=32,
)
CLASSIFIER = dict(
    type='ADMClassifier',
    image_size=8,
    model_channels=32,
    out_channels=10,
    num_res_blocks=1,
    attention_resolutions=(4,),
    channel_mult=(1, 2),
    num_head_channels=32,
)


def model_config(**changes) -> dict:
    """Config of a small model; ``unet`` and ``classifier`` may change single arguments."""
    unet = {**UNET, **changes.pop('unet', {})}
    return dict(
        type='AblatedDiffusionModel',
        _scope_='mmagic_adm',
        unet=unet,
        diffusion_scheduler=changes.pop('diffusion_scheduler', dict(type='DDIMScheduler')),
        num_inference_steps=changes.pop('num_inference_steps', 4),
        **changes,
    )


def build_model(**changes):
    """A small model with weights that follow from their names."""
    model = MODELS.build(model_config(**changes)).eval()
    fill_by_name(model.unet)
    if model.classifier is not None:
        fill_by_name(model.classifier)
    return model


def as_pixels(count: int, seed: int = 0) -> torch.Tensor:
    """Start noise for a small model."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


# An autoencoder of images of 16 pixels, with latents of 4 channels and 8 pixels.
AUTOENCODER = dict(
    down_block_types=('DownEncoderBlock2D',) * 2,
    up_block_types=('UpDecoderBlock2D',) * 2,
    block_out_channels=(8, 8),
    norm_num_groups=4,
)
CODEC = dict(type='AutoencoderCodec', image_size=16, weights=None, autoencoder=AUTOENCODER)
DIT = dict(type='DiT', image_size=8, size=(32, 1, 2), num_classes=10)


def latent_model_config(**changes) -> dict:
    """Config of a small DiT in latents; ``unet`` and ``codec`` may change single arguments."""
    return dict(
        type='AblatedDiffusionModel',
        _scope_='mmagic_adm',
        unet={**DIT, **changes.pop('unet', {})},
        codec={**CODEC, **changes.pop('codec', {})},
        diffusion_scheduler={
            **dict(type='DDPMScheduler', clip_sample=False),
            **changes.pop('diffusion_scheduler', {}),
        },
        num_inference_steps=changes.pop('num_inference_steps', 3),
        **changes,
    )


def build_latent_model(**changes):
    """A small DiT in latents with weights that follow from their names."""
    model = MODELS.build(latent_model_config(**changes)).eval()
    fill_by_name(model.unet)
    fill_by_name(model.codec.autoencoder)
    return model
