"""What stands in the fields of the page, which may be anything, read or refused in one line."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from typing import Any

from mmagic_adm.arguments import Argument

MAX_IMAGES = 100

# What a field may hold; nothing that a person writes there is longer.
LONGEST_TEXT = 200


def read_text(entry: Any, what: str) -> str:
    """The text that stands in a field, without the space around it."""
    text = '' if entry is None else entry
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise ValueError(f'{what} is a text of up to {LONGEST_TEXT} characters')
    return text.strip()


def read_number(
    entry: Any,
    what: str,
    low: float = -math.inf,
    high: float = math.inf,
    is_whole: bool = False,
) -> float:
    """The number that stands in a field, between limits; a whole one without its point."""
    try:
        number = float(entry)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isfinite(number) and low <= number <= high:
        if number == int(number):
            return int(number)
        if not is_whole:
            return number
    upwards = ' on' if high == math.inf else f' to {high:.15g}'
    limits = '' if low == -math.inf else f' from {low:.15g}{upwards}'
    shown = 'nothing' if entry in (None, '') else reprlib.repr(entry)
    raise ValueError(f'{what} is a {"whole " * is_whole}number{limits}, not {shown}')


def read_whole(entry: Any, what: str, low: int, high: float = math.inf) -> int:
    """The whole number that stands in a field, between limits."""
    return int(read_number(entry, what, low, high, is_whole=True))


def read_numbers(arguments: Sequence[Argument], entries: Sequence[Any]) -> dict[str, float]:
    """A method's numbers, each within the range that the method gives for it."""
    return {
        each.name: read_number(entry, each.name, each.low, each.high, isinstance(each.default, int))
        for each, entry in zip(arguments, entries, strict=False)
    }


def read_interval(entry: Any, last: float) -> tuple[float, float] | None:
    """Timesteps from '500-1000', or from shares of a process: '0.5-1'; None from nothing.

    Args:
        entry: What stands there.
        last: The timestep at which the process ends in noise.
    """
    if not (text := read_text(entry, 'the interval')):
        return None
    try:
        low, high = map(float, re.split(r'(?:[\s,–-]|to)+', text.strip('([ ])')))
    except ValueError:
        raise ValueError(
            f'the interval is two timesteps such as 500-{last:g}, or shares of the process such as '
            f'0.5-1, not {text!r}'
        ) from None
    if 0 <= low <= high <= 1:
        low, high = low * last, high * last
    if not 0 <= low <= high <= last:
        raise ValueError(
            f'the interval goes up, and lies between 0 and {last:g}; {low:g} to {high:g} does not'
        )
    return read_number(low, 'low'), read_number(high, 'high')


def read_scales(entry: Any, images_each: int) -> tuple[float, ...]:
    """Guidance scales from '0, 1, 2', each once, in their order."""
    words = filter(None, re.split(r'[,;\s]+', read_text(entry, 'the scales')))
    scales = tuple(dict.fromkeys(read_number(word, 'a guidance scale') for word in words))
    if not scales:
        raise ValueError('the sweep needs at least one scale: 0, 1, 2, for example')
    check_count(len(scales) * images_each, f'{len(scales)} scales with {images_each} images each')
    return scales


def check_count(count: int, asked: str) -> None:
    """Refuses more images than one run makes."""
    if count > MAX_IMAGES:
        raise ValueError(f'{asked}: a run makes up to {MAX_IMAGES} images, not {count}')
