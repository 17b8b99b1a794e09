"""Files that are whole or not there: writing them, reading them, and saying what is wrong."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmagic_adm.files.alone import LOCK, UNFINISHED, alone_with

_DEEPEST_JSON = 100
# What a zip archive begins with.
ZIP = b'PK\x03\x04'

_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.\w+(\?.*)?$')
_WEB_PAGE = re.compile(rb'\s*<(!doctype|html|head|body|\?xml|!--)', re.IGNORECASE)


class CheckpointError(RuntimeError):
    """A file cannot be had, read, written or loaded; one line says which, why, and a way out."""


class RefusedError(Exception):
    """A file asks for what no file of its kind needs; says what, and :func:`reading` the rest."""


@contextlib.contextmanager
def reading(
    path: Path, way_out: str = 'download or copy it again', called: str | Path | None = None
) -> Iterator[None]:
    """Makes of whatever is wrong with a file the one error that names it.

    All that reads a file in some format goes through here: there is no end to what damage in it
    can raise.

    Args:
        path: The file.
        way_out: What to do about one that is damaged.
        called: What the message calls it; None is its path.

    Raises:
        CheckpointError: It is damaged, refused, or larger than memory.
    """
    called = called or path
    try:
        yield
    except CheckpointError:
        raise
    except RefusedError as error:
        raise CheckpointError(
            f'{called} was refused, and nothing of it was run: {error}. Get it from a source you '
            'trust'
        ) from error
    except Exception as error:
        size = f'{path.stat().st_size:,} bytes'
        # torch puts it into words.
        if isinstance(error, MemoryError) or 'allocate memory' in str(error):
            raise CheckpointError(
                f'there is no memory for {called} ({size}); close what else takes memory, or use a '
                'machine with more'
            ) from error
        raise CheckpointError(f'{called} is truncated or damaged ({size}); {way_out}') from error


@contextlib.contextmanager
def written_whole(path: Path, size: int, overwrite: bool) -> Iterator[Path]:
    """Gives a temporary name to write to, and moves the file to its own once it is complete.

    Args:
        path: Where the file goes.
        size: How many bytes it will have, about.
        overwrite: Whether to replace a file of that name.
    """
    if not path.parent.is_dir():
        raise CheckpointError(f'cannot write {path}: there is no folder {path.parent}')
    temporary = path.with_name(f'.{path.name}{UNFINISHED}')
    try:
        with alone_with(temporary):
            if path.exists() and not overwrite:
                raise CheckpointError(
                    f'{path} exists; choose another name, or ask to overwrite it (overwrite=True, '
                    '--overwrite)'
                )
            check_free_space(path, size)
            yield temporary
            temporary.replace(path)
    except CheckpointError:
        raise
    except Exception as error:
        raise writing_failed(path, error) from error


@contextlib.contextmanager
def folder_written_whole(path: Path, size: int, overwrite: bool) -> Iterator[Path]:
    """The same for a folder: one that is replaced holds nothing that the new one does not.

    Args:
        path: The folder.
        size: How many bytes will be in it, about.
        overwrite: Whether to replace a folder of that name.
    """
    if not path.absolute().parent.is_dir():
        raise CheckpointError(f'cannot write {path}: there is no folder {path.parent}')
    temporary, old = (path.with_name(f'.{path.name}{end}') for end in (UNFINISHED, '.old'))
    try:
        with alone_with(path.with_name(f'.{path.name}{LOCK}')), contextlib.ExitStack() as stack:
            if path.exists() and not (overwrite and path.is_dir()):
                raise CheckpointError(
                    f'{path} exists; choose another name, or ask to overwrite the folder '
                    '(overwrite=True, --overwrite)'
                )
            check_free_space(path, size)
            shutil.rmtree(temporary, ignore_errors=True)  # what a killed process left
            temporary.mkdir()
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            yield temporary
            if path.exists():
                new = {each.name for each in temporary.iterdir()}
                if others := sorted({each.name for each in path.iterdir()} - new):
                    raise CheckpointError(
                        f'{path} holds {others[0]} too, and is not overwritten; choose another name'
                    )
                path.replace(old)
                stack.callback(shutil.rmtree, old)
            temporary.replace(path)
    except CheckpointError:
        raise
    except Exception as error:
        raise writing_failed(path, error) from error


def write_json(path: Path, content: Any, overwrite: bool) -> None:
    """Writes values as JSON, whole or not at all."""
    text = json.dumps(content, indent=2)
    with written_whole(path, len(text), overwrite) as temporary:
        temporary.write_text(text)


def read_json(path: Path, way_out: str) -> dict[str, Any]:
    """Reads values that stand in a file under their names.

    Raises:
        CheckpointError: They do not, or not as JSON; its message ends in the way out.
    """
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; {way_out}')
    with reading(path, way_out):
        content = json.loads(path.read_text(encoding='utf-8'))
        below = [content]
        for _ in range(_DEEPEST_JSON):
            parts = (each.values() if isinstance(each, dict) else each for each in below)
            below = [each for part in parts for each in part if isinstance(each, (dict, list))]
        if below or not isinstance(content, dict):
            raise ValueError('it has no names at its top, or goes too deep to walk through')
        return content


def check_free_space(path: Path, size: int) -> None:
    """Refuses to begin a file for which the disk has no room."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise _disk_full(path, f'it needs {size:,} bytes, and {free:,} are free')


def writing_failed(path: Path, error: BaseException) -> CheckpointError:
    """The error for a file that could not be written; finds a full disk behind it."""
    if is_disk_full(error):
        return _disk_full(path, f'{shutil.disk_usage(path.parent).free:,} bytes are free')
    said = str(error).strip() or type(error).__name__
    return CheckpointError(f'cannot write {path}: {said.splitlines()[0]}')


@contextlib.contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Names the folder if its disk is full, for those who write there and name no file."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise writing_failed(folder, error) from error
        raise


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is what an error comes from."""
    # torch and safetensors raise errors of their own from the system's, or put it into words.
    while error is not None:
        is_full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _disk_full(path: Path, detail: str) -> CheckpointError:
    return CheckpointError(
        f'cannot write {path}: the disk is full ({detail}); make room, or write elsewhere'
    )


def check_content(path: Path, source: str | Path | None = None) -> bytes:
    """Refuses what a download or a copy leaves in place of a file; gives the first bytes of others.

    Messages call the file by its source, where that is given.
    """
    called = source or path
    try:
        with path.open('rb') as file:
            head = file.read(512)
    except OSError as error:
        raise CheckpointError(f'{called} cannot be read: {error.strerror}') from error
    if not head:
        raise CheckpointError(f'{called} is empty; download or copy it again')
    if _WEB_PAGE.match(head):
        raise CheckpointError(
            f'{called} is a web page, not a checkpoint; the link may want a log-in, or lead to a '
            'page about the file: download the file itself'
        )
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointError(
            f'{called} is a git-lfs pointer, not a checkpoint; run `git lfs pull` where it is from'
        )
    if head.startswith(ZIP):
        with reading(path, called=called):
            zipfile.ZipFile(path).close()
    return head


def hash_in_name(name: str) -> str | None:
    """The beginning of the SHA-256 that a name or a URL claims, as in ``net-7ff0080b.pth``.

    Digits alone are more often a date than a hash, and are not taken for one.
    """
    match = _HASH_IN_NAME.search(name)
    return match[1] if match and not match[1].isdigit() else None


def check_hash_in_name(path: Path, source: str | Path | None = None) -> None:
    """Refuses a file whose content is not what its name, or its source's, claims."""
    called = source or path
    claimed = hash_in_name(str(called))
    found = sha256_of(path) if claimed else ''
    if claimed and not found.startswith(claimed):
        raise CheckpointError(
            f'{called} is damaged: its name says that its SHA-256 begins with {claimed}, but it '
            f'begins with {found[: len(claimed)]}; download it again, or rename it if '
            f'-{claimed} is not a hash'
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
