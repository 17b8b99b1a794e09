"""The mathematics of the diffusion process, and what training minimises."""

from mmagic_adm.diffusion.bits_per_dim import bits_per_dim, prior_bits_per_dim
from mmagic_adm.diffusion.losses import training_losses
from mmagic_adm.diffusion.noise_level import CLEAN, PURE_NOISE, NoiseLevel, edm_sigma
from mmagic_adm.diffusion.noise_schedules import NOISE_SCHEDULES, NoiseSchedule, noise_schedule
from mmagic_adm.diffusion.prediction import LearnedVariance, Prediction
from mmagic_adm.diffusion.process import (
    GaussianDiffusion,
    GaussianDistribution,
    ReverseDistribution,
)
from mmagic_adm.diffusion.randomness import (
    Generators,
    at_least_float32,
    check_generators,
    randn_like_samples,
    randn_samples,
)
from mmagic_adm.diffusion.respacing import has_even_spacing, space_timesteps
from mmagic_adm.diffusion.timestep_samplers import (
    LossSecondMomentTimestepSampler,
    TimestepSampler,
    UniformTimestepSampler,
)

__all__ = [
    'CLEAN',
    'NOISE_SCHEDULES',
    'PURE_NOISE',
    'GaussianDiffusion',
    'GaussianDistribution',
    'Generators',
    'LearnedVariance',
    'LossSecondMomentTimestepSampler',
    'NoiseLevel',
    'NoiseSchedule',
    'Prediction',
    'ReverseDistribution',
    'TimestepSampler',
    'UniformTimestepSampler',
    'at_least_float32',
    'bits_per_dim',
    'check_generators',
    'edm_sigma',
    'has_even_spacing',
    'noise_schedule',
    'prior_bits_per_dim',
    'randn_like_samples',
    'randn_samples',
    'space_timesteps',
    'training_losses',
]
