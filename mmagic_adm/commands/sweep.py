"""Shows what guidance trades: fidelity against diversity, over a range of scales."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from mmengine.config import Config

from mmagic_adm.apis.models import changed_config, init_model, model_config
from mmagic_adm.apis.progress import image_bar
from mmagic_adm.apis.sample_folder import WAY_OUT
from mmagic_adm.apis.sampling import check_sampling, resolve_labels, sample_in_batches
from mmagic_adm.arguments import finite
from mmagic_adm.commands._arguments import (
    add_sampling_arguments,
    chosen_weights,
    config_part,
    sample_settings,
    short_name,
)
from mmagic_adm.diffusion.randomness import check_seeds
from mmagic_adm.engine.run_folder import check_same, made_from
from mmagic_adm.evaluation import SampleEvaluator
from mmagic_adm.evaluation.features import shared_extractor
from mmagic_adm.evaluation.metrics.base import NETWORKS
from mmagic_adm.evaluation.report import plot_trade
from mmagic_adm.files.alone import claimed
from mmagic_adm.files.whole import read_json, reading, write_json, written_whole
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.runner_data import as_data_samples

EXAMPLES = """\
  mmagic-adm sweep adm-g_ddim25_digits-16x16 --scales 0,1,2,4,8 --num-samples 300
  mmagic-adm sweep adm-g_ddim25_8xb32_imagenet-64x64 --scales 0,0.5,1,2,4 \\
      --num-samples 5000 --cfg-options model.guidance.every=2

The first samples the same 300 seeds at each scale, with a small model that ships with the package.
It prints a table, and the paths of its numbers as JSON and of a plot, which are in
outputs/sweep_adm-g_ddim25_digits-16x16. Reference and features are those of the config's
test_evaluator where they are not given, and labels are all classes by turns. Stopped by ctrl-C, the
same command makes the scales that are missing.
"""

ACCURACY, PRECISION, RECALL, FID = 'Accuracy top-1', 'Precision', 'Recall', 'FID'
COST = 'ms per step'
NEIGHBOURHOOD = 3
Row = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_sampling_arguments(parser, batch_size=50, out='outputs/sweep_MODEL')
    parser.add_argument('--scales', required=True, help='guidance scales, with commas between')
    parser.add_argument('--num-samples', type=int, default=1000, help='per scale (default: 1000)')
    parser.add_argument('--reference', help='reference batch with images (.npz, URL or folder)')
    parser.add_argument(
        '--features', metavar='CONFIG', help='file whose `features` configures what compares'
    )
    parser.add_argument(
        '--judge', metavar='CONFIG', help='file whose `features` configures a held-out classifier'
    )


def main(arguments: argparse.Namespace) -> Iterator[str | Path]:
    """Samples and evaluates at each scale that is missing; gives the table, and its files."""
    scales = parse_scales(arguments.scales)
    if arguments.num_samples <= NEIGHBOURHOOD:
        raise ValueError(
            f'--num-samples is more than {NEIGHBOURHOOD}, the neighbours that precision and recall '
            f'look at; not {arguments.num_samples}'
        )
    parts = ('model', 'weights', 'test_evaluator')
    config = changed_config(arguments.model, arguments.cfg_options, parts)
    weights = chosen_weights(arguments)
    comparison = chosen_comparison(arguments, config)
    model = init_model(config, arguments.device, weights)
    check_seeds(arguments.seed, arguments.num_samples)
    how = dict(
        batch_size=arguments.batch_size, steps=arguments.steps, scheduler=arguments.scheduler
    )
    check_sampling(model, **how)
    follows_from = sample_settings(arguments, 'scales', *comparison) | comparison
    settings = made_from(model, model_config(config, weights), **follows_from)
    name = short_name(arguments.model)
    folder = Path(arguments.out or f'outputs/sweep_{name}')
    with claimed(folder):
        results = Results(folder, settings, arguments.overwrite)
        missing = [scale for scale in scales if scale not in results.rows]
        if missing:
            measure(arguments, model, comparison, missing, results, **how)
        rows = [results.rows[scale] for scale in scales]
        yield table(rows)
        yield results.file
        yield results.save_plot(rows, name)


def measure(
    arguments: argparse.Namespace,
    model: AblatedDiffusionModel,
    comparison: dict[str, Any],
    scales: Sequence[float],
    results: Results,
    **how: Any,
) -> None:
    """Fills in the rows of these scales."""
    if getattr(model, 'guidance', None) is None:
        raise ValueError(f'{arguments.model} has neither classifier nor guidance to scale')
    evaluator = make_evaluator(has_labels=model.num_classes is not None, **comparison)
    count = arguments.num_samples
    try:
        with image_bar(len(scales) * count) as bar:
            options: dict[str, Any] = dict(
                seeds=range(arguments.seed, arguments.seed + count),
                labels=chosen_labels(arguments, model),
                bar=bar,
                **how,
            )
            for scale in scales:
                bar.set_postfix(scale=scale)
                row = figures_at(scale, model, evaluator, count, **options)
                results.add(scale, row)
    except KeyboardInterrupt:
        kept = ', '.join(f'{scale:g}' for scale in sorted(results.rows)) or 'none'
        raise KeyboardInterrupt(
            f'stopped; of the scales, {results.file} has {kept}: the same command makes the rest'
        ) from None


def chosen_labels(arguments: argparse.Namespace, model: AblatedDiffusionModel) -> list[int | None]:
    """The labels asked for; or all classes by turns, where there are samples for each."""
    if arguments.labels:
        return resolve_labels(model, arguments.labels.split(','))
    classes = model.num_classes or 0
    return list(range(classes)) if 0 < classes <= arguments.num_samples else [None]


def chosen_comparison(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Reference, features and judge, of the command line or of the config's own evaluation."""
    own = config.get('test_evaluator', {})
    reference = arguments.reference or own.get('reference')
    if reference is None:
        raise ValueError(f'{arguments.model} names no reference batch: give one by --reference')
    features = _features_of(arguments.features) or own.get('features') or NETWORKS['inception']
    return dict(reference=reference, features=features, judge=_features_of(arguments.judge))


def make_evaluator(
    reference: str, features: dict, judge: dict | None, has_labels: bool
) -> SampleEvaluator:
    """What compares samples with the reference, and with the labels they were made as.

    The judge of the labels is the network of the features where none is given, if it can be.
    """
    metrics: list[dict] = [
        dict(type='FrechetInceptionDistance'),
        dict(type='PrecisionRecall', neighbourhood=NEIGHBOURHOOD),
    ]
    if has_labels and (judge or shared_extractor(features).predicts_labels):
        metrics.insert(0, dict(type='ClassifierAccuracy', features=judge or features, topk=(1,)))
    return SampleEvaluator(
        [dict(metric, _scope_='mmagic_adm') for metric in metrics], reference, features
    )


def figures_at(
    scale: float,
    model: AblatedDiffusionModel,
    evaluator: SampleEvaluator,
    count: int,
    **options: Any,
) -> Row:
    """The figures of so many samples at one scale, and what a step of one sample costs."""
    evaluator.dataset_meta = dict(num_samples=count)
    seconds, steps, begin = 0.0, 0, time.perf_counter()

    def watch(step: Any) -> None:
        nonlocal steps
        steps += len(step.sample)

    options.update(scale=scale, on_step=watch)
    for indices, made in sample_in_batches(model, range(count), **options):
        samples = as_data_samples(made, dict(index=indices), None, 'rgb')
        images = [sample.cpu() for sample in samples]
        seconds += time.perf_counter() - begin
        evaluator.process(images)
        begin = time.perf_counter()
    return {'scale': scale, **evaluator.evaluate(count), COST: 1000 * seconds / steps}


class Results:
    """The rows of a sweep in a file, which is written anew with each.

    Args:
        folder: Where the file is.
        settings: What the rows follow from. A file of other settings is refused.
        overwrite: Whether to begin anew instead.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
        self.file = folder / 'sweep.json'
        self.settings = settings
        self.rows: dict[float, Row] = {}
        if self.file.exists() and not overwrite:
            with reading(self.file, WAY_OUT):
                written = read_json(self.file, WAY_OUT)
                there = dict(written['settings'])
                self.rows = {row['scale']: row for row in written['figures']}
            check_same(folder, there, settings, WAY_OUT)

    def add(self, scale: float, row: Row) -> None:
        """Keeps a row."""
        self.rows[scale] = row
        figures = [self.rows[known] for known in sorted(self.rows)]
        write_json(self.file, dict(settings=self.settings, figures=figures), overwrite=True)

    def save_plot(self, rows: Sequence[Row], title: str) -> Path:
        """Draws the rows beside the file."""
        path = self.file.with_suffix('.png')
        with written_whole(path, 1 << 20, overwrite=True) as temporary:
            plot(rows, title).savefig(temporary, format='png', dpi=120)
        return path


def plot(rows: Sequence[Row], title: str) -> Figure:
    """Fidelity and diversity over the scale, and one against the other."""
    figure = Figure(figsize=(13, 4), layout='constrained')
    figure.suptitle(title)
    shares, distance, trade = figure.subplots(1, 3)
    scales = [row['scale'] for row in rows]
    for name, marker in ((ACCURACY, 's'), (PRECISION, 'o'), (RECALL, '^')):
        if name in rows[0]:
            shares.plot(scales, [row[name] for row in rows], marker=marker, label=name.lower())
    shares.set(xlabel='guidance scale', ylabel='share', ylim=(0, 1.02))
    shares.legend()
    distance.plot(scales, [row[FID] for row in rows], marker='o', color='tab:red')
    distance.set(xlabel='guidance scale', ylabel=FID, ylim=(0, None))
    plot_trade(trade, rows, RECALL, PRECISION, [f'{scale:g}' for scale in scales])
    return figure


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    names = list(rows[0])
    cells = [names] + [[_short(name, row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = [
        '  '.join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells
    ]
    return '\n'.join(lines)


def parse_scales(text: str) -> list[float]:
    """Scales as numbers, smallest first, each once."""
    try:
        return sorted({finite(float(scale), 'infinite') for scale in text.split(',')})
    except ValueError:
        raise ValueError(f"--scales are finite numbers with commas between, not '{text}'") from None


def _short(name: str, value: float) -> str:
    return f'{value:g}' if name == 'scale' else f'{value:.3f}'


def _features_of(path: str | None) -> dict | None:
    return config_part(path, 'features') if path else None
