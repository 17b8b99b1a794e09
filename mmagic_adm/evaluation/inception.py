"""The Inception network that the published figures use."""

import importlib.util
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.evaluation.feature_extractor import FeatureExtractor, Features, Tap
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
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
      That is the first branch, a 1x1 convolution, of the block that the port calls Mixed_6d: the
      port's weights were converted under this name. A node of the graph that has a block's bare
      name is what the next one reads, here the concatenation of the branches: the output after
      batch norm and ReLU, which are nodes of their own. Flattened with the channels last, so that
      stored means and covariances fit.
    - 'logits' (1008): for the Inception Score. Without the bias, since the score has always been
      computed from the product with the weights alone. Classes are in an order of their own.

    Args:
        weights: Path or URL of the weights, as torch-fidelity distributes them.
    """

    kinds = ('pool', 'spatial', 'logits')
    is_published = True

    def __init__(self, weights: str | Path = WEIGHTS_URL) -> None:
        super().__init__()
        if importlib.util.find_spec('torch_fidelity') is None:
            raise ImportError(
                'the Inception network is torch-fidelity\'s: pip install "mmagic-adm[evaluation]"'
            )
        self.network = _build(read_document(fetch(weights)).state_dict, weights)
        self._spatial = Tap(self.network, 'Mixed_6d.branch1x1')
        self.freeze()

    def extract(self, images: Tensor) -> Features:
        """All kinds of features of the images."""
        pool, logits = self.network(images)
        spatial = self._spatial.output[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
        return dict(pool=pool, spatial=spatial, logits=logits)


def _build(state: dict[str, Tensor], source: str | Path) -> nn.Module:
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
