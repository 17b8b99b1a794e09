"""MMEngine's runner, with what it needs to train on the CPUs of one or more processes."""

from __future__ import annotations

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from mmagic_adm.checkpoints.runner import use_safe_loader
from mmagic_adm.engine.processes import join_on_cpu
from mmagic_adm.registry import RUNNERS


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
