"""A pipeline of diffusers' around a model of ours; needs diffusers, and nothing imports it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, ImagePipelineOutput

from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.batch import Labels, Seeds


class AblatedDiffusionPipeline(DiffusionPipeline):
    """Samples by ``infer``, and so with all that a model of ours has.

    Args:
        model: The model.
    """

    model: AblatedDiffusionModel

    def __init__(self, model: AblatedDiffusionModel) -> None:
        super().__init__()
        self.register_modules(model=model)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int = 1,
        class_labels: Labels = None,
        num_inference_steps: int | str | None = None,
        seeds: Seeds = None,
        output_type: str = 'pil',
        **infer: Any,
    ) -> ImagePipelineOutput:
        """Samples images.

        Args:
            batch_size: How many.
            class_labels: Class of each; None draws them.
            num_inference_steps: Steps to take; None is the model's own number.
            seeds: Seed of each sample, in place of a generator.
            output_type: 'pil', 'np' or 'pt'.
            **infer: Other arguments of :meth:`AblatedDiffusionModel.infer`.
        """
        samples = self.model.infer(
            batch_size=batch_size,
            labels=class_labels,
            num_inference_steps=num_inference_steps,
            seeds=seeds,
            **infer,
        )['samples']
        images: Any = (samples / 2 + 0.5).clamp(0, 1).cpu()
        if output_type != 'pt':
            images = images.permute(0, 2, 3, 1).numpy()
        return ImagePipelineOutput(
            images=self.numpy_to_pil(images) if output_type == 'pil' else images
        )
