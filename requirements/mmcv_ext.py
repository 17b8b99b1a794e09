"""Stands in for mmcv's compiled operators, as ``mmcv/_ext.py`` beside mmcv-lite.

MMagic's models import their names, and nothing of guided diffusion calls one.
"""

from collections.abc import Callable
from typing import Any


def __getattr__(name: str) -> Callable[..., Any]:
    """An operator that can be named, and says when it is called that it is not there."""

    def missing(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'mmcv-lite has no {name}; install mmcv with its operators')

    return missing
