"""Many samples from a model, in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from mmagic_adm.apis.class_names import find_label, names_of_classes
from mmagic_adm.apis.progress import image_bar, is_watched
from mmagic_adm.apis.samples import Samples
from mmagic_adm.arguments import whole
from mmagic_adm.guidance.base import Scale, as_scales
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import Seeds, check_labels, resolve_seeds
from mmagic_adm.models.sampling import Trajectory, Watcher
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers import Scheduler, Step

LabelSpec = int | str | Sequence[int | str | None] | Tensor | None
SchedulerSpec = str | dict | Scheduler | None

# Of diffusers.
SOLVERS = {
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


def labels_of_each(model: AblatedDiffusionModel, labels: LabelSpec, count: int) -> list[int | None]:
    """A label for each of so many images, from one for all or one for each; None draws them."""
    numbers = resolve_labels(model, labels)
    if len(numbers) not in (1, count):
        raise ValueError(f'{len(numbers)} labels were given for {count} images')
    return numbers * count if len(numbers) == 1 else numbers


def seeds_of_each(seed: int | None, seeds: Seeds, count: int) -> list[int]:
    """A seed for each of so many images: counted up from the first, as listed, or drawn.

    Raises:
        ValueError: Both are given, or there are too few of them, or one is no seed.
    """
    if seed is not None and seeds is not None:
        raise ValueError('seed is that of the first image, and seeds are those of all: give one')
    return resolve_seeds(seed if seeds is None else seeds, count)


def check_sampling(
    model: AblatedDiffusionModel,
    *,
    batch_size: int,
    steps: int | str | None = None,
    scheduler: SchedulerSpec = None,
    trajectory: int | None = None,
    **_: Any,
) -> None:
    """Refuses options of :func:`sample_in_batches`, before anything is shown or written."""
    whole(batch_size, 'batch_size is the number of samples at a time')
    if trajectory is not None:
        Trajectory(trajectory)
    model.make_scheduler(scheduler_config(scheduler), steps)


def sample_in_batches(
    model: AblatedDiffusionModel,
    indices: Sequence[int],
    *,
    seeds: Sequence[int],
    labels: Sequence[int | None] = (None,),
    batch_size: int = 8,
    rows: Mapping[str, Any] | None = None,
    steps: int | str | None = None,
    scale: Scale | None = None,
    scheduler: SchedulerSpec = None,
    trajectory: int | None = None,
    bar: tqdm | None = None,
    on_step: Watcher | None = None,
    **infer_kwargs: Any,
) -> Iterator[tuple[Sequence[int], Samples]]:
    """Makes the samples of these indices.

    Sample i has the i-th seed and the i-th label, the list of labels repeating itself.

    Args:
        model: The model.
        indices: Which samples to make.
        seeds: The seed of each that an index may name.
        labels: Numbers of classes, or None for one drawn by the sample's own seed.
        batch_size: Samples at a time. A batch that does not fit into memory is halved, with a word.
        rows: Arguments of ``infer`` of which the i-th row belongs to sample i: small images for an
            upsampling model, ``low_res``, or a ``measurement``.
        steps: As in :func:`sample`, as are the next three.
        scale: Likewise.
        scheduler: Likewise.
        trajectory: Likewise.
        bar: Shows how far it has come, in images.
        on_step: Called with each :class:`~mmagic_adm.models.sampling.Step`.
        **infer_kwargs: Other arguments of ``infer``.

    Yields:
        The indices of a batch, and its samples.
    """
    check_sampling(
        model, batch_size=batch_size, steps=steps, scheduler=scheduler, trajectory=trajectory
    )
    bar = tqdm(disable=True) if bar is None else bar
    rows = dict(rows or {})
    if len(model.stages) == 1 and scale is not None and as_scales(scale).ndim:
        rows['classifier_scale'], scale = as_scales(scale), None
    names = names_of_classes(model.num_classes, model.class_names)
    remaining = list(indices)
    for stage in model.stages:
        stage.expect(len(remaining))
    while remaining:
        batch, begin, retry = remaining[:batch_size], bar.n, False
        told = dict(
            seeds=[seeds[i] for i in batch],
            labels=None if model.num_classes is None else [labels[i % len(labels)] for i in batch],
            # MMagic's names of them.
            num_inference_steps=steps,
            classifier_scale=scale,
            scheduler_kwargs=scheduler_config(scheduler),
            return_trajectory=trajectory,
            on_step=_counting(bar, len(batch) / len(model.stages), on_step),
        )
        own = {name: value[batch] for name, value in rows.items()}
        try:
            result = model.infer(**told | own | infer_kwargs)
        except RuntimeError as error:
            if not is_out_of_memory(error) or len(batch) == 1:
                raise
            retry = True
        if retry:  # outside the handler, where the failed batch's tensors are gone
            batch_size = len(batch) // 2
            torch.cuda.empty_cache()
            bar.update(begin - bar.n)
            bar.write(
                f'A batch of {len(batch)} does not fit into memory; going on with {batch_size}'
            )
            continue
        remaining = remaining[len(batch) :]
        yield batch, Samples(result, names)


def _counting(bar: tqdm, images: float, on_step: Watcher | None) -> Watcher:
    """Moves a bar on with each step of so many images."""

    def watch(step: Step) -> None:
        if bar.total is not None:  # which the sum of parts may be above, by rounding
            bar.update(min(images / step.total, bar.total - bar.n))
        if on_step is not None:
            on_step(step)

    return watch


def sampled(model: AblatedDiffusionModel, count: int, progress: bool, **options: Any) -> Samples:
    """So many samples; ``options`` as of :func:`sample_in_batches`."""
    check_sampling(model, **options)
    with image_bar(count, progress and is_watched()) as bar:
        parts = [part for _, part in sample_in_batches(model, range(count), bar=bar, **options)]
    return Samples.joined(parts)


def sample(
    model: AblatedDiffusionModel,
    labels: LabelSpec = None,
    num_samples: int | None = None,
    seed: int | None = None,
    batch_size: int = 8,
    steps: int | str | None = None,
    scale: Scale | None = None,
    scheduler: SchedulerSpec = None,
    *,
    seeds: Seeds = None,
    trajectory: int | None = None,
    progress: bool = True,
) -> Samples:
    """Samples images of the classes asked for.

    Args:
        model: From :func:`init_model`.
        labels: Classes by number or name, repeated until there is one for each sample; None
            draws them.
        num_samples: How many; None makes one for each seed and each label.
        seed: Seed of the first sample, counted up from there; None draws it.
        batch_size: Samples at a time.
        steps: Steps to take: a number, or a spec such as 'ddim25'; None takes the config's.
        scale: Scale of the guidance, or one for each sample; None takes the config's.
        scheduler: Another scheduler: see :func:`scheduler_config`.
        seeds: In place of ``seed``, that of each sample.
        trajectory: Keep every so many steps, for ``samples.trajectory``.
        progress: Whether a bar is shown, in a terminal or a notebook.

    Returns:
        The samples, which are also a mapping: ``samples``, (N, C, H, W) in [-1, 1] on the CPU;
        ``labels``, (N,) or None; ``seeds``; ``trajectory``.
    """
    numbers = resolve_labels(model, labels)
    listed = 1 if seeds is None or isinstance(seeds, int) else len(seeds)
    count = max(len(numbers), listed) if num_samples is None else num_samples
    whole(count, 'num_samples is how many samples to make')
    return sampled(
        model,
        count,
        progress,
        seeds=seeds_of_each(seed, seeds, count),
        labels=numbers,
        batch_size=batch_size,
        steps=steps,
        scale=scale,
        scheduler=scheduler,
        trajectory=trajectory,
    )


def scheduler_config(scheduler: SchedulerSpec) -> dict | Scheduler | None:
    """Config of a scheduler given by name.

    Args:
        scheduler: A short name ('ddpm', 'ddim', 'edm', 'unipc', …); the class name of one that is
            registered here, or else of a solver of diffusers; a config; a scheduler; or None for
            the model's own.
    """
    return scheduler_named(scheduler) if isinstance(scheduler, str) else scheduler


def scheduler_named(scheduler: str) -> dict[str, Any]:
    """Config of the scheduler of a short name, or of a class's."""
    name = named_schedulers().get(scheduler.lower(), scheduler)
    if name in DIFFUSION_SCHEDULERS.module_dict:
        return dict(type=name)
    if name.endswith('Scheduler'):
        return dict(type='DiffusersScheduler', type_=name)
    raise ValueError(
        f'no scheduler is called {scheduler!r}; there are {", ".join(named_schedulers())}, every '
        "registered one by the name of its class, and any of diffusers', such as "
        "'EulerDiscreteScheduler'"
    )


def named_schedulers() -> dict[str, str]:
    """The classes of the schedulers that have a short name, by that; some are of diffusers."""
    DIFFUSION_SCHEDULERS.import_from_location()
    own = {
        # A class that derives from another has a name of its own, or none.
        vars(kind)['short_name']: kind.__name__
        for kind in DIFFUSION_SCHEDULERS.module_dict.values()
        if vars(kind).get('short_name')
    }
    return {**own, **SOLVERS}


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or not."""
    # Only the GPU's allocator has a class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
