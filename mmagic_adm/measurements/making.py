"""Operators and methods by their names, and measurements of images that are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from mmagic_adm.diffusion import Generators, randn_like_samples
from mmagic_adm.measurements.ddnm import DDNM, DDNMPlus
from mmagic_adm.measurements.diffpir import DiffPIR
from mmagic_adm.measurements.dps import DPS
from mmagic_adm.measurements.fourier import KernelBlur, MaskedFourier, MotionBlur
from mmagic_adm.measurements.given import FunctionOperator, Physics, PhysicsOperator
from mmagic_adm.measurements.jpeg import JPEG
from mmagic_adm.measurements.masks import BoxInpainting, Inpainting, RandomInpainting
from mmagic_adm.measurements.mmps import MMPS
from mmagic_adm.measurements.operator import Measurement, Operator, Shape
from mmagic_adm.measurements.pigdm import PiGDM
from mmagic_adm.measurements.repaint import RePaint
from mmagic_adm.measurements.restoration import Restoration
from mmagic_adm.measurements.separable import Downsampling, GaussianBlur, Greyscale
from mmagic_adm.measurements.tds import TDS
from mmagic_adm.measurements.tmpd import TMPD
from mmagic_adm.registry import MODELS

OPERATORS: Mapping[str, type[Operator]] = {
    kind.name: kind
    for kind in (
        Inpainting,
        BoxInpainting,
        RandomInpainting,
        Downsampling,
        GaussianBlur,
        MotionBlur,
        KernelBlur,
        Greyscale,
        MaskedFourier,
        JPEG,
    )
}
METHODS: Mapping[str, type[Restoration]] = {
    kind.name: kind for kind in (MMPS, DDNM, DDNMPlus, DPS, PiGDM, DiffPIR, TMPD, RePaint, TDS)
}

OperatorSpec = str | Mapping[str, Any] | Operator | Physics | Callable[[Tensor], Tensor]
MethodSpec = str | Mapping[str, Any] | Restoration


def build_operator(
    spec: OperatorSpec, shape: Shape, seed: int | None = None, **arguments: Any
) -> Operator:
    """The operator that is asked for.

    Args:
        spec: A name of ``OPERATORS``; a config; an operator; one of deepinv; or a linear function.
        shape: Channels, height and width of the images.
        seed: Draws what the operator draws, where the config does not say.
        **arguments: Other arguments, such as ``sigma_y``.
    """
    if isinstance(spec, Operator):
        if arguments:
            raise ValueError(f'{type(spec).__name__} is made already: give it its own sigma_y')
        return spec
    if isinstance(spec, Physics):
        return PhysicsOperator(shape, spec, **arguments)
    if callable(spec):
        return FunctionOperator(shape, spec, **arguments)
    config: dict[str, Any] = dict(type=spec) if isinstance(spec, str) else dict(spec)
    kind = _kind(config.pop('type'), OPERATORS, 'operator')
    if seed is not None and 'seed' in inspect.signature(kind).parameters:
        config.setdefault('seed', seed)
    return _built(kind, shape, **{**config, **arguments})


def build_method(spec: MethodSpec, **arguments: Any) -> Restoration:
    """The method that is asked for.

    Args:
        spec: A name of ``METHODS``, a config, or a method.
        **arguments: Its arguments, beside a name or a config.
    """
    if isinstance(spec, Restoration):
        if arguments:
            named = ', '.join(arguments)
            raise ValueError(f'{type(spec).__name__} is made already, and takes no {named}')
        return spec
    config = dict(type=spec) if isinstance(spec, str) else dict(spec)
    kind = _kind(config.pop('type'), METHODS, 'method')
    return _built(kind, **{**config, **arguments})


def measure(images: Tensor, operator: Operator, generators: Generators = None) -> Measurement:
    """What an operator measures of images, with its noise."""
    clean = operator(images)
    noise = operator.noise.to(clean.dtype) * randn_like_samples(clean, generators)
    return Measurement(clean + noise, operator)


def _kind(name: Any, known: Mapping[str, type], what: str) -> Any:
    try:
        return known.get(name) or MODELS.get(name)
    except ValueError:
        raise ValueError(f'there is no {what} {name!r}; there are {", ".join(known)}') from None


def _built(kind: type, *places: Any, **arguments: Any) -> Any:
    try:
        inspect.signature(kind).bind(*places, **arguments)
    except TypeError as error:
        taken = ', '.join(list(inspect.signature(kind).parameters)[len(places) :])
        raise ValueError(f'{kind.__name__}: {error}; it takes {taken or "nothing"}') from None
    return kind(*places, **arguments)
