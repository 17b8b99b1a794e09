"""Numbers that are given, held to being numbers."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, NamedTuple


def whole(value: Any, what: str, least: float = 1) -> int:
    """A whole number; neither text nor a truth value.

    Args:
        value: What was given.
        what: What it should be, as a message says it.
        least: The smallest one.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f'{what}, not {value!r}')
    return int(value)


def finite(value: Any, what: str, least: float = -math.inf) -> float:
    """A number that is neither infinite nor none at all; arguments as of :func:`whole`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < least:
        raise ValueError(f'{what}, not {value!r}')
    return value


class Argument(NamedTuple):
    """A number that a class takes, with its range, as a page or a command line shows it."""

    name: str
    default: float
    low: float
    high: float
    says: str


def check_ranges(owner: Any, **values: Any) -> None:
    """Refuses an argument outside the range that a class gives for it."""
    ranges = {argument.name: argument for argument in owner.arguments}
    for name, value in values.items():
        _, _, low, high, _ = ranges[name]
        if not low <= value <= high:
            kind = type(owner).__name__
            raise ValueError(f'{name} of {kind} is from {low:g} to {high:g}, not {value:g}')
