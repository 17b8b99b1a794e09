"""Guidance by a classifier that was never shown noise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mmagic_adm.arguments import Argument
from mmagic_adm.guidance.base import SCALE, Batch, Moment, Need
from mmagic_adm.guidance.classifier import Classifier, ClassifierSource, in_type_of
from mmagic_adm.guidance.torchvision_classifiers import Preprocess, TorchvisionClassifier
from mmagic_adm.registry import MODELS

# What all of torchvision's classifiers take.
IMAGE_SIZE = 224

RELUS = frozenset({F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})


@MODELS.register_module()
class OffTheShelfGuidance(ClassifierSource):
    """Gradient through a classifier of clean images, at the image that the network predicts.

    From *Elucidating The Design Space of Classifier-Guided Diffusion Generation* (Ma et al. 2023):
    smooth activations, tempered logits, and an extra weight in the middle of the steps.

    Args:
        classifier: Maps images to logits: the name of one of torchvision's, such as 'resnet101',
            which comes with its published weights; a config, such as one of a
            ``TorchvisionClassifier`` with weights of your own; a module or function, which stays
            its owner's.
        scale: Factor on the gradient.
        softplus_beta: Turns every ReLU into Softplus with this beta; None leaves them.
        joint_temperature: Factor on the logit of the label, τ1.
        margin_temperature_discount: τ2 / τ1, with τ2 the factor on the logits of all classes.
        gamma_factor: Extra weight, as a share of the weight of the first step; half a sine wave
            over the steps.
        preprocess: What the classifier is shown: None for images in [-1, 1], as in the paper's
            code; 'imagenet' for ImageNet's normalisation; or arguments of ``Preprocess``, which
            can also resize: ``dict(size=224)``.
        **pace: When it acts; see :class:`~mmagic_adm.guidance.pace.Pace`.
    """

    short_name = 'off-the-shelf'
    requires = frozenset({Need.IMAGENET})
    arguments = (
        SCALE,
        Argument('joint_temperature', 1.0, 0.0, 10.0, "factor on the label's logit"),
        Argument('margin_temperature_discount', 1.0, 0.0, 2.0, 'that of all logits, as a share'),
        Argument('gamma_factor', 0.0, 0.0, 2.0, 'extra weight in the middle of the steps'),
    )
    # As published for ImageNet.
    usual = dict(
        classifier='resnet101',
        softplus_beta=3.0,
        margin_temperature_discount=0.5,
        gamma_factor=0.3,
    )
    looks_at = 'pred_x0'

    def __init__(
        self,
        classifier: str | dict | nn.Module | Classifier,
        scale: float = 1.0,
        softplus_beta: float | None = None,
        joint_temperature: float = 1.0,
        margin_temperature_discount: float = 1.0,
        gamma_factor: float = 0.0,
        preprocess: str | dict | None = None,
        **pace: Any,
    ) -> None:
        if isinstance(classifier, str):
            classifier = dict(type='TorchvisionClassifier', name=classifier)
        super().__init__(classifier, scale, **pace)
        self.softplus_beta = softplus_beta
        self.joint_temperature = joint_temperature
        self.margin_temperature_discount = margin_temperature_discount
        self.gamma_factor = gamma_factor
        self.preprocess = _preprocess(preprocess)
        size, takes = self.preprocess.size, super().image_size
        if size and takes and size != takes:
            raise ValueError(
                f'preprocess resizes images to {size} pixels, and the classifier takes {takes}'
            )
        if softplus_beta is not None and isinstance(self.classifier, TorchvisionClassifier):
            _check_relus(has_relus(self.classifier, IMAGE_SIZE), self.classifier.name)

    @property
    def image_size(self) -> int | None:
        """The size of image that it takes, where there is only one."""
        return None if self.preprocess.size else super().image_size

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """τ1 f_y - logsumexp(τ2 f) for the logits f of each sample and label y."""
        labels = self.known(labels)
        logits = self.logits(x).float()
        joint = self.joint_temperature
        margin = joint * self.margin_temperature_discount
        of_label = logits.gather(1, labels[:, None]).squeeze(1)
        return joint * of_label - (margin * logits).logsumexp(dim=1)

    def push(self, moment: Moment, weight: Tensor | float, batch: Batch) -> Tensor:
        """The gradient times the scale and both weights.

        The extra one is relative to that of the first step, which is kept: per sample, of the
        first pixel.
        """
        if self.gamma_factor == 0:
            return super().push(moment, weight, batch)
        timesteps, memory = batch.path.timesteps, batch.memory
        place = timesteps.index(batch.path.nearest(moment.level))
        if place == 0 or 'first_weight' not in memory:
            memory['first_weight'] = (
                weight[:, :1, :1, :1].clone() if isinstance(weight, Tensor) else weight
            )
        # sin(π i / N) at the i-th step before the last of N.
        wave = math.sin(math.pi * (len(timesteps) - 1 - place) / len(timesteps))
        extra = self.gamma_factor * wave * memory['first_weight']
        return super().push(moment, weight + extra, batch)

    def logits(self, images: Tensor) -> Tensor:
        """What the classifier says of images in [-1, 1], its ReLUs smooth if they are to be."""
        images = in_type_of(self.classifier, self.preprocess(images))
        if self.softplus_beta is None:
            return self.classifier(images)
        with SmoothReLUs(self.softplus_beta) as relus:
            logits = self.classifier(images)
        _check_relus(relus.count > 0, type(self.classifier).__name__)
        return logits


def _preprocess(preprocess: str | dict | None) -> Preprocess:
    if preprocess is None:
        return Preprocess(normalize=False)
    if preprocess == 'imagenet':
        return Preprocess()
    if isinstance(preprocess, dict):
        return Preprocess(**preprocess)
    raise ValueError(
        f"preprocess is None, 'imagenet' or arguments such as dict(size=224), not {preprocess!r}"
    )


def _check_relus(has_any: bool, name: str) -> None:
    if not has_any:
        raise ValueError(
            f'softplus_beta takes the place of ReLUs, and {name} has none: its activations are '
            'smooth or of another kind; leave softplus_beta out'
        )


class SmoothReLUs(TorchFunctionMode):
    """In its context every ReLU is Softplus(beta), whose gradient is smooth.

    Args:
        beta: The larger, the nearer to ReLU.

    Attributes:
        count: ReLUs that were replaced so far.
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.count = 0

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what torch was about to call, or Softplus in its place."""
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        self.count += 1
        return F.softplus(args[0], self.beta)


def has_relus(network: nn.Module, image_size: int) -> bool:
    """Whether a classifier of images has any ReLU."""
    if any(isinstance(layer, nn.ReLU) for layer in network.modules()):
        return True
    # It may still call one as a function: asked of a copy, without computing anything.
    shapes = copy.deepcopy(network).to('meta')
    with torch.no_grad(), SmoothReLUs(1.0) as relus:
        shapes(torch.empty(1, 3, image_size, image_size, device='meta'))
    return relus.count > 0
