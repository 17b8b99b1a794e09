"""DiT to and from the pipelines of diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints.diffusers_dit import diffusers_state_dict
from mmagic_adm.codecs import AutoencoderCodec
from mmagic_adm.compat.environment import require
from mmagic_adm.files.whole import read_json
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.networks import DiT
from mmagic_adm.registry import MODELS, SCOPE

WEIGHTS = 'diffusion_pytorch_model.safetensors'
# What DiTPipeline gives the network in place of a label; no other number will do.
NULL_LABEL = 1000
_WAY_OUT = "it should be the folder of a pipeline, by DiTPipeline's save_pretrained"


def from_diffusers(folder: str | Path, **changes: Any) -> AblatedDiffusionModel:
    """A model from the folder of a DiTPipeline, with its weights.

    It samples as the original does. diffusers spaces the waves of the timestep by 127 steps where
    the original, and so the weights that were converted from it, has 128.

    Args:
        folder: What ``save_pretrained`` wrote.
        **changes: Arguments of :class:`AblatedDiffusionModel`. By default there are 50 steps of
            DDIM and classifier-free guidance of all channels at the scale of 4, 3 as it is counted
            here: those of the pipeline.
    """
    folder = Path(folder)
    network, autoencoder, process = (
        read_json(folder / part / name, _WAY_OUT)
        for part, name in (
            ('transformer', 'config.json'),
            ('vae', 'config.json'),
            ('scheduler', 'scheduler_config.json'),
        )
    )
    heads, depth = network['num_attention_heads'], network['num_layers']
    factor = 2 ** (len(autoencoder['block_out_channels']) - 1)
    diffusers = require('diffusers', 'from_diffusers', 'mmagic-adm[solvers]')
    learned = network['out_channels'] != network['in_channels']
    config = dict(
        type='AblatedDiffusionModel',
        _scope_=SCOPE,
        unet=dict(
            type='DiT',
            image_size=network['sample_size'],
            size=(heads * network['attention_head_dim'], depth, heads),
            patch_size=network['patch_size'],
            in_channels=network['in_channels'],
            out_channels=network['out_channels'],
            num_classes=network['num_embeds_ada_norm'],
        ),
        codec=dict(
            type='AutoencoderCodec',
            image_size=network['sample_size'] * factor,
            weights=str(folder),
            scaling=dict(scale=autoencoder['scaling_factor']),
        ),
        diffusion_scheduler=dict(
            type='DDIMScheduler',
            num_train_timesteps=process['num_train_timesteps'],
            beta_schedule=diffusers.DDIMScheduler.from_config(process).betas.double().tolist(),
            variance_type='learned_range' if learned else 'fixed_small',
            clip_sample=False,
        ),
        num_inference_steps=50,
        guidance=dict(type='ClassifierFreeGuidance', scale=3.0),
        pretrained_cfgs=dict(unet=dict(ckpt_path=str(folder / 'transformer' / WEIGHTS))),
    )
    return MODELS.build({**config, **changes}).eval()


def to_diffusers(model: AblatedDiffusionModel) -> Any:
    """A DiTPipeline of a model, whose ``save_pretrained`` writes it to a folder.

    The pipeline that is returned calculates as the model does. Read from a folder again, diffusers
    spaces the waves of the timestep in its own way, see :func:`from_diffusers`.

    Args:
        model: A DiT of ImageNet's 1000 classes in the latents of an autoencoder.

    Raises:
        ValueError: There is no such pipeline of it.
    """
    network, codec, process = model.unet, model.codec, model.process
    if not isinstance(network, DiT) or not isinstance(codec, AutoencoderCodec):
        raise ValueError(
            'a DiTPipeline is of a DiT in latents, not of '
            f'{type(network).__name__} and {type(codec).__name__}'
        )
    if network.null_label != NULL_LABEL:
        raise ValueError(
            f'DiTPipeline is for {NULL_LABEL} classes and one for none; this network has '
            f'{network.num_classes}'
        )
    scale, shift = codec.scaling
    if not isinstance(scale, float) or shift != 0:
        raise ValueError('DiTPipeline has one scale for all channels of the latents, and no shift')
    diffusers = require('diffusers', 'to_diffusers', 'mmagic-adm[solvers]')
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=network.num_heads,
        attention_head_dim=network.width // network.num_heads,
        in_channels=network.in_channels,
        out_channels=network.out_channels,
        num_layers=len(network.blocks),
        sample_size=network.image_size,
        patch_size=network.patch_size,
        num_embeds_ada_norm=network.num_classes,
        norm_eps=1e-6,
    ).eval()
    transformer.load_state_dict(diffusers_state_dict(network.state_dict()))
    for part in transformer.transformer_blocks:
        part.norm1.emb.time_proj.downscale_freq_shift = 0
    codec.autoencoder.register_to_config(scaling_factor=scale)
    scheduler = diffusers.DDIMScheduler(
        process.num_train_timesteps,
        trained_betas=process.betas.tolist(),
        clip_sample=False,
    )
    return diffusers.DiTPipeline(transformer, codec.autoencoder, scheduler)
