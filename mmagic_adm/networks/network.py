"""What a network tells the rest of the package, and what else it may offer.

Any module that keeps to `Network` can be sampled from and trained. What is below may be offered
besides; a network that lacks it is treated like any module, or refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


@runtime_checkable
class Network(Protocol):
    """Predicts from noisy images, told how noisy they are, and what they show if it has classes.

    Attributes:
        image_size: Height and width of the image, in pixels.
        in_channels: Channels of the image.
        num_classes: Classes to condition on; None for an unconditional network.
        null_label: The label that stands for no class; None where there is none.
    """

    image_size: int
    in_channels: int
    num_classes: int | None
    null_label: int | None

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predicts from (N, in_channels, H, W), timesteps (N,) or (1,), and classes (N,)."""


@runtime_checkable
class ComputesIn(Protocol):
    """A network that can compute in another type, and knows what of it must stay in float32."""

    def compute_in(self, dtype: torch.dtype) -> None:
        """Makes it compute in a type, given and giving tensors of the type it was given."""


@runtime_checkable
class LaysOutChannelsLast(Protocol):
    """A network that can have the channels of a pixel side by side in memory."""

    def lay_out_channels_last(self) -> None:
        """Lays out kernels and activations so."""


@runtime_checkable
class ReusesDeepFeatures(Protocol):
    """A U-Net that can recall what its inner levels said, see :mod:`.deep_features`.

    Attributes:
        deep_features: Where it keeps them; None while it computes all levels in every call.
    """

    deep_features: Any

    def count_outer_blocks(self, levels: int) -> int:
        """Blocks of the way down, and as many of the way up, that the finest levels have."""


@runtime_checkable
class Attends(Protocol):
    """A network that says where its pixels attend to each other, see :mod:`.attention`."""

    def attention_blocks(self) -> Mapping[str, Any]:
        """What attends, by its stage; its ``attend(query, key, value)`` may be replaced."""


@runtime_checkable
class HasShardingUnits(Protocol):
    """A network that says which of its modules are to come together from shares, one at a time."""

    def sharding_units(self) -> Sequence[nn.Module]:
        """Modules that are called as such, by their ``forward``, from the inside out."""


ABILITIES = (ComputesIn, LaysOutChannelsLast, ReusesDeepFeatures, Attends, HasShardingUnits)
TOLD = tuple(Network.__annotations__)


def check_network(network: nn.Module) -> None:
    """Refuses a network that does not say what every network says.

    Raises:
        ValueError: An attribute is missing.
    """
    network = unwrapped(network)
    for attribute in TOLD:
        if not hasattr(network, attribute):
            raise ValueError(
                f'{type(network).__name__} has no {attribute}; a network says its '
                f'{", ".join(TOLD)}, of which the last two may be None'
            )


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, where a module around it adds no weights and offers nothing more."""
    inner = getattr(network, 'network', None)
    if not isinstance(inner, nn.Module) or isinstance(network, ABILITIES):
        return network
    if not any(hasattr(inner, name) for name in TOLD):
        return network
    weights, of_inner = ({id(p) for p in part.parameters()} for part in (network, inner))
    return unwrapped(inner) if weights == of_inner else network


def sharding_units(network: nn.Module) -> list[nn.Module]:
    """The modules whose weights come together one after another, where a network is sharded.

    Of a network that names none: what its own lists of modules hold, and its own sequences.
    """
    network = unwrapped(network)
    if isinstance(network, HasShardingUnits):
        return list(network.sharding_units())
    units: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            units += child.children()
        elif isinstance(child, nn.Sequential):
            units.append(child)
    return [unit for unit in units if any(True for _ in unit.parameters())]


def own_share(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The values of parameters that this process has: all, if they are not sharded."""
    values = [parameter.data for parameter in parameters]
    return [value.to_local() if isinstance(value, DTensor) else value for value in values]


@torch.no_grad()
def move(network: nn.Module, to: nn.Module, share: float) -> None:
    """Takes a network's weights so far towards another's, whether or not both are sharded."""
    torch._foreach_lerp_(own_share(network.parameters()), own_share(to.parameters()), share)
