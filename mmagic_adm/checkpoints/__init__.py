"""Formats in, formats out: checkpoints of this family, whoever wrote them, and the zoo of them."""

from mmagic_adm.checkpoints.checkpoint import (
    Checkpoint,
    read_checkpoint,
    register_format,
    write_checkpoint,
)
from mmagic_adm.checkpoints.diffusers_folder import write_own_pipeline, write_pipeline
from mmagic_adm.checkpoints.flag_config import config_from_flags
from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.inspection import Inspection, config_from_checkpoint
from mmagic_adm.checkpoints.loading import (
    LoadReport,
    load_network,
    recognise_on_load,
    use_safe_loader,
)
from mmagic_adm.checkpoints.zoo import ZooEntry, find, zoo_names
from mmagic_adm.configs import config_directory
from mmagic_adm.files.download import cache_directory, fetch
from mmagic_adm.files.whole import CheckpointError

__all__ = [
    'Checkpoint',
    'CheckpointError',
    'Document',
    'Format',
    'Inspection',
    'LoadReport',
    'ZooEntry',
    'cache_directory',
    'config_directory',
    'config_from_checkpoint',
    'config_from_flags',
    'fetch',
    'find',
    'load_network',
    'read_checkpoint',
    'recognise_on_load',
    'register_format',
    'use_safe_loader',
    'write_checkpoint',
    'write_own_pipeline',
    'write_pipeline',
    'zoo_names',
]
