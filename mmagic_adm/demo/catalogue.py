"""What the page has to know of a model before its weights are there: read off its config."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmengine import Config

from mmagic_adm.apis.class_names import IMAGENET_CLASSES, names_of_classes
from mmagic_adm.configs import list_models
from mmagic_adm.guidance import Need
from mmagic_adm.model_index import model_summary
from mmagic_adm.models import (
    AblatedDiffusionModel,
    AblatedUpsamplingModel,
    CascadedDiffusionModel,
)
from mmagic_adm.models.configs import find_config
from mmagic_adm.networks import ADMEncoder
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part

BUNDLED_MODEL = 'edm-g_heun18_emoji-32x32'
BUNDLED, ENLARGED, GIVEN = 'Bundled', 'Enlarged', 'Given'

# By how the names of their configs begin; the others are grouped by what they were trained on.
FAMILIES = dict(edm='EDM', edm2='EDM2', cm='Consistency', ect='Consistency', dit='DiT')


@dataclass(frozen=True)
class ModelFacts:
    """What a config says of its model.

    Attributes:
        name: Of the config, or its path.
        group: Which models it is listed with.
        download: How many bytes its weights are; 0 if they come with the package, None if unknown.
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
    group: str
    download: int | None
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


@functools.cache
def sampling_models() -> tuple[str, ...]:
    """Names of the configs that make samples from nothing, in their groups, the bundled first."""
    names = [name for name in list_models() if _samples_from_nothing(_config(name))]
    groups = {name: facts_of(name).group for name in names}
    return tuple(sorted(names, key=lambda name: (groups[name] != BUNDLED, groups[name], name)))


@functools.lru_cache(maxsize=256)
def facts_of(name: str) -> ModelFacts:
    """What the config of this name or path says.

    Raises:
        ValueError: There is no such config, or its model wants images to work on.
    """
    config = _config(name)
    if not _samples_from_nothing(config):
        raise ValueError(f'{name} does not sample from nothing: choose another model')
    model = config.model.to_dict()
    download = model_summary(name).download if name in _packaged() else None
    if issubclass(MODELS.get(model['type']), CascadedDiffusionModel):
        size = _network(_config(model['upsamplers'][-1]).model)['image_size']
        group = BUNDLED if download == 0 else ENLARGED
        base = replace(facts_of(model['base']), name=name, group=group, download=download)
        return replace(base, image_size=size, steps=None, scheduler=None, judge=None)
    network, classifier = _network(model), model.get('classifier')
    told_apart = classifier.get('out_channels', IMAGENET_CLASSES) if classifier else None
    num_classes = network.get('num_classes') or told_apart
    image_size = model.get('codec', network)['image_size']
    offers = {
        Need.CLASSIFIER: classifier,
        Need.NULL_LABEL: network.get('class_dropout_prob', 0) > 0,
        Need.MIDDLE: issubclass(MODELS.get(network['type']), ADMEncoder),
        Need.IMAGENET: num_classes == IMAGENET_CLASSES,
    }
    features = config.to_dict().get('test_evaluator', {}).get('features') or {}
    return ModelFacts(
        name=name,
        group=_group(name, download, image_size),
        download=download,
        image_size=image_size,
        class_names=names_of_classes(num_classes, model.get('class_names')),
        steps=model.get('num_inference_steps'),
        scheduler=model['diffusion_scheduler'],
        guidance=model.get('guidance'),
        classifier_scale=model.get('classifier_scale', 1.0),
        offers=frozenset(need for need, has_it in offers.items() if has_it),
        judge=features if features.get('type') == 'PlainClassifierFeatures' else None,
    )


# Reading a config takes a hundredth of a second, and there are dozens.
_config = functools.lru_cache(maxsize=256)(find_config)


@functools.cache
def _packaged() -> frozenset[str]:
    return frozenset(list_models())


def _group(name: str, download: int | None, image_size: int) -> str:
    if name not in _packaged():
        return GIVEN
    family = name.partition('_')[0].partition('-')[0]
    trained_on = 'LSUN' if 'lsun' in name else f'ImageNet {image_size}×{image_size}'
    return BUNDLED if download == 0 else FAMILIES.get(family, trained_on)


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
