"""Having a file here: paths as they are, URLs through a cache, from where an attempt broke off."""

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import requests
import torch
from tqdm import tqdm

from mmagic_adm.files.alone import LOCK, alone_with
from mmagic_adm.files.whole import (
    CheckpointError,
    check_content,
    check_free_space,
    check_hash_in_name,
    hash_in_name,
    is_disk_full,
    read_json,
    writing_failed,
)

CACHE_VARIABLE = 'MMAGIC_ADM_CACHE'
BUNDLED = Path(__file__).parent.parent / 'bundled'

# Seconds to connect in, and to wait for the next bytes.
_TIMEOUT = (15.0, 60.0)
_ATTEMPTS = 4
_PAUSE = 1.0
_BLOCK_BYTES = 1 << 20


def cache_directory() -> Path:
    """Where downloads are kept: ``MMAGIC_ADM_CACHE``, or else where torch.hub keeps its own."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(torch.hub.get_dir()) / 'checkpoints'


def cached_path(url: str) -> Path:
    """Where a URL's file is kept, whether or not it is there yet.

    Args:
        url: The URL; '#sha256=' and the file's SHA-256 may follow it.
    """
    url, _, claimed = url.partition('#sha256=')
    name = unquote(urlsplit(url).path).rpartition('/')[2]
    if not name:
        raise CheckpointError(f'{url} names no file')
    if claimed:
        name = f'{Path(name).stem}-{claimed[:16]}{Path(name).suffix}'
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
        with alone_with(path.with_name(f'.{path.name}{LOCK}')):
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
            check_hash_in_name(partial.path, url if hash_in_name(url) else path)
            return partial.become(path)
        except CheckpointError:
            partial.discard()
            # Pieces fetched at different times may be of different files: once more, in one go.
            if is_last_try or not partial.was_resumed:
                raise


class _CutOffError(Exception):
    """The answer ended before the file did; another attempt may go on from there."""


class PartialFile:
    """As much of a file as is there, and a note of which file that is.

    Args:
        path: Where the whole file will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f'{path.name}.part')
        self._note_path = path.with_name(f'{path.name}.part.json')
        self.was_resumed = False

    @property
    def note(self) -> dict[str, Any]:
        """The file's length and validator (ETag or date), as the server gave them at the start."""
        try:
            note = read_json(self._note_path, 'it is written anew')
        except (OSError, CheckpointError):
            return {}
        return note if note.keys() >= {'length', 'validator'} else {}

    @property
    def size(self) -> int:
        """How many bytes are there, of a file that is noted."""
        return self.path.stat().st_size if self.note and self.path.is_file() else 0

    def begin(self, length: int | None, validator: str | None) -> None:
        """Starts anew."""
        self.path.unlink(missing_ok=True)
        self._note_path.write_text(json.dumps({'length': length, 'validator': validator}))
        self.was_resumed = False

    def discard(self) -> None:
        """Forgets what is there."""
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)

    def become(self, path: Path) -> None:
        """Puts the file, now whole, in its place."""
        self.path.replace(path)
        self._note_path.unlink(missing_ok=True)


def transfer(url: str, partial: PartialFile) -> None:
    """Completes a partial file from a URL.

    Raises:
        CheckpointError: The server does not answer, or not with the file, or keeps breaking off.
        OSError: The file cannot be written. A full disk leaves nothing of it.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _attempt(url, partial)
        except _CutOffError as error:
            if attempt == _ATTEMPTS:
                raise CheckpointError(
                    f'{url} was cut off {attempt} times, the last after {partial.size:,} bytes '
                    f'({error}); try again later: it goes on from there'
                ) from error
            time.sleep(_PAUSE * attempt)
        except OSError as error:
            if is_disk_full(error):
                partial.discard()
            raise


def _attempt(url: str, partial: PartialFile) -> None:
    if partial.size and partial.size == partial.note['length']:
        return
    headers = _request_headers(partial)
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT)
    except requests.RequestException as error:
        raise CheckpointError(
            f'{url} cannot be reached ({_reason(error)}); check the address and the network, or '
            'download the file by other means and give its path'
        ) from error
    with response:
        _check_answer(url, response, partial)
        _receive(response, partial)
    length = partial.note['length']
    if length is not None and partial.size < length:
        raise _CutOffError(f'{length:,} were announced')


def _request_headers(partial: PartialFile) -> dict[str, str]:
    # Compressed, the length would not be the file's.
    headers = {'Accept-Encoding': 'identity'}
    if partial.size:
        headers['Range'] = f'bytes={partial.size}-'
        if partial.note['validator']:
            headers['If-Range'] = partial.note['validator']
    return headers


def _check_answer(url: str, response: requests.Response, partial: PartialFile) -> None:
    """Refuses what is not the file; decides whether the answer goes on or starts anew."""
    status, headers = response.status_code, response.headers
    if status == requests.codes.ok:
        length = headers.get('Content-Length')
        # What tells one version of the file from the next; weak ETags do not, byte by byte.
        etag = headers.get('ETag', 'W/')
        validator = headers.get('Last-Modified') if etag.startswith('W/') else etag
        partial.begin(int(length) if length else None, validator)
    elif status in (requests.codes.partial_content, requests.codes.range_not_satisfiable):
        span = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', headers.get('Content-Range', ''))
        if span is None or (int(span[1]), int(span[2])) != (partial.size, partial.note['length']):
            partial.discard()
            raise _CutOffError('the file has changed')
        partial.was_resumed = True
    else:
        raise CheckpointError(f'{url}: the server answers {status} {response.reason}')


def _receive(response: requests.Response, partial: PartialFile) -> None:
    length, size = partial.note['length'], partial.size
    if length is not None:
        check_free_space(partial.path, length - size)
    with (
        partial.path.open('ab') as file,
        tqdm(
            desc=partial.path.stem,
            total=length,
            initial=size,
            unit='B',
            unit_scale=True,
            disable=None,
        ) as progress,
    ):
        try:
            for block in response.iter_content(_BLOCK_BYTES):
                file.write(block)
                progress.update(len(block))
        except requests.RequestException as error:
            raise _CutOffError(_reason(error)) from error


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout) or 'timed out' in str(error):
        return 'no answer in time'
    if isinstance(error, requests.exceptions.SSLError):
        return 'its certificate is not trusted'
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return 'the connection broke'
    if isinstance(error, requests.ConnectionError):
        return 'no connection'
    return str(error) or type(error).__name__
