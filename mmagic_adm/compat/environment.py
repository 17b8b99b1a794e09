"""Keeps MMagic 1.2.0 importable on today's NumPy, and says what is missing where it is not."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import numpy as np

TOOLBOX = ('mmengine', 'mmcv', 'mmagic')
INSTALL_COMMAND = (
    "pip install 'mmagic-adm[standalone]' && pip install --no-deps "
    "'mmengine>=0.10.4,<1.0' 'mmcv-lite>=2.0.1,<2.2' 'mmagic>=1.2.0,<1.3'"
)


def prepare() -> None:
    """Makes ``import mmagic.registry`` and ``mmagic.structures`` work in this interpreter.

    Where a package of OpenMMLab's is not installed, its import says how to install all of them.
    """
    # A thread that waits for another would spin, which on a busy core keeps the other waiting too.
    # It counts where PyTorch, whose OpenMP reads it, is imported later.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    # MMagic's structures name this alias, which NumPy 2 dropped.
    if not hasattr(np, 'bool8'):
        np.bool8 = np.bool_  # type: ignore[attr-defined]
    sys.meta_path.append(_NotInstalled())


class _NotInstalled(MetaPathFinder):
    """Asked last for a module, when nobody else has found it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name in TOOLBOX:
            raise ImportError(
                f'mmagic_adm needs {name}, which is not installed. If you have none of the toolbox '
                f'yet: {INSTALL_COMMAND}'
            )


def require(module: str, purpose: str, install: str) -> ModuleType:
    """Imports a module of a package that only some need, or says how to get it.

    Args:
        module: Its name.
        purpose: What needs it.
        install: What pip is to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose}: {error.name} is not installed; pip install '{install}'"
        ) from error
