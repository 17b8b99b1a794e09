"""Guidance by a classifier that knows how noisy its input is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmagic_adm.checkpoints.loading import load_network
from mmagic_adm.guidance.base import SCALE, Need
from mmagic_adm.guidance.source import GradientSource
from mmagic_adm.registry import MODELS, SCOPE

Classifier = Callable[..., Tensor]


class ClassifierSource(GradientSource):
    """A source whose score comes from a classifier.

    Args:
        classifier: A config is built, and its weights are this module's; a module or function
            that is handed over stays its owner's, who moves and loads it.
        scale: Factor on the gradient.
        weights: Path or URL of the weights of an ADM classifier that is given as a config.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    def __init__(
        self,
        classifier: dict | nn.Module | Classifier,
        scale: float = 1.0,
        weights: str | Path | None = None,
        **pace: Any,
    ) -> None:
        super().__init__(scale, **pace)
        self._borrowed: tuple[Any, ...] = ()
        if isinstance(classifier, dict):
            self.owned = build_frozen(classifier, weights)
        else:
            # In a tuple, so that torch does not register it here a second time.
            self._borrowed = (classifier,)

    @property
    def classifier(self) -> Classifier:
        """The classifier, whoever owns it."""
        return self._borrowed[0] if self._borrowed else self.owned

    def known(self, labels: Tensor | None) -> Tensor:
        """The labels, which a classifier cannot do without."""
        if labels is None:
            raise ValueError(f'{type(self).__name__} needs labels: which classes to push towards')
        return labels

    @property
    def num_classes(self) -> int | None:
        """The classifier's number of classes, where it says."""
        return getattr(self.classifier, 'out_channels', None)

    @property
    def image_size(self) -> int | None:
        """The classifier's image size, where it says."""
        return getattr(self.classifier, 'image_size', None)


@MODELS.register_module()
class ClassifierGuidance(ClassifierSource):
    """Gradient of log p(y | x_t) through a noise-aware classifier (ADM, section 4).

    Args:
        classifier: Maps (x_t, t) to logits. A config is built, and its weights are this module's;
            a module or function that is handed over stays its owner's, who moves and loads it.
        scale: Factor on the gradient.
        weights: Path or URL of the weights of a classifier that is given as a config.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'classifier'
    requires = frozenset({Need.CLASSIFIER})
    arguments = (SCALE._replace(high=20.0),)

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Log p(y | x_t) of each sample."""
        return log_probability(self.classifier(x, t), self.known(labels))


def log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Log p(y) of each sample, computed in float32."""
    log_probabilities = logits.float().log_softmax(dim=1)
    return log_probabilities.gather(1, labels[:, None]).squeeze(1)


def build_frozen(config: dict, weights: str | Path | None = None) -> nn.Module:
    """A network from its config and, where they have a file of their own, with its weights."""
    network = MODELS.build({'_scope_': SCOPE, **config})
    if weights is not None:
        load_network(network, weights)
    return freeze(network)


def freeze(network: nn.Module) -> nn.Module:
    """Puts a network in evaluation mode, and keeps gradients out of its parameters."""
    return network.requires_grad_(False).eval()


def in_type_of(network: Callable, images: Tensor) -> Tensor:
    """The images in the floating-point type of a network's weights, where it has any."""
    weights = network.parameters() if isinstance(network, nn.Module) else ()
    return images.to(next((weight.dtype for weight in weights), images.dtype))
