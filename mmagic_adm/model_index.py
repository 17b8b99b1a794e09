"""What there is to know of a model before it is chosen, read without waiting for PyTorch."""

import ast
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from mmagic_adm.configs import config_directory, config_file

_BYTES_PER_PARAMETER = 4
_ENLARGES = 'ADMSuperResolutionUNet'
# How a config says at its top which figures it is to reach.
_PUBLISHED = re.compile(r'^#.*Published[^:]*:\s(?:# )?FID ([\d.]+\d)', re.MULTILINE)


@dataclass(frozen=True)
class ModelSummary:
    """A model, for whoever chooses one.

    Args:
        image_size: The size of its images.
        num_classes: How many classes it was told of; None for none.
        download: How many bytes its weights are; 0 for those that come with the package, None for
            those that were not released.
        fid: What was published of it, if that was.
        licence: That of its weights, where they have one.
        enlarges: Whether it makes its images of small ones.
    """

    image_size: int
    num_classes: int | None
    download: int | None
    fid: float | None
    licence: str | None
    enlarges: bool = False


@functools.cache
def model_summary(name: str) -> ModelSummary:
    """What the config of this name says, or else the model index, which knows its weights."""
    if name in released_models():
        return _summary_of_released(index_of_models()[name])
    file = config_file(name)
    config = _constants_in(file)
    model = config['model']
    published = _PUBLISHED.search(file.read_text(encoding='utf-8'))
    fid = float(published[1]) if published else None
    if 'upsamplers' in model:
        base, *_, last = stages = [
            model_summary(stage) for stage in (model['base'], *model['upsamplers'])
        ]
        download = _sum_of_known([stage.download for stage in stages])
        licence = _in_a_row([stage.licence for stage in stages])
        return ModelSummary(last.image_size, base.num_classes, download, fid, licence)
    network = _merged(config['unet'], model['unet'] or {})
    weights = list(config.get('weights', {'unet': ''}).values())
    # Latents are of another size than the images that a codec makes of them.
    codec = _merged(config.get('codec', {}), model.get('codec') or {}) or network
    if 'weights' in codec:
        weights.append(codec['weights'])
    download = _sum_of_known([_size_of(each) for each in weights])
    known = [index_of_models()[each] for each in weights if each in index_of_models()]
    licence = _in_a_row([each['Metadata']['Licence'] for each in known])
    return ModelSummary(
        codec['image_size'],
        network.get('num_classes'),
        download,
        fid,
        licence,
        config['unet'].get('type') == _ENLARGES,
    )


def released_models(pattern: str = '*') -> list[str]:
    """Names of the released checkpoints to sample from that have no config of their own.

    Args:
        pattern: What they are like, such as 'ffhq*'.
    """
    return [
        name
        for name, model in index_of_models().items()
        if 'Config' not in model and 'Network' in model['Metadata'] and fnmatchcase(name, pattern)
    ]


def _summary_of_released(model: Mapping[str, Any]) -> ModelSummary:
    said = model['Metadata']
    network = config_directory() / 'guided_diffusion' / '_base_' / 'models' / said['Network']
    unet = _constants_in(network)['unet'] | said.get('Overrides', {})
    results = model.get('Results', ())
    return ModelSummary(
        unet['image_size'],
        unet.get('num_classes'),
        _BYTES_PER_PARAMETER * said['Parameters'],
        results[0]['Metrics'].get('FID') if results else None,
        said['Licence'],
        unet['type'] == _ENLARGES,
    )


@functools.cache
def index_of_models() -> dict[str, dict[str, Any]]:
    """The entries of the model index, in its order, by name; with what their collections say."""
    file = config_directory() / 'guided_diffusion' / 'metafile.yml'
    index = yaml.safe_load(file.read_text(encoding='utf-8'))
    shared = {each['Name']: each['Metadata'] for each in index['Collections']}
    return {
        model['Name']: {**model, 'Metadata': shared[model['In Collection']] | model['Metadata']}
        for model in index['Models']
    }


def _size_of(weights: str) -> int | None:
    if weights.startswith('bundled://'):
        return 0
    released = index_of_models().get(weights)
    return _BYTES_PER_PARAMETER * released['Metadata']['Parameters'] if released else None


def _in_a_row(licences: list[str | None]) -> str | None:
    return ', '.join(dict.fromkeys(filter(None, licences))) or None


def _sum_of_known(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


@functools.cache
def _constants_in(file: Path) -> dict[str, Any]:
    """What a config says in so many words, and its bases; None stands for what it computes."""
    own: dict[str, Any] = {}
    for statement in ast.parse(file.read_text(encoding='utf-8')).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                own[name] = _constant(value)
    bases: dict[str, Any] = {}
    for base in own.pop('_base_', ()):
        bases = _merged(bases, _constants_in(file.parent / base))
    return _merged(bases, own)


def _constant(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=entries):
            return [_constant(entry) for entry in entries]
        case ast.Call(func=ast.Name(id='dict'), keywords=keywords):
            return {keyword.arg: _constant(keyword.value) for keyword in keywords if keyword.arg}
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {_constant(key): _constant(value) for key, value in pairs if key}
    return None


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """One config over another, as MMEngine has it."""
    both = {**base, **changes}
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            both[key] = _merged(base[key], value)
    return both
