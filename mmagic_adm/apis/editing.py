"""Working on images that exist: encoding, interpolation, and variation.

A sampler without randomness follows an ordinary differential equation, and can walk it both ways:
from an image to the noise it would come from, and back. What is between two noises is noise too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmagic_adm.apis.progress import image_bar, is_watched
from mmagic_adm.apis.samples import Samples
from mmagic_adm.apis.sampling import (
    LabelSpec,
    SchedulerSpec,
    labels_of_each,
    sampled,
    scheduler_config,
    seeds_of_each,
)
from mmagic_adm.denoisers import FiniteWatch, PreconditionedNetwork
from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.files.given_images import GivenImages, given_images
from mmagic_adm.files.pictures import Mode
from mmagic_adm.guidance.base import Scale
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import Seeds
from mmagic_adm.models.sampling import checked_images, evaluating
from mmagic_adm.schedulers import DDIMScheduler, EDMHeunScheduler


@torch.no_grad()
def encode(
    model: AblatedDiffusionModel,
    images: GivenImages,
    labels: LabelSpec = None,
    steps: int | str = 250,
    *,
    batch_size: int = 8,
    progress: bool = True,
) -> Tensor:
    """The noise that images would be sampled from (DDIM, section 4.3).

    Args:
        model: The model.
        images: Pictures, files, arrays or tensors: see
            :func:`~mmagic_adm.files.given_images.given_images`.
        labels: Their classes, one for each or one for all; needed if the network has any.
        steps: Steps to take; the more, the better the way back.
        batch_size: Images at a time.
        progress: Whether a bar is shown, in a terminal or a notebook.

    Returns:
        Noise to hand to :func:`decode`, or to ``infer`` as ``init_image``.
    """
    known = images_for(model, images)
    scheduler = _ode(model)
    scheduler.set_timesteps(steps)
    inputs: dict[str, Any] = {}
    if model.unet.num_classes is not None:
        if labels is None:
            raise ValueError(
                f'this model is conditional on {model.num_classes} classes: say which the images '
                'are of'
            )
        numbers = labels_of_each(model, labels, len(known))
        inputs['labels'] = torch.tensor(numbers, device=model.device)
    share = 1 / len(scheduler.calls())
    noise = []
    with evaluating(model), image_bar(len(known), progress and is_watched(), 'encoding') as bar:
        for rows in torch.arange(len(known), device=model.device).split(batch_size):
            watch, begin = FiniteWatch(), bar.n
            own = {name: value[rows] for name, value in inputs.items()}
            denoiser = model.denoiser(scheduler, watch=watch, **own)

            def counted(x: Tensor, level: NoiseLevel, denoiser: Any = denoiser) -> Prediction:
                bar.update(len(x) * share)
                return denoiser(x, level)

            noise.append(scheduler.to_noise(counted, model.codec.encode(known[rows])))
            watch.close()
            bar.update(begin + len(rows) - bar.n)
    return torch.cat(noise)


def decode(
    model: AblatedDiffusionModel,
    noise: Tensor,
    labels: LabelSpec = None,
    steps: int | str = 250,
    *,
    batch_size: int = 8,
    progress: bool = True,
) -> Samples:
    """Images from noise, by the way that :func:`encode` came; arguments as there."""
    return sampled(
        model,
        len(noise),
        progress,
        rows=dict(init_image=noise),
        seeds=range(len(noise)),
        labels=labels_of_each(model, labels, len(noise)),
        batch_size=batch_size,
        steps=steps,
        scale=0.0,
        scheduler=_ode(model),
    )


def reconstruct(
    model: AblatedDiffusionModel,
    images: GivenImages,
    labels: LabelSpec = None,
    steps: int | str = 250,
    *,
    batch_size: int = 8,
    progress: bool = True,
) -> Samples:
    """Encodes images and decodes them again; arguments as in :func:`encode`.

    Returns:
        What came back, and besides ``['noise']``, what they were encoded to; and ``['error']``, the
        root of the mean squared difference of each, in [-1, 1].
    """
    how: dict[str, Any] = dict(batch_size=batch_size, progress=progress)
    known = images_for(model, images)
    noise = encode(model, known, labels, steps, **how)
    back = decode(model, noise, labels, steps, **how)
    error = (back.tensor - known.to(back.tensor)).square().flatten(1).mean(dim=1).sqrt()
    return Samples({**back, 'noise': noise.cpu(), 'error': error}, back.class_names)


def interpolate_images(
    model: AblatedDiffusionModel,
    first: GivenImages,
    second: GivenImages,
    count: int = 8,
    labels: LabelSpec = None,
    steps: int | str = 250,
    *,
    batch_size: int = 8,
    progress: bool = True,
) -> Samples:
    """A row of images from one to another, both included, by way of their noise.

    Args:
        model: The model.
        first: One image: a picture, a file, an array or a tensor.
        second: Another.
        count: Images in the row.
        labels: One class for all, if the network has any.
        steps: Steps to take each way.
        batch_size: Images at a time.
        progress: Whether a bar is shown, in a terminal or a notebook.
    """
    how: dict[str, Any] = dict(batch_size=batch_size, progress=progress)
    ends = torch.cat([images_for(model, first), images_for(model, second)])
    noise = encode(model, ends, labels, steps, **how)
    return decode(model, _arc(noise[0], noise[1], count), labels, steps, **how)


def interpolate_seeds(
    model: AblatedDiffusionModel,
    first: int,
    second: int,
    count: int = 8,
    labels: LabelSpec = None,
    *,
    batch_size: int = 8,
    steps: int | str | None = None,
    scale: Scale | None = None,
    scheduler: SchedulerSpec = None,
    progress: bool = True,
) -> Samples:
    """A row of samples from one seed's to another's, both included.

    Args:
        model: The model.
        first: One seed.
        second: Another.
        count: Samples in the row.
        labels: One class for all; None draws the first seed's.
        batch_size: As in :func:`sample`, as are the others.
        steps: Likewise.
        scale: Likewise.
        scheduler: Likewise. It should add no noise.
        progress: Likewise.
    """
    ends, noise = model.start_of(
        [first, second], None if labels is None else labels_of_each(model, labels, 2)
    )
    if labels is None and ends.labels is not None:
        labels = int(ends.labels[0])
    row = _arc(noise[0], noise[1], count)
    return sampled(
        model,
        count,
        progress,
        rows=dict(init_image=row),
        seeds=seeds_of_each(first, None, count),
        labels=labels_of_each(model, labels, count),
        batch_size=batch_size,
        steps=steps,
        scale=scale,
        scheduler=scheduler,
    )


def vary(
    model: AblatedDiffusionModel,
    images: GivenImages,
    strength: float,
    labels: LabelSpec = None,
    seed: int | None = None,
    batch_size: int = 8,
    steps: int | str | None = None,
    scale: Scale | None = None,
    scheduler: SchedulerSpec = None,
    *,
    seeds: Seeds = None,
    progress: bool = True,
) -> Samples:
    """Samples that keep the coarse of given images and invent the fine (SDEdit).

    Args:
        model: The model.
        images: Pictures, files, arrays or tensors. One is varied by each of the seeds.
        strength: Share of the steps that are taken, above 0 and up to 1: how much is invented.
        labels: Classes of the samples, one for each or one for all.
        seed: As in :func:`sample`, as are the others.
        batch_size: Likewise.
        steps: Likewise, of the whole way.
        scale: Likewise.
        scheduler: Likewise.
        seeds: Likewise.
        progress: Likewise.
    """
    if not 0 < strength <= 1:
        raise ValueError(f'strength is above 0 and up to 1, not {strength}')
    given = images_for(model, images)
    count = len(given)
    if count == 1 and seeds is not None and not isinstance(seeds, int):
        count = len(seeds)
    total = len(model.make_scheduler(scheduler_config(scheduler), steps).levels)
    return sampled(
        model,
        count,
        progress,
        rows=dict(start_image=given.expand(count, *given.shape[1:])),
        seeds=seeds_of_each(seed, seeds, count),
        labels=labels_of_each(model, labels, count),
        batch_size=batch_size,
        steps=steps,
        scale=scale,
        scheduler=scheduler,
        skip_steps=total - max(1, round(strength * total)),
    )


def images_for(model: AblatedDiffusionModel, images: GivenImages) -> Tensor:
    """Images of the model's size and channels on its device, (N, C, H, W) in [-1, 1].

    Raises:
        ValueError: They are of another size, or no images.
    """
    known = given_images(images, 'images', mode_of(model))
    return checked_images(known, model.sample_shape).to(model.device)


def mode_of(model: AblatedDiffusionModel) -> Mode:
    """Whether pictures are grey or in colour, for a model."""
    return 'L' if model.sample_shape[0] == 1 else 'RGB'


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
