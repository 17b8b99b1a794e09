"""Solvers of M u = b that take one product with M in an iteration, each sample by itself.

M comes as ``product(v) -> (M v, B v)``, and what they give is B u: where products with M compute
those with B on their way, nobody need compute them again. They start at u = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], tuple[Tensor, Tensor]]


def conjugate_gradients(product: Product, b: Tensor, iterations: int) -> Tensor:
    """Hestenes and Stiefel 1952, for symmetric M.

    Args:
        product: M.
        b: The right-hand side, (N, ...).
        iterations: Products to take.
    """
    r, p, square = b, b, inner(b, b)
    solution: Tensor | float = 0.0
    for _ in range(iterations):
        product_p, carried = product(p)
        step = _quotient(square, inner(p, product_p))
        solution = solution + _over(step, carried) * carried
        r = r - _over(step, r) * product_p
        square, before = inner(r, r), square
        p = r + _over(_quotient(square, before), p) * p
    return torch.as_tensor(solution)


def gmres(product: Product, b: Tensor, iterations: int) -> Tensor:
    """Saad and Schultz 1986, for any M, without restarts; arguments as above."""
    length = inner(b, b).sqrt()
    basis, carried = [b * _over(_quotient(torch.ones_like(length), length), b)], []
    hessenberg = b.new_zeros(len(b), iterations + 1, iterations)
    for k in range(iterations):
        w, of_v = product(basis[k])
        carried.append(of_v)
        for j, v in enumerate(basis):
            hessenberg[:, j, k] = inner(w, v)
            w = w - _over(hessenberg[:, j, k], w) * v
        rest = inner(w, w).sqrt()
        hessenberg[:, k + 1, k] = rest
        basis.append(w * _over(_quotient(torch.ones_like(rest), rest), w))
    # |b| e_1 - H y is as short as it can be; where b is exhausted, columns of H are 0.
    y = torch.linalg.pinv(hessenberg)[:, :, 0] * length[:, None]
    return sum(_over(y[:, k], v) * v for k, v in enumerate(carried))  # type: ignore[return-value]


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each sample, (N,)."""
    return (a * b).flatten(1).sum(dim=1)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """A / b, and 0 where there is nothing left to divide by."""
    return torch.where(b == 0, 0, a / b)


def _over(values: Tensor, like: Tensor) -> Tensor:
    """A number for each sample, in a shape that scales samples."""
    return values.view(-1, *[1] * (like.ndim - 1))
