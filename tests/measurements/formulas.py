"""The networks and operators of the goldens, which are formulas and matrices."""

import functools

import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.guidance import Path
from mmagic_adm.measurements import Measurement, Operator
from tests.diffusion.formula import formula_network, over_image


class MatrixOperator(Operator):
    """A matrix on the flattened image."""

    def __init__(self, matrix, shape=(3, 4, 4), sigma_y=0.0):
        super().__init__(shape, sigma_y)
        self.register_buffer('matrix', matrix[None])
        _, s, v_transposed = torch.linalg.svd(matrix.double())
        self.register_buffer('v', v_transposed.mT[None])
        spectrum = torch.zeros(matrix.shape[1], dtype=torch.float64)
        spectrum[: len(s)] = torch.where(s > 1e-5, s, 0)
        self.register_buffer('s', spectrum[None])

    def forward(self, x):
        return (x.flatten(1) @ self.matrix[0].to(x.dtype).mT)[:, :, None, None]

    def adjoint(self, y):
        return (y.flatten(1) @ self.matrix[0].to(y.dtype)).view(-1, *self.shape)

    def weigh(self, x, weight):
        turned = (x.double().flatten(1) @ self.v[0]) * weight(self.s[:, None, None])[0]
        return (turned.view(len(x), -1) @ self.v[0].mT).view(x.shape).to(x.dtype)


def gentle_network(x, timesteps, learned=True):
    eps = 0.6 * x + 0.15 * torch.sin(2 * x + over_image(timesteps) / 250)
    variance = torch.tanh(x + over_image(timesteps) / 500)
    return torch.cat([eps, variance], dim=1) if learned else eps


def mixing_network(x, timesteps, learned=True):
    eps = gentle_network(x, timesteps, learned=False)
    eps = eps + 0.05 * torch.tanh(x.roll(1, -1) - 0.5 * x.roll(1, -2))
    variance = torch.tanh(x + over_image(timesteps) / 500)
    return torch.cat([eps, variance], dim=1) if learned else eps


NETWORKS = dict(formula=formula_network, gentle=gentle_network, mixing=mixing_network)


def measurement_of(golden):
    """The measurement of a case."""
    operator = MatrixOperator(golden.A, sigma_y=golden.meta['sigma_y'])
    y = golden.y.expand(golden.meta.get('particles', len(golden.y)), -1)
    return Measurement(y[:, :, None, None], operator)


def walked(golden, scheduler, method, noises):
    """The steps of a case: the unguided denoiser, corrected by a method, under a scheduler."""
    method = method.on(measurement_of(golden))
    guide = method.bind(Path(scheduler.levels, scheduler.full_process))
    network = NETWORKS[golden.meta['network']]
    if scheduler.full_process.variance_type != 'learned_range':
        network = functools.partial(network, learned=False)
    denoiser = make_denoiser(network, scheduler.full_process)
    if scheduler.clip_sample:
        denoiser = ClippedDenoiser(denoiser)
    return list(
        scheduler.walk(guide.correct(denoiser), golden.x_T, guidance=guide.in_step, noises=noises)
    )
