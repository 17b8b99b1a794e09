"""What to sample, and what to train on."""

from mmagic_adm.datasets.crops import CenterSquare, RandomMirror, RandomSquare
from mmagic_adm.datasets.digits import EnlargeScan, HandwrittenDigits
from mmagic_adm.datasets.distortions import RandomAffine, RandomGrain
from mmagic_adm.datasets.emoji import DrawEmoji, Emoji
from mmagic_adm.datasets.errors import UnreadableImageError
from mmagic_adm.datasets.image_folder import ImageFolder
from mmagic_adm.datasets.labels import check_labels
from mmagic_adm.datasets.lsun import LSUN
from mmagic_adm.datasets.npz_images import NpzImages
from mmagic_adm.datasets.pack import PackTrainingImage
from mmagic_adm.datasets.read_image import ReadImage
from mmagic_adm.datasets.sample_specs import SampleSpecs
from mmagic_adm.datasets.stream import StreamSampler, TrainingStream

__all__ = [
    'LSUN',
    'CenterSquare',
    'DrawEmoji',
    'Emoji',
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
