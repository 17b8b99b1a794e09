"""Many samples from a model, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmagic_adm.apis.class_names import find_label, names_of_classes
from mmagic_adm.arguments import whole
from mmagic_adm.diffusion.randomness import check_seeds
from mmagic_adm.guidance.base import Scale
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import check_labels, resolve_seeds
from mmagic_adm.registry import DIFFUSION_SCHEDULERS

LabelSpec = int | str | Sequence[int | str | None] | Tensor | None
Notice = Callable[[str], None]

SCHEDULERS = {
    'ddpm': 'DDPMScheduler',
    'ddim': 'DDIMScheduler',
    'edm': 'EDMHeunScheduler',
    'dpmsolver++': 'DPMSolverMultistepScheduler',
    'unipc': 'UniPCMultistepScheduler',
    'heun': 'HeunDiscreteScheduler',
    'euler': 'EulerDiscreteScheduler',
}


def resolve_labels(model: AblatedDiffusionModel, labels: LabelSpec) -> list[int | None]:
    """Labels as numbers, from numbers and names; ``[None]`` draws them.

    Raises:
        ValueError: A name is unknown or ambiguous, or a number out of range.
    """
    if labels is None:
        return [None]
    if model.num_classes is None:
        raise ValueError('labels were given, but this model has no classes')
    names = names_of_classes(model.num_classes, model.class_names)
    if isinstance(labels, Tensor):
        labels = labels.tolist()
    is_list = isinstance(labels, Sequence) and not isinstance(labels, str)
    listed: Any = labels if is_list else [labels]
    numbers = [None if label is None else find_label(label, names) for label in listed]
    check_labels(numbers, model.num_classes)
    if not numbers:
        raise ValueError('labels is empty: give at least one class, or None to draw them')
    return numbers


def labels_of_each(
    model: AblatedDiffusionModel, labels: LabelSpec, count: int
) -> list[int | None] | None:
    """A label for each of so many images, from one for all or one for each; None where none is."""
    if labels is None:
        return None
    numbers = resolve_labels(model, labels)
    if len(numbers) not in (1, count):
        raise ValueError(f'{len(numbers)} labels were given for {count} images')
    return numbers * count if len(numbers) == 1 else numbers


def sample_in_batches(
    model: AblatedDiffusionModel,
    indices: Sequence[int],
    *,
    seed: int,
    labels: Sequence[int | None] = (None,),
    batch_size: int = 8,
    rows: Mapping[str, Any] | None = None,
    notice: Notice = print_log,
    **infer_kwargs: Any,
) -> Iterator[tuple[Sequence[int], dict[str, Any]]]:
    """Makes the samples of these indices.

    Sample i has seed ``seed + i`` and the i-th label, the list of labels repeating itself.

    Args:
        model: The model.
        indices: Which samples to make.
        seed: Seed of sample 0.
        labels: Numbers of classes, or None for one drawn by the sample's own seed.
        batch_size: Samples at a time. A batch that does not fit into memory is halved.
        rows: Arguments of ``infer`` of which the i-th row belongs to sample i: small images for an
            upsampling model, ``low_res``, or a ``measurement``.
        notice: Called with a line when that happens.
        **infer_kwargs: Other arguments of ``infer``.

    Yields:
        The indices of a batch, and what ``infer`` gave for it.
    """
    whole(batch_size, 'batch_size is the number of samples at a time')
    check_seeds(seed, indices[-1] + 1 if indices else 0)
    remaining = list(indices)
    for stage in model.stages:
        stage.expect(len(remaining))
    while remaining:
        batch, retry = remaining[:batch_size], False
        chosen = None if model.num_classes is None else [labels[i % len(labels)] for i in batch]
        own = {name: value[batch] for name, value in (rows or {}).items()} | infer_kwargs
        try:
            result = model.infer(seeds=[seed + i for i in batch], labels=chosen, **own)
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(batch) == 1:
                raise
            retry = True
        if retry:  # outside the handler, where the failed batch's tensors are gone
            batch_size = len(batch) // 2
            torch.cuda.empty_cache()
            notice(f'A batch of {len(batch)} does not fit into memory; going on with {batch_size}')
            continue
        remaining = remaining[len(batch) :]
        yield batch, result


def sample(
    model: AblatedDiffusionModel,
    labels: LabelSpec = None,
    num_samples: int | None = None,
    seed: int | None = None,
    batch_size: int = 8,
    steps: int | str | None = None,
    guidance_scale: Scale | None = None,
    scheduler: dict | str | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Samples images of the classes asked for.

    Args:
        model: From :func:`init_model`.
        labels: Classes by number or name, repeated until there is one for each sample; None
            draws them.
        num_samples: How many; None makes one for each label.
        seed: Seed of the first sample, counted up from there; None draws it.
        batch_size: Samples at a time.
        steps: Steps to take; None takes the config's.
        guidance_scale: Scale of the guidance; None takes the config's.
        scheduler: Another scheduler: see :func:`scheduler_config`.
        show_progress: Whether to show a progress bar for each batch.

    Returns:
        ``samples``: (N, C, H, W) in [-1, 1] on the CPU; ``labels``: (N,) or None; ``seeds``.
    """
    numbers = resolve_labels(model, labels)
    count = len(numbers) if num_samples is None else num_samples
    whole(count, 'num_samples is how many samples to make')
    (first_seed,) = resolve_seeds(seed, 1)
    batches = [
        result
        for _, result in sample_in_batches(
            model,
            range(count),
            seed=first_seed,
            labels=numbers,
            batch_size=batch_size,
            num_inference_steps=steps,
            classifier_scale=guidance_scale,
            scheduler_kwargs=scheduler_config(scheduler),
            show_progress=show_progress,
        )
    ]
    chosen = [batch['labels'] for batch in batches if batch['labels'] is not None]
    return dict(
        samples=torch.cat([batch['samples'].cpu() for batch in batches]),
        labels=torch.cat(chosen).cpu() if chosen else None,
        seeds=[seed for batch in batches for seed in batch['seeds']],
    )


def scheduler_config(scheduler: dict | str | None) -> dict | None:
    """Config of a scheduler given by name.

    Args:
        scheduler: A short name ('ddpm', 'ddim', 'edm', 'unipc', …); the class name of one that is
            registered here, or else of a solver of diffusers; a config; or None for the model's
            own.
    """
    if scheduler is None or isinstance(scheduler, dict):
        return scheduler
    name = SCHEDULERS.get(scheduler.lower(), scheduler)
    DIFFUSION_SCHEDULERS.import_from_location()
    if name in DIFFUSION_SCHEDULERS.module_dict:
        return dict(type=name)
    if name.endswith('Scheduler'):
        return dict(type='DiffusersScheduler', type_=name)
    raise ValueError(
        f'no scheduler is called {scheduler!r}; there are {", ".join(SCHEDULERS)}, every '
        "registered one by the name of its class, and any of diffusers', such as "
        "'EulerDiscreteScheduler'"
    )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or not."""
    # Only the GPU's allocator has a class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
