"""A look at what a network has learned so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from numpy.typing import NDArray

from mmagic_adm.engine.sharding import reshard, unshard
from mmagic_adm.files.pictures import as_pictures, contact_sheet
from mmagic_adm.registry import HOOKS


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

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Looks, if it is time."""
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            self._show(runner)

    def _show(self, runner: Runner) -> None:
        model = _averaged(runner)
        # All processes give their share of the weights, and one looks.
        unshard(model)
        if is_main_process():
            runner.visualizer.add_image('samples', self._sheet(model), step=runner.iter + 1)
        reshard(model)

    def _sheet(self, model: Any) -> NDArray[np.uint8]:
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
