"""How a model's networks are computed when it samples: exactly, or as fast as the hardware allows.

Whatever the profile, norms, softmax, embeddings and the schedulers' arithmetic stay in float32.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import nn

from mmagic_adm.guidance.base import Guidance
from mmagic_adm.models.compiled import Run, compile_network, why_compile
from mmagic_adm.networks.convolution import pack, why_not_packing
from mmagic_adm.networks.deep_features import reused_deep_features
from mmagic_adm.networks.network import ComputesIn, LaysOutChannelsLast, unwrapped
from mmagic_adm.networks.precision import without_tensorfloat

# Channels of a group of normalisation from which on the layout does not slow a CPU down.
WIDE_GROUP = 8
NAMES = ('exact', 'fast', 'auto')


@dataclass(frozen=True)
class Profile:
    """How networks are computed.

    Attributes:
        dtype: Type that their blocks compute in: 'float32', 'bfloat16' or 'float16'.
        channels_last: Whether the channels of a pixel lie side by side in memory, in networks that
            offer it. On a CPU, networks of few channels keep to the ordinary layout, with kernels
            that are not packed.
        packed: Whether kernels are laid out for the CPU once, beside the parameters.
        compiled: Whether the networks are compiled by ``torch.compile``.
    """

    dtype: str = 'float32'
    channels_last: bool = False
    packed: bool = False
    compiled: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether nothing is rounded more than float32 rounds."""
        return self.dtype == 'float32'


class Choice(NamedTuple):
    """A profile, and why it is this one."""

    profile: Profile
    reason: str


def choose_profile(spec: str | Mapping[str, Any], device: torch.device, run: Run) -> Choice:
    """The profile that a name or a config stands for on a device.

    Args:
        spec: 'exact': float32 throughout. 'fast': half precision where the hardware has it, and
            compiled where that is known to pay. 'auto': as 'fast', but compiled only where this
            run is long enough or the compiled code is there from before. Or a dict that changes
            attributes of :class:`Profile`, of 'fast' unless ``base`` names another.
        device: Where the networks are.
        run: What is to be computed.

    Raises:
        ValueError: There is no such profile, or attribute of one.
    """
    check_profile(spec)
    changes = dict(base=spec) if isinstance(spec, str) else {'base': 'fast', **spec}
    base, on_cpu = changes.pop('base'), device.type == 'cpu'
    exact = Choice(Profile(channels_last=on_cpu, packed=on_cpu), 'float32')
    choice = exact if base == 'exact' else _fast(device)
    if base == 'auto':
        pays, reason = why_compile(run, device, getattr(torch, choice.profile.dtype))
        choice = Choice(replace(choice.profile, compiled=pays), f'{choice.reason}; {reason}')
    if changes:
        choice = Choice(replace(choice.profile, **changes), f'{choice.reason}; {changes} as given')
    if device.type != 'cpu' and not choice.profile.compiled and 'channels_last' not in changes:
        # torch's group norm takes a GPU's tensors contiguous: eager code would copy around each,
        # which on an H100 made a step 1.36 times as long.
        choice = choice._replace(profile=replace(choice.profile, channels_last=False))
    return _possible(choice, device)


def check_profile(spec: Any) -> None:
    """Refuses what is no profile."""
    if isinstance(spec, Mapping):
        known = ['base', *(field.name for field in fields(Profile))]
        if strangers := sorted(set(spec) - set(known)):
            raise ValueError(f'a profile has no {strangers[0]!r}; it has {", ".join(known)}')
        dtype = spec.get('dtype', 'float32')
        if dtype not in ('float32', 'bfloat16', 'float16'):
            raise ValueError(f"a profile's dtype is float32, bfloat16 or float16, not {dtype!r}")
        spec = spec.get('base', 'fast')
    if spec not in NAMES:
        raise ValueError(f'profile is {", ".join(NAMES)} or a dict, not {spec!r}')


def apply_profile(profile: Profile, model: nn.Module) -> None:
    """Makes the networks in a model compute as a profile says.

    Args:
        profile: The profile.
        model: The weights of its networks are rounded to the profile's type, and there is no way
            back.

    Raises:
        ValueError: A network does not offer to compute in that type; none has been changed.
    """
    networks, dtype = networks_of(model), getattr(torch, profile.dtype)
    # Those of half precision stay what they are.
    exact = [n for n in networks if next(n.parameters()).dtype == torch.float32]
    for network in exact if not profile.is_exact else ():
        if not isinstance(network, ComputesIn):
            raise ValueError(
                f'the profile computes in {profile.dtype}, and {type(network).__name__} has no '
                "compute_in(dtype), which would make it do so; profile='exact' computes any "
                'network as it is'
            )
    for network in networks:
        if network in exact and isinstance(network, ComputesIn):
            network.compute_in(dtype)
        suits = next(network.parameters()).device.type != 'cpu' or has_wide_groups(network)
        if profile.channels_last and suits and isinstance(network, LaysOutChannelsLast):
            network.lay_out_channels_last()
        pack(network, profile.packed and suits)
        if profile.compiled:
            compile_network(network, dtype)


def has_wide_groups(network: nn.Module) -> bool:
    """Whether the norms of a network on a CPU are as fast with the channels side by side.

    torch's kernel for that takes a group's channels at a time where maps are small, which is slow
    if they are few: many times slower, in small networks such as that of the bundled digits.
    """
    return getattr(network, 'least_group_channels', WIDE_GROUP) >= WIDE_GROUP


def networks_of(part: nn.Module) -> list[nn.Module]:
    """The networks in a model: what has weights, within models and their guidance."""
    part = unwrapped(part)
    if isinstance(part, BaseModel | Guidance | nn.ModuleList):
        # One may be in two places, such as a classifier in its model and in the guidance by it.
        return list(dict.fromkeys(n for child in part.children() for n in networks_of(child)))
    return [part] if any(True for _ in part.parameters()) else []


def arithmetic_of(profile: Profile | None) -> contextlib.AbstractContextManager[None]:
    """While this lasts, what is in float32 is exact, unless the profile rounds more than that."""
    rounds = profile is not None and not profile.is_exact
    return contextlib.nullcontext() if rounds else without_tensorfloat()


def _fast(device: torch.device) -> Choice:
    if device.type == 'cpu':
        return Choice(
            Profile('bfloat16', channels_last=True, packed=True),
            'bfloat16 with packed kernels, which compiled code does not beat on CPUs',
        )
    on_gpu = device.type == 'cuda'
    half = on_gpu and torch.cuda.get_device_capability(device) < (8, 0)
    dtype = 'float16' if half else 'bfloat16'
    return Choice(Profile(dtype, channels_last=True, compiled=on_gpu), dtype)


def _possible(choice: Choice, device: torch.device) -> Choice:
    """The choice without what the hardware cannot do, and what it does instead."""
    profile, reason = choice
    if lacking := _lacking_type(profile.dtype, device):
        profile, reason = replace(profile, dtype='float32'), f'{lacking}: float32 instead'
    if profile.packed and device.type != 'cpu':
        profile = replace(profile, packed=False)
    elif profile.packed and (lacking := why_not_packing()):
        profile, reason = replace(profile, packed=False), f'{reason}; {lacking}'
    return Choice(profile, reason)


def _lacking_type(dtype: str, device: torch.device) -> str | None:
    """Why a type is not worth computing in here; None where it is."""
    if dtype == 'float32':
        return None
    if device.type == 'cpu' and not (dtype == 'bfloat16' and _cpu_has_bfloat16()):
        return f'this CPU has no {dtype} arithmetic'
    least = (8, 0) if dtype == 'bfloat16' else (7, 0)
    if device.type == 'cuda' and torch.cuda.get_device_capability(device) < least:
        return f'{torch.cuda.get_device_name(device)} has no {dtype} arithmetic'
    return None


def _cpu_has_bfloat16() -> bool:
    """Whether there are instructions for products of bfloat16 (AVX512-BF16, AMX)."""
    tests = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
    return torch.backends.mkldnn.is_available() and any(
        getattr(torch.cpu, test, lambda: False)() for test in tests
    )


class ProfiledModel(BaseModel):
    """Base of models that choose how their networks compute, once, before they sample first.

    Attributes:
        profile: What was asked for; None leaves the networks as they are.
        chosen: What that came to here; None until then.
        reuse_every: Inner levels of U-Nets are computed in every so many calls.
        reuse_levels: Levels, from the finest on, that every call computes.
    """

    profile: str | dict | None = None
    chosen: Choice | None = None
    reuse_every: int = 1
    reuse_levels: int = 1
    _was_trained: bool = False
    _expected_images: int | None = None

    def use_profile(self, profile: str | dict | None) -> None:
        """Sets how the networks compute when the model samples next.

        Args:
            profile: See :func:`~mmagic_adm.models.profiles.choose_profile`; None leaves them.
        """
        if profile is not None:
            check_profile(profile)
        self.profile, self.chosen = profile, None

    def expect(self, images: int) -> None:
        """Announces a run of so many images; whether compiling pays may depend on it."""
        self._expected_images = images

    def train(self, mode: bool = True) -> Any:
        """Puts the model in training mode, after which no profile touches its weights."""
        self._was_trained = self._was_trained or mode
        return super().train(mode)

    def settle(self, batch_size: int, steps: int, time_call: Callable[[], float]) -> None:
        """Applies the profile, if that has not been done, and says what was chosen.

        Args:
            batch_size: Samples of the batch that comes now.
            steps: Calls of the network for each batch.
            time_call: Measures a call, in seconds, where the choice depends on it.
        """
        if self.profile is None or self.chosen is not None or self._was_trained:
            return
        batches = math.ceil((self._expected_images or batch_size) / batch_size)
        run = Run(networks_of(self), batches * steps, time_call)
        chosen = choose_profile(self.profile, next(self.parameters()).device, run)
        apply_profile(chosen.profile, self)
        self.chosen = chosen
        print_log(f"profile '{self.profile}': {self.chosen.reason}", logger='current')

    @contextlib.contextmanager
    def computing(self, unet: nn.Module, reuse_every: int | None = None) -> Iterator[None]:
        """While this lasts, the networks compute as the profile and the reuse of features say.

        Args:
            unet: The network whose features are reused.
            reuse_every: In place of the model's own.
        """
        every = self.reuse_every if reuse_every is None else reuse_every
        profile = self.chosen and self.chosen.profile
        if every > 1 and profile and profile.compiled:
            raise ValueError(
                f'reuse_every={every} needs networks that are not compiled: '
                "profile=dict(base='fast', compiled=False)"
            )
        with reused_deep_features(unet, every, self.reuse_levels), arithmetic_of(profile):
            yield
