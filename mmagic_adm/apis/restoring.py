"""Images from measurements of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.apis.editing import mode_of
from mmagic_adm.apis.samples import Samples
from mmagic_adm.apis.sampling import (
    LabelSpec,
    SchedulerSpec,
    labels_of_each,
    sampled,
    seeds_of_each,
)
from mmagic_adm.arguments import whole
from mmagic_adm.files.given_images import GivenImages, given_images
from mmagic_adm.guidance.base import Scale
from mmagic_adm.measurements import Measurement, Restoration, build_method, build_operator
from mmagic_adm.measurements.making import MethodSpec, OperatorSpec
from mmagic_adm.measurements.operator import Noise
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import Seeds


def restore(
    model: AblatedDiffusionModel,
    y: GivenImages,
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
    scheduler: SchedulerSpec = None,
    seeds: Seeds = None,
    progress: bool = True,
    **arguments: Any,
) -> Samples:
    """Samples images of which y = A(x) + sigma_y · noise is known.

    Args:
        model: From :func:`init_model`.
        y: The measurements, a tensor (N, ...), of images in [-1, 1], or in [0, 1] if the operator
            is deepinv's; or, if they are images themselves, pictures or files.
        operator: A: an operator, its name, a config, one of deepinv, or a linear function.
        method: Name of the method, a config, or the method; None is the model's own, or 'mmps'.
        sigma_y: Standard deviation of the noise: a number, or one for each measurement; None leaves
            it to the operator.
        labels: Classes of the images, one for each or one for all; None draws them.
        draws: Samples of each measurement.
        seed: As in :func:`sample`, as are ``batch_size``, ``steps``, ``seeds`` and ``progress``.
        batch_size: Likewise.
        steps: Likewise.
        guidance_scale: Scale of the model's own guidance, which acts beside the method and its
            scale.
        scheduler: Another scheduler: see :func:`scheduler_config`; None is the one that the method
            was written for.
        seeds: Likewise.
        progress: Likewise.
        **arguments: Arguments of the method, such as ``iterations``.

    Returns:
        N · draws samples, the draws of one measurement after those of another; and besides
        ``['particles']``, where the method draws sets.
    """
    whole(draws, 'draws is how many samples to make of each measurement')
    noise: dict[str, Any] = {} if sigma_y is None else dict(sigma_y=sigma_y)
    if isinstance(y, np.ndarray):
        y = torch.from_numpy(y)
    if not isinstance(y, Tensor) or y.dtype == torch.uint8:
        y = given_images(y, 'y', mode_of(model))
    built = build_operator(operator, model.sample_shape, **noise)
    known = Measurement(built.taken(y.float()), built)
    chosen_labels = labels_of_each(model, labels, len(known))
    chosen = build_method(method or model.restoration or 'mmps', **arguments)
    count = len(known) * draws
    each = torch.arange(count) // draws
    return sampled(
        model,
        count,
        progress,
        rows=dict(measurement=known[each]),
        seeds=seeds_of_each(seed, seeds, count),
        labels=[chosen_labels[i] for i in each],
        batch_size=batch_size,
        steps=steps,
        scale=guidance_scale,
        scheduler=scheduler_for(chosen, model) if scheduler is None else scheduler,
        restoration=chosen,
    )


def scheduler_for(method: Restoration, model: AblatedDiffusionModel) -> dict | None:
    """Config of the scheduler that a method was written for; None where the model's own will do."""
    if method is model.restoration or method.scheduler is None:
        return None
    is_own = type(model.diffusion_scheduler).__name__ == method.scheduler['type']
    return None if is_own else dict(method.scheduler)
