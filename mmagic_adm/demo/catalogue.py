"""The models to choose from, and what their configs say before their weights are there."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmengine import Config

from mmagic_adm.apis.class_names import IMAGENET_CLASSES, names_of_classes
from mmagic_adm.configs import list_models
from mmagic_adm.guidance import Need
from mmagic_adm.model_index import model_summary, released_models
from mmagic_adm.models import (
    AblatedDiffusionModel,
    AblatedUpsamplingModel,
    CascadedDiffusionModel,
)
from mmagic_adm.models.configs import find_config
from mmagic_adm.networks import ADMEncoder
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part

BUNDLED_MODEL = 'edm-g_heun18_emoji-32x32'
BUNDLED = 'Bundled'

# By how the names of their configs begin, or else by what is in them.
FAMILIES = dict(edm='EDM', edm2='EDM2', cm='Consistency', dit='DiT', restore='Restoration')
DATA = dict(lsun='LSUN', ffhq='Faces', celeba='Faces', cifar10='CIFAR-10', places='Places')


@functools.cache
def offered_models() -> dict[str, str]:
    """The models that sample from nothing, and how each is listed: by its group, bundled first."""
    groups = {
        name: _group(name)
        for name in [*list_models(), *released_models()]
        if not model_summary(name).enlarges
    }
    ordered = sorted(groups, key=lambda name: (groups[name] != BUNDLED, groups[name], name))
    return {name: ' · '.join([groups[name], name, *_gigabytes(name)]) for name in ordered}


def size_of_weights(name: str) -> str:
    """What there is to wait for when a model is first used."""
    if name in offered_models():
        return next(iter(_gigabytes(name)), 'comes with the package')
    return 'weights as the config says'


def _group(name: str) -> str:
    summary, family = model_summary(name), name.partition('_')[0].partition('-')[0]
    if summary.download == 0:
        return BUNDLED
    if family in FAMILIES:
        return FAMILIES[family]
    if re.search(r'\d+x\d+-\d+x\d+', name):
        return 'Enlarged'
    shown_in = (group for word, group in DATA.items() if word in name)
    return next(shown_in, f'ImageNet {summary.image_size}×{summary.image_size}')


def _gigabytes(name: str) -> list[str]:
    download = model_summary(name).download
    return [f'{download / 1e9:.1f} GB'] if download else []


@dataclass(frozen=True)
class ModelFacts:
    """What a config says of its model.

    Attributes:
        name: Of the config or of a released checkpoint, or a path.
        image_size: Height and width of the samples.
        class_names: What the classes are called, in the order of the labels; none without classes.
        steps: Steps that it takes by itself; None where its stages differ.
        scheduler: Config of its scheduler; None for a cascade, which has several.
        guidance: Config of the guidance that it names; None where it names none.
        classifier_scale: How strongly its classifier guides by itself.
        offers: What guidance may ask of it.
        judge: Config of features that tell its classes apart and take no part in sampling.
    """

    name: str
    image_size: int
    class_names: tuple[str, ...]
    steps: int | str | None
    scheduler: Mapping[str, Any] | None
    guidance: Mapping[str, Any] | None
    classifier_scale: float
    offers: frozenset[Need]
    judge: Mapping[str, Any] | None

    @property
    def is_cascade(self) -> bool:
        """Whether it samples in stages, each with a scheduler and guidance of its own."""
        return self.scheduler is None

    @property
    def own_guidance(self) -> Mapping[str, Any] | None:
        """Config of the guidance that it has if nobody says otherwise."""
        guides_by_itself = self.guidance is None and Need.CLASSIFIER in self.offers
        return dict(type='classifier') if guides_by_itself else self.guidance

    @functools.cached_property
    def built_scheduler(self) -> Any:
        """Its scheduler."""
        return build_part(DIFFUSION_SCHEDULERS, dict(self.scheduler or {}))

    @property
    def last_timestep(self) -> float:
        """Where the process ends in pure noise, in the timesteps that guidance is told."""
        process = self.built_scheduler.full_process
        return process.num_train_timesteps * process.timestep_scale


@functools.lru_cache(maxsize=256)
def facts_of(name: str) -> ModelFacts:
    """What the config of this name or path says.

    Raises:
        ValueError: There is no such config, or its model wants images to work on.
    """
    config = find_config(name)
    model = config.to_dict()['model']
    if not _samples_from_nothing(config):
        raise ValueError(f'{name} does not sample from nothing: choose another model')
    if 'upsamplers' in model:
        image_size = _network(find_config(model['upsamplers'][-1]).model)['image_size']
        base = replace(facts_of(model['base']), name=name, image_size=image_size)
        return replace(base, steps=None, scheduler=None, judge=None)
    network, classifier = _network(model), model.get('classifier')
    told_apart = classifier.get('out_channels', IMAGENET_CLASSES) if classifier else None
    num_classes = network.get('num_classes') or told_apart
    offers = {
        Need.CLASSIFIER: classifier,
        Need.NULL_LABEL: network.get('class_dropout_prob', 0) > 0,
        Need.MIDDLE: issubclass(MODELS.get(network['type']), ADMEncoder),
        Need.IMAGENET: num_classes == IMAGENET_CLASSES,
    }
    features = config.to_dict().get('test_evaluator', {}).get('features') or {}
    return ModelFacts(
        name=name,
        image_size=model.get('codec', network)['image_size'],
        class_names=names_of_classes(num_classes, model.get('class_names')),
        steps=model.get('num_inference_steps'),
        scheduler=model['diffusion_scheduler'],
        guidance=model.get('guidance'),
        classifier_scale=model.get('classifier_scale', 1.0),
        offers=frozenset(need for need, has_it in offers.items() if has_it),
        judge=features if features.get('type') == 'PlainClassifierFeatures' else None,
    )


def _network(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network of a model, without what is around it."""
    return model['unet'].get('network', model['unet'])


def _samples_from_nothing(config: Config) -> bool:
    if 'type' not in config.get('model', {}):
        return False
    kind = MODELS.get(config.model.type)
    return issubclass(kind, (AblatedDiffusionModel, CascadedDiffusionModel)) and not issubclass(
        kind, AblatedUpsamplingModel
    )
