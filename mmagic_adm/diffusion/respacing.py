"""The family's language for a walk of fewer steps: which of the original timesteps are kept."""

from collections.abc import Sequence

from mmagic_adm.arguments import whole


def space_timesteps(num_train_timesteps: int, spec: str | int | Sequence[int] | None) -> list[int]:
    """The original timesteps that a spec keeps, smallest first.

    Args:
        num_train_timesteps: Timesteps of the process that the network is trained on.
        spec: ``'250'`` spreads 250 steps evenly over the process, both ends included.
            ``'10,15,20'`` cuts the process in equal sections and spreads 10, 15 and 20 steps over
            them, the least noisy section first. ``'ddim25'`` keeps every k-th timestep from the
            first one on, k the whole number that gives 25. A number or a sequence of numbers
            stands for the string; ``None`` or ``''`` keeps every timestep.

    Raises:
        ValueError: The spec is not in the language, or the process is too short for it.
    """
    if spec is None or spec == '':
        return list(range(num_train_timesteps))
    if isinstance(spec, str) and spec.startswith('ddim'):
        return _every_kth(num_train_timesteps, _whole_number(spec[len('ddim') :], spec), spec)
    if isinstance(spec, str):
        counts = [_whole_number(part, spec) for part in spec.split(',')]
    else:
        listed = spec if isinstance(spec, Sequence) and spec else [spec]
        counts = [_whole_number(part, spec) for part in listed]
    return _by_section(num_train_timesteps, counts, spec)


def has_even_spacing(num_train_timesteps: int, steps: int) -> bool:
    """Whether ``'ddim{steps}'`` exists in a process of this length."""
    return steps in _stride_by_count(num_train_timesteps)


def _whole_number(part: object, spec: object) -> int:
    if isinstance(part, str) and part.strip().isdecimal():
        part = int(part)
    try:
        return whole(part, '')
    except ValueError:
        raise ValueError(
            f'Cannot read {part!r} in the timestep spec {spec!r}: give a number of steps from 1 '
            "on, as in '250', 'ddim25' or '10,15,20'"
        ) from None


def _every_kth(num_train_timesteps: int, steps: int, spec: str) -> list[int]:
    strides = _stride_by_count(num_train_timesteps)
    if steps not in strides:
        fewer = max((count for count in strides if count < steps), default=None)
        more = min((count for count in strides if count > steps), default=None)
        nearest = ' and '.join(f"'ddim{count}'" for count in (fewer, more) if count)
        raise ValueError(
            f'{spec!r} does not exist: no whole stride keeps {steps} of {num_train_timesteps} '
            f"timesteps. Nearest are {nearest}; '{steps}' spaces them by a fraction"
        )
    return list(range(0, num_train_timesteps, strides[steps]))


def _stride_by_count(num_train_timesteps: int) -> dict[int, int]:
    """The smallest stride for each number of timesteps that a whole stride can keep."""
    strides: dict[int, int] = {}
    for stride in range(1, num_train_timesteps + 1):
        strides.setdefault(-(-num_train_timesteps // stride), stride)
    return strides


def _by_section(num_train_timesteps: int, counts: Sequence[int], spec: object) -> list[int]:
    size, remainder = divmod(num_train_timesteps, len(counts))
    kept: list[int] = []
    start = 0
    for section, count in enumerate(counts):
        length = size + (section < remainder)
        if count > length:
            raise ValueError(
                f'The timestep spec {spec!r} asks for {count} steps in a section of {length} '
                f'({num_train_timesteps} timesteps in {len(counts)} sections)'
            )
        stride = (length - 1) / (count - 1) if count > 1 else 1.0
        # Added up, not multiplied: rounding must fall as it does in the original.
        position = 0.0
        for _ in range(count):
            kept.append(start + round(position))
            position += stride
        start += length
    return kept
