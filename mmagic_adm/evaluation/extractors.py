"""The networks that features come from: the Inception of the published figures, and classifiers."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.loading import load_network
from mmagic_adm.checkpoints.torchvision import load_torchvision
from mmagic_adm.evaluation.features import FeatureExtractor, Features, Tap
from mmagic_adm.files.download import fetch
from mmagic_adm.files.pictures import as_images
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.guidance.torchvision_classifiers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocess,
)
from mmagic_adm.registry import MODELS

WEIGHTS_URL = (
    'https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/'
    'weights-inception-2015-12-05-6726825d.pth'
)
SPATIAL_CHANNELS = 7


@MODELS.register_module()
class InceptionFeatures(FeatureExtractor):
    """Features of the Inception network of 2015, in torch-fidelity's port of the TensorFlow graph.

    The graph resizes images to 299x299 by itself, as TensorFlow 1 did, and so does the port.

    - 'pool' (2048): the graph's ``pool_3``, for FID, precision and recall.
    - 'spatial' (17 * 17 * 7): the first seven channels of the graph's ``mixed_6/conv``, for sFID.
      That is the first branch, after batch norm and ReLU, of the block that the port calls
      Mixed_6d. Flattened with the channels last, so that stored means and covariances fit.
    - 'logits' (1008): for the Inception Score, which has always been computed without the bias.
      Classes are in an order of their own.

    Args:
        weights: Path or URL of the weights, as torch-fidelity distributes them.
    """

    kinds = ('pool', 'spatial', 'logits')
    published_as = 'fid'

    def __init__(self, weights: str | Path = WEIGHTS_URL) -> None:
        super().__init__()
        if importlib.util.find_spec('torch_fidelity') is None:
            raise ImportError(
                'the Inception network is torch-fidelity\'s: pip install "mmagic-adm[evaluation]"'
            )
        self.network = _inception(read_document(fetch(weights)).state_dict, weights)
        self._spatial = Tap(self.network, 'Mixed_6d.branch1x1')
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features of the images."""
        pool, logits = self.network(images)
        spatial = self._spatial.output[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        return dict(pool=pool, spatial=spatial, logits=logits)


def _inception(state: dict[str, Tensor], source: str | Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The constructor unpickles whatever file it is given; so it is given one of our own making,
    # which holds the tensors that were read safely.
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return FeatureExtractorInceptionV3(
            'inception-v3-compat', ['2048', 'logits_unbiased'], feature_extractor_weights_path=file
        )
    except RuntimeError as error:
        raise CheckpointError(
            f'{source} does not hold the weights of the Inception network of 2015 as '
            'torch-fidelity names them; leave the setting out to take its own'
        ) from error


@MODELS.register_module()
class ClassifierFeatures(FeatureExtractor):
    """Features of an ADM classifier at noise level 0: 'pool' from a layer, and its 'logits'.

    Feature maps are averaged over their positions. Images of another size are resized.

    Args:
        classifier: Config of the classifier.
        weights: Path or URL of its weights.
        prefix: What the file calls the classifier, where it holds several networks.
        layer: Name of the layer whose output is 'pool'.
    """

    predicts_labels = True

    def __init__(
        self,
        classifier: dict,
        weights: str | Path,
        prefix: str | None = None,
        layer: str = 'middle_block',
    ) -> None:
        super().__init__(layer=layer)
        self.network = MODELS.build(classifier)
        load_network(self.network, weights, prefix)
        self._pool = Tap(self.network, layer)
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features of the images."""
        x = as_images(images)
        size = (self.network.image_size,) * 2
        if x.shape[2:] != size:
            x = F.interpolate(x, size, mode='bilinear', antialias=True)
        logits = self.network(x, torch.zeros(len(x), device=x.device))
        return dict(pool=self._pool.rows, logits=logits)


@MODELS.register_module()
class PlainClassifierFeatures(FeatureExtractor):
    """Features of a ``PlainClassifier``, such as the judge of the bundled digits.

    'pool' is the vector that it reads classes from, beside its 'logits'.

    Args:
        classifier: Config of the classifier.
        weights: Path or URL of its weights, as safetensors.
    """

    predicts_labels = True

    def __init__(self, classifier: dict, weights: str | Path) -> None:
        super().__init__()
        self.network = MODELS.build(classifier)
        self.network.load_state_dict(load_file(fetch(weights)))
        self.network.float()
        self.channels = classifier.get('in_channels', 1)
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features; of grey images one channel says as much as three."""
        pool = self.network.features(as_images(images[:, : self.channels]))
        return dict(pool=pool, logits=self.network.head(pool))


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

    def __init__(
        self,
        network: str,
        layer: str,
        weights: str | Path = 'DEFAULT',
        image_size: int = 224,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        preprocess = Preprocess(image_size, mean=mean, std=std)
        super().__init__(network=network, layer=layer, preprocess=preprocess)
        self.preprocess = preprocess
        self.network = load_torchvision(network, weights)
        self._pool = Tap(self.network, layer)
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features of the images."""
        logits = self.network(self.preprocess(as_images(images)))
        return dict(pool=self._pool.rows, logits=logits)
