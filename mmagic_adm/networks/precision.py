"""The switches that keep float32 from being rounded to fewer bits than it has."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_tensorfloat() -> Iterator[None]:
    """While this lasts, products of float32 are computed in float32 and not in TensorFloat-32.

    Out of the box torch lets GPUs round what goes into a convolution to TensorFloat-32's 10 bits,
    and not what goes into a matrix product.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    allowed = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = False, False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = allowed


@contextmanager
def full_float32() -> Iterator[None]:
    """The same, and without autocast."""
    with (
        without_tensorfloat(),
        torch.autocast('cuda', enabled=False),
        torch.autocast('cpu', enabled=False),
    ):
        yield
