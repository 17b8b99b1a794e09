#!/usr/bin/env python
"""What a guided step costs: the networks as the original code ran them, beside each profile.

'plain' is eager float32 code in contiguous memory, with attention as products and a softmax. All
of them take turns in one process, so that whatever else the machine does slows all alike; medians
count. Weights are random: they cost what trained ones cost.

    python benchmarks/bench_sampling.py --batch-size 4
    python benchmarks/bench_sampling.py --model adm-g_ddim25_8xb32_imagenet-64x64 --compiled
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import statistics
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmagic_adm.apis import init_model
from mmagic_adm.guidance.classifier import log_probability
from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import apply_profile, arithmetic_of, choose_profile
from mmagic_adm.networks.blocks import AttentionBlock, GroupNorm32

ROW = '{:20}{:>9}{:>11}{:>9}{:>9}{:>11}{:>9}{:>12}{:>12}{:>12}{:>10}'


class Pair(NamedTuple):
    """A U-Net and a classifier, computed in one way."""

    name: str
    unet: nn.Module
    classifier: nn.Module | None
    profile: Any
    dtype: torch.dtype


@dataclass
class Cost:
    """What a guided step costs in one way.

    Attributes:
        way: How it is computed.
        dtype: In which type.
        batch_size: Samples in the batch.
        first: Seconds of the first step, which compiles, packs, and fills caches.
        step: Seconds of a guided step.
        call: Seconds of the U-Net's call in it.
        eps_error: Relative error of the predicted noise.
        gradient_error: Relative error of the classifier's gradient.
        gib: Memory that the step needs at one time besides what was there, on a GPU: its tensors,
            and workspaces.
        held: What the allocator takes for that, workspaces of every size kept for the next call.
    """

    way: str
    dtype: str
    batch_size: int
    first: float
    step: float
    call: float
    eps_error: float
    gradient_error: float | None
    gib: float | None
    held: float | None


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='adm-g_ddim25_8xb32_imagenet-64x64')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=5, help='how often each takes its turn')
    parser.add_argument('--compiled', action='store_true', help='also fast, compiled')
    parser.add_argument('--half-plain', action='store_true', help='plain computes in float16')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    arguments = parser.parse_args()

    model = init_model(arguments.model, arguments.device, weights=False)
    randomise(model)
    specs: dict[str, Any] = {'exact': 'exact', 'fast': dict(base='fast', compiled=False)}
    if arguments.compiled:
        specs['fast, compiled'] = dict(base='fast', compiled=True, packed=False)
    pairs = [plain_pair(model, arguments.half_plain)]
    pairs += [profiled_pair(model, name, spec) for name, spec in specs.items()]
    work, _ = flops(pairs[0], inputs(model, 1))
    rates = {pair.dtype: product_rate(pair.dtype, model.device) for pair in pairs}
    costs = measure(pairs, inputs(model, arguments.batch_size), arguments.rounds)

    print(f'{arguments.model}, batch of {arguments.batch_size}, {describe(model.device)}')
    print(f'a network call takes {work / 1e9:.0f} GFLOP an image')
    print(
        ROW.format(
            '', 's/step', 'images/s*', 'x plain', 's/call', 'x plain', 'GFLOP/s', 'of product',
            'error eps', 'gradient', 'peak GiB',
        )
    )  # fmt: skip
    plain = costs[0]
    for pair, cost in zip(pairs, costs, strict=True):
        rate = work * cost.batch_size / cost.call
        print(
            ROW.format(
                cost.way,
                f'{cost.step:.3f}',
                f'{cost.batch_size / cost.step / 25:.3f}',
                f'{plain.step / cost.step:.2f}',
                f'{cost.call:.3f}',
                f'{plain.call / cost.call:.2f}',
                f'{rate / 1e9:.0f}',
                f'{rate / rates[pair.dtype]:.0%}',
                f'{cost.eps_error:.1e}',
                '-' if cost.gradient_error is None else f'{cost.gradient_error:.1e}',
                '-' if cost.gib is None else f'{cost.gib:.2f}',
            )
        )
    print('* of 25 steps. Rates of a matrix product:', end=' ')
    print(', '.join(f'{rate / 1e9:.0f} GFLOP/s in {dtype}' for dtype, rate in rates.items()))


def measure(
    pairs: Sequence[Pair],
    batch: dict[str, Tensor],
    rounds: int,
    truth: tuple[Tensor, Tensor | None] | None = None,
) -> list[Cost]:
    """What a guided step costs in each way, which take turns.

    Args:
        pairs: The ways.
        batch: What :func:`inputs` gave.
        rounds: How often each takes its turn.
        truth: Noise and gradient of the first samples, to tell errors by; None takes the first
            way's.
    """
    firsts, memory = [], []
    for pair in pairs:
        with memory_taken(batch['x'].device) as taken:
            firsts.append(seconds(lambda pair=pair: guided_step(pair, batch)))
            guided_step(pair, batch)  # records what is to be recorded
        memory.append(taken or [None, None])
    steps: dict[str, list[float]] = {pair.name: [] for pair in pairs}
    calls: dict[str, list[float]] = {pair.name: [] for pair in pairs}
    for _ in range(rounds):
        for pair in pairs:
            calls[pair.name].append(seconds(lambda pair=pair: network_call(pair, batch)))
            steps[pair.name].append(seconds(lambda pair=pair: guided_step(pair, batch)))
    truth = truth or guided_step(pairs[0], batch)
    costs = []
    for pair, first, (gib, held) in zip(pairs, firsts, memory, strict=True):
        both = zip(guided_step(pair, batch), truth, strict=True)
        errors = [relative_error(found, true) for found, true in both]
        costs.append(
            Cost(
                way=pair.name,
                dtype=str(pair.dtype).removeprefix('torch.'),
                batch_size=len(batch['x']),
                first=first,
                step=statistics.median(steps[pair.name]),
                call=statistics.median(calls[pair.name]),
                eps_error=errors[0],
                gradient_error=errors[1],
                gib=gib,
                held=held,
            )
        )
    return costs


def relative_error(found: Tensor | None, truth: Tensor | None) -> float | None:
    """How far from the truth a result is, for as many samples as that is known of."""
    if found is None or truth is None:
        return None
    found = found[: len(truth)].to(truth)
    return float((found - truth).norm() / truth.norm())


@contextlib.contextmanager
def memory_taken(device: torch.device) -> Iterator[list[float]]:
    """Gives a list of the GiB that a block needed on a GPU at its peak, and the allocator held."""
    taken: list[float] = []
    if device.type != 'cuda':
        yield taken
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    yield taken
    peaks = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    taken += [(peak - there) / 2**30 for peak, there in zip(peaks, before, strict=True)]


def randomise(model: nn.Module) -> None:
    """Fills what is initialised with zeros, so that every layer matters."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def profiled_pair(model: Any, name: str, spec: Any) -> Pair:
    """Copies of the networks in a profile."""
    chosen = choose_profile(spec, model.device, Run((), 1, lambda: 0.0)).profile
    networks = copy.deepcopy(nn.ModuleList([model.unet, model.classifier or nn.Identity()]))
    apply_profile(chosen, networks)
    unet, classifier = networks
    dtype = getattr(torch, chosen.dtype)
    return Pair(name, unet, classifier if model.classifier else None, chosen, dtype)


def plain_pair(model: Any, half: bool) -> Pair:
    """The networks as the original code runs them."""
    networks = copy.deepcopy(nn.ModuleList([model.unet, model.classifier or nn.Identity()]))
    for module in networks.modules():
        if isinstance(module, AttentionBlock):
            module.forward = types.MethodType(unfused_attention, module)  # type: ignore[method-assign]
        if isinstance(module, GroupNorm32):
            module.forward = types.MethodType(converted_norm, module)  # type: ignore[method-assign]
    dtype = torch.float16 if half else torch.float32
    for network in networks:
        if half and hasattr(network, 'compute_in'):
            network.compute_in(dtype)
    unet, classifier = networks
    name = 'plain, float16' if half else 'plain'
    return Pair(name, unet, classifier if model.classifier else None, None, dtype)


def converted_norm(norm: GroupNorm32, x: Tensor) -> Tensor:
    """A group norm of a tensor in float32, and back."""
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.group_norm(x.float(), norm.num_groups, weight, bias, norm.eps).to(x.dtype)


def unfused_attention(block: AttentionBlock, x: Tensor) -> Tensor:
    """Self-attention by two products and a softmax over all pairs of pixels."""
    n, channels, *size = x.shape
    pixels = x.reshape(n, channels, -1)
    qkv = F.conv1d(block.norm(pixels), block.qkv.weight, block.qkv.bias)
    width = channels // block.num_heads
    if block.use_new_attention_order:
        query, key, value = (part.reshape(-1, width, pixels.shape[2]) for part in qkv.chunk(3, 1))
    else:
        query, key, value = qkv.reshape(-1, 3 * width, pixels.shape[2]).split(width, dim=1)
    scale = 1 / math.sqrt(math.sqrt(width))
    weights = torch.einsum('bct,bcs->bts', query * scale, key * scale).float().softmax(dim=-1)
    mixed = torch.einsum('bts,bcs->bct', weights.to(x.dtype), value).reshape(pixels.shape)
    total = pixels + F.conv1d(mixed, block.proj_out.weight, block.proj_out.bias)
    return total.reshape(n, channels, *size)


def inputs(model: Any, count: int) -> dict[str, Tensor]:
    """A noisy batch in the middle of the process."""
    size, generator = model.unet.image_size, torch.Generator().manual_seed(0)
    x = torch.randn(count, model.unet.in_channels, size, size, generator=generator)
    labels = torch.arange(count) % (model.num_classes or 1)
    timesteps = torch.tensor(500).expand(count)
    device = model.device
    return dict(x=x.to(device), t=timesteps.to(device).expand(count), labels=labels.to(device))


def arithmetic(pair: Pair) -> contextlib.AbstractContextManager[None]:
    """That of the profile; plain code has torch's own, as the original code had."""
    return contextlib.nullcontext() if pair.profile is None else arithmetic_of(pair.profile)


@torch.no_grad()
def network_call(pair: Pair, batch: dict[str, Tensor]) -> Tensor:
    """What the U-Net says."""
    labels = {} if pair.unet.num_classes is None else dict(labels=batch['labels'])
    with arithmetic(pair):
        return pair.unet(batch['x'], batch['t'], **labels)


def guided_step(pair: Pair, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """What the U-Net says, and the gradient of the classifier."""
    eps = network_call(pair, batch)
    if pair.classifier is None:
        return eps, None
    x = batch['x'].clone().requires_grad_()
    with arithmetic(pair):
        score = log_probability(pair.classifier(x, batch['t']), batch['labels'])
        (gradient,) = torch.autograd.grad(score.sum(), x)
    return eps, gradient


def flops(plain: Pair, batch: dict[str, Tensor]) -> tuple[float, float]:
    """Floating-point operations of a call and of a guided step; of plain code every part counts."""
    with FlopCounterMode(display=False) as counter:
        network_call(plain, batch)
    call = step = counter.get_total_flops()
    if plain.classifier is not None:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            plain.classifier(batch['x'], batch['t'])
        # Of its way back, which goes to the image and not to the weights, there is as much.
        step += 2 * counter.get_total_flops()
    return float(call), float(step)


def product_rate(dtype: torch.dtype, device: torch.device, size: int | None = None) -> float:
    """What a large matrix product reaches, in FLOP/s."""
    size = size or (8192 if device.type == 'cuda' else 4096)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in '12')
    times = [seconds(lambda: left @ right) for _ in range(12)]
    return 2 * size**3 / statistics.median(times[2:])


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    synchronise()
    begin = time.perf_counter()
    function()
    synchronise()
    return time.perf_counter() - begin


def synchronise() -> None:
    """Waits for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def describe(device: torch.device) -> str:
    """The machine, in words."""
    on = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    return f'{on}, {torch.get_num_threads()} threads, torch {torch.__version__}'


if __name__ == '__main__':
    main()
