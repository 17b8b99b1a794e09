"""The bar that shows how far sampling has come: in images, for the whole of a run."""

from __future__ import annotations

import sys

from tqdm import tqdm

BAR = '{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} images [{elapsed}<{remaining}{postfix}]'


def image_bar(total: int, is_shown: bool = True, desc: str = 'sampling') -> tqdm:
    """A bar over so many images, of which parts count too."""
    return tqdm(total=total, desc=desc, disable=not is_shown, bar_format=BAR)


def is_watched() -> bool:
    """Whether somebody looks: what is written to stderr goes to a terminal, or into a notebook."""
    # A notebook's stderr is no terminal, and its IPython has a kernel.
    shell = sys.modules['IPython'].get_ipython() if 'IPython' in sys.modules else None
    return hasattr(shell, 'kernel') or bool(sys.stderr and sys.stderr.isatty())
