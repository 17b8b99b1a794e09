"""Normally distributed data, for which the perfect denoiser and its samples are known exactly."""

import functools

import torch

from mmagic_adm.diffusion import NoiseLevel, Prediction
from mmagic_adm.schedulers import DiffusersScheduler

PLAIN = dict(variance_type='fixed_small', clip_sample=False)


class GaussianData:
    """N(mean, covariance) over the channels of one-pixel images, and its denoiser.

    Everything that schedulers do with a perfect denoiser is affine in the noise that they are
    given. So the mean and covariance of their samples follow, without any sampling error, from
    what they make of zero noise and of the unit vectors.
    """

    def __init__(self, mean, covariance):
        self.mean = torch.as_tensor(mean).double()
        self.covariance = torch.as_tensor(covariance).double()

    @property
    def dim(self):
        return len(self.mean)

    def posterior(self, x_t, level: NoiseLevel):
        """E[x_0 | x_t] and Cov[x_0 | x_t]."""
        s, n = level.signal, level.noise
        noisy = s**2 * self.covariance + n**2 * torch.eye(self.dim, dtype=torch.float64)
        gain = s * self.covariance @ torch.linalg.inv(noisy)
        x_0 = self.mean + (x_t.double().flatten(1) - s * self.mean) @ gain.T
        return x_0.reshape(x_t.shape), self.covariance - s * gain @ self.covariance

    def __call__(self, x_t, level: NoiseLevel):
        x_0 = self.posterior(x_t, level)[0]
        return Prediction(x_0, level.eps(x_t, x_0))

    def flow(self, noise, level: NoiseLevel):
        """Where the probability flow carries x_t = noise: the exact end of every ODE solver."""
        s, n = level.signal, level.noise
        eigenvalues, basis = torch.linalg.eigh(self.covariance)
        stretch = (eigenvalues / (s**2 * eigenvalues + n**2)).sqrt()
        path = basis @ torch.diag(stretch) @ basis.T
        return (self.mean + (noise.flatten(1) - s * self.mean) @ path).reshape(noise.shape)


@functools.cache
def plain_solver(name):
    """A solver of diffusers; some take most of a second to be set up."""
    return DiffusersScheduler(name, **PLAIN)


def ends(scheduler, denoiser, noise, **kwargs):
    """What a walk makes of noise."""
    for step in scheduler.walk(denoiser, scheduler.init_noise(noise), **kwargs):
        sample = step.sample
    return sample


def sampled_mean_and_covariance(scheduler, denoiser, dim, takes_noise):
    """Mean and covariance of what a scheduler makes of standard normal noise."""
    sources = 1 + (len(scheduler.levels) if takes_noise else 0)
    units = torch.eye(dim * sources, dtype=torch.float64)
    inputs = torch.cat([torch.zeros(1, dim * sources, dtype=torch.float64), units])
    inputs = inputs.reshape(-1, sources, dim, 1, 1).unbind(1)
    noises = dict(noises=inputs[1:]) if takes_noise else {}
    samples = ends(scheduler, denoiser, inputs[0], **noises).flatten(1).double()
    ways = samples[1:] - samples[0]
    return samples[0], ways.T @ ways
