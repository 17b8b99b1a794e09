"""What the metrics of sets of samples have in common."""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmagic_adm.evaluation.features import shared_extractor
from mmagic_adm.evaluation.image_sets import check_same_size
from mmagic_adm.evaluation.kept import Rows, Sums
from mmagic_adm.evaluation.reference import Reference, shared_reference

# The networks that metrics are defined by, by what `--metrics` calls them.
NETWORKS: Mapping[str, dict[str, Any]] = MappingProxyType(
    dict(
        inception=dict(type='InceptionFeatures'),
        dinov2=dict(type='DINOv2Features'),
        clip=dict(type='CLIPFeatures'),
    )
)
LOWER, HIGHER = '↓', '↑'
# Stands behind a figure's name for the half width of its interval, and is how that is written.
INTERVAL = '±'


class SampleMetric(BaseMetric):
    """A metric that takes in samples as they come and keeps no more of them than it must.

    Args:
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.

    Attributes:
        accumulator: Makes what samples are taken into.
        count: Samples that this process has seen; those of all, once it comes to the figures.
    """

    default_prefix = ''
    accumulator: Callable[[], Any] = Sums

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        self.count = 0
        self._running = type(self).accumulator()

    @abstractmethod
    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""

    def collect(self) -> Any:
        """What the figures are computed from; every process calls it, and the main one uses it."""
        return self._running.merged()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples, as an evaluator calls it."""
        self.update(data_samples)
        self.count += len(data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures of all samples; every process calls it.

        Args:
            size: How many samples there must be, over all processes.
        """
        self.count = sum(all_gather_object(self.count))
        if self.count != size:
            raise ValueError(
                f'{type(self).__name__} was given {self.count} samples of a set of {size}; where a '
                'sampler repeats some to make the processes even, give it round_up=False'
            )
        collected = self.collect()
        figures = [self.compute_metrics([collected]) if is_main_process() else None]
        self.reset()
        broadcast_object_list(figures)
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {f'{prefix}{name}': value for name, value in (figures[0] or {}).items()}


class FeatureMetric(SampleMetric):
    """A metric of the features of the samples, which it mostly compares with a reference's.

    Metrics whose ``features`` are equal share one network, which sees each batch once. A new one
    is a subclass that says what stands under Attributes, and how it compares.

    Args:
        reference: Path or URL of a reference batch, a folder of images, the config of a data set,
            or a :class:`Reference`.
        features: Config of the feature extractor; None takes the network of the metric.
        repeats: How often to compute the figures again, of a random half of the samples each time.
            From their spread comes a 95% interval of each figure, which stands beside it under
            its name and '±'. The features of all samples are kept then.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.

    Attributes:
        name: What ``--metrics`` calls it.
        better: Whether lower or higher is better, of each of its figures.
        network: Which of :data:`NETWORKS` it is defined by; '' where the Inception network of the
            first papers may be another that suits the images.
        kind: The kind of features that it takes.
        accumulator: What it needs of the samples: :class:`Rows` where that is all features.
    """

    name = ''
    better: Mapping[str, str] = MappingProxyType({})
    network = ''
    kind = 'pool'
    accumulator: Callable[[], Any] = Rows

    def __init__(
        self,
        reference: str | Path | dict | Reference | None,
        features: dict | None = None,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        self.repeats = repeats
        self.extractor = shared_extractor(features or NETWORKS[self.network or 'inception'])
        if self.kind not in self.extractor.kinds:
            raise ValueError(
                f'{type(self).__name__} takes {self.kind!r} features, of which '
                f'{type(self.extractor).__name__} gives none; its kinds are '
                f'{", ".join(self.extractor.kinds)}'
            )
        self._reference = None if reference is None else shared_reference(reference)
        super().__init__(prefix)
        if self._reference is not None:
            self.check_reference()

    @abstractmethod
    def compare(self, samples: Any, reference: Any) -> dict[str, float]:
        """The figures.

        Args:
            samples: What the accumulator holds of them.
            reference: What :meth:`of_reference` gave.
        """

    def take_in(self, running: Any, rows: Rows) -> None:
        """Puts features into the accumulator."""
        running.update(rows)

    def check_reference(self) -> None:
        """Refuses a reference that has not what it takes, before any work."""
        self.reference.check_has_images()

    def of_reference(self) -> Any:
        """What it takes of the reference; every process must call it."""
        return self.reference.rows(self.extractor)

    def doubt(self, count: int, dim: int) -> str:
        """What is wrong with the figures of so few samples, or with so many features."""
        return ''

    @property
    def reference(self) -> Reference:
        """What the samples are compared with."""
        assert self._reference is not None
        return self._reference

    @property
    def settings(self) -> dict[str, Any]:
        """What the figures follow from besides features: its own arguments, by their names."""
        own = inspect.signature(type(self)).parameters.keys()
        common = inspect.signature(FeatureMetric).parameters.keys()
        return {name: getattr(self, name) for name in own if name not in common}

    def reset(self) -> None:
        """Forgets all samples."""
        super().reset()
        if self.repeats:
            self._running = Rows()
        self.extractor.forget()

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        features = self._features(data_samples)
        about = self.dataset_meta or {}
        numbers = [sample['index'] - about.get('start', 0) for sample in data_samples]
        rows = Rows(features, numbers, [_label(sample) for sample in data_samples])
        if self.repeats:
            self._running.update(rows)
        else:
            self.take_in(self._running, rows)

    def collect(self) -> tuple[Any, Any]:
        """What is kept of the samples, and what it takes of the reference."""
        samples = super().collect()
        return samples, None if self._reference is None else self.of_reference()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, from what `collect` gave, and their intervals if asked for."""
        [(samples, reference)] = results
        if not self.repeats:
            return self.compare(samples, reference)
        figures = self.compare(self._summary(samples), reference)
        of_halves = [
            self.compare(self._summary(samples[half]), reference)
            for half in random_halves(len(samples), self.repeats)
        ]
        for name in list(figures):
            spread = np.std([half.get(name, np.nan) for half in of_halves], ddof=1)
            figures[f'{name} {INTERVAL}'] = float(1.96 * spread)
        return figures

    def _features(self, data_samples: Sequence[dict]) -> Tensor:
        """The features of a batch, whose images are looked at first if they are the first."""
        if self.count == 0 and self._reference and self._reference.images:
            height, width = data_samples[0]['fake_img'].shape[-2:]
            size, source = self._reference.images.size, str(self._reference.source)
            check_same_size((height, width), size, 'the samples', source)
        features = self.extractor.of_samples(data_samples)[self.kind]
        count = (self.dataset_meta or {}).get('num_samples')
        if (
            self.count == 0
            and count is not None
            and (doubt := self.doubt(count, features.shape[1]))
        ):
            print_log(f'{", ".join(self.better)} of {doubt}', 'current', logging.WARNING)
        return features

    def _summary(self, rows: Rows) -> Any:
        running = type(self).accumulator()
        self.take_in(running, rows)
        return running


def random_halves(count: int, repeats: int) -> Iterator[Tensor]:
    """The numbers of a random half of the samples, so many times, the same ones every time.

    A mean over a half drawn without replacement has the variance that bootstrap gives that of all
    (Shao and Wu 1989: the delete-d jackknife, d half of all), and no sample comes twice, which
    nearest neighbours would not stand.
    """
    if repeats < 2 or count < 2:
        raise ValueError(f'an interval takes two repeats and samples at least, not {repeats}')
    generator = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        yield torch.randperm(count, generator=generator)[: count // 2].sort().values


def _label(sample: dict) -> int:
    """A sample's class, or -1."""
    return int(sample['gt_label']['label']) if 'gt_label' in sample else -1
