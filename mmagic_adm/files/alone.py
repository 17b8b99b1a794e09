"""Having a file, or a folder, to oneself: until one is done with it, or dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

# Follows a file's name, and a dot precedes it, until all of the file is there.
UNFINISHED = '.unfinished'
LOCK = '.lock'

_held: set[int] = set()


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


# What is forked, such as the workers of a data loader, may outlive this process.
os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def alone_with(path: Path, wait: bool = True) -> Iterator[None]:
    """Has a file that all other threads and processes wait for, over NFS too.

    It is made if need be, and removed in the end, unless it has another name by then. A process
    that dies lets go of it, and leaves it there.

    Args:
        path: The file.
        wait: Whether to wait for it oneself.

    Raises:
        BlockingIOError: Another has it, and is not waited for.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(file)
        try:
            _lock(file, wait)
            if not _is_at(path, file):
                # Whoever had it before has renamed or removed it.
                continue
            try:
                yield
            finally:
                if _is_at(path, file):
                    path.unlink()
            return
        finally:
            _held.discard(file)
            os.close(file)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Has a folder for one run, and clears away what a killed one had begun to write there.

    Args:
        folder: The folder; made if need be.

    Raises:
        ValueError: Another run has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / LOCK
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(alone_with(note, wait=False))
        except BlockingIOError:
            raise ValueError(
                f'{folder} is in use by another run ({_said_in(note)}): wait for its end, or '
                'choose another folder'
            ) from None
        with contextlib.suppress(OSError):
            # Who finds the disk full when something that matters is written says more about it.
            note.write_text(f'process {os.getpid()} on {platform.node()}')
        for left_over in folder.glob(f'.*{UNFINISHED}'):
            with contextlib.suppress(BlockingIOError), alone_with(left_over, wait=False):
                pass
        yield


def _lock(file: int, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        # A file system without locks: nobody can be kept out.
        pass


def _said_in(note: Path) -> str:
    try:
        return note.read_text(errors='replace')
    except FileNotFoundError:
        return 'which has just ended'


def _is_at(path: Path, file: int) -> bool:
    return path.exists() and os.path.samestat(path.stat(), os.fstat(file))
