"""What a run leaves behind: its figures, and a look at its samples."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmagic_adm.engine.sampling_loop import SamplingLoop
from mmagic_adm.evaluation.image_sets import open_images
from mmagic_adm.files.pictures import as_pictures, contact_sheet, write_picture
from mmagic_adm.files.whole import write_json
from mmagic_adm.registry import HOOKS


@HOOKS.register_module()
class EvaluationSummary(Hook):
    """Prints a table of the figures, and writes ``figures.json`` and ``samples.png``.

    Args:
        num_shown: Samples on the contact sheet; 0 writes none.
        num_visualized: Samples that also go to the runner's visualisation backends, such as
            TensorBoard.
    """

    def __init__(self, num_shown: int = 64, num_visualized: int = 0) -> None:
        self.num_shown = num_shown
        self.num_visualized = num_visualized

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Sums up the run."""
        figures, work_dir, loop = metrics or {}, Path(runner.work_dir), runner.test_loop
        runner.logger.info(f'\n{table(figures)}\n')
        summary = dict(
            figures=figures,
            config=runner.cfg.filename,
            checkpoint=runner.cfg.get('load_from'),
            samples=str(loop.samples_file) if isinstance(loop, SamplingLoop) else None,
        )
        write_json(work_dir / 'figures.json', summary, overwrite=True)
        if isinstance(loop, SamplingLoop) and loop.samples_file is not None:
            self._show(loop.samples_file, runner)

    def _show(self, samples: Path, runner: Runner) -> None:
        count = max(self.num_shown, self.num_visualized)
        if count == 0:
            return
        images = next(open_images(samples).batches(count))
        if self.num_shown:
            sheet = contact_sheet(as_pictures(images[: self.num_shown]))
            write_picture(Path(runner.work_dir) / 'samples.png', sheet)
        for i, image in enumerate(images[: self.num_visualized]):
            runner.visualizer.add_image(f'sample_{i}', image.permute(1, 2, 0).numpy())


def table(figures: dict[str, float]) -> str:
    """The figures in two columns."""
    width = max((len(name) for name in figures), default=0)
    return '\n'.join(f'{name:<{width}}  {value:>12.4f}' for name, value in figures.items())
