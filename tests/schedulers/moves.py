"""Counts what code that runs on the `meta` device, as if that were a GPU, moves and reads there."""

import sys
from collections import Counter
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACKAGE = Path(__file__).resolve().parents[2] / 'mmagic_adm'
# A tensor made of a list, or put into another type or place; indices may be on the CPU.
MAKES = {torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default}


class Moves(TorchDispatchMode):
    """The places in the package, and how often each has something copied to the device.

    Such a copy is small, but it waits: memory of the CPU that is not pinned is read at once.
    """

    def __init__(self):
        super().__init__()
        self.places = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        from_cpu = any(x.device.type == 'cpu' and x.ndim for x in given)
        if any(x.is_meta for x in made) and (from_cpu or func in MAKES):
            self.places[_where()] += 1
        return result


class Halves(TorchDispatchMode):
    """The files of the package, with their folders, that compute what is in half precision."""

    def __init__(self):
        super().__init__()
        self.files = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        made = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        if any(x.dtype in (torch.float16, torch.bfloat16) for x in made):
            self.files[str(Path(_frame().f_code.co_filename).relative_to(PACKAGE))] += 1
        return result


class Reads(TorchDispatchMode):
    """The files of the package, and how often each reads from the device, which is given zeros.

    Whoever reads waits until the device has come so far, and has nothing ready for it then.
    """

    def __init__(self):
        super().__init__()
        self.files = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        to = torch.device(kwargs.get('device') or 'meta')
        is_copy = func is torch.ops.aten._to_copy.default and to.type == 'cpu'
        is_number = func is torch.ops.aten._local_scalar_dense.default
        if not (is_copy or is_number) or not any(x.is_meta for x in given):
            return func(*args, **kwargs)
        self.files[_where().split(':')[0]] += 1
        zeros = torch.zeros(args[0].shape, dtype=kwargs.get('dtype') or args[0].dtype)
        return func(zeros) if is_number else zeros


def _where():
    """The line of the package that is being run."""
    frame = _frame()
    return f'{Path(frame.f_code.co_filename).name}:{frame.f_lineno}' if frame else 'elsewhere'


def _frame():
    frame = sys._getframe(1)
    while frame is not None and PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    return frame
