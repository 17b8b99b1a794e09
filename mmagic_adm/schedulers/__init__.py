"""The samplers, each with its walk from noise to an image; and whatever solver diffusers ships."""

from mmagic_adm.schedulers.base import Scheduler, Step, StepNoise, look
from mmagic_adm.schedulers.consistency import ConsistencyScheduler
from mmagic_adm.schedulers.ddim import DDIMScheduler
from mmagic_adm.schedulers.ddpm import DDPMScheduler
from mmagic_adm.schedulers.diffusers_scheduler import DiffusersScheduler
from mmagic_adm.schedulers.discrete import DiscreteScheduler, StepOutput
from mmagic_adm.schedulers.edm import EDMHeunScheduler

__all__ = [
    'ConsistencyScheduler',
    'DDIMScheduler',
    'DDPMScheduler',
    'DiffusersScheduler',
    'DiscreteScheduler',
    'EDMHeunScheduler',
    'Scheduler',
    'Step',
    'StepNoise',
    'StepOutput',
    'look',
]
