"""What a run shows: samples of a training on its way, figures and samples of an evaluation."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process, master_only
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmagic_adm.engine.sampling_loop import SamplingLoop
from mmagic_adm.engine.sharding import reshard, unshard
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


@HOOKS.register_module()
class TrainingProgress(Hook):
    """Says what a training will take, and how far it is, in images: soon, and then now and then.

    Args:
        first: Seconds until the first line.
        interval: Seconds between the others.
        smoothed: Iterations that the loss is a mean of.
    """

    priority = 'VERY_LOW'

    def __init__(self, first: float = 5.0, interval: float = 30.0, smoothed: int = 100) -> None:
        self.first, self.interval, self.smoothed = first, interval, smoothed

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Says what is to be done."""
        loader, loop = runner.train_dataloader, runner.train_loop
        self.batch = loader.batch_size * get_world_size()
        self.total = loop.max_iters * self.batch
        self.begin, self.begun_at = time.monotonic(), runner.iter
        self.due = self.begin + self.first
        parameters = sum(each.numel() for each in runner.model.parameters() if each.requires_grad)
        begun = f', from {runner.iter * self.batch:,} on' if runner.iter else ''
        runner.logger.info(
            f'Training {parameters / 1e6:.1f} million parameters on {get_device()}: {self.total:,} '
            f'images in {loop.max_iters:,} iterations of {self.batch}{begun}. Checkpoints and the '
            f'whole log are in {runner.work_dir}'
        )

    @master_only
    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Says how far it is, if it is time."""
        now = time.monotonic()
        if now < self.due and not self.is_last_train_iter(runner):
            return
        self.due = now + self.interval
        done, taken = runner.iter + 1, now - self.begin
        left = taken / (done - self.begun_at) * (runner.max_iters - done)
        loss = runner.message_hub.get_scalar('train/loss').mean(self.smoothed)
        runner.logger.info(
            f'{done * self.batch:,} of {self.total:,} images, '
            f'{(done - self.begun_at) * self.batch / taken:.1f} a second, '
            f'{timedelta(seconds=round(left))} left, loss {loss:.4f}'
        )


@HOOKS.register_module()
class SampleSheet(Hook):
    """Shows samples of the averaged weights to the runner's visualiser, the same ones every time.

    Args:
        interval: Iterations between two looks.
        num_samples: How many samples; their labels count through the classes.
        seed: Of the first sample.
        **infer_kwargs: Further arguments of the model's ``infer``.
    """

    def __init__(
        self, interval: int, num_samples: int = 16, seed: int = 0, **infer_kwargs: Any
    ) -> None:
        self.interval = interval
        self.num_samples = num_samples
        self.seeds = range(seed, seed + num_samples)
        self.infer_kwargs = infer_kwargs

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Looks, if it is time."""
        is_due = self.every_n_train_iters(runner, self.interval)
        if not is_due and not self.is_last_train_iter(runner):
            return
        model = _averaged(runner)
        # All processes give their share of the weights, and one looks.
        unshard(model)
        if is_main_process():
            runner.visualizer.add_image('samples', self._sheet(model), step=runner.iter + 1)
        reshard(model)

    def _sheet(self, model: Any) -> np.ndarray:
        was_training = model.training
        classes = model.num_classes
        labels = None if classes is None else [i % classes for i in range(self.num_samples)]
        model.eval()
        samples = model.infer(seeds=self.seeds, labels=labels, **self.infer_kwargs)['samples']
        model.train(was_training)
        return np.asarray(contact_sheet(as_pictures(samples)))


def _averaged(runner: Runner) -> Any:
    """The model with averaged weights; the one in training, if nothing is averaged."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            return hook.ema_model.module
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
