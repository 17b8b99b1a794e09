"""Keeps MMagic 1.2.0 importable on today's NumPy, and says what is missing where it is not."""

import importlib.util
from types import ModuleType

import numpy as np

INSTALL_COMMAND = (
    "pip install --no-deps 'mmengine>=0.10.4,<1.0' 'mmcv-lite>=2.0.1,<2.2' 'mmagic>=1.2.0,<1.3'"
)


def prepare() -> None:
    """Makes ``import mmagic.registry`` and ``mmagic.structures`` work in this interpreter.

    Raises:
        ImportError: A package of OpenMMLab's is not installed; the message holds the command.
    """
    # MMagic's structures name this alias, which NumPy 2 dropped.
    if not hasattr(np, 'bool8'):
        np.bool8 = np.bool_  # type: ignore[attr-defined]

    missing = [name for name in ('mmengine', 'mmcv', 'mmagic') if not _is_installed(name)]
    if missing:
        raise ImportError(
            f'mmagic_adm needs {", ".join(missing)}. If you have none of the toolbox yet: '
            f"{INSTALL_COMMAND} && pip install 'mmagic-adm[standalone]'"
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


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
