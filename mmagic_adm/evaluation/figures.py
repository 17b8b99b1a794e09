"""Several figures at once: in a run as samples come, and of samples that lie on disk."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from mmengine.evaluator import Evaluator
from tqdm import tqdm

from mmagic_adm.evaluation.image_sets import check_same_size, open_images
from mmagic_adm.evaluation.metrics import (
    FrechetInceptionDistance,
    InceptionScore,
    PrecisionRecall,
    SpatialFrechetInceptionDistance,
)
from mmagic_adm.evaluation.reference import shared_reference
from mmagic_adm.evaluation.sample_metric import INCEPTION, SampleMetric
from mmagic_adm.registry import EVALUATORS, METRICS


@EVALUATORS.register_module()
class SampleEvaluator(Evaluator):
    """An evaluator whose metrics share one reference and one network.

    Args:
        metrics: Configs of the metrics. Each is given those of the next two that it takes and does
            not have.
        reference: Path or URL of the reference batch, or a folder of images.
        features: Config of the feature extractor; None takes the Inception network.
    """

    def __init__(
        self,
        metrics: Sequence[dict],
        reference: str | Path | None = None,
        features: dict | None = None,
    ) -> None:
        shared = dict(reference=reference, features=features)
        given = {name: value for name, value in shared.items() if value is not None}
        super().__init__([_completed(metric, given) for metric in metrics])


def _completed(metric: dict, shared: dict) -> dict:
    kind = METRICS.get(metric['type'])
    taken = inspect.signature(kind).parameters if kind else {}
    return {**{name: shared[name] for name in shared if name in taken}, **metric}


def evaluate(
    reference: str | Path,
    samples: str | Path,
    features: dict | None = None,
    batch_size: int = 64,
    show_progress: bool = True,
) -> dict[str, float]:
    """The family's five figures of samples on disk, whoever made them.

    Args:
        reference: Path or URL of the reference batch, or a folder of images.
        samples: Path of an .npz batch, or a folder of images.
        features: Config of the feature extractor; None takes the Inception network. One without
            'spatial' features gives no sFID.
        batch_size: Samples that the network looks at at once.
        show_progress: Whether to show a progress bar.

    Returns:
        Inception Score, FID, sFID, Precision and Recall, in this order.
    """
    shared = shared_reference(reference)
    images = open_images(samples)
    if shared.images is not None:
        check_same_size(images.size, shared.images.size, str(samples), str(reference))
    evaluator = Evaluator(_metrics(reference, features or INCEPTION))
    evaluator.dataset_meta = dict(num_samples=images.count)
    index = 0
    with tqdm(total=images.count, desc='samples', disable=None if show_progress else True) as bar:
        for batch in images.batches(batch_size):
            evaluator.process(
                [dict(fake_img=image, index=index + i) for i, image in enumerate(batch)]
            )
            index += len(batch)
            bar.update(len(batch))
    return evaluator.evaluate(images.count)


def _metrics(reference: str | Path, features: dict) -> list[SampleMetric]:
    score = InceptionScore(features)
    metrics: list[SampleMetric] = [score, FrechetInceptionDistance(reference, features)]
    if 'spatial' in score.kinds:
        metrics.append(SpatialFrechetInceptionDistance(reference, features))
    return [*metrics, PrecisionRecall(reference, features)]
