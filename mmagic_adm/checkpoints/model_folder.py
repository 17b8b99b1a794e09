"""A whole model in a folder: its config as JSON, all of its weights, and a card that describes it.

An autoencoder of its latents is in a folder of its own in there, as in a pipeline of diffusers'.

A config that was downloaded is data: it may name this package's own classes, and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mmagic_adm.checkpoints.parts import StateDict
from mmagic_adm.checkpoints.safetensors_files import SafetensorsFile
from mmagic_adm.files.whole import CheckpointError, folder_written_whole, read_json
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, SCOPE
from mmagic_adm.version import __version__

CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'

# In diffusers' folders: the weights of each part, and the part that is an autoencoder.
PART_WEIGHTS, AUTOENCODER = 'diffusion_pytorch_model.safetensors', 'vae'
_COPY = 'copy the folder again'

# Says of a config.json that it is of a model of ours.
_MARK = 'mmagic_adm_version'
# What in a config says where weights came from, which now lie beside it.
_SOURCES = ('pretrained_cfgs', 'init_cfg')


class Part(NamedTuple):
    """A part of a pipeline: its config as diffusers has it, and its tensors, if it has any."""

    config: dict[str, Any]
    state: StateDict = {}


def write_part(folder: Path, part: Part, metadata: Mapping[str, Any]) -> None:
    """Writes a part, and what its weights are to say about themselves."""
    folder.mkdir()
    name = CONFIG if part.state else 'scheduler_config.json'
    (folder / name).write_text(json.dumps(part.config, indent=2, sort_keys=True) + '\n')
    if part.state:
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in part.state.items()}
        SafetensorsFile().write(folder / PART_WEIGHTS, {'': tensors}, metadata)


def part_config(folder: Path) -> dict[str, Any]:
    """The arguments of a part's class."""
    said = read_json(folder / CONFIG, _COPY)
    return {key: value for key, value in said.items() if not key.startswith('_')}


def write_model(
    folder: Path,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    overwrite: bool = False,
    autoencoder: Part | None = None,
    **card: Any,
) -> Path:
    """Writes a model.

    Args:
        folder: Where it goes. It appears once it is complete, and not at all if that fails.
        config: What the model is built from.
        state: All of its tensors.
        overwrite: Whether to replace a folder of that name.
        autoencoder: That of its latents, which are not among these tensors.
        **card: What is said on its card; see :func:`model_card`.

    Raises:
        CheckpointError: The config is not one of values alone, or the folder cannot be written.
    """
    described = {_MARK: __version__, **_without_sources(config)}
    try:
        text = json.dumps(described, indent=2)
    except TypeError as error:
        raise CheckpointError(
            f'cannot write {folder}: the model was given a part already built, and not the config '
            f'of it ({error}); build it from configs'
        ) from error
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    beside = autoencoder.state if autoencoder else {}
    size = sum(tensor.nbytes for each in (tensors, beside) for tensor in each.values())
    with folder_written_whole(folder, size, overwrite) as temporary:
        (temporary / CONFIG).write_text(text + '\n')
        (temporary / CARD).write_text(model_card(folder.absolute().name, described, **card))
        SafetensorsFile().write(temporary / WEIGHTS, {'': tensors}, {'config': described})
        if autoencoder is not None:
            write_part(temporary / AUTOENCODER, autoencoder, {})
    return folder


def read_model_config(folder: Path) -> dict[str, Any] | None:
    """The config of the model in a folder; None if there is none, but a network alone.

    Raises:
        CheckpointError: It names a class that is not this package's.
    """
    file = folder / CONFIG
    config = read_json(file, _COPY) if file.is_file() else {}
    if config.pop(_MARK, None) is None:
        return None
    if strangers := sorted(set(_types_in(config)) - _own_types()):
        raise CheckpointError(
            f'{file} was refused, and nothing of it was run: it asks for {strangers[0]!r}, which '
            'is no part of a model of mmagic-adm'
        )
    return {'_scope_': SCOPE, **_without_sources(config)}


def model_card(
    name: str,
    config: Mapping[str, Any],
    figures: Mapping[str, Any] | None = None,
    seeds: str | Sequence[int] | None = None,
    licence: str | None = None,
) -> str:
    """The card of a model, as the Hub shows it.

    Args:
        name: What the model is called.
        config: What it is built from.
        figures: What was measured of it, by the name of the figure.
        seeds: Those of the samples that were measured.
        licence: That of the weights.
    """
    unet = config.get('unet', {})
    network = unet.get('network', unet)
    scheduler = config.get('diffusion_scheduler', {})
    settings = {
        'image size': network.get('image_size'),
        'classes': network.get('num_classes'),
        'sampler': scheduler.get('type'),
        'steps': config.get('num_inference_steps'),
        'guidance': (config.get('guidance') or {}).get('type'),
        'scale of the classifier': config.get('classifier_scale'),
        'seeds of the samples measured': seeds,
    }
    rows = {key: value for key, value in settings.items() if value is not None}
    lines = [
        '---',
        'library_name: mmagic-adm',
        f'license: {(licence or "other").lower().replace(" ", "-")}',
        'pipeline_tag: unconditional-image-generation',
        'tags:\n- diffusion\n- mmagic-adm',
        '---',
        f'\n# {name}\n',
        '```python\nfrom mmagic_adm.apis import init_model\n',
        "model = init_model('hf://user/name')  # or the path of this folder",
        "samples = model.infer(batch_size=4, seeds=0)['samples']\n```\n",
        '## Settings\n',
        '| | |\n| :-- | :-- |',
        *(f'| {key} | {value} |' for key, value in rows.items()),
    ]
    if figures:
        lines += ['\n## Figures\n', '| | |\n| :-- | --: |']
        lines += [f'| {key} | {value} |' for key, value in figures.items()]
    return '\n'.join(lines) + '\n'


def _without_sources(part: Any) -> Any:
    """A config without the places that its weights were from."""
    if isinstance(part, Mapping):
        return {
            key: None if key == 'weights' and isinstance(value, str) else _without_sources(value)
            for key, value in part.items()
            if key not in _SOURCES
        }
    return [_without_sources(each) for each in part] if isinstance(part, (list, tuple)) else part


def _own_types() -> set[str]:
    """The names of this package's own classes."""
    for registry in (MODELS, DIFFUSION_SCHEDULERS):
        registry.import_from_location()
    known = {**MODELS.module_dict, **DIFFUSION_SCHEDULERS.module_dict}
    # What others register need not be a class, or of a module.
    return {name for name, each in known.items() if f'{each.__module__}.'.startswith(f'{SCOPE}.')}


def _types_in(part: Any) -> list[str]:
    """Every type and scope that a config names."""
    if isinstance(part, Mapping):
        named = [str(value) for key, value in part.items() if key == 'type']
        named += [f'{v}' for k, v in part.items() if k == '_scope_' and v != SCOPE]
        return named + [each for value in part.values() for each in _types_in(value)]
    return [each for value in part for each in _types_in(value)] if isinstance(part, list) else []
