"""Images from measurements of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmagic_adm.apis.sampling import (
    LabelSpec,
    labels_of_each,
    sample_in_batches,
    scheduler_config,
)
from mmagic_adm.guidance.base import Scale
from mmagic_adm.measurements import Measurement, Restoration, build_method, build_operator
from mmagic_adm.measurements.making import MethodSpec, OperatorSpec
from mmagic_adm.measurements.operator import Noise
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import resolve_seeds


def restore(
    model: AblatedDiffusionModel,
    y: Tensor,
    operator: OperatorSpec,
    method: MethodSpec | None = None,
    *,
    sigma_y: Noise | None = None,
    labels: LabelSpec = None,
    draws: int = 1,
    seed: int | None = None,
    batch_size: int = 8,
    steps: int | str | None = None,
    guidance_scale: Scale | None = None,
    scheduler: dict | str | None = None,
    show_progress: bool = False,
    **arguments: Any,
) -> dict[str, Any]:
    """Samples images of which y = A(x) + sigma_y · noise is known.

    Args:
        model: From :func:`init_model`.
        y: The measurements, (N, ...), of images in [-1, 1]; or in [0, 1] if the operator is
            deepinv's.
        operator: A: an operator, its name, a config, one of deepinv, or a linear function.
        method: Name of the method, a config, or the method; None is the model's own, or 'mmps'.
        sigma_y: Standard deviation of the noise: a number, or one for each measurement; None leaves
            it to the operator.
        labels: Classes of the images, one for each or one for all; None draws them.
        draws: Samples of each measurement.
        seed: Seed of the first sample, counted up from there; None draws it.
        batch_size: Samples at a time.
        steps: Steps to take; None takes the config's.
        guidance_scale: Scale of the model's own guidance, which acts beside the method.
        scheduler: Another scheduler: see :func:`scheduler_config`; None is the one that the method
            was written for.
        show_progress: Whether to show a progress bar for each batch.
        **arguments: Arguments of the method, such as ``iterations``.

    Returns:
        ``samples``: (N · draws, C, H, W) in [-1, 1] on the CPU, the draws of one measurement after
        those of another; ``labels``: (N · draws,) or None; ``seeds``; and ``particles``, where the
        method draws sets.
    """
    if draws < 1:
        raise ValueError(f'draws is how many samples to make of each measurement, not {draws}')
    noise: dict[str, Any] = {} if sigma_y is None else dict(sigma_y=sigma_y)
    built = build_operator(operator, model.sample_shape, **noise)
    known = Measurement(built.taken(torch.as_tensor(y).float()), built)
    chosen = build_method(method or model.restoration or 'mmps', **arguments)
    count = len(known) * draws
    each = labels_of_each(model, labels, len(known))
    (first_seed,) = resolve_seeds(seed, 1)
    batches = [
        result
        for _, result in sample_in_batches(
            model,
            range(count),
            seed=first_seed,
            labels=[label for label in each or [None] for _ in range(draws)],
            batch_size=batch_size,
            rows=dict(measurement=known[torch.arange(count) // draws]),
            restoration=chosen,
            num_inference_steps=steps,
            classifier_scale=guidance_scale,
            scheduler_kwargs=scheduler_config(scheduler) or scheduler_for(chosen, model),
            show_progress=show_progress,
        )
    ]
    drawn = [batch['labels'] for batch in batches if batch['labels'] is not None]
    result: dict[str, Any] = dict(
        samples=torch.cat([batch['samples'].cpu() for batch in batches]),
        labels=torch.cat(drawn).cpu() if drawn else None,
        seeds=[seed for batch in batches for seed in batch['seeds']],
    )
    if chosen.particles > 1:
        result['particles'] = torch.cat([batch['particles'].cpu() for batch in batches])
    return result


def scheduler_for(method: Restoration, model: AblatedDiffusionModel) -> dict | None:
    """Config of the scheduler that a method was written for; None where the model's own will do."""
    if method is model.restoration or method.scheduler is None:
        return None
    is_own = type(model.diffusion_scheduler).__name__ == method.scheduler['type']
    return None if is_own else dict(method.scheduler)
