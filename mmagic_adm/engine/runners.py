"""MMEngine's runner for training and for evaluation, on GPUs or on CPUs where there are none."""

from __future__ import annotations

import atexit
import time
from datetime import timedelta
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from mmagic_adm.checkpoints.loading import use_safe_loader
from mmagic_adm.engine.evaluation_summary import EvaluationSummary
from mmagic_adm.registry import RUNNERS

# Processes meet when all samples are made. One may be a batch ahead by then, and a batch may take
# longer than the minutes that torch would wait.
PATIENCE = timedelta(days=1)


@RUNNERS.register_module()
class TrainingRunner(Runner):
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


class EvaluationRunner(Runner):
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

    Args:
        launcher: What started them.
        seconds: How long one waits for another.
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
