"""Several figures at once: in a run as samples come, and of samples that lie on disk."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator
from tqdm import tqdm

from mmagic_adm.configs import nearest
from mmagic_adm.evaluation.features import shared_extractor
from mmagic_adm.evaluation.image_sets import ImageSet, Resize, check_same_size, open_images
from mmagic_adm.evaluation.metrics.base import NETWORKS, FeatureMetric
from mmagic_adm.evaluation.metrics.nearest import Authenticity
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.evaluation.report import Report
from mmagic_adm.registry import EVALUATORS, METRICS, SCOPE


@EVALUATORS.register_module()
class SampleEvaluator(Evaluator):
    """An evaluator whose metrics share one reference and their networks.

    Args:
        metrics: The metrics: their names, such as 'fid' or 'kid', also as 'kid:dinov2' to take
            another network than their own; or their configs. Each is given what it takes of the
            next two, and of ``repeats``, and lacks.
        reference: Path or URL of the reference batch, a folder of images, or the config of a data
            set.
        features: Config of the network of metrics that are not defined by one; None takes the
            Inception network.
        networks: Configs of the networks that have a name (inception, dinov2, clip), where they
            are to be others than by default: from another place, say.
        repeats: How often to compute each figure again, for its interval.
    """

    def __init__(
        self,
        metrics: Sequence[str | dict],
        reference: str | Path | dict | Reference | None = None,
        features: dict | None = None,
        networks: Mapping[str, dict] | None = None,
        repeats: int = 0,
    ) -> None:
        known = {**NETWORKS, **(networks or {})}
        completed = []
        for metric in metrics:
            config = config_of(metric, known) if isinstance(metric, str) else metric
            kind = METRICS.get(config['type'])
            network = getattr(kind, 'network', '')
            usual = known[network] if network else features or (networks or {}).get('inception')
            shared = dict(reference=reference, features=usual, repeats=repeats)
            taken = inspect.signature(kind).parameters
            given = {name: shared[name] for name in shared if shared[name] and name in taken}
            completed.append({**given, **config})
        super().__init__(completed)


def metrics_by_name() -> dict[str, type[FeatureMetric]]:
    """The metrics that have a name to ask for them by, in the order of the names."""
    METRICS.import_from_location()
    kinds = [kind for kind in METRICS.module_dict.values() if issubclass(kind, FeatureMetric)]
    return {kind.name: kind for kind in sorted(kinds, key=lambda kind: kind.name) if kind.name}


def config_of(text: str, networks: Mapping[str, dict] = NETWORKS) -> dict[str, Any]:
    """The config of a metric that is asked for by name, or by its name and a network's.

    Figures of another network than the metric's own stand under that network's name.
    """
    name, _, network = text.partition(':')
    kinds = metrics_by_name()
    if name not in kinds:
        hint = nearest(name, kinds, f'there are {", ".join(kinds)}')
        raise ValueError(f'there is no metric {name!r}; {hint}')
    config: dict[str, Any] = dict(type=kinds[name].__name__, _scope_=SCOPE)
    if network and network not in networks:
        raise ValueError(f'there is no network {network!r}; there are {", ".join(networks)}')
    return config | dict(features=networks[network], prefix=network) if network else config


def evaluate(
    reference: str | Path | dict,
    samples: str | Path | dict,
    features: dict | None = None,
    batch_size: int = 64,
    show_progress: bool = True,
    metrics: Sequence[str | dict] | None = None,
    **options: Any,
) -> dict[str, float]:
    """The figures of samples on disk, whoever made them.

    Args:
        reference: As :class:`Reference` takes it.
        samples: As :func:`open_images` takes them.
        features: Config of the feature extractor; None takes the Inception network.
        batch_size: Samples that the networks look at at once.
        show_progress: Whether to show a progress bar.
        metrics: As :class:`SampleEvaluator` takes them. None is the family's five figures: the
            Inception Score, FID, sFID, Precision and Recall, in this order; without 'spatial'
            features no sFID.
        **options: Of :func:`report_on`, which takes several sets of samples and says more.
    """
    report = report_on(
        reference, [samples], metrics, features, batch_size, show_progress, **options
    )
    [of_the_set] = report.sets
    return of_the_set.figures


def report_on(
    reference: str | Path | dict,
    sets: Sequence[str | Path | dict],
    metrics: Sequence[str | dict] | None = None,
    features: dict | None = None,
    batch_size: int = 64,
    show_progress: bool = True,
    networks: Mapping[str, dict] | None = None,
    repeats: int = 0,
    resize: Resize | None = None,
    shown: int = 0,
) -> Report:
    """The figures of several sets of samples, and what they follow from.

    Each set is read once, whatever the number of metrics and networks.

    Args:
        reference: As :class:`Reference` takes it.
        sets: The sets, each as :func:`open_images` takes it.
        metrics: As :func:`evaluate` takes them.
        features: As :class:`SampleEvaluator` takes it, as it does the next but one and two.
        batch_size: Samples that the networks look at at once.
        show_progress: Whether to show a progress bar.
        networks: Networks in the place of those that have a name.
        repeats: How often to compute each figure again, for its interval.
        resize: What to bring images of another size by; None refuses them.
        shown: How many samples to show beside the images of the reference that they are nearest
            to, the nearest first.
    """
    compared = Reference(reference, resize)
    opened = [open_images(each, resize) for each in sets]
    for images in opened:
        if compared.images is not None:
            check_same_size(images.size, compared.images.size, str(images.path), str(reference))
    usual = features or {**NETWORKS, **(networks or {})}['inception']
    chosen = list(_family(usual) if metrics is None else metrics)
    if shown:
        chosen = [metric for metric in chosen if metric != Authenticity.name]
        chosen.append(dict(config_of(Authenticity.name), shown=shown))
    evaluator = SampleEvaluator(chosen, compared, features, networks, repeats)
    report = Report(evaluator.metrics, compared, repeats, resize)
    for images in opened:
        figures = _run(evaluator, images, batch_size, show_progress)
        report.add(images, figures)
    return report


def _family(features: dict) -> list[str]:
    kinds = shared_extractor(features).kinds
    return [name for name in ('is', 'fid', 'sfid', 'pr') if name != 'sfid' or 'spatial' in kinds]


def _run(
    evaluator: Evaluator, images: ImageSet, batch_size: int, show_progress: bool
) -> dict[str, float]:
    """The figures of one set."""
    evaluator.dataset_meta = dict(num_samples=images.count)
    desc, disable = f'samples of {images.path.name}', None if show_progress else True
    with tqdm(total=images.count, desc=desc, disable=disable) as bar:
        for batch in images.batches(batch_size):
            samples = [dict(fake_img=each, index=bar.n + i) for i, each in enumerate(batch)]
            if images.labels is not None:
                for sample in samples:
                    sample['gt_label'] = dict(label=images.labels[sample['index']])
            evaluator.process(samples)
            bar.update(len(batch))
    return evaluator.evaluate(images.count)
