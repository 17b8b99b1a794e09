"""Folders of the diffusers library: a network, its scheduler, and the pipeline that they make up.

A kind of network is a row of ``KINDS``. Nothing here needs diffusers itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints.diffusers_schedulers import (
    from_diffusers_scheduler,
    to_diffusers_scheduler,
)
from mmagic_adm.checkpoints.diffusers_unet import from_unet_2d, to_unet_2d
from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.model_folder import write_model
from mmagic_adm.checkpoints.parts import Networks, StateDict, kind_of, under_prefixes
from mmagic_adm.checkpoints.safetensors_files import SafetensorsFile
from mmagic_adm.checkpoints.sampling_models import sampling_model
from mmagic_adm.files.whole import CheckpointError, folder_written_whole, read_json

_WEIGHTS = 'diffusion_pytorch_model.safetensors'
_COPY = 'copy the folder again'
# What is diffusers' own module here too, with its own names of the tensors.
_AS_IT_IS = ('AutoencoderKL',)
_OWN_PIPELINE = 'AblatedDiffusionPipeline'


@dataclass(frozen=True)
class NetworkKind:
    """A network of ours and the class of diffusers' that it is there.

    Args:
        ours: The type of ours.
        theirs: The class of theirs.
        part: The folder of it in a pipeline's, which is its name there.
        there: From config, tensors and scheduler's config to their config and tensors; raises
            ValueError, with the reason, for what their class cannot be.
        back: From their config, their tensors and our config, where the file records it, to ours
            and to what there is to add to the scheduler's.
        pipeline: The pipeline that samples from it, by our config and their scheduler's class;
            raises ValueError where there is none.
    """

    ours: str
    theirs: str
    part: str
    there: Callable[..., tuple[dict[str, Any], StateDict]]
    back: Callable[..., tuple[dict[str, Any], StateDict, dict[str, Any]]]
    pipeline: Callable[[Mapping[str, Any], str], str]


def _pipeline_of_unet(unet: Mapping[str, Any], scheduler: str) -> str:
    # The only one of pixels that hands labels on, and to any scheduler.
    if unet.get('num_classes') or scheduler not in ('DDPMScheduler', 'DDIMScheduler'):
        return 'ConsistencyModelPipeline'
    return scheduler.replace('Scheduler', 'Pipeline')


KINDS = (
    NetworkKind('ADMUNet', 'UNet2DModel', 'unet', to_unet_2d, from_unet_2d, _pipeline_of_unet),
)


def write_pipeline(
    folder: str | Path, parts: Mapping[str, Any], state: StateDict, overwrite: bool = False
) -> Path:
    """Writes a network as a pipeline that diffusers loads by itself.

    Args:
        folder: Where it goes. It appears once it is complete, and not at all if that fails.
        parts: The configs of ``unet`` and ``diffusion_scheduler``, and of ``preconditioning`` if
            there is one; as ``Inspection.config`` has them.
        state: The network's tensors.
        overwrite: Whether to replace a folder of that name.

    Returns:
        The folder.

    Raises:
        CheckpointError: diffusers has no such network, scheduler or pipeline, or the folder cannot
            be written.
    """
    folder = Path(folder)
    try:
        index, files = _pipeline(parts, state)
    except ValueError as error:
        raise CheckpointError(
            f'{folder} would be no pipeline that diffusers can run: {error}; --own-pipeline writes '
            'one that runs by this package'
        ) from error
    size = sum(tensor.nbytes for tensor in state.values())
    with folder_written_whole(folder, size, overwrite) as temporary:
        _write_json(temporary / 'model_index.json', index)
        for part, (config, tensors) in files.items():
            (temporary / part).mkdir()
            name = 'scheduler_config.json' if part == 'scheduler' else 'config.json'
            _write_json(temporary / part / name, config)
            if tensors:
                network = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors}
                SafetensorsFile().write(
                    temporary / part / _WEIGHTS, {'': network}, {'config': {'unet': parts['unet']}}
                )
    return folder


def write_own_pipeline(
    folder: str | Path,
    parts: Mapping[str, Any],
    networks: Networks,
    overwrite: bool = False,
) -> Path:
    """Writes networks as a pipeline that diffusers loads, and this package runs.

    Args:
        folder: Where it goes; see :func:`write_pipeline`.
        parts: The configs of the networks and the scheduler, as ``Inspection.config`` has them.
        networks: The tensors of each network, whatever its name.
        overwrite: Whether to replace a folder of that name.

    Returns:
        The folder.

    Raises:
        CheckpointError: There is no U-Net in them, or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        model = sampling_model(parts)
    except ValueError as error:
        raise CheckpointError(f'{folder} would be no pipeline: {error}') from error
    state = under_prefixes({kind_of(each): each for each in networks.values()})
    size = sum(tensor.nbytes for tensor in state.values())
    with folder_written_whole(folder, size, overwrite) as temporary:
        index = {
            '_class_name': ['pipeline', _OWN_PIPELINE],
            'model': ['loader', 'AblatedDiffusionModel'],
        }
        _write_json(temporary / 'model_index.json', index)
        (temporary / 'pipeline.py').write_text(
            f'from mmagic_adm.apis.diffusers_pipeline import {_OWN_PIPELINE}  # noqa: F401\n'
        )
        write_model(temporary / 'model', model, state)
        (temporary / 'model' / 'loader.py').write_text(
            'from mmagic_adm.models import AblatedDiffusionModel  # noqa: F401\n'
        )
    return folder


def _pipeline(
    parts: Mapping[str, Any], state: StateDict
) -> tuple[dict[str, Any], dict[str, tuple[dict[str, Any], Any]]]:
    """The index of a pipeline; and of each part its config, and its tensors."""
    unet, scheduler = parts.get('unet'), parts.get('diffusion_scheduler')
    if unet is None or scheduler is None or 'classifier' in parts:
        raise ValueError('it has no place for a classifier')
    kinds = {kind.ours: kind for kind in KINDS}
    if unet['type'] not in kinds:
        raise ValueError(f'it has none for networks like {unet["type"]}')
    kind = kinds[unet['type']]
    config, tensors = kind.there(unet, state, scheduler)
    steps = to_diffusers_scheduler(scheduler, parts.get('preconditioning'))
    index = {
        '_class_name': kind.pipeline(unet, steps['_class_name']),
        'scheduler': ['diffusers', steps['_class_name']],
        kind.part: ['diffusers', kind.theirs],
    }
    described = {'_class_name': kind.theirs, **config}
    return index, {kind.part: (described, list(tensors.items())), 'scheduler': (steps, [])}


class DiffusersFile(Format):
    """The weights of a network in a folder of diffusers', known by the config beside them.

    What is read says of itself the config, and that of the scheduler in the folder beside, if
    there is one.
    """

    layout = 'diffusers'

    def knows(self, path: Path, head: bytes) -> bool:
        """Looks at the config, if there is one."""
        beside = path.with_name('config.json')
        if head[8:9] != b'{' or not beside.is_file():
            return False
        return read_json(beside, _COPY).get('_class_name') not in (None, *_AS_IT_IS)

    def read(self, path: Path, mmap: bool = True) -> Document:
        """Reads the tensors, and both configs."""
        config = read_json(path.with_name('config.json'), _COPY)
        kinds = {kind.theirs: kind for kind in KINDS}
        name = str(config['_class_name'])
        if name not in kinds:
            raise CheckpointError(
                f'{path} is of a {name}; of diffusers, {" and ".join(kinds)} are read'
            )
        document = SafetensorsFile().read(path)
        recorded = document.meta.get('config', {}).get('unet', {})
        try:
            unet, state, told = kinds[name].back(config, document.state_dict, recorded)
            meta = _with_scheduler(path.parent.parent / 'scheduler', unet, told)
        except ValueError as error:
            raise CheckpointError(f'{path.parent}: {error}') from error
        return Document(state, meta)


def _with_scheduler(folder: Path, unet: dict[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself: the configs of network and scheduler."""
    file = folder / 'scheduler_config.json'
    if not file.is_file():
        return {'config': {'unet': unet}}
    learns = unet['out_channels'] == 2 * unet['in_channels']
    scheduler, around = from_diffusers_scheduler(read_json(file, _COPY), learns)
    meta: dict[str, Any] = {'config': {'unet': unet, 'diffusion_scheduler': {**scheduler, **told}}}
    return meta | ({'preconditioning': around} if around else {})


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder: of diffusers' pipelines or networks, or of our models.

    Raises:
        CheckpointError: There is none, or one that is not read; the message says what to do.
    """
    parts = [folder / name for name in (*(kind.part for kind in KINDS), 'model')]
    places = [place for place in (*parts, folder) if place.is_dir()]
    for place in places:
        found = sorted(place.glob('*.safetensors'))
        whole = [file for file in found if '-of-' not in file.name]
        if whole:
            # One that has another precision in its name comes second.
            return min(whole, key=lambda file: file.name.count('.'))
        if found:
            raise CheckpointError(f'{place} has its weights in {len(found)} files: join them first')
    pickles = [
        file for place in places for end in ('bin', 'pt', 'pth') for file in place.glob(f'*.{end}')
    ]
    if pickles:
        raise CheckpointError(
            f'{folder} has its weights in a pickle alone ({pickles[0].name}), which is not read '
            'from a folder: save them as safetensors (safe_serialization=True), or give its path'
        )
    raise CheckpointError(f'{folder} has no weights in it: there is no safetensors file')


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + '\n')
