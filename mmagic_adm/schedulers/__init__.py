"""The samplers, each with its walk from noise to an image; and whatever solver diffusers ships."""

from mmagic_adm.schedulers.base import Scheduler, Step, StepNoise, look
from mmagic_adm.schedulers.boosted import BoostedHeunScheduler
from mmagic_adm.schedulers.consistency import ConsistencyScheduler
from mmagic_adm.schedulers.ddim import DDIMScheduler
from mmagic_adm.schedulers.ddpm import DDPMScheduler
from mmagic_adm.schedulers.diffusers_scheduler import DiffusersScheduler
from mmagic_adm.schedulers.discrete import DiscreteScheduler, StepOutput
from mmagic_adm.schedulers.edm import EDMHeunScheduler
from mmagic_adm.schedulers.restart import DDIMRestartScheduler, RestartScheduler
from mmagic_adm.schedulers.travel import DDNMScheduler, RePaintScheduler

__all__ = [
    'BoostedHeunScheduler',
    'ConsistencyScheduler',
    'DDIMRestartScheduler',
    'DDIMScheduler',
    'DDNMScheduler',
    'DDPMScheduler',
    'DiffusersScheduler',
    'DiscreteScheduler',
    'EDMHeunScheduler',
    'RePaintScheduler',
    'RestartScheduler',
    'Scheduler',
    'Step',
    'StepNoise',
    'StepOutput',
    'look',
]
