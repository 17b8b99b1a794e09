"""What a run is made from, compared with what another was: in the words of its config."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def flattened(value: Any, left_out: Collection[str] = ()) -> dict[str, str]:
    """The entries of nested dicts and lists as text, by names such as 'model.unet.dropout'."""
    return dict(_entries(value, left_out, ''))


def differences(there: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """By the names of the entries that differ, what each of two runs has there."""
    return {
        key: f'{key}: {there.get(key, "nothing")} there, {now.get(key, "nothing")} now'
        for key in {**there, **now}
        if there.get(key) != now.get(key)
    }


def _entries(value: Any, left_out: Collection[str], name: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, (Mapping, list, tuple)):
        yield name, repr(value)
        return
    for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        if key not in left_out:
            yield from _entries(entry, left_out, f'{name}.{key}' if name else str(key))
