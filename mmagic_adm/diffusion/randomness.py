"""Noise for a batch in which every sample may have a random stream of its own, in its precision."""

from collections.abc import Sequence

import torch

from mmagic_adm.arguments import whole

# The CPU's generator takes 32 bits of a seed; with more, two seeds could make the same sample.
MAX_SEED = 2**32 - 1
A_SEED = f'a seed is a whole number from 0 to {MAX_SEED}'

Generators = torch.Generator | Sequence[torch.Generator] | None


def check_seeds(first: int, count: int) -> None:
    """Refuses samples, whose seeds are counted up from the first one's, if some would have none."""
    if whole(first, A_SEED, 0) > MAX_SEED:
        raise ValueError(f'{A_SEED}, not {first}')
    if first + count - 1 > MAX_SEED:
        raise ValueError(
            f'seeds go up to {MAX_SEED}, and {count} samples from seed {first} on need others: '
            'take fewer, or a smaller first seed'
        )


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Half-precision tensors in float32, others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def randn_samples(
    shape: Sequence[int],
    generator: Generators = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Standard normal noise for a batch.

    It is drawn in float32 whatever type is asked for, so that a stream gives the same noise in
    every precision, and on the generator's device, so that a CPU generator gives the same noise
    on every machine.

    Args:
        shape: Shape of the batch, (N, ...).
        generator: One for each of the N samples, whose noise then depends on it alone and not on
            the batch; or one for the whole batch; or ``None`` for torch's global one.
        device: Where the noise goes.
        dtype: What the noise is converted to.

    Raises:
        ValueError: Another number of generators than of samples.
    """
    streams: Sequence[torch.Generator | None]
    if generator is None or isinstance(generator, torch.Generator):
        streams = [generator]
    else:
        check_generators(generator, shape[0])
        streams = generator
    home = device if streams[0] is None else streams[0].device
    noise = torch.empty(tuple(shape), device=home)
    for part, stream in zip(noise.view(len(streams), -1), streams, strict=True):
        part.normal_(generator=stream)
    # In one copy, where it was drawn elsewhere.
    return noise.to(device=device, dtype=dtype)


def randn_like_samples(samples: torch.Tensor, generator: Generators = None) -> torch.Tensor:
    """Standard normal noise of the samples' shape, device and type; see `randn_samples`."""
    return randn_samples(samples.shape, generator, device=samples.device, dtype=samples.dtype)


def check_generators(generators: Sequence[torch.Generator], num_samples: int) -> None:
    """Refuses another number of generators than of samples."""
    if len(generators) != num_samples:
        raise ValueError(
            f'{len(generators)} generators for a batch of {num_samples}: give one a sample'
        )
