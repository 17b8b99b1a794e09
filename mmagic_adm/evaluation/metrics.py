"""The metrics that a runner's evaluator is configured with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmagic_adm.evaluation.features import gather_rows
from mmagic_adm.evaluation.frechet import RunningStatistics, frechet_distance
from mmagic_adm.evaluation.manifolds import precision_recall
from mmagic_adm.evaluation.sample_metric import FeatureMetric, SampleMetric
from mmagic_adm.evaluation.score import SPLIT_SIZE, score_of, split_sums
from mmagic_adm.registry import METRICS


@METRICS.register_module()
class FrechetInceptionDistance(FeatureMetric):
    """FID: the Fréchet distance between features of the samples and of the reference.

    Keeps the mean and covariance of the features.

    Args:
        reference: Path or URL of the reference batch, or a folder of images.
        features: Config of the feature extractor; None takes the Inception network.
        prefix: Goes before the figure's name, to tell two metrics of one kind apart.
    """

    figure = 'FID'
    accumulator = RunningStatistics

    def __init__(
        self, reference: str | Path, features: dict | None = None, prefix: str | None = None
    ) -> None:
        super().__init__(features, reference, prefix)
        self.reference.check_has_statistics(self.kind, self._extractor)

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        features = self.features(data_samples)
        num_samples, dim = (self.dataset_meta or {}).get('num_samples'), features.shape[1]
        if self.count == 0 and num_samples is not None and num_samples <= dim:
            print_log(
                f'{self.figure} of {num_samples} samples with {dim} features: their covariance is '
                'singular, and the figure comes out higher than it would with more samples; '
                'published figures take 50,000',
                logger='current',
                level=30,
            )
        self._running.update(features)

    def collect(self) -> tuple[RunningStatistics, tuple[Tensor, Tensor]]:
        """The statistics of samples and reference."""
        return self._running.merged(), self.reference.statistics(self.kind, self._extractor)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figure, from what `collect` gave."""
        [(samples, reference)] = results
        return {self.figure: frechet_distance(samples.mean, samples.covariance, *reference)}


@METRICS.register_module()
class SpatialFrechetInceptionDistance(FrechetInceptionDistance):
    """sFID: the same of features that keep their place in the image (Nash et al. 2021).

    Takes what :class:`FrechetInceptionDistance` takes.
    """

    kind = 'spatial'
    figure = 'sFID'


@METRICS.register_module()
class InceptionScore(FeatureMetric):
    """The Inception Score, averaged over splits of the samples in the order of their indices.

    Keeps the sums of the class probabilities in each split.

    Args:
        features: Config of the feature extractor; None takes the Inception network.
        split_size: Samples that are scored together.
        prefix: Goes before the figure's name, to tell two metrics of one kind apart.
    """

    kind = 'logits'

    def __init__(
        self, features: dict | None = None, split_size: int = SPLIT_SIZE, prefix: str | None = None
    ) -> None:
        super().__init__(features, prefix=prefix)
        self.split_size = split_size

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        first = (self.dataset_meta or {}).get('start', 0)
        places = [sample['index'] - first for sample in data_samples]
        probabilities = self.features(data_samples).softmax(1)
        self._running.update(split_sums(probabilities, places, self.split_size))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figure, from the sums over all samples."""
        return {'Inception Score': score_of(results[0])}


@METRICS.register_module()
class PrecisionRecall(FeatureMetric):
    """Precision and recall of the samples' features (Kynkäänniemi et al. 2019).

    Keeps the features of every sample.

    Args:
        reference: Path or URL of a reference batch with images, or a folder of images.
        features: Config of the feature extractor; None takes the Inception network.
        neighbourhood: Which neighbour's distance a manifold reaches to.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    accumulator = list

    def __init__(
        self,
        reference: str | Path,
        features: dict | None = None,
        neighbourhood: int = 3,
        prefix: str | None = None,
    ) -> None:
        super().__init__(features, reference, prefix)
        self.neighbourhood = neighbourhood
        self.reference.check_has_features(self._extractor)

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        self._running.append(self.features(data_samples).cpu())

    def collect(self) -> tuple[Tensor, Tensor]:
        """The features of reference and samples."""
        return self.reference.features(self._extractor), gather_rows(self._running)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, from what `collect` gave."""
        [(reference, samples)] = results
        figures = precision_recall(reference, samples, self.neighbourhood, get_device())
        return dict(zip(('Precision', 'Recall'), figures, strict=True))


@METRICS.register_module()
class ClassifierAccuracy(FeatureMetric):
    """How often a classifier sees in a sample the class that it was made as.

    Args:
        features: Config of a feature extractor that predicts labels.
        topk: Ranks within which the class must come.
        prefix: Goes before the figures' names, to tell two metrics of one kind apart.
    """

    kind = 'logits'

    def __init__(
        self, features: dict, topk: Sequence[int] = (1, 5), prefix: str | None = None
    ) -> None:
        super().__init__(features, prefix=prefix)
        self.topk = tuple(topk)
        if not self._extractor.predicts_labels:
            raise ValueError(
                f'the classes of {type(self._extractor).__name__} are not in the order of the '
                'labels; give ClassifierAccuracy a classifier whose are'
            )

    def update(self, data_samples: Sequence[dict]) -> None:
        """Takes in a batch of samples."""
        if 'gt_label' not in data_samples[0]:
            raise ValueError('these samples have no labels, which ClassifierAccuracy is about')
        labels = torch.stack([sample['gt_label']['label'].view(()) for sample in data_samples])
        ranked = self.features(data_samples).cpu().topk(max(self.topk)).indices
        hit = ranked == labels.cpu()[:, None]
        self._running.update({k: int(hit[:, :k].any(1).sum()) for k in self.topk})

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The shares of samples that were recognised within each rank."""
        return {f'Accuracy top-{k}': hits / self.count for k, hits in results[0].items()}


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
