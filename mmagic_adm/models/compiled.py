"""Networks compiled by ``torch.compile``: whole, once, kept for the next process, or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmagic_adm.files.download import cache_directory

# Compiling the 64x64 U-Net and its classifier took 239 s on two cores (benchmarks/README.md), 160 s
# on a machine with an H100. By what part of a call compiled code is faster on a GPU is an estimate.
SECONDS_TO_COMPILE = 240.0
SAVED = 0.3


class Run(NamedTuple):
    """What is to be computed.

    Attributes:
        networks: The networks that take part.
        calls: How often each is called, about.
        time_call: Measures how long a call takes as it is written, in seconds.
    """

    networks: Sequence[nn.Module]
    calls: int
    time_call: Callable[[], float]


class CompiledCall:
    """What stands for a network's call: compiled, or as written if compiling it fails.

    The batch may change from call to call without compiling anew.

    Args:
        network: Any module.
        dtype: What it computes in.
        **options: Of ``torch.compile``.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, **options: Any) -> None:
        self.plain = network._call_impl
        self.compiled: Any = torch.compile(self.plain, fullgraph=True, **options)
        self.name = type(network).__name__
        self.record = record_of(network, dtype)
        self.works = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the network."""
        if self.compiled is None:
            return self.plain(*args, **kwargs)
        _free_batch([*args, *kwargs.values()])
        try:
            result = self._call(args, kwargs)
        except Exception as error:
            if self.works or isinstance(error, torch.OutOfMemoryError):
                raise
            self.compiled = None
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            print_log(
                f'{self.name} runs as written, since compiling it failed: {reason}',
                logger='current',
                level=logging.WARNING,
            )
            return self.plain(*args, **kwargs)
        if not self.works:
            self.record.parent.mkdir(parents=True, exist_ok=True)
            self.record.touch()
            self.works = True
        return result

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not torch.cuda.is_available():
            return self.compiled(*args, **kwargs)
        # A recorded graph writes its next result where the last one is.
        torch.compiler.cudagraph_mark_step_begin()
        return self.compiled(*args, **kwargs).clone()


def compile_network(network: nn.Module, dtype: torch.dtype) -> None:
    """Makes the calls of a network, which computes in a type, compiled ones.

    Its modules and weights stay what they are.
    """
    if isinstance(network._compiled_call_impl, CompiledCall):
        return
    os.environ.setdefault('TORCHINDUCTOR_CACHE_DIR', str(compiled_directory()))
    options: dict[str, Any] = {}
    if next(network.parameters()).is_cuda:
        options['mode'] = 'reduce-overhead'  # records CUDA graphs
    # As nn.Module.compile sets it; copies and pickles of the module leave it out.
    network._compiled_call_impl = CompiledCall(network, dtype, **options)


def why_compile(run: Run, device: torch.device, dtype: torch.dtype) -> tuple[bool, str]:
    """Whether compiling networks, to compute in a type, pays for a run; and why."""
    if device.type == 'cpu':
        return False, 'not compiled, which gains little on a CPU'
    if all(record_of(network, dtype).exists() for network in run.networks):
        return True, 'compiled, since the code is there from before'
    seconds = run.time_call()
    saved = run.calls * seconds * SAVED
    pays = saved > SECONDS_TO_COMPILE
    return pays, (
        f'{"compiled" if pays else "not compiled"}, which takes about {SECONDS_TO_COMPILE:.0f} s: '
        f'{run.calls} calls of {seconds:.2g} s would save {saved:.0f} s by it'
    )


def time_call(network: nn.Module, x: Tensor, inputs: Mapping[str, Tensor]) -> float:
    """Seconds that a call of a network takes, the second time."""
    timesteps = torch.ones(len(x), device=x.device)
    seconds = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        network(x, timesteps, **inputs).sum().item()
        seconds = time.perf_counter() - begin
    return seconds


def record_of(network: nn.Module, dtype: torch.dtype) -> Path:
    """The file that is there once a network was compiled, to compute in a type, and that kept.

    It is named after what compiled code depends on: the network, its type, the device, and torch.
    """
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    parameter = next(network.parameters())
    on = torch.cuda.get_device_name(parameter.device) if parameter.is_cuda else 'cpu'
    told = (type(network).__name__, shapes, str(dtype), on, torch.__version__)
    signature = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    return compiled_directory() / f'{signature}.compiled'


def compiled_directory() -> Path:
    """Where compiled code is kept between processes."""
    return cache_directory() / 'compiled'


def _free_batch(inputs: list[Any]) -> None:
    """Tells the compiler that the number of samples is not fixed."""
    for tensor in inputs:
        if isinstance(tensor, Tensor) and tensor.ndim and len(tensor) > 1:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
