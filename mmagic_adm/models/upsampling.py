"""The model that enlarges small images, and its training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from mmagic_adm.denoisers import PreconditionedNetwork
from mmagic_adm.files.given_images import GivenImages
from mmagic_adm.models.adm import AblatedDiffusionModel
from mmagic_adm.models.batch import Labels
from mmagic_adm.models.low_res import fit_to, read_low_res
from mmagic_adm.models.runner_data import DataSamples
from mmagic_adm.networks import ADMSuperResolutionUNet
from mmagic_adm.registry import MODELS


@MODELS.register_module(name=['AblatedUpsamplingModel', 'ADMU'])
class AblatedUpsamplingModel(AblatedDiffusionModel):
    """Samples large images that agree with small ones (ADM-U).

    Args:
        low_res_size: Height and width of the small images that the network was trained on.
        **kwargs: Arguments of :class:`AblatedDiffusionModel`; ``unet`` is an
            ``ADMSuperResolutionUNet``, bare or in a preconditioning.
    """

    def __init__(self, low_res_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        bare = self.unet.network if isinstance(self.unet, PreconditionedNetwork) else self.unet
        if not isinstance(bare, ADMSuperResolutionUNet):
            given = type(bare).__name__
            raise ValueError(f'an upsampling model needs an ADMSuperResolutionUNet, not {given}')
        if not 0 < low_res_size < self.unet.image_size:
            raise ValueError(
                f'low_res_size {low_res_size} is not smaller than the image_size '
                f'{self.unet.image_size} of the network'
            )
        self.low_res_size = low_res_size

    @torch.no_grad()
    def infer(  # type: ignore[override]
        self,
        low_res: GivenImages,
        labels: Labels = None,
        resize_low_res: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Enlarges images.

        Args:
            low_res: Small images: see :func:`mmagic_adm.models.low_res.read_low_res`. One stands
                for all samples.
            labels: Class of each. None takes those that come with the images, or else draws one
                for each.
            resize_low_res: Whether to resize small images of another size, instead of refusing.
            **kwargs: Other arguments of :meth:`AblatedDiffusionModel.infer`.

        Returns:
            As there, and ``low_res``: the small images, (N, C, h, w) in [-1, 1].
        """
        images, own_labels = read_low_res(low_res)
        images = fit_to(images, self.low_res_size, resize_low_res).to(self.device)
        if labels is None and self.num_classes is not None:
            labels = own_labels
        result = super().infer(labels=labels, network_inputs=dict(low_res=images), **kwargs)
        return {**result, 'low_res': images}


@MODELS.register_module()
class UpsamplerTraining(AblatedUpsamplingModel):
    """An upsampling model that trains on large images, and makes the small ones itself.

    A small image is the large one averaged over squares, as the published upsamplers saw it.
    Blur and noise on top of that, of a random strength for each image, make an upsampler that
    also forgives the faults of samples (Cascaded Diffusion Models, section 4).

    Args:
        max_blur: Greatest standard deviation of a Gaussian blur, in pixels of the small image.
        max_noise: Greatest standard deviation of added noise; images are in [-1, 1].
        **kwargs: Arguments of :class:`AblatedUpsamplingModel`.
    """

    def __init__(self, max_blur: float = 0.0, max_noise: float = 0.0, **kwargs: Any) -> None:
        if max_blur < 0 or max_noise < 0:
            raise ValueError(
                f'blur and noise are 0 or more; max_blur={max_blur}, max_noise={max_noise}'
            )
        super().__init__(**kwargs)
        self.max_blur = max_blur
        self.max_noise = max_noise

    def forward(
        self,
        inputs: Any,
        data_samples: DataSamples | None = None,
        mode: str | None = None,
    ) -> Any:
        """As of the models it derives from; for 'loss', images are of the large size."""
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode)
        conditions = self._training_inputs(data_samples)
        return self.loss(self.unet, inputs, dict(conditions, low_res=self.degrade(inputs)))

    def degrade(self, images: Tensor) -> Tensor:
        """Small images of large ones, both in [-1, 1]."""
        small = F.adaptive_avg_pool2d(images, self.low_res_size)
        if self.max_blur:
            width = 2 * round(3 * self.max_blur) + 1
            strengths = (torch.rand(len(small)) * self.max_blur).clamp(min=1e-3).tolist()
            blurred = [
                TF.gaussian_blur(image, [width, width], [strength, strength])
                for image, strength in zip(small, strengths, strict=True)
            ]
            small = torch.stack(blurred)
        if self.max_noise:
            strength = torch.rand(len(small), 1, 1, 1, device=small.device) * self.max_noise
            small = (small + strength * torch.randn_like(small)).clamp(-1, 1)
        return small
