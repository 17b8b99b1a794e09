"""What a pickle would make, found out by following its instructions without making any of it."""

from __future__ import annotations

import io
import mmap
import pickletools
from dataclasses import dataclass, field
from typing import Any

from mmagic_adm.files.whole import RefusedError

# A training with its optimiser has some hundred thousand objects, a dozen deep.
MOST_OBJECTS = 1 << 20
DEEPEST = 100

# Larger integers may have the hashes of one another, and make a dictionary take for ever.
_LARGEST_KEY = 1 << 60


class Bytes(io.BytesIO):
    """Bytes as a file."""

    def __len__(self) -> int:
        return len(self.getbuffer())


# Of these, to read more than there is takes no more memory than there is.
Stream = mmap.mmap | Bytes


@dataclass
class Outline:
    """What a pickle asks for.

    Attributes:
        names: The functions and classes, as 'module.name'.
        changed: Those of them whose results are given a state or items afterwards.
    """

    names: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Made:
    """One thing on the stack.

    Attributes:
        depth: How many things lie in one another in it.
        weight: How many there are, those that lie in it twice counted twice.
        name: What it is called by, or what the function is called that it comes from.
        text: Itself, if it is text.
        is_open: Whether more may be put into it: until it lies in something else.
        is_named: Whether it is a function or class.
        may_be_key: Whether a dictionary may have it as a key.
    """

    depth: int = 0
    weight: int = 1
    name: str = ''
    text: str | None = None
    is_open: bool = False
    is_named: bool = False
    may_be_key: bool = False


# What has nothing in it, and may stand in any number of places.
_KEY, _NO_KEY = _Made(may_be_key=True), _Made()


def outline(stream: Stream) -> Outline:
    """Follows the next pickle of a stream, up to its end; linear in its length.

    Raises:
        RefusedError: It nests too deep, makes too much, or does what picklers never do: only
            what passes is made in bounded time and memory, whatever stands in it.
        Exception: It is damaged.
    """
    return _Follower(stream).follow()


class _Follower:
    """A pickle machine whose objects have a size and nothing else."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._found = Outline()
        self._stack: list[_Made] = []
        self._stacks: list[list[_Made]] = []
        self._memo: dict[int, _Made] = {}
        self._objects = 0

    def follow(self) -> Outline:
        # An mmap reads as files do, and is none by its type.
        for opcode, argument, _ in pickletools.genops(self._stream):  # type: ignore[arg-type]
            self._count(1)
            self._do(opcode.name, argument)
        return self._found

    def _do(self, instruction: str, argument: Any) -> None:
        match instruction:
            case 'BINPUT' | 'LONG_BINPUT' | 'MEMOIZE':
                number = len(self._memo) if argument is None else argument
                if number > len(self._memo):  # memory is taken up to the largest
                    raise ValueError(f'{number} comes before {len(self._memo)}')
                self._memo[number] = self._stack[-1]
            case 'BINGET' | 'LONG_BINGET':
                self._stack.append(self._memo[argument])
            case 'BINUNICODE' | 'SHORT_BINUNICODE' | 'BINUNICODE8' | 'SHORT_BINSTRING':
                self._stack.append(_Made(text=argument, may_be_key=True))
            case 'BININT' | 'BININT1' | 'BININT2' | 'BINFLOAT' | 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                self._stack.append(_KEY)
            case 'LONG1':
                self._stack.append(_KEY if abs(argument) < _LARGEST_KEY else _NO_KEY)
            case 'SHORT_BINBYTES' | 'BINBYTES' | 'BINBYTES8' | 'EMPTY_TUPLE':
                self._stack.append(_NO_KEY)
            case 'EMPTY_DICT' | 'EMPTY_LIST' | 'EMPTY_SET':
                self._stack.append(_Made(is_open=True))
            case 'MARK':
                self._stacks.append(self._stack)
                self._stack = []
            case 'TUPLE':
                self._make_of(self._since_mark())
            case 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                self._make_of(self._popped(int(instruction[-1])))
            case 'SETITEM':
                self._put(self._popped(2), key_every=2)
            case 'SETITEMS':
                self._put(self._since_mark(), key_every=2)
            case 'ADDITEMS':
                self._put(self._since_mark(), key_every=1)
            case 'APPENDS':
                self._put(self._since_mark())
            case 'APPEND' | 'BUILD':
                self._put(self._popped(1))
            case 'GLOBAL':
                self._name(*argument.split(' ', 1))
            case 'STACK_GLOBAL':
                module, name = self._popped(2)
                if module.text is None or name.text is None:
                    raise ValueError('a name is no text')
                self._name(module.text, name.text)
            case 'REDUCE' | 'NEWOBJ':
                function, arguments = self._popped(2)
                if not function.is_named:
                    raise RefusedError('it calls what has no name')
                # What a function does with its arguments takes no longer than to look at each.
                self._count(arguments.weight)
                self._make_of([arguments], name=function.name, is_open=True)
            case 'BINPERSID':
                self._stack[-1:] = [_NO_KEY]
            case 'FRAME':
                if argument > len(self._stream) - self._stream.tell():
                    raise ValueError('a frame ends beyond the file')
            case 'PROTO' | 'STOP':
                pass
            case _:
                said = f' {argument}' if isinstance(argument, str) else ''
                raise RefusedError(f'it asks for {instruction}{said[:80]}, as no network does')

    def _count(self, objects: int) -> None:
        self._objects += objects
        if self._objects > MOST_OBJECTS:
            raise RefusedError(f'it holds more than {MOST_OBJECTS:,} objects')

    def _since_mark(self) -> list[_Made]:
        made, self._stack = self._stack, self._stacks.pop()
        return made

    def _popped(self, count: int) -> list[_Made]:
        if len(self._stack) < count:
            raise ValueError('there is too little to take')
        made = self._stack[-count:]
        del self._stack[-count:]
        return made

    def _name(self, module: str, name: str) -> None:
        # What Python 2 called it, which the oldest protocols do still.
        full = f'{module.replace("__builtin__", "builtins")}.{name}'
        self._found.names.add(full)
        self._stack.append(_Made(name=full, is_named=True))

    def _make_of(self, parts: list[_Made], name: str = '', is_open: bool = False) -> None:
        whole = _Made(name=name, is_open=is_open)
        self._fill(whole, parts)
        self._stack.append(whole)

    def _put(self, parts: list[_Made], key_every: int = 0) -> None:
        """Puts parts into what is on top of the stack."""
        if key_every and not all(part.may_be_key for part in parts[::key_every]):
            raise RefusedError('it has a dictionary whose keys are neither text nor numbers')
        whole = self._stack[-1]
        self._fill(whole, parts)
        if not whole.is_open:
            raise RefusedError('it changes what lies in something else')
        if whole.name:
            self._found.changed.add(whole.name)

    def _fill(self, whole: _Made, parts: list[_Made]) -> None:
        for part in parts:
            # Nothing grows any more that lies in something: so nothing comes to lie in itself.
            part.is_open = False
            whole.weight += part.weight
            whole.depth = max(whole.depth, part.depth + 1)
        if whole.depth > DEEPEST:
            raise RefusedError(f'it nests more than {DEEPEST} deep')
        if whole.weight > MOST_OBJECTS:
            raise RefusedError(f'it holds more than {MOST_OBJECTS:,} objects')
