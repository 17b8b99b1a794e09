"""Peak memory of sampling from a config with random weights, on the CPU.

    python benchmarks/peak_memory.py adm-g-u_ddpm250_8xb32_imagenet-128x128-512x512 --batch-size 4

Steps do not add to the peak, so two are enough to see it.
"""

import argparse
import resource

import torch

from mmagic_adm.apis import init_model


def peak_gib() -> float:
    """The most memory that this process had resident so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Samples, and prints the peaks before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='name of a config')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--steps', type=int, default=2)
    parser.add_argument('--profile', default='exact', choices=['exact', 'fast'])
    arguments = parser.parse_args()

    model = init_model(arguments.model, 'cpu', weights=False, profile=arguments.profile)
    loaded = peak_gib()
    result = model.infer(
        batch_size=arguments.batch_size,
        seeds=0,
        num_inference_steps=arguments.steps,
        show_progress=True,
    )
    print(
        f'{arguments.model}, batch of {arguments.batch_size}, {arguments.profile}, '
        f'{torch.get_num_threads()} threads, images {tuple(result["samples"].shape)}: '
        f'{loaded:.1f} GiB with the model built, {peak_gib():.1f} GiB at the peak'
    )


if __name__ == '__main__':
    main()
