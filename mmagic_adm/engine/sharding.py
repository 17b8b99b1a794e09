"""Weights that processes share out among them, and that come together to be used or saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.dist import is_main_process
from mmengine.utils import apply_to
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from mmagic_adm.networks.network import sharding_units


def shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Leaves each process its share of a network's weights, in place.

    As the network runs, forward or backward, the weights of one of its units at a time come
    together. Whole tensors can still be loaded.

    Args:
        network: The network, the same on all processes.
        mesh: The processes.
    """
    for unit in (*sharding_units(network), network):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    # The public method has this name without the underscore, but only since torch 2.5.
    network._register_load_state_dict_pre_hook(_share_out_on_load, with_module=True)


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


def own_share(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The values of parameters that this process has: all, if they are not sharded."""
    values = [parameter.data for parameter in parameters]
    return [value.to_local() if isinstance(value, DTensor) else value for value in values]


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
