"""Numbers that are given, held to being numbers."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


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
