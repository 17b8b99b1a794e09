"""MMEngine's runners for training and for evaluation, on GPUs or on CPUs where there are none."""

from __future__ import annotations

import atexit
import logging
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine._strategy import BaseStrategy
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import FlexibleRunner, Runner
from torch import nn
from torch.distributed.fsdp import FSDPModule

from mmagic_adm.checkpoints.loading import use_safe_loader
from mmagic_adm.engine.sharding import reshard, unshard
from mmagic_adm.engine.summaries import EvaluationSummary, TrainingProgress
from mmagic_adm.registry import RUNNERS

# Processes meet when all samples are made. One may be a batch ahead by then, and a batch may take
# longer than the minutes that torch would wait.
PATIENCE = timedelta(days=1)


# Lines of a report that is for the log file.
LONG_REPORT = 12


class BriefRunner(Runner):
    """A runner that tells the terminal what a person waits for, and its log file all the rest.

    With ``verbose=True`` in its config it tells both the same.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Makes the logger."""
        logger = super().build_logger(*args, **kwargs)
        keep_brief(logger, self.cfg)
        return logger


def keep_brief(logger: MMLogger, config: Config) -> None:
    """Leaves the terminal what a person waits for, unless a config is verbose."""
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler and not config.get('verbose', False):
            handler.addFilter(is_brief)


def is_brief(record: logging.LogRecord) -> bool:
    """Whether a record is a warning, or short, and not an iteration, which are too many."""
    text = record.getMessage()
    is_long = text.count('\n') >= LONG_REPORT or text.startswith('Iter(train)')
    return record.levelno > logging.INFO or not is_long


@RUNNERS.register_module()
class TrainingRunner(BriefRunner):
    """A runner that trains on GPUs, or on CPUs where there are none."""

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up the processes, and how they read checkpoints."""
        use_safe_loader()
        join_on_cpu(self._launcher, env_cfg.get('dist_cfg', {}).get('timeout', 1800))
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Makes the processes train as one."""
        if self.distributed and not torch.cuda.is_available():
            return MMDistributedDataParallel(model, broadcast_buffers=False)
        return super().wrap_model(model_wrapper_cfg, model)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Registers hooks: MMEngine's, the config's, and what says how far the training is."""
        super().register_hooks(default_hooks, custom_hooks)
        register_progress(self)


def register_progress(runner: Runner | FlexibleRunner) -> None:
    """Registers what says how far a training is, if its config has not."""
    if not any(isinstance(hook, TrainingProgress) for hook in runner.hooks):
        runner.register_hook(TrainingProgress())


@RUNNERS.register_module()
class FlexibleTrainingRunner(FlexibleRunner):
    """A runner that trains networks whose weights are shared out among the processes.

    Takes the config of an ordinary training, with ``runner_type='FlexibleTrainingRunner'``, and
    goes on with a training of either runner.
    """

    # Configs at first, and what is built of them in training.
    model: Any
    optim_wrapper: Any
    param_schedulers: Any
    _train_loop: Any
    _val_loop: Any

    def build_strategy(
        self,
        strategy: BaseStrategy | dict | None = None,
        launcher: str = 'none',
        randomness: dict | None = None,
        env_cfg: dict | None = None,
        **kwargs: Any,
    ) -> BaseStrategy:
        """Joins the processes, and sets up how they read checkpoints."""
        use_safe_loader()
        if launcher == 'none':
            raise ValueError(
                'this config shares a network out among processes, and there is one: start them '
                'with tools/dist_train.sh CONFIG GPUS, or train with the config it derives from'
            )
        if not hasattr(FSDPModule, 'set_reshard_after_forward'):
            raise ImportError(
                'sharing a network out among processes takes a newer torch than '
                f'{torch.__version__}: pip install --upgrade torch'
            )
        join_on_cpu(launcher, (env_cfg or {}).get('dist_cfg', {}).get('timeout', 1800))
        built = super().build_strategy(
            strategy or dict(type='FullyShardedStrategy', _scope_='mmengine'),
            launcher=launcher,
            randomness=randomness,
            env_cfg=env_cfg or {},
            **kwargs,
        )
        keep_brief(built.logger, self.cfg)
        return built

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Registers hooks, as of :class:`TrainingRunner`."""
        super().register_hooks(default_hooks, custom_hooks)
        register_progress(self)

    def train(self) -> nn.Module:
        """Trains; in MMEngine's runner hooks come into the run after a checkpoint is loaded."""
        self.model = self.strategy.build_model(self.model)
        self._train_loop = self.build_train_loop(self._train_loop)
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)
        # What a hook copies of a model it copies whole; and it is there when its state is loaded.
        self.call_hook('before_run')
        self.strategy.prepare(
            self.model,
            optim_wrapper=self.optim_wrapper,
            param_scheduler=self.param_schedulers,
            dispatch_kwargs=dict(
                epoch_length=len(self.train_dataloader),
                max_epochs=self.max_epochs,
                max_iters=self.max_iters,
                train_micro_batch_size_per_gpu=self.train_dataloader.batch_size,
            ),
        )
        self.optim_wrapper = self.strategy.optim_wrapper
        if self.param_schedulers is not None:
            self.param_schedulers = self.strategy.param_schedulers
        self.call_hook('after_sharding', shard=self.strategy.shard)
        self.load_or_resume()
        model = self.train_loop.run()
        self.call_hook('after_run')
        return model

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Calls the hooks; for validation, gives each process the weights that they choose.

        One has more batches than another, and would wait forever for its share.
        """
        if fn_name == 'after_val_epoch':
            reshard(self.model)
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_val_epoch':
            unshard(self.model)


class EvaluationRunner(BriefRunner):
    """A runner whose processes sample side by side: on GPUs, or on CPUs where there are none."""

    def setup_env(self, env_cfg: dict) -> None:
        """Sets up the processes, and how they read checkpoints."""
        use_safe_loader()
        dist_cfg = dict(env_cfg.get('dist_cfg') or {})
        dist_cfg.setdefault('timeout', PATIENCE.total_seconds())
        join_on_cpu(self._launcher, dist_cfg['timeout'])
        super().setup_env({**env_cfg, 'dist_cfg': dist_cfg})

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to the device; as nothing is trained, nothing is synchronised."""
        return model.to(get_device())

    def test(self) -> dict[str, float]:
        """Runs the test loop; gives its figures, which MMagic's loop tells the hooks alone."""
        figures = super().test()
        return self._figures if figures is None else figures

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Calls the hooks, and notes the figures that they are told."""
        if fn_name == 'after_test_epoch':
            self._figures = kwargs['metrics']
        super().call_hook(fn_name, **kwargs)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Registers hooks: MMEngine's, the config's, and a summary if the config has none."""
        # The progress bar says what the logger would say every ten batches.
        quiet_logger = dict(logger=dict(type='LoggerHook', interval=10**9))
        super().register_hooks({**quiet_logger, **(default_hooks or {})}, custom_hooks)
        if not any(isinstance(hook, EvaluationSummary) for hook in self.hooks):
            self.register_hook(EvaluationSummary())


def join_on_cpu(launcher: str, seconds: float) -> None:
    """Joins the processes that torchrun started, where there are no GPUs.

    ``seconds`` is how long one waits for another.
    """
    if launcher == 'pytorch' and not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=seconds))
        atexit.register(_leave)


def _leave() -> None:
    # gloo's threads drop the last tensors that they sent when they next get hold of Python. One
    # that finds Python gone aborts the process: give them the time.
    time.sleep(0.5)
    if is_distributed():
        torch.distributed.destroy_process_group()
