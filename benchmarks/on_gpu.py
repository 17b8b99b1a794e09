#!/usr/bin/env python
"""All that is to be known of one GPU, in one command: do the tests pass, and what does it cost.

It needs torch and what the package imports, and no network; weights are random. Every part runs in
a process of its own, for no longer than there is time, and what it has found is on disk at once.
What one run has compiled the next one finds in the package's cache, so that what had no time does
not start anew. Results are `results.json`, and `results.md`, the section of docs/performance.md
that `--into` puts there.

    python benchmarks/on_gpu.py outputs/on_gpu
    python benchmarks/on_gpu.py outputs/on_gpu --parts steps_64 --seconds 120
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bench_evaluation
import bench_sampling
import bench_training
import finetune_memory
import torch
from bench_sampling import Cost, Pair, inputs, measure, seconds
from gpu_page import markdown, put_into

from mmagic_adm.apis import init_model
from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import apply_profile, choose_profile

ROOT = Path(__file__).resolve().parents[1]
Keep = Callable[..., None]


@dataclasses.dataclass(frozen=True)
class Work:
    """How much of everything is measured.

    Attributes:
        models: A config, the batch of its table, and other batches, for each size of image.
        compiled: The profile that is compiled; None leaves that out.
        rounds: How often a step is timed.
        product: Rows of the matrices whose product tells the rate; None takes the device's.
        evaluated: Samples of an evaluation, and images that they are compared to.
        training: Batch, iterations that are timed, and files to load.
        tuning: Batches of fine-tuning, and what its network has other than the config's.
    """

    models: dict[str, tuple[str, int, tuple[int, ...]]]
    compiled: str | None = 'fast'
    rounds: int = 5
    product: int | None = None
    evaluated: tuple[int, int] = (10_000, 10_000)
    training: tuple[int, int, int] = (64, 20, 512)
    tuning: tuple[int, ...] = (4, 16)
    tuned: dict[str, Any] = dataclasses.field(default_factory=dict)


FULL = Work(
    models={
        '64': ('adm-g_ddim25_8xb32_imagenet-64x64', 32, (8, 64, 128, 256)),
        '256': ('adm-g_ddim25_8xb32_imagenet-256x256', 8, (1, 4, 16, 32)),
    }
)
# For trying the script itself, on anything.
TINY = Work(
    models=dict.fromkeys(('64', '256'), ('adm-g_ddim25_digits-16x16', 2, (3,))),
    compiled=None,
    rounds=1,
    product=64,
    evaluated=(40, 40),
    training=(2, 2, 4),
    tuning=(1,),
    tuned=dict(
        model_channels=32,
        image_size=16,
        channel_mult=(1,),
        attention_resolutions=(),
        num_head_channels=32,
    ),
)


def test_cuda(work: Work, keep: Keep) -> None:
    """The tests that need a GPU."""
    tests = (ROOT / 'tests').rglob('test_*.py')
    files = sorted(str(path) for path in tests if 'mark.cuda' in path.read_text())
    command = [sys.executable, '-m', 'pytest', '-q', '-m', 'cuda', '-p', 'no:cacheprovider', *files]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    keep(passed=done.returncode == 0, seconds=time.perf_counter() - begin, summary=lines[-1:])
    if done.returncode:
        keep(output=lines[-200:] + done.stderr.splitlines()[-20:])


def compile_anew(size: str) -> Callable[[Work, Keep], None]:
    """How long it takes to compile each network, if nothing is there from before."""

    def part(work: Work, keep: Keep) -> None:
        if work.compiled is not None:
            model = built(work, size)
            pair, batch = in_place(model, work.compiled), inputs(model, work.models[size][1])
            keep(unet=seconds(lambda: bench_sampling.network_call(pair, batch)))
            keep(both=seconds(lambda: bench_sampling.guided_step(pair, batch)))

    return part


def guided_steps(size: str) -> Callable[[Work, Keep], None]:
    """What a guided step costs in each way, beside the rate of a matrix product."""

    def part(work: Work, keep: Keep) -> None:
        model = built(work, size)
        count, others = work.models[size][1:]
        device, on_gpu = model.device, model.device.type == 'cuda'
        rate = bench_sampling.product_rate(
            torch.bfloat16 if on_gpu else torch.float32, device, work.product
        )
        plain = bench_sampling.plain_pair(model, half=on_gpu)
        per_call, per_step = bench_sampling.flops(plain, inputs(model, 1))
        keep(
            model=work.models[size][0],
            device=bench_sampling.describe(device),
            product_rate=rate,
            flop_of_a_call=per_call,
            flop_of_a_step=per_step,
        )
        truth = on_cpu(model, inputs(model, count))
        costs: list[Cost] = []

        def row(pair: Pair, batch_size: int = count, rounds: int = work.rounds) -> Cost:
            (cost,) = measure([pair], inputs(model, batch_size), rounds, truth)
            costs.append(cost)
            keep(costs=[dataclasses.asdict(cost) for cost in costs])
            return cost

        def spent(pair: Pair) -> dict[str, Any]:
            return kernels(pair, inputs(model, count))

        row(plain)
        del plain
        specs = {'fast, not compiled': {}, 'the same, channels last': dict(channels_last=True)}
        for name, changes in specs.items():
            fast = dict(base='fast', compiled=False, **changes)
            pair = bench_sampling.profiled_pair(model, name, fast)
            row(pair)
            keep(**{f'kernels of {name}': spent(pair)})
        exact = bench_sampling.profiled_pair(model, 'exact', 'exact')
        if work.compiled is not None:
            pair = in_place(model, work.compiled)
        cost = row(pair)
        networks = [pair.unet, pair.classifier]
        calls = [getattr(network, '_compiled_call_impl', None) for network in networks]
        keep(compiled=[call is not None and call.works for call in calls])
        keep(**{f'kernels of {pair.name}': spent(pair)})
        keep(loop=loop(model, cost.step, count))
        row(exact)
        for batch_size in others:
            row(pair, batch_size, rounds=3)

    return part


def train(work: Work, keep: Keep) -> None:
    """Images a second in training, in bfloat16."""
    batch_size, iterations, images = work.training
    arguments = argparse.Namespace(
        batch_size=batch_size,
        iterations=iterations,
        warm_up=min(5, iterations - 1),
        rounds=1,
        workers=min(8, (os.cpu_count() or 1) // 2),
        loader_images=images,
    )
    keep(**bench_training.measure(arguments), workers=arguments.workers)
    if torch.cuda.is_available():
        keep(gib=torch.cuda.max_memory_allocated() / 2**30)


def evaluate(work: Work, keep: Keep) -> None:
    """Seconds of an evaluation beside its networks."""
    samples, references = work.evaluated
    arguments = argparse.Namespace(
        num_samples=samples, num_reference=references, image_size=64, batch_size=64
    )
    keep(samples=samples, references=references, parts=bench_evaluation.measure(arguments))


def tune(work: Work, keep: Keep) -> None:
    """Memory of fine-tuning the 256x256 network."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    rows: list[dict[str, Any]] = []
    for batch_size in work.tuning:
        for use_checkpoint in (True, False):
            if device == 'cuda':
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            found = finetune_memory.measure(batch_size, use_checkpoint, device, **work.tuned)
            rows.append(dict(batch_size=batch_size, use_checkpoint=use_checkpoint, **found))
            keep(rows=rows)


# Those of a row run beside each other, since each leaves the GPU idle; then the seconds that they
# may take, of BUDGET in all; of more, they may take as much more.
BUDGET = 480.0
PARTS: list[tuple[dict[str, Callable[[Work, Keep], None]], float]] = [
    ({'tests': test_cuda, 'compile_64': compile_anew('64')}, 240),
    ({'steps_64': guided_steps('64')}, 120),
    ({'training': train}, 70),
    ({'evaluation': evaluate}, 70),
    ({'tuning': tune}, 60),
    ({'compile_256': compile_anew('256')}, 400),
    ({'steps_256': guided_steps('256')}, 200),
]


def built(work: Work, size: str) -> Any:
    """A model with random weights."""
    model = init_model(work.models[size][0], weights=False)
    model.use_profile(None)
    bench_sampling.randomise(model)
    return model


def in_place(model: Any, spec: str) -> Pair:
    """The model's own networks, in a profile."""
    chosen = choose_profile(spec, model.device, Run((), 1, lambda: 0.0)).profile
    apply_profile(chosen, model)
    dtype = getattr(torch, chosen.dtype)
    return Pair(spec, model.unet, model.classifier, chosen, dtype)


def on_cpu(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the first sample's guided step comes to in float32 on the CPU."""
    exact = bench_sampling.profiled_pair(model.cpu(), 'exact', 'exact')
    truth = bench_sampling.guided_step(exact, {name: x[:1].cpu() for name, x in batch.items()})
    model.to(batch['x'].device)
    return truth


@torch.no_grad()
def loop(model: Any, step: float, batch_size: int) -> dict[str, Any]:
    """How much longer sampling takes than its steps, and where it waits for the GPU."""
    arguments = dict(batch_size=batch_size, seeds=0)
    steps: list[Any] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        if model.device.type == 'cuda':
            torch.cuda.set_sync_debug_mode('warn')
        model.infer(**arguments, on_step=steps.append)
    if model.device.type == 'cuda':
        torch.cuda.set_sync_debug_mode('default')
    caught = [warning for warning in caught if 'synchron' in str(warning.message)]
    waits = collections.Counter(f'{Path(w.filename).name}:{w.lineno}' for w in caught)
    whole = seconds(lambda: model.infer(**arguments))
    share = 1 - len(steps) * step / whole
    return dict(seconds=whole, steps=len(steps), share=share, waits=dict(waits))


def kernels(pair: Pair, batch: dict[str, torch.Tensor], most: int = 30) -> dict[str, Any]:
    """How many kernels and copies a guided step is on the GPU, and which take the most time."""
    if not torch.cuda.is_available():
        return {}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        bench_sampling.guided_step(pair, batch)
        torch.cuda.synchronize()
    events = sorted(profile.key_averages(), key=lambda e: -e.self_device_time_total)
    return dict(
        count=sum(event.count for event in events if event.self_device_time_total > 0),
        milliseconds=sum(event.self_device_time_total for event in events) / 1e3,
        longest=[
            dict(
                name=event.key[:120],
                count=event.count,
                milliseconds=event.self_device_time_total / 1e3,
            )
            for event in events[:most]
        ],
    )


def run_parts(out: Path, work_name: str, wanted: Iterable[str], budget: float) -> dict[str, Any]:
    """Runs every part in a process of its own; gives, and writes, what they have found.

    Args:
        out: Folder of the results.
        work_name: How much to measure: 'full' or 'tiny'.
        wanted: The parts to run.
        budget: Seconds for all of them.
    """
    end = time.monotonic() + budget
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        parts = Path(scratch) / 'parts'
        parts.mkdir()
        environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
        environment['PYTHONPATH'] = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
        for together, limit in PARTS:
            names = [name for name in together if name in wanted]
            until = min(end, time.monotonic() + limit * max(1.0, budget / BUDGET))
            command = [sys.executable, __file__, str(parts), '--work', work_name, '--only']
            running = {name: subprocess.Popen([*command, name], env=environment) for name in names}
            while any(process.poll() is None for process in running.values()):
                time.sleep(0.5)
                if time.monotonic() > until:
                    for process in running.values():
                        process.kill()
            for name, process in running.items():
                found = read(parts / f'{name}.json')
                ended = {-9: 'was stopped: no time was left', 0: 'done'}
                found['ended'] = ended.get(process.returncode, 'failed')
                results[name] = found
                print(f'{name}: {found["ended"]}, {end - time.monotonic():.0f} s left', flush=True)
            write(out, results)
    return results


def run_part(folder: Path, name: str, work: Work) -> None:
    """Runs one part, here; keeps what it finds in a file as it finds it."""
    found: dict[str, Any] = {}
    file = folder / f'{name}.json'

    def keep(**figures: Any) -> None:
        found.update(figures)
        file.with_suffix('.new').write_text(json.dumps(found))
        file.with_suffix('.new').replace(file)

    begin = time.perf_counter()
    (part,) = (together[name] for together, _ in PARTS if name in together)
    part(work, keep)
    keep(took=time.perf_counter() - begin)


def read(file: Path) -> dict[str, Any]:
    """What a part has kept."""
    return json.loads(file.read_text()) if file.exists() else {}


def write(out: Path, results: dict[str, Any]) -> None:
    """Writes the results as they are, and as a section of the documentation."""
    (out / 'results.json').write_text(json.dumps(results, indent=1))
    (out / 'results.md').write_text(markdown(results))


def main() -> int:
    """Measures; gives 1 where a part has failed or a test did."""
    names = [name for together, _ in PARTS for name in together]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('out', type=Path, metavar='OUT', help='folder of the results')
    parser.add_argument('--parts', nargs='+', choices=names, default=names, metavar='PART')
    parser.add_argument('--seconds', type=float, default=BUDGET, help='time for all of it')
    parser.add_argument('--work', choices=('full', 'tiny'), default='full', help='how much')
    parser.add_argument('--into', type=Path, metavar='PAGE', help='put the results into this page')
    parser.add_argument('--only', choices=names, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_part(arguments.out, arguments.only, {'full': FULL, 'tiny': TINY}[arguments.work])
        return 0
    results = run_parts(arguments.out, arguments.work, arguments.parts, arguments.seconds)
    print((arguments.out / 'results.md').read_text())
    if arguments.into:
        put_into(arguments.into, markdown(results))
    failed = [name for name, found in results.items() if found['ended'] == 'failed']
    return int(bool(failed) or not results.get('tests', {}).get('passed', True))


if __name__ == '__main__':
    sys.exit(main())
