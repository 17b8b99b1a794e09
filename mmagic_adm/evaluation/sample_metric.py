"""What the metrics of sets of samples have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmagic_adm.evaluation.features import shared_extractor
from mmagic_adm.evaluation.image_sets import check_same_size
from mmagic_adm.evaluation.reference import Reference, shared_reference

INCEPTION = dict(type='InceptionFeatures')


class SampleMetric(BaseMetric):
    """A metric that takes in samples as they come and keeps no more of them than it must.

    Args:
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.

    Attributes:
        accumulator: Makes what samples are taken into: sums by name, if nothing else.
        count: Samples that this process has seen; those of all, once it comes to the figures.
    """

    default_prefix = ''
    accumulator: Callable[[], Any] = Counter

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
        sums: Counter = Counter()
        for theirs in all_gather_object(self._running):
            sums.update(theirs)
        return sums

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
    """A metric of a kind of features of the samples.

    Metrics whose ``features`` are equal share one network, which sees each batch once.

    Args:
        features: Config of the feature extractor.
        reference: Path or URL of the reference batch, or a folder of images; None where the
            metric compares with nothing.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    kind = 'pool'

    def __init__(
        self,
        features: dict | None = None,
        reference: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        self._extractor = shared_extractor(features or INCEPTION)
        if self.kind not in self._extractor.kinds:
            raise ValueError(
                f'{type(self).__name__} takes {self.kind!r} features, of which '
                f'{type(self._extractor).__name__} gives none; its kinds are '
                f'{", ".join(self._extractor.kinds)}'
            )
        self._reference = None if reference is None else shared_reference(reference)
        super().__init__(prefix)

    @property
    def reference(self) -> Reference:
        """What the samples are compared with."""
        assert self._reference is not None
        return self._reference

    def features(self, data_samples: Sequence[dict]) -> Tensor:
        """The features of a batch of samples, (N, D)."""
        if self.count == 0 and self._reference and self._reference.images:
            height, width = data_samples[0]['fake_img'].shape[-2:]
            size, source = self._reference.images.size, str(self._reference.source)
            check_same_size((height, width), size, 'the samples', source)
        return self._extractor.of_samples(data_samples)[self.kind]

    def reset(self) -> None:
        """Forgets all samples."""
        super().reset()
        self._extractor.forget()
