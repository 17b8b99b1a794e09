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
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmagic_adm.apis import init_model
from mmagic_adm.guidance.classifier import log_probability
from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import apply_profile, arithmetic_of, choose_profile
from mmagic_adm.networks.blocks import AttentionBlock

PRODUCT_SIZE = 4096
ROW = '{:20}{:>9}{:>11}{:>9}{:>9}{:>11}{:>9}{:>12}{:>12}{:>10}'


class Pair(NamedTuple):
    """A U-Net and a classifier, computed in one way."""

    name: str
    unet: nn.Module
    classifier: nn.Module | None
    profile: Any
    dtype: torch.dtype


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
    pairs = ways(model, arguments)
    batch = inputs(model, arguments.batch_size)
    work = flops(pairs[0], batch)
    rates = {dtype: product_rate(dtype, model.device) for dtype in {pair.dtype for pair in pairs}}
    for pair in pairs:  # compiles, packs, and fills caches
        begin = time.perf_counter()
        guided_step(pair, batch)
        print(f'{pair.name}: first step {time.perf_counter() - begin:.1f} s')

    steps: dict[str, list[float]] = {pair.name: [] for pair in pairs}
    calls: dict[str, list[float]] = {pair.name: [] for pair in pairs}
    for _ in range(arguments.rounds):
        for pair in pairs:
            calls[pair.name].append(seconds(lambda pair=pair: network_call(pair, batch)))
            steps[pair.name].append(seconds(lambda pair=pair: guided_step(pair, batch)))

    print(f'{arguments.model}, batch of {arguments.batch_size}, {describe(model.device)}')
    print(f'a network call takes {work / 1e9:.0f} GFLOP')
    print(
        ROW.format(
            '', 's/step', 'images/s*', 'x plain', 's/call', 'x plain', 'GFLOP/s', 'of product',
            'error eps', 'peak MiB',
        )
    )  # fmt: skip
    plain = pairs[0].name
    reference, _ = guided_step(pairs[0], batch)
    for pair in pairs:
        step, call = (statistics.median(times[pair.name]) for times in (steps, calls))
        eps, _ = guided_step(pair, batch)
        error = (eps - reference).norm() / reference.norm()
        rate = work / call / 1e9
        print(
            ROW.format(
                pair.name,
                f'{step:.3f}',
                f'{arguments.batch_size / step / 25:.3f}',
                f'{statistics.median(steps[plain]) / step:.2f}',
                f'{call:.3f}',
                f'{statistics.median(calls[plain]) / call:.2f}',
                f'{rate:.0f}',
                f'{rate / rates[pair.dtype]:.0%}',
                f'{error:.1e}',
                peak_memory(pair, batch),
            )
        )
    print('* of 25 steps. Rates of a matrix product:', end=' ')
    print(', '.join(f'{rate:.0f} GFLOP/s in {dtype}' for dtype, rate in rates.items()))


def randomise(model: nn.Module) -> None:
    """Fills what is initialised with zeros, so that every layer matters."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def ways(model: Any, arguments: argparse.Namespace) -> list[Pair]:
    """The pair of networks as plain code, and in each profile."""
    device = model.device
    pairs = [plain_pair(model, arguments.half_plain)]
    specs: dict[str, Any] = {
        'exact': 'exact',
        'fast': dict(base='fast', compiled=False),
    }
    if arguments.compiled:
        specs['fast, compiled'] = dict(base='fast', compiled=True, packed=False)
    for name, spec in specs.items():
        chosen = choose_profile(spec, device, Run((), 1, lambda: 0.0)).profile
        networks = copy.deepcopy(nn.ModuleList([model.unet, model.classifier or nn.Identity()]))
        apply_profile(chosen, networks)
        unet, classifier = networks
        dtype = getattr(torch, chosen.dtype)
        pairs.append(Pair(name, unet, classifier if model.classifier else None, chosen, dtype))
    return pairs


def plain_pair(model: Any, half: bool) -> Pair:
    """The networks as the original code runs them."""
    networks = copy.deepcopy(nn.ModuleList([model.unet, model.classifier or nn.Identity()]))
    for module in networks.modules():
        if isinstance(module, AttentionBlock):
            module.forward = types.MethodType(unfused_attention, module)  # type: ignore[method-assign]
    dtype = torch.float16 if half else torch.float32
    for network in networks:
        if half and hasattr(network, 'compute_in'):
            network.compute_in(dtype)
    unet, classifier = networks
    name = 'plain, float16' if half else 'plain'
    return Pair(name, unet, classifier if model.classifier else None, None, dtype)


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


def flops(plain: Pair, batch: dict[str, Tensor]) -> float:
    """Floating-point operations of a call; counted of the plain network, whose parts all count."""
    with FlopCounterMode(display=False) as counter:
        network_call(plain, batch)
    return float(counter.get_total_flops())


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """What a large matrix product reaches, in GFLOP/s."""
    left, right = (torch.randn(PRODUCT_SIZE, PRODUCT_SIZE, device=device).to(dtype) for _ in '12')
    times = [seconds(lambda: left @ right) for _ in range(7)]
    return 2 * PRODUCT_SIZE**3 / statistics.median(times[1:]) / 1e9


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


def peak_memory(pair: Pair, batch: dict[str, Tensor]) -> str:
    """Most memory of a step besides the weights, in MiB; on GPUs, where it is counted."""
    if not batch['x'].is_cuda:
        return '-'
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    guided_step(pair, batch)
    return f'{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}'


def describe(device: torch.device) -> str:
    """The machine, in words."""
    on = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    return f'{on}, {torch.get_num_threads()} threads, torch {torch.__version__}'


if __name__ == '__main__':
    main()
