"""Features of a classifier that was never shown noise, such as the judge of the bundled digits."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from mmagic_adm.evaluation.feature_extractor import FeatureExtractor, Features
from mmagic_adm.files.download import fetch
from mmagic_adm.files.pictures import as_images
from mmagic_adm.registry import MODELS


@MODELS.register_module()
class PlainClassifierFeatures(FeatureExtractor):
    """The vector that a ``PlainClassifier`` reads classes from, as 'pool', and its 'logits'.

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
