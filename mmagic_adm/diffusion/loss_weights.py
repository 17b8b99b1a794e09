"""How much the error at a noise level weighs in training, by its signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mmagic_adm.diffusion.noise_schedules import Array

Weighting = Callable[[Array], Array]
"""Maps signal-to-noise ratios, ᾱ / (1 - ᾱ), to factors on the squared error in the noise."""


def min_snr(snr: Array, gamma: float = 5.0) -> Array:
    """The error in the image weighs the ratio, γ at most (Hang et al. 2023)."""
    return snr.clip(max=gamma) / snr


def p2(snr: Array, k: float = 1.0, gamma: float = 1.0) -> Array:
    """Steps that only clean up weigh less (Choi et al. 2022)."""
    return (k + snr) ** -gamma


WEIGHTINGS: Mapping[str, Callable[..., Array]] = dict(min_snr=min_snr, p2=p2)


def build_weighting(config: str | Mapping[str, Any]) -> Weighting:
    """The weighting of a name, or of a dict with that as ``type`` and its arguments."""
    arguments: dict[str, Any] = dict(type=config) if isinstance(config, str) else dict(config)
    name = arguments.pop('type', None)
    if name not in WEIGHTINGS:
        raise ValueError(f'loss_weighting is one of {", ".join(WEIGHTINGS)}, not {name!r}')
    return partial(WEIGHTINGS[name], **arguments)
