import hashlib
import http.server
import multiprocessing
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from mmagic_adm.files import CheckpointError, cache_directory, download, fetch
from mmagic_adm.files.download import cached_path


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file, in the ways that its server is told to misbehave."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.hangs:
            server.released.wait()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        start = self._start()
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header('Content-Type', server.content_type)
        if server.tells_length:
            self.send_header('Content-Length', str(len(body)))
        else:
            self.send_header('Connection', 'close')
        if server.etag:
            self.send_header('ETag', server.etag)
        if start:
            last = len(server.content) - 1
            self.send_header('Content-Range', f'bytes {start}-{last}/{len(server.content)}')
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
            self.close_connection = True
        time.sleep(server.delay)
        self.wfile.write(body)
        if self.close_connection:
            self.connection.close()

    def _start(self):
        span = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        condition = self.headers.get('If-Range')
        stale = condition is not None and condition != self.server.etag
        return int(span[1]) if span and self.server.knows_ranges and not stale else 0

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.content = content
        self.content_type = 'application/octet-stream'
        self.etag = '"v1"'
        self.status = 200
        self.knows_ranges = self.tells_length = True
        self.hangs = False
        self.delay = 0.0
        self.cuts = []
        self.requests = []
        self.released = threading.Event()

    def url(self, name='net.pt'):
        return f'http://127.0.0.1:{self.server_address[1]}/models/{name}'


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp('served') / 'net.pt'
    torch.save({'a': torch.randn(300, 300)}, path)
    return path.read_bytes()


@pytest.fixture
def server(content):
    server = _Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('NO_PROXY', '*')
    monkeypatch.setattr(download, '_PAUSE', 0.0)
    monkeypatch.setattr(download, '_BLOCK_BYTES', 4096)
    return tmp_path / 'cache'


def _visible_files(folder):
    return sorted(path.name for path in folder.rglob('[!.]*') if path.is_file())


def test_a_url_is_downloaded_once(server, content):
    path = fetch(server.url())
    assert path.read_bytes() == content
    assert path.name == 'net.pt'
    assert fetch(server.url()) == path
    assert len(server.requests) == 1


def test_the_cache_is_where_the_environment_says(server, cache, monkeypatch):
    assert fetch(server.url()).is_relative_to(cache)
    monkeypatch.delenv('MMAGIC_ADM_CACHE')
    assert cache_directory() == Path(torch.hub.get_dir()) / 'checkpoints'


def test_paths_and_file_urls_are_files_already(tmp_path, content):
    path = tmp_path / 'my net.pt'
    path.write_bytes(content)
    assert fetch(path) == fetch(str(path)) == path
    assert fetch(path.as_uri()) == path


def test_the_same_name_elsewhere_is_another_file(server):
    assert cached_path('http://a/net.pt') != cached_path('http://b/net.pt')
    assert cached_path('http://a/n-7ff0080b.pt') == cached_path('http://b/n-7ff0080b.pt')
    with pytest.raises(CheckpointError, match='names no file'):
        cached_path('http://a/')


def test_the_hash_in_the_name_is_checked(server, content, cache):
    digest = hashlib.sha256(content).hexdigest()[:8]
    assert fetch(server.url(f'net-{digest}.pt')).read_bytes() == content
    with pytest.raises(CheckpointError, match=r'net-deadbeef\.pt is damaged') as caught:
        fetch(server.url('net-deadbeef.pt'))
    assert server.url() in str(caught.value).replace('net-deadbeef.pt', 'net.pt')
    assert _visible_files(cache) == [f'net-{digest}.pt']


def test_a_download_that_was_cut_off_goes_on(server, content):
    server.cuts = [49_152, 98_304]
    assert fetch(server.url()).read_bytes() == content
    ranges = [request.get('Range') for request in server.requests]
    assert ranges[0] is None
    assert ranges[1] == 'bytes=49152-'
    assert ranges[2] == 'bytes=147456-'
    assert server.requests[1]['If-Range'] == '"v1"'


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, content, cache, monkeypatch):
    monkeypatch.setattr(download, '_ATTEMPTS', 1)
    server.cuts = [49_152]
    with pytest.raises(CheckpointError, match='cut off 1 times, the last after 49,152 bytes'):
        fetch(server.url())
    assert not cached_path(server.url()).exists()
    assert fetch(server.url()).read_bytes() == content
    assert server.requests[1]['Range'] == 'bytes=49152-'
    assert _visible_files(cache) == ['net.pt']


def test_without_ranges_a_download_starts_anew(server, content):
    server.knows_ranges = False
    server.cuts = [49_152]
    assert fetch(server.url()).read_bytes() == content


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, content, monkeypatch):
    monkeypatch.setattr(download, '_ATTEMPTS', 1)
    server.content = bytes(len(content))
    server.cuts = [49_152]
    with pytest.raises(CheckpointError):
        fetch(server.url())
    server.content, server.etag = content, '"v2"'
    assert fetch(server.url()).read_bytes() == content


@pytest.mark.parametrize('etag', [None, 'W/"weak"'])
def test_without_a_validator_the_length_tells_that_a_file_changed(server, content, etag):
    server.etag = etag
    server.cuts = [49_152]
    assert fetch(server.url()).read_bytes() == content
    assert 'If-Range' not in server.requests[1]

    server.content = content[:-1000]
    server.cuts = [49_152]
    other = server.url('other.pt')
    with pytest.raises(CheckpointError, match='truncated'):
        fetch(other)


def test_pieces_that_do_not_make_the_claimed_file_are_fetched_again(server, content, monkeypatch):
    monkeypatch.setattr(download, '_ATTEMPTS', 1)
    server.etag = None
    url = server.url(f'net-{hashlib.sha256(content).hexdigest()[:8]}.pt')
    server.content = bytes(len(content))
    server.cuts = [49_152]
    with pytest.raises(CheckpointError):
        fetch(url)
    # As long as the first, and nothing else tells them apart.
    server.content = content
    assert fetch(url).read_bytes() == content
    assert [request.get('Range') for request in server.requests] == [None, 'bytes=49152-', None]


def test_a_complete_part_is_not_fetched_again(server, content, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(download.PartialFile, 'become', _interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url())
    assert fetch(server.url()).read_bytes() == content
    assert len(server.requests) == 1


def _interrupted(*_):
    raise KeyboardInterrupt


def test_a_server_that_keeps_breaking_off_is_named(server, cache):
    server.cuts = [10_000] * 9
    with pytest.raises(CheckpointError, match=r'net\.pt was cut off 4 times'):
        fetch(server.url())
    assert len(server.requests) == 4
    assert not cached_path(server.url()).exists()


def test_a_short_file_of_unknown_length_never_lands(server, content, cache):
    server.tells_length = False
    server.cuts = [49_152] * 4
    with pytest.raises(CheckpointError, match='truncated'):
        fetch(server.url())
    assert _visible_files(cache) == []
    server.cuts = []
    assert fetch(server.url()).read_bytes() == content


@pytest.mark.parametrize('status', [403, 404, 500])
def test_a_refusal_is_passed_on_with_its_number(server, cache, status):
    server.status = status
    with pytest.raises(CheckpointError, match=f'net.pt: the server answers {status} '):
        fetch(server.url())
    assert _visible_files(cache) == []


@pytest.mark.parametrize('content_type', ['text/html; charset=utf-8', 'application/octet-stream'])
def test_a_web_page_is_called_one(server, cache, content_type):
    server.content, server.content_type = b'<!doctype html><p>log in</p>', content_type
    with pytest.raises(CheckpointError, match=r'net\.pt is a web page, not a checkpoint'):
        fetch(server.url())
    assert _visible_files(cache) == []


def test_a_server_that_hangs_is_given_up(server, monkeypatch):
    monkeypatch.setattr(download, '_TIMEOUT', (0.2, 0.2))
    server.hangs = True
    with pytest.raises(CheckpointError, match='cannot be reached') as caught:
        fetch(server.url())
    assert server.url() in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match=r'127\.0\.0\.1:9/net\.pt cannot be reached'):
        fetch('http://127.0.0.1:9/net.pt')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs the device of full disks')
def test_a_full_disk_leaves_nothing_in_the_cache(server, cache, monkeypatch):
    open_ = Path.open

    def full_if_written(path, mode='r', **options):
        return (
            open('/dev/full', 'wb', buffering=0) if mode == 'ab' else open_(path, mode, **options)
        )

    monkeypatch.setattr(Path, 'open', full_if_written)
    with pytest.raises(CheckpointError, match=r'net\.pt: the disk is full'):
        fetch(server.url())
    assert _visible_files(cache) == []


def test_a_file_larger_than_the_disk_is_not_begun(server, cache, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(CheckpointError, match='and 1,000 are free'):
        fetch(server.url())
    assert 'net.pt' not in _visible_files(cache)


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path / 'file'))
    with pytest.raises(CheckpointError, match=f'cannot write {tmp_path / "file"}'):
        fetch(server.url())


def test_processes_that_want_the_same_file_download_it_once(server, content):
    server.delay = 0.3
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=fetch, args=(server.url(),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(server.requests) == 1
    assert fetch(server.url()).read_bytes() == content


def test_progress_is_shown_to_a_person_and_not_to_a_file(server, capsys):
    fetch(server.url())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ''
