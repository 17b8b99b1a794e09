"""Several figures at once: in a run as samples come, and of samples that lie on disk."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from mmengine.evaluator import Evaluator
from tqdm import tqdm

from mmagic_adm.evaluation.features import shared_extractor
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
        metrics: Configs of the metrics. Each is given what it takes of the next two and lacks.
        reference: Path or URL of the reference batch, or a folder of images.
        features: Config of the feature extractor; None takes the Inception network.
    """

    def __init__(
        self,
        metrics: Sequence[dict],
        reference: str | Path | None = None,
        features: dict | None = None,
    ) -> None:
        completed = []
        for metric in metrics:
            kind = METRICS.get(metric['type'])
            taken = inspect.signature(kind).parameters if kind else {}
            shared = dict(reference=reference, features=features)
            given = {name: shared[name] for name in shared if shared[name] and name in taken}
            completed.append({**given, **metric})
        super().__init__(completed)


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
    features = features or INCEPTION
    metrics: list[SampleMetric] = [InceptionScore(features)]
    metrics.append(FrechetInceptionDistance(reference, features))
    if 'spatial' in shared_extractor(features).kinds:
        metrics.append(SpatialFrechetInceptionDistance(reference, features))
    metrics.append(PrecisionRecall(reference, features))
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = dict(num_samples=images.count)
    with tqdm(total=images.count, desc='samples', disable=None if show_progress else True) as bar:
        for number, batch in enumerate(images.batches(batch_size)):
            numbered = enumerate(batch, number * batch_size)
            evaluator.process([dict(fake_img=image, index=i) for i, image in numbered])
            bar.update(len(batch))
    return evaluator.evaluate(images.count)
