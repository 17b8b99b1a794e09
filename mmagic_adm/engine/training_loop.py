"""The loop that training goes round in, which can be left and entered anywhere."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import get_dist_info
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmagic_adm.arguments import whole
from mmagic_adm.datasets import StreamSampler, TrainingStream, check_labels
from mmagic_adm.engine.run_folder import differences, flattened, sole_run
from mmagic_adm.engine.training_checkpoints import last_checkpoint
from mmagic_adm.registry import LOOPS

ORDER = 'order_of_data'


@LOOPS.register_module()
class TrainingLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations, in which iteration k is iteration k.

    What it is given depends on the seed and on k alone, whatever the number of processes, as long
    as they take as many images together; what it draws, on the process too. So a run that is
    resumed needs no record of the past draws, does not read the data that it has seen again, and
    ends with the weights of a run that was not interrupted; and validating or looking at samples
    on the way changes nothing.

    Args:
        runner: The runner; its ``randomness`` names the seed.
        dataloader: Config of the data loader, of a TrainingStream dealt by a StreamSampler.
        allow_reorder: Whether a training may be resumed with its data in another order.
        **kwargs: ``max_iters``, and what else MMEngine's loop takes.
    """

    def __init__(
        self, runner: Runner, dataloader: Any, allow_reorder: bool = False, **kwargs: Any
    ) -> None:
        if runner.cfg.get('randomness', {}).get('seed') is None:
            raise ValueError('a training that can be resumed has a seed: randomness=dict(seed=0)')
        for name in ('max_iters', 'val_interval'):
            whole(kwargs.get(name, 1), f'{name} is in iterations, from 1 on')
        super().__init__(runner, dataloader, **kwargs)
        self.allow_reorder = allow_reorder
        # Before anything copies it, to average it: no profile is for a model that is trained.
        runner.model.train()
        # It has begun to read from the start; `run` knows where to.
        del self.dataloader_iterator
        stream, sampler = self.dataloader.dataset, self.dataloader.sampler
        if not isinstance(stream, TrainingStream) or not isinstance(sampler, StreamSampler):
            raise ValueError(
                'a TrainingLoop takes a TrainingStream dealt by a StreamSampler, not a '
                f'{type(stream).__name__} dealt by a {type(sampler).__name__}'
            )

    def run(self) -> nn.Module:
        """Trains, from the iteration that the runner has reached."""
        work_dir = Path(self.runner.work_dir)
        try:
            with sole_run(work_dir):
                return self._train()
        except KeyboardInterrupt:
            last = last_checkpoint(work_dir)
            way_on = f'--resume goes on from {last}' if last else 'there is no checkpoint yet'
            raise KeyboardInterrupt(f'stopped at iteration {self._iter}; {way_on}') from None

    def _train(self) -> nn.Module:
        self._check_labels()
        images_per_iteration = self.dataloader.batch_size * get_dist_info()[1]
        self._keep_order(images_per_iteration)
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.dataloader.sampler.start = self._iter * images_per_iteration
        batches = iter(self.dataloader)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            data_batch = next(batches)
            seed_iteration(self.runner.seed, self._iter)
            self.run_iter(data_batch)
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _keep_order(self, images_per_iteration: int) -> None:
        """Refuses to go on with a training whose iterations would now be given other data."""
        stream, hub = self.dataloader.dataset, self.runner.message_hub
        now = dict(seed=stream.seed, images=len(stream), images_per_iteration=images_per_iteration)
        there = hub.get_info(ORDER, now) if self._iter else now
        differing = differences(flattened(there), flattened(now))
        if differing and not self.allow_reorder:
            raise ValueError(
                'the training to resume had its data in another order '
                f'({"; ".join(differing.values())}): choose processes times batch_size, data and '
                'seed as they were, or --allow-reorder'
            )
        # Checkpoints hold what the message hub does.
        hub.update_info(ORDER, now)

    def _check_labels(self) -> None:
        model = self.runner.model
        num_classes = getattr(getattr(model, 'module', model), 'num_classes', None)
        datasets = [self.dataloader.dataset.dataset]
        if self.runner.val_loop is not None:
            datasets.append(self.runner.val_loop.dataloader.dataset)
        for dataset in datasets:
            if num_classes is not None and isinstance(dataset, BaseDataset):
                check_labels(dataset, num_classes)

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        is_due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= self.val_begin and is_due:
            self.runner.val_loop.run()


def seed_iteration(seed: int, iteration: int) -> None:
    """Seeds what an iteration draws from, on this process."""
    rank = get_dist_info()[0]
    drawn = np.random.SeedSequence((seed, iteration, rank)).generate_state(3)
    torch.manual_seed(int(drawn[0]))
    np.random.seed(int(drawn[1]))  # noqa: NPY002
    random.seed(int(drawn[2]))
