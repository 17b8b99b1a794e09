"""Sees to it that a network's output consists of numbers, without waiting for it on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def check_finite(output: Tensor, where: str) -> None:
    """Refuses NaN and infinity; one reduction and one wait where there are none."""
    if not _sum(output).isfinite():
        _name_broken(output, where)


class FiniteWatch:
    """Refuses NaN and infinity among the outputs of one walk's network calls.

    On a GPU an output is judged when the next one comes, so that no call waits for the one before
    it to end; :meth:`close` judges the last.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._pending: tuple[Tensor, Tensor, str] | None = None

    def __call__(self, output: Tensor, level_name: str) -> None:
        """Takes note of an output, and judges the one before it; on a CPU, this one."""
        self._calls += 1
        output = output.detach()  # or a graph would live until the next call
        noted = _sum(output), output, f'{level_name} (call {self._calls})'
        pending, self._pending = self._pending, noted
        _judge(pending)
        if is_at_hand(output):
            self.close()

    def close(self) -> None:
        """Judges the output that is left."""
        pending, self._pending = self._pending, None
        _judge(pending)


def is_at_hand(output: Tensor) -> bool:
    """Whether to look at a tensor is not to wait for a device."""
    return output.device.type == 'cpu'


def _judge(noted: tuple[Tensor, Tensor, str] | None) -> None:
    if noted is None or noted[0].is_meta:  # where there are shapes and no numbers
        return
    if not noted[0].isfinite():
        _name_broken(noted[1], noted[2])


def _sum(output: Tensor) -> Tensor:
    return output.sum(dtype=torch.promote_types(output.dtype, torch.float32))


def _name_broken(output: Tensor, where: str) -> None:
    # A sum overflows where no entry does.
    broken = (~output.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise FloatingPointError(
            f'The model output at {where} holds NaN or infinity (samples {broken} of the batch of '
            f'{len(output)}); a smaller guidance scale may help, or float32 in place of half '
            "precision (profile='exact')"
        )
