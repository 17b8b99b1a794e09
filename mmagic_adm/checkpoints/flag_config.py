"""From the flags of the original project's scripts to a config of this one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from mmagic_adm.checkpoints import flags as original
from mmagic_adm.networks import CHANNEL_MULT

_NUM_CLASSES = 1000
_IMAGE_CHANNELS = 3
_UPSAMPLER_CHANNEL_MULT = {64: (1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (1, 1, 2, 2, 4, 4)}

# Which flags show that a script was meant that has such a network.
_OF_UNETS = {*original.NETWORK_FLAGS, 'model_path'} - {'image_size'}
_OF_CLASSIFIERS = {*original.CLASSIFIER_FLAGS, 'classifier_path', 'classifier_scale'}
_OF_UPSAMPLERS = {*original.UPSAMPLER_FLAGS, 'base_samples'}
_NOT_OF_UPSAMPLERS = {'image_size', 'channel_mult', 'use_new_attention_order', *_OF_CLASSIFIERS}


def config_from_flags(flags: str | Sequence[str], project: str | None = None) -> dict[str, Any]:
    """The config of what the original project's scripts would build from these flags.

    What is absent has the project's default. Flags of a classifier and of no U-Net give the
    classifier alone; without either kind there is the default U-Net.

    Args:
        flags: A command line as a shell takes it, with or without the script's name and the
            lines that set variables for it; or its words.
        project: Whose they are: 'guided-diffusion' (ADM), or 'improved-diffusion', which has other
            defaults. None takes the flags' word for it, and says so where they leave it open.

    Returns:
        A dict with those of the following that apply:

        - ``unet``, ``classifier``, ``diffusion_scheduler``: configs to build from;
        - ``use_fp16``, ``classifier_scale``, ``pretrained_cfgs``: further arguments of a model;
        - ``diffusion``: arguments of ``GaussianDiffusion``, for training and likelihoods;
        - ``sampling``: ``num_inference_steps``, and the flags of sampling that were given;
        - ``training``: the flags of training that were given.

    Raises:
        ValueError: A flag is unknown, has a value that it does not take, or does not go with the
            others; the message names it.
    """
    given = original.read_flags(flags)
    values = original.defaults_of(original.project_of(given, project)) | given
    upsamples = bool(_OF_UPSAMPLERS & given.keys())
    classifies = bool(_OF_CLASSIFIERS & given.keys())
    has_unet = not classifies or bool(_OF_UNETS & given.keys())
    misplaced = ', '.join(f'--{name}' for name in sorted(_NOT_OF_UPSAMPLERS & given.keys()))
    if upsamples and misplaced:
        raise ValueError(f'{misplaced}: the original scripts of an upsampler have no such flag')

    fixed = 'fixed_small' if values['sigma_small'] else 'fixed_large'
    process = dict(
        num_train_timesteps=values['diffusion_steps'],
        beta_schedule=values['noise_schedule'],
        prediction_type='start_x' if values['predict_xstart'] else 'epsilon',
        variance_type='learned_range' if values['learn_sigma'] else fixed,
        rescale_timesteps=values['rescale_timesteps'],
    )
    mse = 'rescaled_mse' if values['rescale_learned_sigmas'] else 'mse'
    config: dict[str, Any] = dict(
        diffusion=dict(
            respacing=values['timestep_respacing'] or None,
            loss_type='rescaled_kl' if values['use_kl'] else mse,
            **process,
        )
    )
    sampling: dict[str, Any] = {
        name: given[name]
        for name in ('classifier_use_fp16', 'num_samples', 'base_samples')
        if name in given
    }
    training: dict[str, Any] = {
        name: given[name] for name in original.TRAINING_FLAGS if name in given
    }
    if has_unet:
        config['unet'] = _unet(values, upsamples)
        config['diffusion_scheduler'] = dict(
            type='DDIMScheduler' if values['use_ddim'] else 'DDPMScheduler',
            clip_sample=values['clip_denoised'],
            **process,
        )
        config['use_fp16'] = values['use_fp16']
        steps = values['timestep_respacing'] or str(values['diffusion_steps'])
        sampling['num_inference_steps'] = steps
    if upsamples:
        sampling['small_size'] = values['small_size']
    if classifies:
        config['classifier'] = _classifier(values)
    if classifies and has_unet:
        config['classifier_scale'] = values['classifier_scale']
    if 'batch_size' in given:  # the scripts for both have this one
        (training or sampling)['batch_size'] = given['batch_size']
    pretrained = {
        part: dict(ckpt_path=values[flag])
        for part, flag in (('unet', 'model_path'), ('classifier', 'classifier_path'))
        if values[flag]
    }
    parts = dict(pretrained_cfgs=pretrained, sampling=sampling, training=training)
    return config | {name: part for name, part in parts.items() if part}


def _unet(values: Mapping[str, Any], upsamples: bool) -> dict[str, Any]:
    if upsamples:
        own: dict[str, Any] = dict(type='ADMSuperResolutionUNet')
        size = values['large_size']
        channel_mult = _look_up(_UPSAMPLER_CHANNEL_MULT, size, 'large_size')
    else:
        new_order = values['use_new_attention_order']
        own = dict(type='ADMUNet', use_new_attention_order=new_order)
        size = values['image_size']
        channel_mult = values['channel_mult'] or _look_up(
            CHANNEL_MULT, size, 'image_size', ' or give --channel_mult'
        )
    same = (
        'num_res_blocks',
        'dropout',
        'num_heads',
        'num_head_channels',
        'num_heads_upsample',
        'use_scale_shift_norm',
        'resblock_updown',
        'use_checkpoint',
    )
    return dict(
        own,
        image_size=size,
        in_channels=_IMAGE_CHANNELS,
        model_channels=values['num_channels'],
        out_channels=_IMAGE_CHANNELS * (2 if values['learn_sigma'] else 1),
        channel_mult=channel_mult,
        attention_resolutions=_attended_sizes('', values, size, len(channel_mult)),
        num_classes=_NUM_CLASSES if values['class_cond'] else None,
        **{name: values[name] for name in same},
    )


def _classifier(values: Mapping[str, Any]) -> dict[str, Any]:
    size = values['image_size']
    channel_mult = _look_up(CHANNEL_MULT, size, 'image_size', ' for a classifier')
    return dict(
        type='ADMClassifier',
        image_size=size,
        in_channels=_IMAGE_CHANNELS,
        model_channels=values['classifier_width'],
        out_channels=_NUM_CLASSES,
        num_res_blocks=values['classifier_depth'],
        attention_resolutions=_attended_sizes('classifier_', values, size, len(channel_mult)),
        channel_mult=channel_mult,
        num_head_channels=64,
        use_scale_shift_norm=values['classifier_use_scale_shift_norm'],
        resblock_updown=values['classifier_resblock_updown'],
        pool=values['classifier_pool'],
    )


def _look_up(
    table: Mapping[int, tuple[float, ...]], size: int, flag: str, otherwise: str = ''
) -> tuple[float, ...]:
    if size not in table:
        raise ValueError(f'--{flag} {size}: it is one of {", ".join(map(str, table))}{otherwise}')
    return table[size]


def _attended_sizes(
    prefix: str, values: Mapping[str, Any], image_size: int, num_levels: int
) -> tuple[int, ...]:
    """The feature maps that the original attends to: it passes over those that no level has."""
    flag = f'{prefix}attention_resolutions'
    sizes_of_levels = {2**level: image_size // 2**level for level in range(num_levels)}
    attended = {size: sizes_of_levels.get(image_size // size) for size in values[flag]}
    passed_over = ', '.join(str(size) for size, level in attended.items() if level is None)
    if passed_over:
        print_log(
            f'--{flag}: the original finds no feature map of {passed_over} pixels in '
            f'{num_levels} levels from {image_size}, and goes without attention there',
            logger='current',
            level=logging.WARNING,
        )
    return tuple(level for level in attended.values() if level is not None)
