"""Working on images that exist: encoding, interpolation, and variation.

A sampler without randomness follows an ordinary differential equation, and can walk it both ways:
from an image to the noise it would come from, and back. What is between two noises is noise too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmagic_adm.apis.sampling import LabelSpec, labels_of_each
from mmagic_adm.denoisers import FiniteWatch, PreconditionedNetwork
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import Seeds
from mmagic_adm.models.sampling import checked_images, evaluating
from mmagic_adm.schedulers import DDIMScheduler, EDMHeunScheduler


class Reconstruction(NamedTuple):
    """Images that went to noise and back.

    Attributes:
        noise: What they were encoded to, (N, C, H, W).
        images: What came back, in [-1, 1].
        error: Root of the mean squared difference of each, in the same units.
    """

    noise: Tensor
    images: Tensor
    error: Tensor


@torch.no_grad()
def encode(
    model: AblatedDiffusionModel,
    images: Tensor,
    labels: LabelSpec = None,
    steps: int | str = 250,
) -> Tensor:
    """The noise that images would be sampled from (DDIM, section 4.3).

    Args:
        model: The model.
        images: (N, C, H, W) in [-1, 1].
        labels: Their classes, one for each or one for all; needed if the network has any.
        steps: Steps to take; the more, the better the way back.

    Returns:
        Noise to hand to :func:`decode`, or to ``infer`` as ``init_image``.
    """
    images = checked_images(images, model.sample_shape).to(model.device)
    scheduler = _ode(model)
    scheduler.set_timesteps(steps)
    watch = FiniteWatch()
    inputs: dict[str, Any] = {}
    if model.unet.num_classes is not None:
        if labels is None:
            raise ValueError(
                f'this model is conditional on {model.num_classes} classes: say which the images '
                'are of'
            )
        numbers = labels_of_each(model, labels, len(images))
        inputs['labels'] = torch.tensor(numbers, device=model.device)
    with evaluating(model):
        denoiser = model.denoiser(scheduler, watch=watch, **inputs)
        noise = scheduler.to_noise(denoiser, model.codec.encode(images))
    watch.close()
    return noise


def decode(
    model: AblatedDiffusionModel,
    noise: Tensor,
    labels: LabelSpec = None,
    steps: int | str = 250,
) -> Tensor:
    """Images from noise, by the way that :func:`encode` came; arguments as there."""
    result = model.infer(
        init_image=noise,
        labels=labels_of_each(model, labels, len(noise)),
        num_inference_steps=steps,
        scheduler_kwargs=_ode(model),
        classifier_scale=0.0,
        seeds=0,
    )
    return result['samples']


def reconstruct(
    model: AblatedDiffusionModel,
    images: Tensor,
    labels: LabelSpec = None,
    steps: int | str = 250,
) -> Reconstruction:
    """Encodes images and decodes them again; arguments as in :func:`encode`."""
    noise = encode(model, images, labels, steps)
    back = decode(model, noise, labels, steps)
    error = (back - images.to(back)).square().flatten(1).mean(dim=1).sqrt()
    return Reconstruction(noise, back, error)


def interpolate_images(
    model: AblatedDiffusionModel,
    first: Tensor,
    second: Tensor,
    count: int = 8,
    labels: LabelSpec = None,
    steps: int | str = 250,
) -> Tensor:
    """A row of images from one to another, both included, by way of their noise.

    Args:
        model: The model.
        first: One image, (C, H, W) in [-1, 1].
        second: Another.
        count: Images in the row.
        labels: One class for all, if the network has any.
        steps: Steps to take each way.
    """
    noise = encode(model, torch.stack([first, second]), labels, steps)
    return decode(model, _arc(noise[0], noise[1], count), labels, steps)


def interpolate_seeds(
    model: AblatedDiffusionModel,
    first: int,
    second: int,
    count: int = 8,
    labels: LabelSpec = None,
    **infer_kwargs: Any,
) -> Tensor:
    """A row of samples from one seed's to another's, both included.

    Args:
        model: The model.
        first: One seed.
        second: Another.
        count: Samples in the row.
        labels: One class for all; None draws the first seed's.
        **infer_kwargs: Other arguments of ``infer``. The scheduler should add no noise.
    """
    ends, noise = model.start_of([first, second], labels_of_each(model, labels, 2))
    if labels is None and ends.labels is not None:
        labels = int(ends.labels[0])
    row, resolved = _arc(noise[0], noise[1], count), labels_of_each(model, labels, count)
    return model.infer(init_image=row, labels=resolved, seeds=first, **infer_kwargs)['samples']


def vary(
    model: AblatedDiffusionModel,
    images: Tensor,
    strength: float,
    labels: LabelSpec = None,
    seeds: Seeds = None,
    steps: int | str | None = None,
    **infer_kwargs: Any,
) -> Tensor:
    """Samples that keep the coarse of given images and invent the fine (SDEdit).

    Args:
        model: The model.
        images: (N, C, H, W) in [-1, 1].
        strength: Share of the steps that are taken, above 0 and up to 1: how much is invented.
        labels: Classes of the samples, one for each or one for all.
        seeds: As in ``infer``.
        steps: Steps of the whole way.
        **infer_kwargs: Other arguments of ``infer``.
    """
    if not 0 < strength <= 1:
        raise ValueError(f'strength is above 0 and up to 1, not {strength}')
    scheduler = model.make_scheduler(infer_kwargs.get('scheduler_kwargs'))
    spec = steps if steps is not None else model.num_inference_steps
    scheduler.set_timesteps(spec)
    total = len(scheduler.levels)
    result = model.infer(
        start_image=images,
        labels=labels_of_each(model, labels, len(images)),
        seeds=seeds,
        num_inference_steps=spec,
        skip_steps=total - max(1, round(strength * total)),
        **infer_kwargs,
    )
    return result['samples']


def _ode(model: AblatedDiffusionModel) -> DDIMScheduler | EDMHeunScheduler:
    """A scheduler without randomness, whose way can be walked from noise and to it."""
    own, process = model.diffusion_scheduler, model.process
    if own.is_of_ends:
        raise ValueError(
            'a consistency function leads from noise to images, and from none to its noise: take '
            'the model that it was tuned from'
        )
    if isinstance(model.unet, PreconditionedNetwork):
        if isinstance(own, EDMHeunScheduler):
            return EDMHeunScheduler(own.sigma_min, own.sigma_max, own.rho)
        return EDMHeunScheduler()
    # Clipping the prediction on the way would lose what the way back needs.
    return DDIMScheduler(
        process.num_train_timesteps,
        process.betas,
        process.prediction_type,
        process.variance_type,
        clip_sample=False,
        rescale_timesteps=process.timestep_scale != 1,
    )


def _arc(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Points on the great circle from one noise to another, whose length keeps that of noise."""
    if count < 2:
        raise ValueError(f'a row has at least its two ends, not {count}')
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0)
    angle = cosine.clamp(-1, 1).acos().clamp(min=1e-6)
    weights = torch.linspace(0, 1, count, device=first.device).view(-1, 1, 1, 1)
    return (torch.sin((1 - weights) * angle) * first + torch.sin(weights * angle) * second) / (
        torch.sin(angle)
    )
