"""What to sample, and what to train on."""

from mmagic_adm.datasets.digits import EnlargeScan, HandwrittenDigits
from mmagic_adm.datasets.emoji import DrawEmoji, Emoji
from mmagic_adm.datasets.images import LSUN, ImageFolder, NpzImages
from mmagic_adm.datasets.latents import DrawLatent, LatentImages
from mmagic_adm.datasets.measured import MeasuredImages
from mmagic_adm.datasets.real_and_made import RealAndMade
from mmagic_adm.datasets.sample_specs import SampleSpecs
from mmagic_adm.datasets.stream import StreamSampler, TrainingStream, check_labels
from mmagic_adm.datasets.transforms import (
    CenterSquare,
    PackTrainingImage,
    RandomAffine,
    RandomGrain,
    RandomMirror,
    RandomSquare,
    ReadImage,
)
from mmagic_adm.files.pictures import UnreadableImageError

__all__ = [
    'LSUN',
    'CenterSquare',
    'DrawEmoji',
    'DrawLatent',
    'Emoji',
    'EnlargeScan',
    'HandwrittenDigits',
    'ImageFolder',
    'LatentImages',
    'MeasuredImages',
    'NpzImages',
    'PackTrainingImage',
    'RandomAffine',
    'RandomGrain',
    'RandomMirror',
    'RandomSquare',
    'ReadImage',
    'RealAndMade',
    'SampleSpecs',
    'StreamSampler',
    'TrainingStream',
    'UnreadableImageError',
    'check_labels',
]
