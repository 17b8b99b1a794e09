"""How near restored images come to the ones that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.torchvision import load_torchvision
from mmagic_adm.evaluation.features import images_of
from mmagic_adm.evaluation.metrics.base import SampleMetric
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.guidance.classifier import freeze
from mmagic_adm.guidance.torchvision_classifiers import Preprocess
from mmagic_adm.registry import METRICS

LPIPS_URL = (
    'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth'
)
# The layers of VGG-16 after which LPIPS looks, by their number.
LPIPS_LAYERS = (3, 8, 15, 22, 29)


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, (N,); both are uint8."""
    error = (images.double() - truth.double()).square().flatten(1).mean(dim=1)
    # An image without any fault comes to 100 dB.
    return (10 * torch.log10(255**2 / error.clamp(min=1e-20))).clamp(max=100)


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity of each image (Wang et al. 2004), (N,); both are uint8.

    Over windows of 11 pixels, a normal one of 1.5, that lie within the image; the mean of channels.
    """
    if min(images.shape[-2:]) < 11:
        raise ValueError(f'SSIM looks at 11x11 pixels, and the images have {(*images.shape[-2:],)}')
    x, y = images.double(), truth.double()
    window = torch.exp(-((torch.arange(-5, 6, device=x.device) / 1.5) ** 2) / 2).double()
    window = window / window.sum()
    weight = torch.outer(window, window).expand(x.shape[1], 1, 11, 11)

    def mean(values: Tensor) -> Tensor:
        return F.conv2d(values, weight, groups=x.shape[1])

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c_1, c_2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    # Equation 13.
    similarity = (2 * mean_x * mean_y + c_1) * (2 * covariance + c_2)
    similarity = similarity / (mean_x**2 + mean_y**2 + c_1) / (variance_x + variance_y + c_2)
    return similarity.flatten(1).mean(dim=1)


class PairMetric(SampleMetric):
    """Base of metrics that compare each sample with what it was to be, which the dataset knows."""

    def pairs(self, data_samples: Sequence[dict]) -> tuple[Tensor, Tensor]:
        """The samples and the truth, uint8, in RGB."""
        truth = (self.dataset_meta or {}).get('truth')
        if truth is None:
            raise ValueError(
                f'{type(self).__name__} compares with what was measured, which only a dataset of '
                'MeasuredImages knows'
            )
        images = images_of(data_samples)
        wanted = torch.stack([truth(sample['index']) for sample in data_samples])
        if wanted.shape[2:] != images.shape[2:]:
            raise ValueError(
                f'the samples are {(*images.shape[2:],)} and the images {(*wanted.shape[2:],)}'
            )
        return images, wanted.to(images.device).expand_as(images)


@METRICS.register_module()
class Fidelity(PairMetric):
    """PSNR and SSIM, on average over the images."""

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        pairs = self.pairs(data_samples)
        self._running.update({'PSNR': float(psnr(*pairs).sum()), 'SSIM': float(ssim(*pairs).sum())})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The means."""
        return {name: total / self.count for name, total in results[0].items()}


@METRICS.register_module()
class LPIPS(PairMetric):
    """Perceptual distance by VGG-16 (Zhang et al. 2018), on average over the images.

    Args:
        weights: Path or URL of its weights of each channel.
        vgg: Weights of VGG-16: torchvision's name for them, or a path or URL.
        prefix: Goes before the figure's name.
    """

    def __init__(
        self,
        weights: str | Path = LPIPS_URL,
        vgg: str | Path = 'DEFAULT',
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix)
        state = read_document(fetch(weights)).state_dict
        names = [f'lin{k}.model.1.weight' for k in range(len(LPIPS_LAYERS))]
        if missing := [name for name in names if name not in state]:
            raise CheckpointError(f'{weights} is no file of LPIPS: it has no {missing[0]}')
        device = get_device()
        self.weights = [state[name].to(device) for name in names]
        network: Any = load_torchvision('vgg16', vgg)
        self.layers: nn.Module = freeze(network.features).to(device)
        self.prepare = Preprocess()

    @torch.no_grad()
    def distance(self, images: Tensor, truth: Tensor) -> Tensor:
        """The distance of each pair, (N,); both are uint8 RGB."""
        x = torch.cat([images, truth]).to(self.weights[0].device)
        x, total = self.prepare(x.float() / 127.5 - 1), torch.zeros(len(images), device=x.device)
        weights = iter(self.weights)
        for number, layer in enumerate(self.layers.children()):
            x = layer(x)
            if number in LPIPS_LAYERS:
                ours, theirs = F.normalize(x, dim=1, eps=1e-10).chunk(2)
                total += F.conv2d((ours - theirs).square(), next(weights)).mean(dim=(1, 2, 3))
            if number == LPIPS_LAYERS[-1]:
                break
        return total

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        self._running['LPIPS'] += float(self.distance(*self.pairs(data_samples)).sum())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The mean."""
        return {'LPIPS': results[0]['LPIPS'] / self.count}
