"""The configs of models: found by name or by path, and read, with what is wrong in them."""

import copy
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine import Config

from mmagic_adm.checkpoints.hub import SCHEME, local_path
from mmagic_adm.checkpoints.inspection import config_from_checkpoint
from mmagic_adm.checkpoints.model_folder import AUTOENCODER, WEIGHTS, read_model_config
from mmagic_adm.checkpoints.sampling_models import sampling_model
from mmagic_adm.checkpoints.zoo import find
from mmagic_adm.configs import config_file, list_models
from mmagic_adm.model_index import released_models
from mmagic_adm.registry import SCOPE


def find_config(model: str | Path | Config) -> Config:
    """The config of a model.

    A model that is written with MMagic's own classes, as in its new style of configs, is of their
    names: those are looked up here, where a class would be built as it is.

    Args:
        model: Name of one of the package's configs or of a released checkpoint that has none of
            its own, path of a config file, a folder that a model was saved to, hf://user/name,
            or a config.

    Raises:
        ValueError: There is no such config; the message suggests some.
    """
    if isinstance(model, Config):
        return _with_model(model, 'this config')
    path, name = Path(model), str(model)
    if name in released_models():
        return Config(dict(model=find(name).model_config(), weights=dict(unet=name)))
    # A folder that a run was written to may have the name of its config.
    if name.startswith(SCHEME) or (path.is_dir() and name not in list_models()):
        return _saved(model)
    if path.suffix != '.py':
        return _with_model(_read(config_file(name, released_models())), model)
    if not path.is_file():
        raise ValueError(f'there is no config file {path}')
    return _with_model(_read(path), model)


def _saved(source: str | Path) -> Config:
    """The config of a model in a folder or on the Hub, and where its weights are."""
    folder = local_path(source)
    for place in (folder, folder / 'model'):  # which a pipeline of ours has it in
        model = read_model_config(place)
        if model is not None:
            _use_autoencoder(model, place)
            return Config(dict(model=model, all_weights=str(place / WEIGHTS)))
    found = sampling_model(config_from_checkpoint(folder).config)
    _use_autoencoder(found, folder)
    return Config(dict(model=found, weights=dict(unet=str(folder))))


def _use_autoencoder(model: dict[str, Any], folder: Path) -> None:
    """Makes a model's autoencoder that of the folder, if there is one in it."""
    base = model.get('base', model)  # of a cascade
    if (folder / AUTOENCODER).is_dir() and base.get('codec'):
        base['codec'] = dict(base['codec'], weights=str(folder))


def _with_model(config: Config, name: str | Path) -> Config:
    if not isinstance(config.get('model'), dict):
        raise ValueError(f'{name} has no model: a config says model=dict(type=...)')
    return _without_classes(config)


def _read(path: Path) -> Config:
    """A config file; what is wrong in it, or in one that it is based on, is said with its place."""
    try:
        return Config.fromfile(path)
    except Exception as error:
        file, line = str(path), getattr(error, 'lineno', None)
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == file:
                line = number
            # MMEngine's functions say which file they are at in no other way.
            elif Path(frame.f_code.co_filename).parts[-3:-1] == ('mmengine', 'config'):
                file = str(frame.f_locals.get('filename', file))
        said = getattr(error, 'msg', str(error)).partition('\n')[0]
        place = file if line is None else f'{file}, line {line}'
        raise ValueError(f'{place}: {type(error).__name__}: {said}') from error


def _without_classes(config: Config) -> Config:
    """The config, its model's types those of MMagic by name alone."""
    written = config.model.to_dict()  # what is imported, as a path
    named = _named(written)
    if named != written:
        config = copy.deepcopy(config)
        config.model = {'_scope_': SCOPE, **named}
    return config


def _named(part: Any) -> Any:
    if isinstance(part, (list, tuple)):
        return type(part)(map(_named, part))
    if not isinstance(part, Mapping):
        return part
    named = {key: _named(value) for key, value in part.items()}
    kind = named.get('type')
    if isinstance(kind, type):
        kind = f'{kind.__module__}.{kind.__name__}'
    if isinstance(kind, str) and kind.startswith('mmagic.') and kind.count('.') > 1:
        named['type'] = kind.rpartition('.')[2]
    return named
