"""Having a file here: paths as they are, URLs through a cache."""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch
from filelock import FileLock

from mmagic_adm.files.transfer import PartialFile, transfer
from mmagic_adm.files.whole import (
    CheckpointError,
    check_content,
    check_hash_in_name,
    hash_in_name,
    writing_failed,
)

CACHE_VARIABLE = 'MMAGIC_ADM_CACHE'
BUNDLED = Path(__file__).parent.parent / 'bundled'


def cache_directory() -> Path:
    """Where downloads are kept: ``MMAGIC_ADM_CACHE``, or else where torch.hub keeps its own."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(torch.hub.get_dir()) / 'checkpoints'


def cached_path(url: str) -> Path:
    """Where a URL's file is kept, whether or not it is there yet."""
    name = unquote(urlsplit(url).path).rpartition('/')[2]
    if not name:
        raise CheckpointError(f'{url} names no file')
    if hash_in_name(name):
        return cache_directory() / name
    # Names repeat from one URL to the next; only a hash in the name tells the files apart.
    return cache_directory() / hashlib.sha256(url.encode()).hexdigest()[:8] / name


def fetch(source: str | Path) -> Path:
    """A local file, whose content agrees with the hash in its name, if it has one.

    Downloads show their progress, begin where one that was cut off stopped, and land in the cache
    only when complete. Processes that want the same file at once download it once.

    Args:
        source: A path or a URL (http, https or file); or ``bundled://NAME``, for a file that comes
            with the package.

    Raises:
        CheckpointError: It cannot be had, or is not what its name claims.
    """
    scheme = urlsplit(str(source)).scheme
    if scheme in ('http', 'https'):
        path = cached_path(str(source))
        if not path.is_file():
            _download(str(source), path)
            return path
    elif scheme == 'bundled':
        path = BUNDLED / urlsplit(str(source)).netloc
    elif scheme == 'file':
        path = Path(url2pathname(urlsplit(str(source)).path))
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'{path} {what}; give the path or the URL of a checkpoint')
    check_hash_in_name(path)
    return path


def _download(url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f'.{path.name}.lock')):
            # Another process may have brought it while this one waited.
            if not path.is_file():
                _bring(url, path)
    except OSError as error:
        raise writing_failed(path, error) from error


def _bring(url: str, path: Path) -> None:
    partial = PartialFile(path)
    for is_last_try in (False, True):
        transfer(url, partial)
        try:
            check_content(partial.path, url)
            check_hash_in_name(partial.path, url)
        except CheckpointError:
            was_resumed = partial.was_resumed
            partial.discard()
            # Pieces fetched at different times may be of different files: once more, in one go.
            if is_last_try or not was_resumed:
                raise
        else:
            partial.become(path)
            return
