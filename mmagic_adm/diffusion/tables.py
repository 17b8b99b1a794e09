"""Numbers that depend on the timestep, kept in float64 and handed out as a formula needs them."""

from collections.abc import Mapping

import numpy as np
import torch

from mmagic_adm.diffusion.noise_schedules import Array

# A plain number for one timestep, or a tensor that broadcasts over a batch of them.
Coefficient = float | torch.Tensor


class CoefficientTables:
    """Named tables over the timesteps of a process.

    One timestep, as in sampling, gives plain numbers, which cost no transfer and no wait. A batch
    of timesteps, as in training, is looked up in a copy of the table that stays on its device.

    Args:
        tables: Name to float64 values, one for each timestep.
    """

    def __init__(self, tables: Mapping[str, Array]) -> None:
        self._tables = dict(tables)
        self._on_device: dict[tuple[str, torch.device, torch.dtype], torch.Tensor] = {}

    def at(self, name: str, t: int | torch.Tensor, like: torch.Tensor) -> Coefficient:
        """A table's value at one timestep, or at (N,) of them to scale ``like`` (N, ...) with."""
        if isinstance(t, torch.Tensor):
            values = self.on_device(name, like.device, like.dtype)[t]
            return values.reshape(-1, *[1] * (like.ndim - 1))
        return self.number(name, t)

    def number(self, name: str, t: int) -> float:
        """A table's value at one timestep."""
        table = self._tables[name]
        if not 0 <= t < len(table):
            raise IndexError(f'Timestep {t} of a process of {len(table)}')
        return float(table[t])

    def on_device(self, name: str, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """The whole table as a tensor, made at the first call."""
        key = (name, device, dtype)
        if key not in self._on_device:
            # Under inference mode the copy would be unusable in a later training step.
            with torch.inference_mode(False):
                values = torch.from_numpy(self._tables[name])
                self._on_device[key] = values.to(dtype).to(device)
        return self._on_device[key]


def interpolate(value: Coefficient, rising: Array) -> Coefficient:
    """The place of a value among rising ones, whole or not; the first or last beyond them."""
    if not isinstance(value, torch.Tensor):
        return float(np.interp(value, rising, np.arange(len(rising))))
    table = torch.from_numpy(rising).to(value.device)
    value = value.double().flatten().clamp(table[0], table[-1])
    above = torch.searchsorted(table, value).clamp(1, len(rising) - 1)
    low, high = table[above - 1], table[above]
    return above - 1 + (value - low) / (high - low)


def process_tables(betas: Array, timesteps: Array, network_timesteps: Array) -> CoefficientTables:
    """Everything that the formulas of a process with these betas look up."""
    alpha_bar = np.cumprod(1 - betas)
    before = np.append(1.0, alpha_bar[:-1])

    # DDPM, eq. 7. No noise is left before the first step, whose variance is 0: where a logarithm
    # is taken, the next step's stands in.
    small = betas * (1 - before) / (1 - alpha_bar)
    first = small[1] if len(small) > 1 else betas[0]
    log_small = np.log(np.append(first, small[1:]))
    large = np.append(first, betas[1:])
    log_large = np.log(betas)
    return CoefficientTables(
        {
            'timestep': timesteps,
            'network_timestep': network_timesteps,
            'signal': np.sqrt(alpha_bar),
            'noise': np.sqrt(1 - alpha_bar),
            'posterior_mean_x_0': betas * np.sqrt(before) / (1 - alpha_bar),
            'posterior_mean_x_t': (1 - before) * np.sqrt(1 - betas) / (1 - alpha_bar),
            'variance_small': small,
            'log_variance_small': log_small,
            'variance_large': large,
            'log_variance_large': np.log(large),
            'log_variance_half_range': (log_large - log_small) / 2,
            'log_variance_middle': (log_large + log_small) / 2,
        }
    )
