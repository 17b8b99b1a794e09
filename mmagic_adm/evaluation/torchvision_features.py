"""Features of any torchvision classifier, from any of its layers."""

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.evaluation.feature_extractor import FeatureExtractor, Features, Tap
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.registry import MODELS

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@MODELS.register_module()
class TorchvisionFeatures(FeatureExtractor):
    """Features of a torchvision classifier: 'pool' from the layer named, and its 'logits'.

    Feature maps are averaged over their positions. Images are resized whole, not cropped.

    Args:
        network: torchvision's name of the network, such as 'resnet50'.
        layer: Name of the layer whose output is 'pool', such as 'avgpool'.
        weights: torchvision's name for weights ('DEFAULT', 'IMAGENET1K_V1'), or a path or URL.
        image_size: What the images are resized to, in pixels.
        mean: What is subtracted from each channel of images in [0, 1].
        std: What each channel is then divided by.
    """

    predicts_labels = True
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: str,
        layer: str,
        weights: str | Path = 'DEFAULT',
        image_size: int = 224,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.network = _build(network, weights)
        self.image_size = image_size
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)
        self._pool = Tap(self.network, layer)
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features of the images."""
        size = (self.image_size, self.image_size)
        x = F.interpolate(images.float() / 255, size, mode='bilinear', antialias=True)
        logits = self.network((x - self.mean) / self.std)
        return dict(pool=self._pool.rows, logits=logits)


def _build(name: str, weights: str | Path) -> nn.Module:
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise ValueError(f'{name!r} is none of the classifiers in torchvision.models')
    known = torchvision.models.get_model_weights(name)
    source = known[str(weights)].url if str(weights) in known.__members__ else weights
    state = read_document(fetch(source)).state_dict
    network = torchvision.models.get_model(name, weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f'{source} does not hold the weights of {name}') from error
    return network
