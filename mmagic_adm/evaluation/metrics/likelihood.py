"""Bits per dim of held-out images."""

from __future__ import annotations

from collections.abc import Sequence

from mmagic_adm.evaluation.metrics.base import SampleMetric
from mmagic_adm.registry import METRICS


@METRICS.register_module()
class BitsPerDim(SampleMetric):
    """The mean over a dataset of the bound on the negative log-likelihood.

    Takes samples whose ``bits_per_dim`` is a number, or a dict of the bound's terms.

    Args:
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        if 'bits_per_dim' not in data_samples[0]:
            raise ValueError('these samples have no bits_per_dim; the model does not compute it')
        for sample in data_samples:
            bound = sample['bits_per_dim']
            terms = bound if isinstance(bound, dict) else {'Bits per dim': bound}
            self._running.update({name: float(value) for name, value in terms.items()})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The mean of each term."""
        return {name: total / self.count for name, total in results[0].items()}
