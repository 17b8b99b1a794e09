"""Networks that turn images into the features that metrics compare, shared between the metrics."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import torch
from mmengine.device import get_device
from torch import Tensor, nn

from mmagic_adm.checkpoints.parts import digest
from mmagic_adm.networks.precision import full_float32
from mmagic_adm.registry import MODELS, SCOPE

Features = dict[str, Tensor]
T = TypeVar('T')


class FeatureExtractor(nn.Module, ABC):
    """A frozen network that gives several kinds of features of an image in one pass.

    Args:
        **settings: What the features follow from, besides its class and its weights.

    Attributes:
        kinds: The kinds of features it gives.
        published_as: What EDM2's files call statistics of this network, if they have any; those
            in the family's reference batches are of the one that is called 'fid' there.
        predicts_labels: Whether the features called 'logits' are in the order of the labels.
    """

    kinds: tuple[str, ...] = ('pool', 'logits')
    published_as = ''
    predicts_labels = False

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = settings
        self._batch: Sequence[dict] | None = None
        self._features: Features = {}

    @abstractmethod
    def extract(self, images: Tensor) -> Features:
        """All kinds of features, (N, D) each, of RGB uint8 (N, 3, H, W) on the network's device."""

    def forward(self, images: Tensor) -> Features:
        """All kinds of features, (N, D) float32 each, of RGB uint8 (N, 3, H, W)."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                'features are extracted of RGB images, (N, 3, H, W) uint8 from 0 to 255, not of '
                f'{tuple(images.shape)} {images.dtype}'
            )
        with torch.no_grad(), full_float32():
            # Convolutions round otherwise where pixels lie in another order in memory.
            features = self.extract(images.to(next(self.parameters()).device).contiguous())
        return {kind: rows.float() for kind, rows in features.items()}

    def of_samples(self, data_samples: Sequence[dict]) -> Features:
        """All kinds of features of samples as an evaluator hands them to its metrics.

        The evaluator gives the same list to one metric after the other; the network runs once.
        """
        if self._batch is not data_samples:
            self._features = self(images_of(data_samples))
            self._batch = data_samples
        return self._features

    def forget(self) -> None:
        """Lets go of the last batch."""
        self._batch, self._features = None, {}

    def identity(self) -> str:
        """Tells its features from those of any other extractor."""
        settings = ''.join(f' {name}={value}' for name, value in self._settings.items())
        return f'{type(self).__name__}{settings} {fingerprint(self)}'

    def freeze(self) -> None:
        """Fixes the weights and moves them to the device; the last thing a constructor does."""
        self.requires_grad_(False).eval().to(get_device())


class Tap:
    """Keeps what a layer of a network, by its name in ``named_modules``, put out last."""

    output: Tensor

    def __init__(self, network: nn.Module, layer: str) -> None:
        layers = dict(network.named_modules())
        if not layer or layer not in layers:
            outermost = ', '.join(name for name, _ in network.named_children())
            raise ValueError(
                f'{type(network).__name__} has no layer {layer!r}; its outermost are {outermost}'
            )
        layers[layer].register_forward_hook(self._keep)

    @property
    def rows(self) -> Tensor:
        """The output with one row a sample: feature maps are averaged over their positions."""
        return self.output if self.output.ndim == 2 else self.output.flatten(2).mean(2)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.output = output


def images_of(data_samples: Sequence[dict]) -> Tensor:
    """The images of a batch of samples in one tensor, grey ones too: RGB, (N, 3, H, W), uint8."""
    images = [
        sample['fake_img'].flip(0) if sample.get('channel_order', 'rgb') == 'bgr'
        else sample['fake_img']
        for sample in data_samples
    ]  # fmt: skip
    stacked = torch.stack(images)
    return stacked.expand(-1, 3, -1, -1) if stacked.shape[1] == 1 else stacked


def fingerprint(module: nn.Module) -> str:
    """The SHA-256 of a module's state: names, types, shapes and values."""
    return digest(module.state_dict())


def shared_extractor(config: dict | FeatureExtractor) -> FeatureExtractor:
    """The extractor of a config: the same one for equal configs, as long as any is in use."""
    if isinstance(config, FeatureExtractor):
        return config
    return shared(_extractors, config, lambda: MODELS.build({'_scope_': SCOPE, **config}))


def shared(kept: WeakValueDictionary[str, T], key: Any, make: Callable[[], T]) -> T:
    """What was made for an equal key, if it still lives, or else a new one."""
    name = json.dumps(key, sort_keys=True, default=repr)
    value = kept.get(name)
    if value is None:
        value = kept[name] = make()
    return value


_extractors: WeakValueDictionary[str, FeatureExtractor] = WeakValueDictionary()
