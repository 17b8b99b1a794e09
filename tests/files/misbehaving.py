"""Readers with every fault that :mod:`tests.files.fuzzing` is there to find."""

import os
import time

from tests.files.fuzzing import MEMORY, SECONDS, Kind


def _make(folder):
    (folder / 'a.txt').write_text('sound')
    return folder / 'a.txt'


def _only_damaged(fault):
    def read(path):
        if path.parent.name.startswith('damaged'):
            return fault(path)
        return None

    return Kind(_make, read, has_checksum=True)


def _hang(path):
    begin = time.process_time()
    while time.process_time() < begin + 10 * SECONDS:
        pass


def _raise(error):
    raise error


ERRORS = (ValueError,)
KINDS = {
    'hangs': _only_damaged(_hang),
    'hoards': _only_damaged(lambda path: bytes(2 * MEMORY)),
    'crashes': _only_damaged(lambda path: os.abort()),
    'calls': _only_damaged(lambda path: os.system('true')),
    'raises': _only_damaged(lambda path: _raise(KeyError('a'))),
    'is vague': _only_damaged(lambda path: _raise(ValueError('it is damaged'))),
    'is taken in': _only_damaged(lambda path: 'changed'),
    'is well': _only_damaged(lambda path: _raise(ValueError(f'{path} is damaged'))),
}
