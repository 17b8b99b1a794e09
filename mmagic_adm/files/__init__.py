"""Whole files or none: writing, downloads and the cache, images in files."""

from mmagic_adm.files.download import BUNDLED, cache_directory, fetch
from mmagic_adm.files.whole import CheckpointError, write_json, written_whole

__all__ = [
    'BUNDLED',
    'CheckpointError',
    'cache_directory',
    'fetch',
    'write_json',
    'written_whole',
]
