"""What a person calls from Python."""

from mmagic_adm.apis.class_names import find_label, imagenet_class_names
from mmagic_adm.apis.editing import (
    decode,
    encode,
    interpolate_images,
    interpolate_seeds,
    reconstruct,
    vary,
)
from mmagic_adm.apis.launch import launch_demo
from mmagic_adm.apis.models import init_model
from mmagic_adm.apis.restoring import restore
from mmagic_adm.apis.samples import Samples
from mmagic_adm.apis.sampling import sample
from mmagic_adm.apis.training import train
from mmagic_adm.configs import list_models
from mmagic_adm.evaluation import evaluate
from mmagic_adm.files.pictures import as_pictures, contact_sheet

__all__ = [
    'Samples',
    'as_pictures',
    'contact_sheet',
    'decode',
    'encode',
    'evaluate',
    'find_label',
    'imagenet_class_names',
    'init_model',
    'interpolate_images',
    'interpolate_seeds',
    'launch_demo',
    'list_models',
    'reconstruct',
    'restore',
    'sample',
    'train',
    'vary',
]
