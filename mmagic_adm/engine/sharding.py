"""Weights that processes share out among them, and that come together to be used or saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mmengine
from mmengine._strategy import DDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.registry import STRATEGIES
from mmengine.runner import save_checkpoint
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mmagic_adm.checkpoints.loading import load_from_mmagic_adm
from mmagic_adm.engine.training_checkpoints import WHOLE_FILES
from mmagic_adm.networks.network import sharding_units


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Leaves each process its share of a network's weights, in place.

    As the network runs, forward or backward, the weights of one of its units at a time come
    together. Whole tensors, the same on all processes, can still be loaded.
    """
    for unit in (*sharding_units(network), network):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    network.register_load_state_dict_pre_hook(_share_out_on_load)


def unshard(model: nn.Module) -> None:
    """Gives each process all weights, so that it can run the model without the others.

    Does nothing to a model that is not sharded. On all processes at once, as all here.
    """
    for unit in _units(model):
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()


def reshard(model: nn.Module) -> None:
    """Takes back what :func:`unshard` gave."""
    for unit in _units(model):
        unit.reshard()
        unit.set_reshard_after_forward(True, recurse=False)


def gathered(state: Any) -> Any:
    """A state with its tensors whole and on the CPU, on the first process; empty on others."""
    return apply_to(state, lambda value: isinstance(value, Tensor), _gather)


def shared_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, shared out among the processes as another is, if it is."""
    if not isinstance(like, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def _units(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _gather(tensor: Tensor) -> Tensor:
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.cpu() if is_main_process() else whole.new_empty(0, device='cpu')


def _share_out_on_load(network: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """What ``load_state_dict`` calls first."""
    for name, parameter in network.named_parameters():
        if prefix + name in state:
            state[prefix + name] = shared_out(state[prefix + name], parameter)


@STRATEGIES.register_module()
class FullyShardedStrategy(DDPStrategy):
    """Shares weights, gradients and the optimiser's state out among the processes (FSDP).

    MMEngine's own FSDPStrategy wraps modules in others, of other names and types, and clips each
    process's gradients by their own norm. This one uses torch's ``fully_shard``, which leaves a
    model what it is. Checkpoints are those of MMEngine's ordinary runner, written and read.
    """

    def shard(self, model: nn.Module) -> None:
        """Shares out the trained networks of the model, or of one of the same structure."""
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

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        self.mesh = init_device_mesh(get_device(), (self.world_size,))
        self.trained = [
            name
            for name, network in model.named_children()
            if any(parameter.requires_grad for parameter in network.parameters())
        ]
        self.shard(model)
        return model
