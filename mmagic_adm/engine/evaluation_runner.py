"""MMEngine's runner for models that are sampled from and not trained."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mmengine.device import get_device
from mmengine.runner import Runner
from torch import nn

from mmagic_adm.checkpoints.runner import use_safe_loader
from mmagic_adm.engine.evaluation_summary import EvaluationSummary
from mmagic_adm.engine.processes import join_on_cpu

# Processes meet when all samples are made. One may be a batch ahead by then, and a batch may take
# longer than the minutes that torch would wait.
PATIENCE = timedelta(days=1)


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
