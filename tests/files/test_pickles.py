"""Pickles that no pickler writes: what they would do to whoever just reads them is in the names."""

import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from mmagic_adm.files import pickles
from mmagic_adm.files.pickles import DEEPEST, Bytes, outline
from mmagic_adm.files.whole import RefusedError

COLLIDING = b''.join(
    b'\x8a\x0b' + (n * (2**61 - 1)).to_bytes(11, 'little') + b'N' for n in range(1, 99)
)


def doubled(times):
    """A tuple of twice a tuple of twice a tuple..."""
    gets = (b'r' + struct.pack('<I', n) + b'j' + struct.pack('<I', n) for n in range(times))
    return b')' + b''.join(get + b'\x86' for get in gets)


HOSTILE = {
    'a key nested until the stack of the interpreter ends': b'})' + b'\x85' * 200_000 + b'Ns.',
    'a key doubled until its hash takes for ever': b'}' + doubled(60) + b'Ns.',
    'a value doubled until whoever prints it takes for ever': b'}N' + doubled(60) + b's.',
    'keys of one hash': b'}(' + COLLIDING + b'u.',
    'a key in a set': b'\x8f()\x85\x90.',
    'a list that holds itself': b']q\x00h\x00a.',
    'a list that holds what holds it': b']q\x00]q\x01h\x00ah\x01a.',
    'an object that changes later': b']q\x00\x85h\x00Na.',
    'a set for every byte': b'\x8f' * 20_000 + b'.',
    'arguments looked at again and again': b'cos\nf\nq\x00(%btq\x01%b.'
    % (b'N' * 500, b'h\x00h\x01R' * 50),
    'a call of what a call gave': b'cos\nf\n)R)R.',
    'an instance by name': b'(ios\nsystem\n.',
    'an object from a registry': b'\x82\x01.',
    'an instruction of another program': b'}2.',
}
DAMAGED = {
    'a number of two gigabytes in the memo': b'}r' + struct.pack('<I', 1 << 31) + b'.',
    'a frame of a terabyte': b'\x95' + struct.pack('<Q', 1 << 40) + b'}.',
    'a text of a terabyte': b'\x8d' + struct.pack('<Q', 1 << 40) + b'}.',
    'too little on the stack': b'}s.',
    'a memo of nothing': b'h\x00.',
    'a mark that is not there': b't.',
    'no end': b'}',
    'nothing': b'',
}


@pytest.fixture(autouse=True)
def _few_objects(monkeypatch):
    monkeypatch.setattr(pickles, 'MOST_OBJECTS', 20_000)


@pytest.mark.parametrize('what', HOSTILE)
def test_what_would_never_end_is_refused(what):
    with pytest.raises(RefusedError):
        outline(Bytes(b'\x80\x04' + HOSTILE[what]))


@pytest.mark.parametrize('what', DAMAGED)
def test_what_makes_no_sense_is_an_error(what):
    with pytest.raises((ValueError, LookupError)):
        outline(Bytes(b'\x80\x04' + DAMAGED[what]))


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_what_picklers_write_passes_and_says_what_it_asks_for(protocol):
    shared = ['a', {'b': (1, 2.5, None, True, b'c', -(2**50), {'d'})}]
    content = OrderedDict(first=shared, second=shared, third=np.float64(1), fourth={1: []})
    content.attribute = 3
    stream = Bytes(pickle.dumps(content, protocol) + b'more')
    found = outline(stream)
    assert stream.read() == b'more'
    assert {'collections.OrderedDict', 'numpy.dtype'} <= found.names
    assert found.changed == {'collections.OrderedDict', 'numpy.dtype'}


def test_as_deep_and_as_much_as_is_allowed_passes():
    nested = []
    for _ in range(DEEPEST - 1):
        nested = [nested]
    outline(Bytes(pickle.dumps(nested)))
    outline(Bytes(pickle.dumps(list(range(9_990)))))
    with pytest.raises(RefusedError, match=f'more than {DEEPEST} deep'):
        outline(Bytes(pickle.dumps([[nested]])))
