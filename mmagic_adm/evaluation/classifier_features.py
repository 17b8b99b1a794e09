"""Features of the project's own noise-aware classifier, asked about images without noise."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from mmagic_adm.checkpoints.loading import load_network
from mmagic_adm.evaluation.feature_extractor import FeatureExtractor, Features, Tap
from mmagic_adm.files.pictures import as_images
from mmagic_adm.registry import MODELS


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
        super().__init__()
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
