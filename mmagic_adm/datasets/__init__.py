"""What to sample, and what to train on."""

from mmagic_adm.datasets.digits import EnlargeScan, HandwrittenDigits
from mmagic_adm.datasets.image_folder import ImageFolder
from mmagic_adm.datasets.lsun import LSUN
from mmagic_adm.datasets.npz_images import NpzImages
from mmagic_adm.datasets.pipeline import PackTrainingImage, ReadImage, UnreadableImageError
from mmagic_adm.datasets.sample_specs import SampleSpecs
from mmagic_adm.datasets.stream import StreamSampler, TrainingStream, check_labels
from mmagic_adm.datasets.transforms import (
    CenterSquare,
    RandomAffine,
    RandomGrain,
    RandomMirror,
    RandomSquare,
)

__all__ = [
    'LSUN',
    'CenterSquare',
    'EnlargeScan',
    'HandwrittenDigits',
    'ImageFolder',
    'NpzImages',
    'PackTrainingImage',
    'RandomAffine',
    'RandomGrain',
    'RandomMirror',
    'RandomSquare',
    'ReadImage',
    'SampleSpecs',
    'StreamSampler',
    'TrainingStream',
    'UnreadableImageError',
    'check_labels',
]
