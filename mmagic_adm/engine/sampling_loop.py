"""The test loop that makes samples, and never makes one twice."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import (
    all_gather_object,
    barrier,
    broadcast_object_list,
    get_dist_info,
    is_main_process,
    master_only,
)
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from torch.utils.data import Subset
from tqdm import tqdm

from mmagic_adm.datasets.sample_specs import SampleSpecs
from mmagic_adm.engine.run_folder import made_from, sole_run
from mmagic_adm.engine.sample_shards import SampleShards, Shard, batch_name
from mmagic_adm.files.archives import is_sound
from mmagic_adm.registry import LOOPS


@LOOPS.register_module()
class SamplingLoop(TestLoop):
    """MMEngine's test loop, with its samples kept on disk as they come.

    Every batch is a shard in ``samples/`` under the work directory. A run that resumes hands the
    shards that are there to the metrics, and makes the samples that are missing, whatever the
    number of processes was. At the end all samples are in one .npz in the family's format.

    Args:
        runner: The runner.
        dataloader: Config of the data loader, over `SampleSpecs`.
        evaluator: Config of the metrics, or the evaluator.
        fp16: Whether to sample under autocast.
        resume: Whether to go on with the samples that the work directory has.
        sample_kwargs: Arguments of the model's ``infer`` besides the samples' seeds and labels,
            such as ``num_inference_steps`` and ``scheduler_kwargs``.

    Attributes:
        dataset: All samples of the run.
        samples_file: Where the main process put them together, once it has.
    """

    dataloader: Any

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        resume: bool = False,
        sample_kwargs: dict | None = None,
    ) -> None:
        if dataloader.get('sampler', {}).get('round_up', True):
            raise ValueError(
                'the sampler repeats samples to make the processes even; give it round_up=False'
            )
        super().__init__(runner, dataloader, evaluator, fp16)
        dataset = self.dataloader.dataset
        if not isinstance(dataset, SampleSpecs):
            raise ValueError(
                f'a SamplingLoop runs over SampleSpecs, not over {type(dataset).__name__}; '
                'TestLoop runs over any dataset'
            )
        self.dataset = dataset
        self.resume = resume
        self.sample_kwargs = dict(sample_kwargs or {})
        self.shards = SampleShards(Path(runner.work_dir) / 'samples')
        self.samples_file: Path | None = None
        self._dataloader_config = dataloader

    def run(self) -> dict[str, float]:
        """Makes the samples and evaluates them."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        with sole_run(self.shards.folder, self._claim):
            metrics = self._sample_and_evaluate()
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _sample_and_evaluate(self) -> dict[str, float]:
        stored = self._take_up_stored()
        missing = [i for i in range(len(self.dataset)) if self.dataset.start + i not in stored]
        if stored:
            # What is missing is shared out anew.
            config = {**self._dataloader_config, 'dataset': Subset(self.dataset, missing)}
            seed = self.runner.seed
            self.dataloader = self.runner.build_dataloader(config, seed=seed) if missing else []
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        for stage in getattr(model, 'stages', ()):
            stage.expect(math.ceil(len(missing) / get_dist_info()[1]))
        with self._bar(len(stored)) as self._progress:
            try:
                for idx, data_batch in enumerate(self.dataloader):
                    self.run_iter(idx, data_batch)
            except KeyboardInterrupt:
                kept = f'{self._progress.n} of {len(self.dataset)} samples in {self.shards.folder}'
                raise KeyboardInterrupt(
                    f'stopped with {kept}; the same command with --resume makes the rest'
                ) from None
        barrier()
        self._assemble(is_complete=not missing)
        return self.evaluator.evaluate(len(self.dataset))

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Makes one batch, keeps it, and hands it to the metrics."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        # In tuples: MMagic's preprocessor, if it is the model's, takes a list for images.
        request = {name: tuple(entries) for name, entries in data_batch['inputs'].items()}
        data_batch['inputs'] = {**request, 'sample_kwargs': self.sample_kwargs}
        with autocast(enabled=self.fp16):
            outputs = self.runner.model.test_step(data_batch)
        self.shards.write(Shard.of(outputs))
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
        # The other processes are about as far.
        made = len(outputs) * get_dist_info()[1]
        self._progress.update(min(made, len(self.dataset) - self._progress.n))

    def _claim(self) -> None:
        model, config = self.runner.model, self.runner.cfg.model.to_dict()
        follows_from = dict(dataset=self.dataset.made_from, sample_kwargs=self.sample_kwargs)
        self.shards.claim(made_from(model, config, **follows_from), self.resume)

    def _take_up_stored(self) -> set[int]:
        """Hands what is on disk to the metrics; gives the numbers of all samples found."""
        files = [self.shards.files()]
        broadcast_object_list(files)
        rank, world_size = get_dist_info()
        share = files[0][rank::world_size]
        start, stop = self.dataset.start, self.dataset.start + len(self.dataset)
        is_shown = bool(share) and is_main_process()
        found: list[int] = []
        for shard in map(self.shards.read, tqdm(share, 'stored batches', disable=not is_shown)):
            wanted = shard and shard.within(start, stop)
            if wanted and len(wanted.indices):
                self.evaluator.process(data_samples=wanted.data_samples(), data_batch=None)
                found += wanted.indices.tolist()
        everywhere = [index for part in all_gather_object(found) for index in part]
        stored = set(everywhere)
        if len(stored) < len(everywhere):
            raise ValueError(
                f'{self.shards.folder} has {len(everywhere) - len(stored)} samples twice, in '
                'different files; delete the files that were copied there'
            )
        if stored:
            print_log(f'{len(stored)} of {len(self.dataset)} samples were there', 'current')
        return stored

    @master_only
    def _assemble(self, is_complete: bool) -> None:
        """Puts all samples into one file, unless they were complete and are there, and sound."""
        folder, start, count = Path(self.runner.work_dir), self.dataset.start, len(self.dataset)
        existing = filter(is_sound, folder.glob(batch_name(start, count, '*x*')))
        self.samples_file = next(existing, None) if is_complete else None
        if self.samples_file is None:
            self.samples_file = self.shards.assemble(folder, start, count)
            print_log(f'The samples are in {self.samples_file}', 'current')

    def _bar(self, done: int) -> tqdm:
        """The progress bar of the main process, which knows of the others' share."""
        return tqdm(
            desc='samples',
            total=len(self.dataset),
            initial=done,
            disable=not is_main_process(),
            unit='sample',
            smoothing=0.05,
            # A log keeps every state of the bar.
            mininterval=0.1 if sys.stderr.isatty() else 60,
        )
