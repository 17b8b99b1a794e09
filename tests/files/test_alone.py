"""Files and folders that one has alone, until one is done or dead."""

import errno
import fcntl
import os
import signal
import threading
import time

import pytest

from mmagic_adm.files.alone import alone_with, claimed
from mmagic_adm.files.whole import CheckpointError, written_whole


def begin_a_run(folder, begun):
    """Claims a folder, begins a file, forks a worker, and says so; then nothing."""
    with claimed(folder), written_whole(folder / 'begun', 4, overwrite=False) as file:
        file.write_bytes(b'half')
        worker = os.fork()
        if worker:
            os.write(begun, str(worker).encode())
        time.sleep(60)


@pytest.fixture
def run(tmp_path):
    """Numbers of a process that has the folder, and of one that it forked."""
    begun, begins = os.pipe()
    process = os.fork()
    if not process:
        begin_a_run(tmp_path, begins)
        os._exit(0)
    worker = int(os.read(begun, 99))
    yield process
    os.kill(worker, signal.SIGKILL)


def test_a_folder_is_one_runs_until_it_dies_whatever_it_forked(tmp_path, run):
    refused = pytest.raises(ValueError, match=f'in use by another run .process {run} on .*: wait')
    with refused, claimed(tmp_path):
        pass
    assert (tmp_path / '.begun.unfinished').read_bytes() == b'half'
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    with claimed(tmp_path):
        assert os.listdir(tmp_path) == ['.lock']
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_being_written_is_waited_for(tmp_path):
    path, refusals = tmp_path / 'net.pt', []

    def write_too():
        try:
            with written_whole(path, 4, overwrite=False) as file:
                file.write_bytes(b'late')
        except CheckpointError as error:
            refusals.append(str(error))

    other = threading.Thread(target=write_too)
    with written_whole(path, 5, overwrite=False) as file:
        file.write_bytes(b'fir')
        other.start()
        other.join(0.1)
        assert other.is_alive()
        with claimed(tmp_path):
            assert file.read_bytes() == b'fir'
        file.write_bytes(b'first')
    other.join()
    assert path.read_bytes() == b'first'
    assert refusals
    assert 'exists' in refusals[0]
    assert os.listdir(tmp_path) == ['net.pt']


def test_what_a_killed_writer_left_is_written_over(tmp_path):
    (tmp_path / '.net.pt.unfinished').write_bytes(b'much longer than it')
    with written_whole(tmp_path / 'net.pt', 3, overwrite=False) as file:
        file.write_bytes(b'new')
    assert (tmp_path / 'net.pt').read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['net.pt']


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', flock)
    with claimed(tmp_path), alone_with(tmp_path / 'file'):
        assert sorted(os.listdir(tmp_path)) == ['.lock', 'file']
