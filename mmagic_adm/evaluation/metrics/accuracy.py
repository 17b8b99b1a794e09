"""How often a classifier sees the class that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmagic_adm.evaluation.kept import Rows, Sums
from mmagic_adm.evaluation.metrics.base import HIGHER, FeatureMetric
from mmagic_adm.registry import METRICS


@METRICS.register_module()
class ClassifierAccuracy(FeatureMetric):
    """How often a classifier sees in a sample the class that it was made as.

    Args:
        features: Config of a feature extractor that predicts labels.
        topk: Ranks within which the class must come.
        repeats: As :class:`FeatureMetric` takes them.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    name = 'accuracy'
    better: Mapping[str, str] = MappingProxyType({'Accuracy': HIGHER})
    kind = 'logits'
    accumulator = Sums

    def __init__(
        self,
        features: dict,
        topk: Sequence[int] = (1, 5),
        repeats: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(None, features, repeats, prefix)
        self.topk = tuple(topk)
        self.better = {f'Accuracy top-{k}': HIGHER for k in self.topk}
        if not self.extractor.predicts_labels:
            raise ValueError(
                f'the classes of {type(self.extractor).__name__} are not in the order of the '
                'labels; give ClassifierAccuracy a classifier whose are'
            )

    def take_in(self, running: Sums, rows: Rows) -> None:
        """Counts the samples, and those that were recognised within each rank."""
        if bool((rows.labels < 0).any()):
            raise ValueError('these samples have no labels, which ClassifierAccuracy is about')
        hit = rows.features.cpu().topk(max(self.topk)).indices == rows.labels[:, None]
        running.update(
            samples=len(rows),
            **{f'Accuracy top-{k}': int(hit[:, :k].any(1).sum()) for k in self.topk},
        )

    def compare(self, samples: Sums, reference: Any) -> dict[str, float]:
        """The shares of samples that were recognised."""
        return {name: samples[name] / samples['samples'] for name in self.better}


@METRICS.register_module()
class NoisyAccuracy(BaseMetric):
    """Accuracy in each quarter of the noise range, of samples with ``logits`` for each.

    Gives 'top1_q0' for the least noisy quarter and so on, and 'top1' over all of them.

    Args:
        topk: Ranks within which the label must come.
        prefix: Goes before the figures' names.
    """

    def __init__(self, topk: Sequence[int] = (1, 5), prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Notes for each image and quarter the rank that its label came at."""
        for sample in data_samples:
            logits = sample['logits'].float()
            own = logits[:, int(sample['gt_label']['label'])]
            self.results.append((logits > own[:, None]).sum(1).cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The share of images whose label came within each of the ranks."""
        ranks = torch.stack(results)
        figures = {}
        for k in self.topk:
            within = (ranks < k).float()
            figures[f'top{k}'] = float(within.mean())
            if within.shape[1] > 1:
                by_quarter = enumerate(within.mean(0).tolist())
                figures |= {f'top{k}_q{quarter}': share for quarter, share in by_quarter}
        return figures
