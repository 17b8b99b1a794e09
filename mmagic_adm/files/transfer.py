"""Bringing one URL's bytes into a file, going on where an earlier attempt was cut off."""

import json
import re
import time
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from mmagic_adm.files.whole import CheckpointError, check_free_space, is_disk_full

# Seconds to connect in, and to wait for the next bytes.
_TIMEOUT = (15.0, 60.0)
_ATTEMPTS = 4
_PAUSE = 1.0
_BLOCK_BYTES = 1 << 20


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
            return json.loads(self._note_path.read_text())
        except (OSError, ValueError):
            return {}

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
    try:
        response = requests.get(
            url, headers=_request_headers(partial), stream=True, timeout=_TIMEOUT
        )
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
    status = response.status_code
    if status == requests.codes.requested_range_not_satisfiable:
        partial.discard()
        raise _CutOffError('the file has changed')
    if status not in (requests.codes.ok, requests.codes.partial_content):
        raise CheckpointError(f'{url}: the server answers {status} {response.reason}')
    if response.headers.get('Content-Type', '').startswith('text/html'):
        raise CheckpointError(
            f'{url} is a web page, not a checkpoint; the link may want a log-in, or lead to a '
            'page about the file: give the address of the file itself'
        )
    if status == requests.codes.partial_content:
        span = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
        if span is None or (int(span[1]), int(span[2])) != (partial.size, partial.note['length']):
            partial.discard()
            raise _CutOffError('the file has changed')
        partial.was_resumed = True
    else:
        length = response.headers.get('Content-Length')
        partial.begin(int(length) if length else None, _validator(response))


def _validator(response: requests.Response) -> str | None:
    """What tells one version of the file from the next; weak ETags do not, byte by byte."""
    etag = response.headers.get('ETag')
    strong = etag if etag and not etag.startswith('W/') else None
    return strong or response.headers.get('Last-Modified')


def _receive(response: requests.Response, partial: PartialFile) -> None:
    length = partial.note['length']
    if length is not None:
        check_free_space(partial.path, length - partial.size)
    with (
        partial.path.open('ab') as file,
        tqdm(
            desc=partial.path.stem,
            total=length,
            initial=partial.size,
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
