"""Time and memory of steps of DiT-XL/2 with random weights, guided or not, on the CPU.

    python benchmarks/bench_latents.py 512 --guidance ots --dtype bfloat16

One process measures one case, so that its peak is its own. A step is one of one image, and takes so
many seconds of processor time: what else the machine does is left out with OMP_NUM_THREADS=1.
"""

import argparse
import itertools
import resource
import time

import torch

from mmagic_adm.apis import init_model

RESNET = dict(type='TorchvisionClassifier', name='resnet101', weights=None)
GUIDANCE = {
    'none': None,
    'cfg': dict(type='ClassifierFreeGuidance', scale=0.5, channels=3),
    'ots': dict(type='OffTheShelfGuidance', classifier=RESNET, softplus_beta=3.0),
}


def peak_gib() -> float:
    """The most memory that this process had resident so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Prints what a step took, decoding the end, and the peaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('size', type=int, choices=[256, 512])
    parser.add_argument('--guidance', choices=list(GUIDANCE), default='none')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16'], default='float32')
    parser.add_argument('--steps', type=int, default=2)
    arguments = parser.parse_args()

    name = f'dit-xl-2_ddpm250_8xb32_imagenet-{arguments.size}x{arguments.size}'
    model = init_model(name, 'cpu', weights=False, guidance=GUIDANCE[arguments.guidance])
    model.unet.compute_in(getattr(torch, arguments.dtype))
    built, times = peak_gib(), [time.process_time()]
    model.infer(
        seeds=0,
        labels=0,
        num_inference_steps=arguments.steps,
        on_step=lambda step: times.append(time.process_time()),
    )
    end = time.process_time()
    steps = ', '.join(f'{b - a:.1f}' for a, b in itertools.pairwise(times))
    print(
        f'{arguments.size}, {arguments.guidance}, {arguments.dtype}, {torch.get_num_threads()} '
        f'threads: steps of {steps} s, {end - times[-1]:.1f} s to decode; {built:.1f} GiB built, '
        f'{peak_gib():.1f} GiB at the peak'
    )


if __name__ == '__main__':
    main()
