"""Which images of the reference the samples are nearest to: whether a model made or remembered."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from mmengine.device import get_device

from mmagic_adm.evaluation.kept import Rows
from mmagic_adm.evaluation.metrics.base import HIGHER, FeatureMetric
from mmagic_adm.evaluation.metrics.neighbours import nearest
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.registry import METRICS


class Pair(NamedTuple):
    """A sample and an image of the reference, by their numbers, and how far apart they are."""

    sample: int
    image: int
    distance: float


@METRICS.register_module()
class Authenticity(FeatureMetric):
    """The share of samples that are no copies of an image of the reference (Alaa et al. 2022).

    A sample is authentic if it is farther from its nearest image of the reference than that image
    is from its own nearest other. About half of fresh data is. Keeps the features of every sample.

    Args:
        reference: As :class:`FeatureMetric` takes it, with images: best those trained on.
        features: Config of the feature extractor; None takes the Inception network.
        shown: How many samples, of those nearest to the reference, to name with their neighbours.
        repeats: As :class:`FeatureMetric` takes them.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.

    Attributes:
        pairs: Those samples, the nearest first, each with its :data:`NEIGHBOURS` nearest images.
    """

    NEIGHBOURS = 3
    name = 'authenticity'
    better = MappingProxyType({'Authenticity': HIGHER})

    def __init__(
        self,
        reference: str | Path | dict | Reference,
        features: dict | None = None,
        shown: int = 0,
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(reference, features, repeats, prefix)
        self.shown = shown
        self.pairs: list[list[Pair]] = []

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figure, and the samples to be shown."""
        [(samples, reference)] = results
        if self.shown:
            self.pairs = closest_pairs(samples, reference, self.shown, self.NEIGHBOURS)
        return super().compute_metrics(results)

    def compare(self, samples: Rows, reference: Rows) -> dict[str, float]:
        """The figure."""
        made, real = (rows.features.to(get_device()) for rows in (samples, reference))
        if len(real) < 2:
            raise ValueError('Authenticity takes two images of the reference at least')
        distances, places = nearest(made, real, 1)
        among_real = nearest(real, real, 2)[0][:, 1]
        is_authentic = distances[:, 0] > among_real[places[:, 0]]
        return {'Authenticity': float(is_authentic.double().mean())}


def closest_pairs(samples: Rows, reference: Rows, count: int, neighbours: int) -> list[list[Pair]]:
    """The samples nearest to the reference, each with its nearest images."""
    made, real = (rows.features.to(get_device()) for rows in (samples, reference))
    squared, places = (x.cpu() for x in nearest(made, real, min(neighbours, len(real))))
    return [
        [
            Pair(int(samples.numbers[i]), int(reference.numbers[place]), float(distance))
            for place, distance in zip(places[i], squared[i].sqrt(), strict=True)
        ]
        for i in squared[:, 0].argsort()[:count].tolist()
    ]
