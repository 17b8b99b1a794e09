"""Averages of the weights whose length is chosen after the training (EDM2, section 3).

A power-function average of exponent γ weighs the weights at time τ of t by τ^γ. It is told by its
width as a share of the training, its relative standard deviation. Those of a few widths, kept from
time to time, can be mixed so that they come close to that of any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.engine.moving_averages import exponent_of

Array = NDArray[np.float64]


def posthoc_average(checkpoints: Sequence[str | Path], std: float) -> dict[str, Tensor]:
    """The power-function average of this width at the time of the latest checkpoint.

    Args:
        checkpoints: Files of a training with ``MovingAverages(stds=...)``, as many as are left.
        std: Relative standard deviation of the average, such as 0.1.

    Returns:
        The model's state dict, in float32.

    Raises:
        ValueError: There are no such averages in them.
    """
    exponent_of(std)  # refuses one that is none
    snapshots = []
    for path in checkpoints:
        for name, state in _averages_in(path).items():
            snapshots.append((float(state['steps']), float(name.removeprefix('std=')), path, name))
    if not snapshots:
        raise ValueError(
            f'none of {len(checkpoints)} checkpoints holds power-function averages: train with '
            'MovingAverages(stds=(0.05, 0.1)), and keep its checkpoints (max_keep_ckpts=-1)'
        )
    times, stds = (np.array([each[i] for each in snapshots], dtype=float) for i in (0, 1))
    shares = coefficients(times, stds, np.array([times.max()]), np.array([std]))[:, 0]
    total: dict[str, Tensor] = {}
    for share, (_, _, path, name) in zip(shares.tolist(), snapshots, strict=True):
        for key, value in _averages_in(path)[name].items():
            if key.startswith('module.'):
                key = key.removeprefix('module.')
                is_number = value.is_floating_point()
                total[key] = total.get(key, 0) + share * value.float() if is_number else value
    return total


def coefficients(times: Array, stds: Array, at: Array, wanted: Array) -> Array:
    """Shares of averages in others that are nearest to them (EDM2, algorithm 3).

    Args:
        times: When each average was kept, (I,).
        stds: Its relative standard deviation.
        at: The time of each that is wanted, (O,).
        wanted: Its relative standard deviation.

    Returns:
        (I, O); those of each add up to 1.
    """
    own, other = _exponents(stds), _exponents(wanted)
    products = profile_product(times[:, None], own[:, None], times, own)
    targets = profile_product(times[:, None], own[:, None], at, other)
    shares = np.linalg.solve(products, targets)
    return shares / shares.sum(axis=0)


def profile_product(t_a: Array, gamma_a: Array, t_b: Array, gamma_b: Array) -> Array:
    """∫ p_a(τ) p_b(τ) dτ of two profiles p(τ) = (γ + 1) τ^γ / t^(γ + 1) (EDM2, eq. 151)."""
    sooner, later = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    of_later = np.where(t_a < t_b, gamma_b, gamma_a)
    # Both are there until the sooner ends.
    shared = (sooner / later) ** of_later / later
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * shared


def _exponents(stds: Array) -> Array:
    return np.array([exponent_of(float(std)) for std in stds])


def _averages_in(path: str | Path) -> Mapping[str, Any]:
    """The power-function averages of a runner's checkpoint, by their names."""
    averages = read_document(path).others.get('other_averages', {})
    return {name: state for name, state in averages.items() if name.startswith('std=')}
