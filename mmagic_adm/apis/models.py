"""From a name to a config, with changes, and to a model that samples."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine import Config

from mmagic_adm.checkpoints.zoo import source_of
from mmagic_adm.guidance import Guidance, Need
from mmagic_adm.guidance.source import guidance_config
from mmagic_adm.models import AblatedDiffusionModel
from mmagic_adm.models.configs import find_config
from mmagic_adm.models.saved import load_all
from mmagic_adm.registry import MODELS, SCOPE

Weights = bool | str | Path | Mapping[str, str | Path]


def init_model(
    model: str | Path | Config,
    device: str | torch.device | None = None,
    weights: Weights | Sequence[Weights] = True,
    profile: str | Mapping[str, Any] | None = None,
    **changes: Any,
) -> AblatedDiffusionModel:
    """A model ready to sample from.

    Args:
        model: Name of one of the package's configs or of a released checkpoint, path of a config
            file, a folder that a model was saved to, hf://user/name or hf://user/name@revision, or
            a config.
        device: Where it goes; None takes a GPU if there is one.
        weights: True loads the released weights that the config names, downloading them if need
            be. A name, path or URL loads a file with all of the model's networks, or with its U-Net
            alone; a mapping gives each network ('unet', 'classifier') its own. An autoencoder's
            stay those that its config names. False leaves all as they were initialised. For a
            cascade, a list has one of these for each stage.
        profile: How the networks compute: 'exact', in float32; 'fast', as fast as the hardware
            allows; 'auto', the same, and compiled where that pays; or a dict, see
            :func:`~mmagic_adm.models.profiles.choose_profile`. None takes the config's, or 'exact'.
        **changes: Arguments of the model to change in the config.

    Raises:
        ValueError: The config is unknown, or names no weights although they were asked for.
    """
    config = find_config(model)
    built = MODELS.build(model_config(config, weights, changes))
    if weights is True and 'all_weights' in config:
        load_all(built, config.all_weights)
    for stage in built.stages:
        if profile is not None or not (stage.profile or stage.use_fp16):
            stage.use_profile(profile or 'exact')
    return built.to(device or default_device()).eval()


def default_device() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def model_config(
    config: Config, weights: Any = True, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The config's model, changed and told where its weights are; see :func:`init_model`."""
    changes = changes or {}
    model = {'_scope_': SCOPE, **config.model.to_dict(), **changes}
    if 'guidance' in changes and 'classifier' not in changes:
        _leave_out_idle_classifier(model)
    # Loaded as a whole, when the model is built.
    all_weights = config.get('all_weights')
    if model.get('classifier', ...) is None:
        # Left out, it takes its scale and its weights along.
        model['classifier_scale'] = None
        model.get('pretrained_cfgs', {}).pop('classifier', None)
    if 'upsamplers' in model:
        return _cascade_with_weights(model, weights, all_weights)
    if weights is False and 'weights' in (model.get('codec') or {}):
        model['codec'] = dict(model['codec'], weights=None)
    if weights is False or (weights is True and all_weights):
        model.pop('pretrained_cfgs', None)
    elif weights is not True or not model.get('pretrained_cfgs'):
        model['pretrained_cfgs'] = _sources(config, model, weights)
    return model


def _cascade_with_weights(
    model: dict[str, Any], weights: Any, all_weights: str | None
) -> dict[str, Any]:
    """The same for a cascade, whose stages are configs of their own."""
    stages = [model['base'], *model['upsamplers']]
    each = [weights] * len(stages) if isinstance(weights, bool) else weights
    if not isinstance(each, (list, tuple)) or len(each) != len(stages):
        raise ValueError(
            f'this cascade has {len(stages)} stages; give weights as a list of as many, or name '
            'the files in a config of your own'
        )
    configs = [
        Config(dict(model=stage, all_weights=all_weights))
        if isinstance(stage, Mapping)
        else find_config(stage)
        for stage in stages
    ]
    base, *upsamplers = [model_config(*pair) for pair in zip(configs, each, strict=True)]
    return {**model, 'base': base, 'upsamplers': upsamplers}


def _sources(
    config: Config,
    model: dict[str, Any],
    weights: Literal[True] | str | Path | Mapping[str, str | Path],
) -> dict[str, dict]:
    """For each network its ``pretrained_cfgs`` entry."""
    if isinstance(weights, Mapping):
        return {name: dict(ckpt_path=source_of(source)) for name, source in weights.items()}
    networks = [name for name in ('unet', 'classifier') if model.get(name)]
    named = config.get('weights', {})
    # Those of another kind of guidance would have no place in it.
    own = _kind_of(config.model.get('guidance'))
    if own is not None and own == _kind_of(model.get('guidance')):
        guiding = [name for name in named if name.startswith('guidance.')]
    else:
        guiding = []
    if weights is not True:
        given = {name: dict(ckpt_path=source_of(weights), prefix=name) for name in networks}
        return given | {name: dict(ckpt_path=source_of(named[name])) for name in guiding}
    networks += guiding
    missing = [name for name in networks if name not in named]
    if missing:
        raise ValueError(
            f'no weights are known for the {" and ".join(missing)} of this config; give a path or '
            'URL as weights= (--checkpoint), or weights=False to go without'
        )
    return {name: dict(ckpt_path=source_of(named[name])) for name in networks}


def changed_config(
    model: str | Path | Config, options: Mapping[str, Any] | None, parts: Collection[str]
) -> Config:
    """The config of a name or path, with changes.

    Args:
        model: As :func:`find_config` takes it.
        options: New values by their place in the config, such as ``model.guidance.scale``.
        parts: What the tool reads of a config.

    Raises:
        ValueError: An option would change nothing that is read, or something that has no parts.
    """
    config = find_config(model)
    own = _kind_of(config.model.get('guidance')) if 'model' in config else None
    name = 'this config' if isinstance(model, Config) else str(model)
    for key in options or {}:
        _check_place(config, key, name, parts)
    config.merge_from_dict(dict(options or {}))
    _complete_guidance(config.get('model', {}), name)
    if own != _kind_of(config.get('model', {}).get('guidance')):
        if 'model.classifier' not in (options or {}):
            _leave_out_idle_classifier(config.model)
        weights = config.get('weights', {}).items()
        config.weights = {key: file for key, file in weights if not key.startswith('guidance.')}
    return config


def _leave_out_idle_classifier(model: dict[str, Any]) -> None:
    """Takes a model's classifier away where another guidance was chosen that has no use for it."""
    kind = _kind_of(model.get('guidance'))
    if kind is not None and not kind.requires & {Need.CLASSIFIER, Need.PARTS}:
        model['classifier'] = None


def _kind_of(guidance: Any) -> type[Guidance] | None:
    """The class of guidance that a name or config asks for."""
    config = guidance_config(guidance) if isinstance(guidance, (str, Mapping)) else {}
    kind = config.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return kind if isinstance(kind, type) and issubclass(kind, Guidance) else None


def _check_place(config: Config, key: str, name: str, parts: Collection[str]) -> None:
    """Refuses an option that would be lost, or would break something else."""
    place, *others = key.split('.')
    if place not in parts:
        there = ', '.join(part for part in config if part in parts)
        raise ValueError(
            f'{key}: nothing would come of it, as {place!r} is no part of {name} '
            f'that is used here; those are {there}'
        )
    node = config.get(place, {})
    if place == 'model' and others:
        _check_argument(node, others[0], key)
    for part in others:
        if isinstance(node, list):
            node = {str(i): entry for i, entry in enumerate(node)}
            if part not in node:
                raise ValueError(f'{key}: {place} of {name} has {len(node)} entries, from 0 on')
        if not isinstance(node, dict):
            raise ValueError(f'{key}: {place} of {name} is {node!r}, without parts')
        node, place = node.get(part, {}), f'{place}.{part}'


def _check_argument(model: Mapping[str, Any], argument: str, key: str) -> None:
    """Refuses an argument that the model does not take."""
    kind = model.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    taken = inspect.signature(kind).parameters if kind else {}
    takes_others = any(each.kind is each.VAR_KEYWORD for each in taken.values())
    if kind and not takes_others and argument not in {*taken, *model}:
        raise ValueError(
            f'{key}: {kind.__name__} takes no {argument!r}; it takes {", ".join(taken)}'
        )


def _complete_guidance(model: Mapping[str, Any], name: str) -> None:
    """Makes changes to guidance that a model has without saying so: that of its classifier."""
    guidance = model.get('guidance')
    if not isinstance(guidance, dict) or 'type' in guidance:
        return
    if not model.get('classifier'):
        raise ValueError(
            f'{name} has no guidance whose {" and ".join(guidance)} could be changed: choose some, '
            'such as model.guidance.type=ClassifierFreeGuidance, or a config with a classifier'
        )
    guidance['type'] = 'ClassifierGuidance'
