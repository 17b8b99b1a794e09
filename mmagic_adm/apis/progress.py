"""The bar that shows how far sampling has come: in images, for the whole of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

BAR = '{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} images [{elapsed}<{remaining}{postfix}]'


@contextmanager
def image_bar(total: int, is_shown: bool = True, desc: str = 'sampling') -> Iterator[tqdm]:
    """A bar over so many images, of which parts count too; what is logged goes above it."""
    bar = tqdm(total=total, desc=desc, disable=not is_shown, bar_format=BAR)
    with bar, logging_redirect_tqdm([MMLogger.get_current_instance()]):
        yield bar


def is_watched() -> bool:
    """Whether somebody looks: what is written to stderr goes to a terminal, or into a notebook."""
    # A notebook's stderr is no terminal, and its IPython has a kernel.
    shell = sys.modules['IPython'].get_ipython() if 'IPython' in sys.modules else None
    return hasattr(shell, 'kernel') or bool(sys.stderr and sys.stderr.isatty())
