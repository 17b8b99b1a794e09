"""Folders of the diffusers library: a network, its scheduler, and the pipeline that they make up.

A kind of network is a row of ``KINDS``. Nothing here needs diffusers itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmagic_adm.checkpoints.diffusers_dit import (
    from_dit_transformer,
    pipeline_of_dit,
    to_dit_transformer,
)
from mmagic_adm.checkpoints.diffusers_schedulers import (
    from_diffusers_scheduler,
    to_diffusers_scheduler,
)
from mmagic_adm.checkpoints.diffusers_unet import from_unet_2d, to_unet_2d
from mmagic_adm.checkpoints.formats import Document, Format
from mmagic_adm.checkpoints.model_folder import (
    AUTOENCODER,
    Part,
    part_config,
    write_model,
    write_part,
)
from mmagic_adm.checkpoints.parts import Networks, StateDict, kind_of, under_prefixes
from mmagic_adm.checkpoints.safetensors_files import SafetensorsFile
from mmagic_adm.checkpoints.sampling_models import sampling_model
from mmagic_adm.files.whole import CheckpointError, folder_written_whole, read_json

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
            and to what there is to add to the scheduler's; raises ValueError likewise.
        pipeline: From the configs of network, scheduler and preconditioning to the pipeline that
            samples from it and the config of their scheduler; raises ValueError likewise.
        aliases: What else files call their class.
        in_latents: Whether the pipeline has an autoencoder.
    """

    ours: str
    theirs: str
    part: str
    there: Callable[..., tuple[dict[str, Any], StateDict]]
    back: Callable[..., tuple[dict[str, Any], StateDict, dict[str, Any]]]
    pipeline: Callable[[Mapping[str, Any], Mapping[str, Any], Any], tuple[str, dict[str, Any]]]
    aliases: tuple[str, ...] = ()
    in_latents: bool = False


def _pipeline_of_unet(
    unet: Mapping[str, Any], scheduler: Mapping[str, Any], around: Any
) -> tuple[str, dict[str, Any]]:
    steps = to_diffusers_scheduler(scheduler, around)
    name = steps['_class_name']
    # The first is the only one of pixels that hands labels on, and to any scheduler.
    hands_on = unet.get('num_classes') or name not in ('DDPMScheduler', 'DDIMScheduler')
    return 'ConsistencyModelPipeline' if hands_on else name.replace('Scheduler', 'Pipeline'), steps


KINDS = (
    NetworkKind('ADMUNet', 'UNet2DModel', 'unet', to_unet_2d, from_unet_2d, _pipeline_of_unet),
    NetworkKind(
        'DiT',
        'DiTTransformer2DModel',
        'transformer',
        to_dit_transformer,
        from_dit_transformer,
        pipeline_of_dit,
        aliases=('Transformer2DModel',),
        in_latents=True,
    ),
)


def write_pipeline(
    folder: str | Path,
    parts: Mapping[str, Any],
    state: StateDict,
    overwrite: bool = False,
    autoencoder: Part | None = None,
) -> Path:
    """Writes a network as a pipeline that diffusers loads by itself.

    Args:
        folder: Where it goes. It appears once it is complete, and not at all if that fails.
        parts: The configs of ``unet`` and ``diffusion_scheduler``, and of ``preconditioning`` if
            there is one; as ``Inspection.config`` has them.
        state: The network's tensors.
        overwrite: Whether to replace a folder of that name.
        autoencoder: That of the latents, if the network is of some, as ``Codec.stored`` has it.

    Returns:
        The folder.

    Raises:
        CheckpointError: diffusers has no such network, scheduler or pipeline, or the folder cannot
            be written.
    """
    folder = Path(folder)
    try:
        index, files = _pipeline(parts, state, autoencoder)
    except ValueError as error:
        raise CheckpointError(
            f'{folder} would be no pipeline that diffusers can run: {error}; --own-pipeline writes '
            'one that runs by this package'
        ) from error
    size = sum(tensor.nbytes for _, tensors in files.values() for tensor in tensors.values())
    with folder_written_whole(folder, size, overwrite) as temporary:
        _write_json(temporary / 'model_index.json', index)
        for part, content in files.items():
            write_part(temporary / part, content, {'config': {'unet': parts['unet']}})
    return folder


def write_own_pipeline(
    folder: str | Path,
    parts: Mapping[str, Any],
    networks: Networks,
    overwrite: bool = False,
    autoencoder: Part | None = None,
) -> Path:
    """Writes networks as a pipeline that diffusers loads, and this package runs.

    Args:
        folder: Where it goes; see :func:`write_pipeline`.
        parts: The configs of the networks and the scheduler, as ``Inspection.config`` has them.
        networks: The tensors of each network, whatever its name.
        overwrite: Whether to replace a folder of that name.
        autoencoder: See :func:`write_pipeline`.

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
        write_model(temporary / 'model', model, state, autoencoder=autoencoder)
        (temporary / 'model' / 'loader.py').write_text(
            'from mmagic_adm.models import AblatedDiffusionModel  # noqa: F401\n'
        )
    return folder


def _pipeline(
    parts: Mapping[str, Any], state: StateDict, autoencoder: Part | None
) -> tuple[dict[str, Any], dict[str, Part]]:
    """The index of a pipeline; and of each part its config, and its tensors."""
    unet, scheduler = parts.get('unet'), parts.get('diffusion_scheduler')
    if unet is None or scheduler is None or 'classifier' in parts:
        raise ValueError('it has no place for a classifier')
    kinds = {kind.ours: kind for kind in KINDS}
    if unet['type'] not in kinds:
        raise ValueError(f'it has none for networks like {unet["type"]}')
    kind = kinds[unet['type']]
    name, steps = kind.pipeline(unet, scheduler, parts.get('preconditioning'))
    config, tensors = kind.there(unet, state, scheduler)
    files = {
        kind.part: Part({'_class_name': kind.theirs, **config}, tensors),
        'scheduler': Part(steps),
    }
    if kind.in_latents:
        if autoencoder is None:
            raise ValueError(f'a {name} has an autoencoder, and none was given')
        if autoencoder.config['scaling_factor'] is None:
            raise ValueError(f'a {name} has one scale for all channels of latents, and no shift')
        files[AUTOENCODER] = autoencoder
    classes = {part: ['diffusers', each.config['_class_name']] for part, each in files.items()}
    return {'_class_name': name, **classes}, files


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
        kinds = {name: kind for kind in KINDS for name in (kind.theirs, *kind.aliases)}
        name = str(config['_class_name'])
        if name not in kinds:
            known = ' and '.join(kind.theirs for kind in KINDS)
            raise CheckpointError(f'{path} is of a {name}; of diffusers, {known} are read')
        document = SafetensorsFile().read(path)
        recorded = document.meta.get('config', {}).get('unet', {})
        try:
            unet, state, told = kinds[name].back(config, document.state_dict, recorded)
            meta = _with_scheduler(path.parent.parent / 'scheduler', unet, told)
            if kinds[name].in_latents:
                meta['config'] |= _with_codec(path.parent.parent, unet)
        except (ArithmeticError, TypeError, ValueError) as error:
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


def _with_codec(folder: Path, unet: dict[str, Any]) -> dict[str, Any]:
    """The config of the autoencoder beside a network, if there is one."""
    if not (folder / AUTOENCODER).is_dir():
        return {}
    said = {'block_out_channels': [64], **part_config(folder / AUTOENCODER)}
    codec = dict(
        type='AutoencoderCodec',
        image_size=unet['image_size'] << (len(said['block_out_channels']) - 1),
        autoencoder=said,
        scaling=dict(scale=said.get('scaling_factor', 0.18215)),
    )
    return {'codec': codec}


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
