"""MMEngine's runner for networks that several GPUs hold together."""

from __future__ import annotations

from typing import Any

import torch
from mmengine._strategy import BaseStrategy
from mmengine.runner import FlexibleRunner
from torch import nn
from torch.distributed.fsdp import FSDPModule

from mmagic_adm.checkpoints.runner import use_safe_loader
from mmagic_adm.engine.sharding import reshard, unshard
from mmagic_adm.registry import RUNNERS


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
                'with tools/dist_train.sh CONFIG GPUS, or train with the config that it derives '
                'from'
            )
        if not hasattr(FSDPModule, 'set_reshard_after_forward'):
            raise ImportError(
                'sharing a network out among processes takes a newer torch than '
                f'{torch.__version__}: pip install --upgrade torch'
            )
        return super().build_strategy(
            strategy or dict(type='FullyShardedStrategy', _scope_='mmengine'),
            launcher=launcher,
            randomness=randomness,
            env_cfg=env_cfg or {},
            **kwargs,
        )

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
