"""Training of networks that are too large for one GPU together with all that training keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mmengine
import torch
from mmengine._strategy import BaseStrategy, DDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.registry import STRATEGIES
from mmengine.runner import FlexibleRunner, save_checkpoint
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule

from mmagic_adm.checkpoints.loading import load_from_mmagic_adm, use_safe_loader
from mmagic_adm.engine.runners import join_on_cpu
from mmagic_adm.engine.sharding import gathered, reshard, shard, shared_out, unshard
from mmagic_adm.engine.training_checkpoints import WHOLE_FILES
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


@STRATEGIES.register_module()
class FullyShardedStrategy(DDPStrategy):
    """Shares weights, gradients and the optimiser's state out among the processes (FSDP).

    MMEngine's own FSDPStrategy wraps modules in others, of other names and types, and clips each
    process's gradients by their own norm. This one uses torch's ``fully_shard``, which leaves a
    model what it is. Checkpoints are those of MMEngine's ordinary runner, written and read.
    """

    def shard(self, model: nn.Module) -> None:
        """Shares out the networks of a model that are trained here, in place.

        Args:
            model: The model itself, or another of the same structure.
        """
        model.to(get_device())
        for name in self.trained:
            shard(model.get_submodule(name), self.mesh)

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict | None = None,
        callback: Callable[[dict], None] | None = None,
    ) -> None:
        """Saves what MMEngine's ordinary runner would, once; all processes take part."""
        checkpoint = extra_ckpt or {}
        checkpoint.setdefault('meta', {}).update(
            seed=self.seed,
            time=time.strftime('%Y%m%d_%H%M%S'),
            mmengine_version=mmengine.__version__,
        )
        checkpoint['state_dict'] = gathered(self.model.state_dict())
        if save_optimizer:
            checkpoint['optimizer'] = self.optim_state_dict()
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            checkpoint['param_schedulers'] = self.scheduler_state_dict()
        if callback is not None:
            callback(checkpoint)
        checkpoint = gathered(checkpoint)
        if is_main_process():
            save_checkpoint(checkpoint, filename, backend_args=dict(backend=WHOLE_FILES))

    def load_checkpoint(
        self,
        filename: str,
        *,
        callback: Callable[[dict], None] | None = None,
        **_: Any,
    ) -> dict:
        """Loads weights, of which each process keeps its share.

        MMEngine's other arguments change nothing: a file is read to the CPU, under any names that
        are known here, and fits or is refused.
        """
        # Mapped: the processes of a machine need no copy of the file each.
        checkpoint = load_from_mmagic_adm(filename, mmap=True)
        if callback is not None:
            callback(checkpoint)
        self.model.load_state_dict(checkpoint.pop('state_dict'))
        return checkpoint

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Takes up an optimiser's state, of which each process keeps its share."""
        groups = self.optim_wrapper.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group['params']]
        shares = {
            number: {
                name: shared_out(value, parameters[number])
                if getattr(value, 'shape', None) == parameters[number].shape
                else value
                for name, value in values.items()
            }
            for number, values in state_dict['state'].items()
        }
        super().load_optim_state_dict({**state_dict, 'state': shares})

    def _setup_distributed(
        self, launcher: str = 'pytorch', backend: str = 'nccl', **kwargs: Any
    ) -> None:
        join_on_cpu(launcher, kwargs.get('timeout', 1800))
        super()._setup_distributed(launcher, backend, **kwargs)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.mesh = init_device_mesh(get_device(), (self.world_size,))
        self.trained = [
            name
            for name, network in model.named_children()
            if any(parameter.requires_grad for parameter in network.parameters())
        ]
        self.shard(model)
        return model
