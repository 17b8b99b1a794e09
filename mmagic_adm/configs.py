"""Where the package's configs are, and what they are called. It imports nothing that takes long."""

import difflib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

# Configs to sample with name a scheduler and its steps, those to train with do not.
TRAINING = re.compile(r'[a-z0-9-]+_\d+xb\d+_')

_PACKAGE = Path(__file__).parent


def config_directory() -> Path:
    """The folder of configs: the repository's, or the one that an installed package brings.

    Raises:
        FileNotFoundError: There is neither.
    """
    parents = (_PACKAGE.parent, _PACKAGE / '.mim')
    for folder in parents:
        if (folder / 'configs' / 'guided_diffusion' / 'metafile.yml').is_file():
            return folder / 'configs'
    raise FileNotFoundError(
        f'the configs are neither in {parents[0]} nor in {parents[1]}; install the package again'
    )


def config_file(name: str, others: Iterable[str] = ()) -> Path:
    """The file of a config of the package.

    Args:
        name: What it is called.
        others: Names that may have been meant as well.

    Raises:
        ValueError: There is none of this name; the message suggests some.
    """
    found = [file for file in config_directory().glob('*/*.py') if file.stem == name]
    if not found:
        known = [*list_models(), *others]
        hint = nearest(name, known, 'list_models(), or mmagic-adm list, says what there is')
        raise ValueError(f"there is no config called '{name}'; {hint}")
    return found[0]


def list_models(pattern: str = '*') -> list[str]:
    """Names of the configs that hold a model to sample from.

    Args:
        pattern: What they are like, such as 'adm-g*'.
    """
    names = [path.stem for path in config_directory().glob('*/*.py')]
    return sorted(name for name in names if not TRAINING.match(name) and fnmatchcase(name, pattern))


def nearest(name: str, names: Iterable[str], otherwise: str) -> str:
    """Asks whether one of the names that are like this one was meant; else says otherwise."""
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.4)
    return f'did you mean {" or ".join(near)}?' if near else otherwise
