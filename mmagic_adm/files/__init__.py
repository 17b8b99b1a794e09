"""Whole files or none: writing and downloading them, and images in and out of them."""

from mmagic_adm.files.download import cache_directory, fetch
from mmagic_adm.files.npz import ImagesFile, read_images, write_batch
from mmagic_adm.files.pictures import as_array, as_images, as_pictures, as_uint8, contact_sheet
from mmagic_adm.files.whole import CheckpointError, write_json, written_whole

__all__ = [
    'CheckpointError',
    'ImagesFile',
    'as_array',
    'as_images',
    'as_pictures',
    'as_uint8',
    'cache_directory',
    'contact_sheet',
    'fetch',
    'read_images',
    'write_batch',
    'write_json',
    'written_whole',
]
