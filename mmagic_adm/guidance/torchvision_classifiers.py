"""torchvision's classifiers by name, their weights read safely, and images as they expect them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.registry import MODELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Their weights are of another normalisation than ImageNet's, from which they convert.
CONVERTING = ('googlenet', 'inception_v3')


@MODELS.register_module()
class TorchvisionClassifier(nn.Module):
    """A classifier of torchvision.

    Args:
        name: torchvision's name of it, such as 'resnet50'.
        weights: torchvision's name for weights ('DEFAULT', 'IMAGENET1K_V2'), or a path or URL;
            None leaves it as it was initialised.
        num_classes: How many classes the weights are for.

    Raises:
        ValueError: torchvision has no such classifier; the message suggests some.
        CheckpointError: The file cannot be had or read, or is of another network.
    """

    def __init__(
        self, name: str, weights: str | Path | None = 'DEFAULT', num_classes: int = 1000
    ) -> None:
        super().__init__()
        check_name(name)
        self.name = name
        self.out_channels = num_classes
        self.dtype = torch.float32
        self.network = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
        if weights is not None:
            self._load(weights)

    @property
    def image_size(self) -> int | None:
        """The one image size that it takes, where there is only one."""
        return getattr(self.network, 'image_size', None)

    def forward(self, images: Tensor) -> Tensor:
        """Classifies images.

        Args:
            images: (N, 3, H, W).

        Returns:
            Logits of shape (N, num_classes).
        """
        if self.dtype == torch.float32:
            return self.network(images)
        with torch.autocast(images.device.type, self.dtype):
            return self.network(images)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes its products be computed in a type; norms and the logits' sums keep theirs."""
        self.dtype = dtype

    def lay_out_channels_last(self) -> None:
        """Keeps kernels with the channels of a pixel side by side in memory."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _load(self, weights: str | Path) -> None:
        known = torchvision.models.get_model_weights(self.name)
        source = known[str(weights)].url if str(weights) in known.__members__ else weights
        state = read_document(fetch(source)).state_dict
        if self.name.startswith('densenet'):  # released before its layers were renamed
            state = {re.sub(r'\.(norm|conv)\.(\d)\.', r'.\1\2.', k): v for k, v in state.items()}
        try:
            self.network.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(
                f'{source} does not hold the weights of a {self.name} of {self.out_channels} '
                'classes'
            ) from error
        if self.name in CONVERTING:
            self.network.transform_input = True


def check_name(name: str) -> None:
    """Refuses a name that torchvision does not know."""
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else f'there are {", ".join(names)}'
        raise ValueError(f'torchvision has no classifier called {name!r}; {hint}')


@dataclass(frozen=True)
class Preprocess:
    """Turns images in [-1, 1] into what a classifier was trained on.

    Args:
        size: Height and width to resize to, in pixels; None leaves images as large as they are.
        normalize: Whether to bring them to [0, 1] and normalise them, or leave them in [-1, 1].
        mean: What is subtracted from each channel in [0, 1].
        std: What each channel is then divided by.
    """

    size: int | None = None
    normalize: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, images: Tensor) -> Tensor:
        """The images as the classifier expects them."""
        if self.size and images.shape[-2:] != (self.size, self.size):
            size = (self.size, self.size)
            images = F.interpolate(images, size, mode='bilinear', antialias=True)
        if not self.normalize:
            return images
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return ((images + 1) / 2 - mean) / std
