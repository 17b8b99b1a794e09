"""Figures of training for the log, by quarter of the noise range."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.logging import MessageHub
from torch import Tensor

QUARTERS = 4
# As often as MMEngine's LoggerHook writes.
ITERATIONS = 10


class QuarterLog:
    """Logs the mean of a figure over the images of ten iterations, for each quarter of noise.

    Quarter q0 is the least noisy; one that no image was in is left out. Sums stay where they are
    computed until they are logged: to read a figure, the host waits until the device has come so
    far, and has nothing ready for it then.

    Args:
        num_timesteps: Timesteps of the process; None where there is none, and so no quarters.
    """

    def __init__(self, num_timesteps: int | None) -> None:
        self.num_timesteps = num_timesteps
        self._seen = 0
        self._sums: Tensor | None = None

    def add(self, t: Tensor, figures: Mapping[str, Tensor]) -> None:
        """Adds an iteration, and logs if it is time.

        Args:
            t: Timestep of each image, (N,).
            figures: By their names, a figure of each image, (N,); the same names every time.
        """
        rows = torch.stack([torch.ones_like(t), *figures.values()]).detach().float()
        quarters = t * QUARTERS // self.num_timesteps if self.num_timesteps else t * 0
        sums = rows.new_zeros(len(rows), QUARTERS).index_add(1, quarters, rows)
        self._sums = sums if self._sums is None else self._sums + sums
        self._seen += 1
        if self._seen % ITERATIONS == 0:
            self._log(self._sums.tolist(), list(figures))
            self._sums = None

    def _log(self, sums: list[list[float]], names: list[str]) -> None:
        hub = MessageHub.get_current_instance()
        counts, *totals = sums
        for name, of_quarters in zip(names, totals, strict=True):
            for quarter, (count, total) in enumerate(zip(counts, of_quarters, strict=True)):
                suffix = f'_q{quarter}' if self.num_timesteps else ''
                if count:
                    hub.update_scalar(f'train/{name}{suffix}', total, int(count))
