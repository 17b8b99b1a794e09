"""A report: figures and what they follow from, as JSON, as a table for a paper, and as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.evaluator import BaseMetric
from PIL import Image

from mmagic_adm.evaluation.image_sets import ImageSet, Resize
from mmagic_adm.evaluation.metrics.base import INTERVAL, FeatureMetric
from mmagic_adm.evaluation.metrics.nearest import Authenticity, Pair
from mmagic_adm.evaluation.reference import Reference
from mmagic_adm.files.pictures import contact_sheet, write_picture
from mmagic_adm.files.whole import write_json, written_whole
from mmagic_adm.version import __version__

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Diversity and fidelity, of which a model may have more of one for less of the other.
TRADES = (('Recall', 'Precision'), ('Coverage', 'Density'))


@dataclass
class SetReport:
    """What came out for one set of samples.

    Attributes:
        path: Where the set is.
        count: How many samples it has.
        figures: The figures, by name.
        sheet: Samples beside the images that they are nearest to, if asked for.
        nearest: The numbers of those, and how far apart they are.
    """

    path: Path
    count: int
    figures: dict[str, float]
    sheet: Image.Image | None = None
    nearest: list[list[Pair]] = field(default_factory=list)


class Report:
    """Figures of sets of samples, compared with one reference.

    Args:
        metrics: The metrics, before any sample.
        reference: What they compare with.
        repeats: How often each figure was computed again.
        resize: What images of another size were resized by.

    Attributes:
        sets: What came out, in the order of the sets.
        better: Whether lower or higher is better, by the names of the figures in the table.
    """

    def __init__(
        self,
        metrics: Sequence[BaseMetric],
        reference: Reference,
        repeats: int = 0,
        resize: Resize | None = None,
    ) -> None:
        self.sets: list[SetReport] = []
        self._metrics = [metric for metric in metrics if isinstance(metric, FeatureMetric)]
        self._reference, self._repeats, self._resize = reference, repeats, resize
        self.better: dict[str, str] = {}
        for metric in self._metrics:
            for figure, arrow in metric.better.items():
                name = f'{metric.prefix}/{figure}' if metric.prefix else figure
                if name in self.better:
                    raise ValueError(
                        f'two metrics give {name}: leave one out, or have it of another network'
                    )
                self.better[name] = arrow

    def add(self, images: ImageSet, figures: dict[str, float]) -> None:
        """Takes in what came out for a set, right after its evaluation."""
        found = SetReport(images.path, images.count, figures)
        for metric in self._metrics:
            if isinstance(metric, Authenticity) and metric.pairs and self._reference.images:
                found.nearest = metric.pairs
                found.sheet = nearest_sheet(images, self._reference.images, metric.pairs)
        self.sets.append(found)

    @property
    def names(self) -> list[str]:
        """A name for each set: its file's or folder's, or its path where that is another's too."""
        stems = [each.path.stem for each in self.sets]
        return [
            stem if stems.count(stem) == 1 else str(each.path)
            for stem, each in zip(stems, self.sets, strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        sets = {
            name: dict(
                path=str(each.path),
                samples=each.count,
                figures=each.figures,
                nearest=[[pair._asdict() for pair in pairs] for pairs in each.nearest],
            )
            for name, each in zip(self.names, self.sets, strict=True)
        }
        metrics = [
            dict(
                figures=list(metric.better),
                metric=type(metric).__name__,
                settings=metric.settings,
                network=metric.extractor.identity(),
            )
            for metric in self._metrics
        ]
        return dict(
            version=__version__,
            reference=dict(
                source=str(self._reference.source), fingerprint=self._reference.fingerprint()
            ),
            resized=str(self._resize) if self._resize else None,
            repeats=self._repeats,
            metrics=metrics,
            sets=sets,
        )

    def table(self) -> str:
        """A table in Markdown, with all that the figures follow from underneath."""
        heads = [f'{name} {arrow}' for name, arrow in self.better.items()]
        rows = [
            [name, f'{each.count:,}', *(_shown(each.figures, figure) for figure in self.better)]
            for name, each in zip(self.names, self.sets, strict=True)
        ]
        parts = dict.fromkeys(n for each in self.sets for n in each.figures if n.endswith(']'))
        of_parts = [[part, *(_shown(each.figures, part) for each in self.sets)] for part in parts]
        tables = [_table(['samples', 'number', *heads], rows)]
        tables += [_table(['', *self.names], of_parts)] if parts else []
        return '\n\n'.join([*tables, '\n'.join(self._notes())]) + '\n'

    def plot(self) -> Figure | None:
        """Fidelity against diversity, if there are figures of both."""
        trades = [
            (name, name.removesuffix(diversity) + fidelity)
            for diversity, fidelity in TRADES
            for name in self.better
            if name.rpartition('/')[2] == diversity
        ]
        if not trades:
            return None
        from matplotlib.figure import Figure  # slow to import, and few plot

        figure = Figure(figsize=(5 * len(trades), 4.5), layout='constrained')
        rows = [each.figures for each in self.sets]
        for axes, trade in zip(
            figure.subplots(1, len(trades), squeeze=False)[0], trades, strict=True
        ):
            plot_trade(axes, rows, *trade, self.names, line='')
        return figure

    def save(self, path: Path, overwrite: bool = False) -> None:
        """Writes it, to the files that :func:`report_files` names.

        Args:
            path: Of the JSON.
            overwrite: Whether to replace what is there.
        """
        write_json(path, self.as_json(), overwrite)
        text = self.table()
        with written_whole(path.with_suffix('.md'), len(text), overwrite) as temporary:
            temporary.write_text(text, encoding='utf-8')
        if len(self.sets) > 1 and (drawn := self.plot()):
            with written_whole(path.with_suffix('.png'), 1 << 20, overwrite) as temporary:
                drawn.savefig(temporary, format='png', dpi=120)
        for number, each in enumerate(self.sets):
            if each.sheet:
                write_picture(_sheet_file(path, number), each.sheet)

    def _notes(self) -> Iterator[str]:
        """What the figures follow from, a line each."""
        source, mark = self._reference.source, self._reference.fingerprint()
        yield f'- Reference: {source} ({mark}).'
        for metric in self._metrics:
            network, _, weights = metric.extractor.identity().rpartition(' ')
            settings = ''.join(f', {name} {value}' for name, value in metric.settings.items())
            yield f'- {", ".join(metric.better)}: {network} ({weights[:16]}){settings}.'
        yield f'- Images resized {self._resize}.' if self._resize else '- No image was resized.'
        if self._repeats:
            yield f'- {INTERVAL}: 95% interval, of {self._repeats} random halves of the samples.'
        yield f'- mmagic-adm {__version__}.'


def report_files(path: Path, sets: int, with_sheets: bool) -> list[Path]:
    """Where a report of so many sets goes: JSON, the table, the plot, and a sheet of each set."""
    if path.suffix != '.json':
        raise ValueError(f'a report is JSON, with other files beside it: {path} is to end in .json')
    files = [path, path.with_suffix('.md')]
    files += [path.with_suffix('.png')] if sets > 1 else []
    return files + [_sheet_file(path, number) for number in range(sets) if with_sheets]


def _sheet_file(path: Path, number: int) -> Path:
    return path.with_name(f'{path.stem}_nearest_{number}.png')


def nearest_sheet(
    samples: ImageSet, reference: ImageSet, nearest: Sequence[Sequence[Pair]]
) -> Image.Image:
    """Each sample in a row with the images that it is nearest to, their numbers and distances."""
    pictures, captions = [], []
    for pairs in nearest:
        pictures.append(samples.picture(pairs[0].sample))
        captions.append(f'sample {pairs[0].sample}')
        for pair in pairs:
            pictures.append(reference.picture(pair.image))
            captions.append(f'{pair.image}: {pair.distance:.3g}')
    return contact_sheet(pictures, captions, columns=1 + len(nearest[0]))


def plot_trade(
    axes: Axes,
    rows: Sequence[dict[str, float]],
    diversity: str,
    fidelity: str,
    names: Sequence[str],
    line: str = '-',
) -> None:
    """Draws one figure of each row against another, and names the points."""
    points = [(row[diversity], row[fidelity]) for row in rows]
    axes.plot(*zip(*points, strict=True), marker='o', linestyle=line)
    for name, point in zip(names, points, strict=True):
        axes.annotate(name, point, xytext=(5, 5), textcoords='offset points')
    axes.set(xlabel=f'{diversity.lower()} (diversity)', ylabel=f'{fidelity.lower()} (fidelity)')


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, of names and numbers."""
    rule = [':--', *['--:'] * (len(heads) - 1)]
    return '\n'.join(f'| {" | ".join(row)} |' for row in (heads, rule, *rows))


def _shown(figures: dict[str, float], name: str) -> str:
    """A figure as it stands in the table, with its interval if it has one."""
    if name not in figures:
        return ''
    interval = figures.get(f'{name} {INTERVAL}')
    return f'{figures[name]:.4g}' + ('' if interval is None else f' {INTERVAL} {interval:.2g}')
