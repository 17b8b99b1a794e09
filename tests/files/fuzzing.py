"""Damages files and reads them, in a process of its own whose time and memory are bounded.

    python -m tests.files.fuzzing --files 10000

What a module has in ``KINDS`` is damaged, each kind in turn, and may end in its ``ERRORS``. The
damage follows from the file's number: ``--first NUMBER --files 1`` does it once more.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import pickletools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 2
MEMORY = 1 << 30
# What no reading of a file does, by the names of Python's audit events.
FORBIDDEN = {
    'ctypes.dlopen', 'os.exec', 'os.fork', 'os.posix_spawn', 'os.spawn', 'os.system',
    'socket.connect', 'socket.getaddrinfo', 'subprocess.Popen',
}  # fmt: skip
NUMBERS = [0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
# Instructions of pickles: deep, doubled, large, and such as call.
INSTRUCTIONS = [
    b')' + b'\x85' * 150_000, b')' + b'2\x86' * 60, b')' + b'q\x00h\x00\x86' * 60, b'\x8f' * 1000,
    b'r\xff\xff\xff\x7f', b'\x95' + b'\xff' * 8, b'\x8e' + b'\xff' * 7 + b'\x0f', b'cos\nsystem\n',
    b'\x8c\x02os\x8c\x06system\x93', b'R', b'b', b's', b'u', b'a', b'e', b't', b'(', b'0', b'Q',
    b'\x81', b'\x90', b'N', b'}', b']',
]  # fmt: skip
# Text that a parser may choke on.
TEXTS = [b'[' * 100_000, b'{"a":' * 10_000, b'-' * 9000, b'9' * 5000, b'NaN', b'"', b'\xff']
# Where in the two headers of a zip's member its flags, method, sizes and place stand.
ZIP_FIELDS = [(b'PK\x01\x02', (8, 10, 16, 20, 24, 28, 42)), (b'PK\x03\x04', (6, 8, 14, 18, 22, 26))]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        make: Writes a sound one into a folder, and gives its path.
        read: Reads it; gives what can be compared.
        has_checksum: Whether whatever is changed in it must be found.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    has_checksum: bool = False


def damaged(data: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A file's content with some damage, and whether its checksums were made to fit again."""
    if data.startswith(b'PK') and chance.random() < 0.5:
        return _repacked(data, chance), True
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        chance.choice(DAMAGES)(changed, chance)
    return bytes(changed), False


def _repacked(data: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([*members, *(name for name in members if name.endswith('.pkl'))])
    changed = bytearray(members[name])
    for _ in range(chance.choice((1, 1, 2))):
        damage = _instruction if name.endswith('.pkl') else chance.choice(DAMAGES)
        damage(changed, chance)
    members[name] = bytes(changed)
    packed = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(packed, 'w', method) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return packed.getvalue()


def _bit(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random) -> None:
    size = chance.choice((1, 2, 4, 8))
    at = chance.randrange(len(data) + 1)
    number = chance.choice(NUMBERS) % (1 << 8 * size)
    data[at : at + size] = number.to_bytes(size, chance.choice(('little', 'big')))


def _cut(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : chance.choice((at + chance.randrange(1, 100), len(data)))]


def _copied(data: bytearray, chance: random.Random) -> None:
    begin, at = (chance.randrange(len(data) + 1) for _ in range(2))
    data[at:at] = data[begin : begin + chance.randrange(200)] * chance.choice((1, 1, 100))


def _noise(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at : at + 16] = chance.randbytes(16)


def _brackets(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(TEXTS)


def _instruction(data: bytearray, chance: random.Random) -> None:
    try:
        places = [place for _, _, place in pickletools.genops(bytes(data))]
    except ValueError:
        return _bit(data, chance)
    at = chance.choice(places)
    new = chance.choice((chance.choice(INSTRUCTIONS), bytes([chance.randrange(256)])))
    data[at : at + chance.choice((0, 1))] = new


def _zip_field(data: bytearray, chance: random.Random) -> None:
    mark, fields = chance.choice(ZIP_FIELDS)
    places = [at for at in range(len(data)) if data.startswith(mark, at)]
    if places:
        at = chance.choice(places) + chance.choice(fields)
        size = chance.choice((2, 4))
        data[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, 'little')


DAMAGES = [_bit, _number, _cut, _copied, _noise, _brackets, _instruction, _zip_field]


def work(module: str, first: int, count: int, seed: str) -> None:
    """Damages and reads files; says of each, before and after, what it is and what came of it."""
    found = importlib.import_module(module)
    kinds: dict[str, Kind] = found.KINDS
    run: list[str] = []
    # What is printed meanwhile goes elsewhere.
    said = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with tempfile.TemporaryDirectory() as folder:
        sound = {}
        for name, kind in kinds.items():
            place = Path(folder, name)
            place.mkdir()
            path = kind.make(place)
            sound[name] = path.name, path.read_bytes(), kind.read(path)
        _limit_memory()
        sys.addaudithook(lambda event, _: run.append(event) if event in FORBIDDEN else None)
        for number in range(first, first + count):
            name = list(kinds)[number % len(kinds)]
            file_name, data, value = sound[name]
            data, is_resealed = damaged(data, random.Random(f'{seed} {number}'))
            file = Path(folder, f'damaged-{number}', file_name)
            file.parent.mkdir()
            file.write_bytes(data)
            print(json.dumps([number, name, '']), file=said, flush=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process, wherever it is
            outcome = _outcome(kinds[name], file, value, is_resealed, found.ERRORS)
            signal.setitimer(signal.ITIMER_PROF, 0)
            shutil.rmtree(file.parent)
            outcome = f'ran {run.pop()}' if run else outcome
            print(json.dumps([number, name, outcome]), file=said, flush=True)


def _outcome(
    kind: Kind, file: Path, value: Any, is_resealed: bool, errors: tuple[type[Exception], ...]
) -> str:
    try:
        read = kind.read(file)
    except MemoryError:
        return 'took more memory than it may'
    except errors as error:
        said = str(error)
        if 'there is no memory' in said:
            return 'took more memory than it may'
        if '\n' in said or file.parent.name not in said:
            return f'unnamed: {type(error).__name__}: {said[:300]}'
        return 'refused'
    except Exception as error:
        return f'raw: {type(error).__name__}: {str(error)[:300]}'
    if read == value:
        return 'as it was'
    return 'changed unseen' if kind.has_checksum and not is_resealed else 'changed'


def _limit_memory() -> None:
    import resource

    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


FINE = ('as it was', 'changed', 'refused')


def fuzz(module: str, count: int, seed: str, first: int = 0) -> Iterator[tuple[int, str, str]]:
    """Number, kind and outcome of each file; a process that dies is followed by another."""
    command = [sys.executable, '-m', 'tests.files.fuzzing', '--work', '--module', module]
    end = first + count
    while first < end:
        numbers = ['--seed', seed, '--first', str(first), '--files', str(end - first)]
        with (
            tempfile.TemporaryFile('w+') as complaints,
            tempfile.TemporaryDirectory() as folder,  # which a process that dies leaves as it is
            subprocess.Popen(
                [*command, *numbers],
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env={**os.environ, 'TMPDIR': folder},
            ) as process,
        ):
            begun = None
            assert process.stdout is not None
            for number, name, outcome in map(json.loads, process.stdout):
                begun = None if outcome else (number, name)
                if outcome:
                    yield number, name, outcome
                    first = number + 1
            status = process.wait()
            complaints.seek(0)
            if status and not begun:
                raise RuntimeError(complaints.read())
        if begun:
            is_late = status == -signal.SIGPROF
            yield *begun, f'took over {SECONDS} seconds' if is_late else f'died of {status}'
            first = begun[0] + 1


def main() -> int:
    """Prints how many files of each kind came to what; 1 if any did that may not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--files', type=int, default=10_000)
    parser.add_argument('--first', type=int, default=0)
    parser.add_argument('--seed', default='0')
    parser.add_argument('--module', default='tests.files.kinds')
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.module, arguments.first, arguments.files, arguments.seed)
        return 0
    counts: Counter[tuple[str, str]] = Counter()
    bad = 0
    for number, name, outcome in fuzz(
        arguments.module, arguments.files, arguments.seed, arguments.first
    ):
        counts[name, outcome if outcome in FINE else 'BAD'] += 1
        if outcome not in FINE:
            bad += 1
            print(f'{number} {name}: {outcome}', flush=True)
    for (name, outcome), count in sorted(counts.items()):
        print(f'{name:20} {outcome:10} {count:6}')
    return int(bad > 0)


if __name__ == '__main__':
    sys.exit(main())
