"""The perceptual distance that consistency models were distilled by, if its weights are there."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmagic_adm.compat.environment import require
from mmagic_adm.registry import MODELS

# Images below a size are looked at in another, as the original does.
LEAST_SIZE, SEEN_SIZE = 256, 224


@MODELS.register_module()
class LPIPS(nn.Module):
    """How unlike two images look to VGG-16 (Zhang et al. 2018), with means in place of its maxima.

    The package lpips brings the weights of the comparison, and torchvision downloads the network's.
    Takes images of three channels.
    """

    def __init__(self) -> None:
        super().__init__()
        lpips = require('lpips', 'the distance LPIPS', 'lpips')
        self.network = lpips.LPIPS(net='vgg', verbose=False).eval().requires_grad_(False)
        for parent in list(self.network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.MaxPool2d):
                    setattr(parent, name, nn.AvgPool2d(child.kernel_size, child.stride))

    def forward(self, said: Tensor, target: Tensor) -> Tensor:
        """Distances, (N,), of images in [-1, 1]."""
        if said.shape[-1] < LEAST_SIZE:
            said, target = (
                F.interpolate(x, size=SEEN_SIZE, mode='bilinear') for x in (said, target)
            )
        return self.network(said, target).flatten()
