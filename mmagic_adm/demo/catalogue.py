"""What the page has to know of a model before its weights are there: read off its config."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine import Config

from mmagic_adm.apis.class_names import IMAGENET_CLASSES, names_of_classes
from mmagic_adm.configs import list_models
from mmagic_adm.models import (
    AblatedDiffusionModel,
    AblatedUpsamplingModel,
    CascadedDiffusionModel,
)
from mmagic_adm.models.configs import find_config
from mmagic_adm.networks import ADMEncoder
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part

BUNDLED_MODEL = 'edm-g_heun18_emoji-32x32'


@dataclass(frozen=True)
class ModelFacts:
    """What a config says of its model.

    Attributes:
        name: Of the config, or its path.
        image_size: Height and width of the samples.
        num_classes: How many classes labels choose from; None where there are none.
        class_names: What they are called, in the order of the labels.
        steps: Steps that it takes by itself; None where its stages differ.
        scheduler: Config of its scheduler; None for a cascade, which has several.
        guidance: Config of the guidance that it names; None where it names none.
        has_classifier: Whether it has a noise-aware classifier.
        classifier_scale: How strongly that guides by itself.
        has_null_label: Whether its network was trained with labels left out.
        has_middle: Whether its network has a middle that attends, as all of ADM's.
        is_bundled: Whether its weights come with the package.
        judge: Config of a classifier of clean images to judge samples by, if it names one.
    """

    name: str
    image_size: int
    num_classes: int | None
    class_names: tuple[str, ...]
    steps: int | str | None
    scheduler: Mapping[str, Any] | None
    guidance: Mapping[str, Any] | None
    has_classifier: bool
    classifier_scale: float
    has_null_label: bool
    has_middle: bool
    is_bundled: bool
    judge: Mapping[str, Any] | None

    @property
    def is_cascade(self) -> bool:
        """Whether it samples in stages, each with a scheduler and guidance of its own."""
        return self.scheduler is None

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
    """Names of the configs that make samples from nothing, the bundled ones first."""
    names = [name for name in list_models() if _samples_from_nothing(_config(name))]
    return tuple(sorted(names, key=lambda name: (not facts_of(name).is_bundled, name)))


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
    if issubclass(MODELS.get(model['type']), CascadedDiffusionModel):
        return _facts_of_cascade(name, model)
    network = _network(model)
    classifier = model.get('classifier')
    num_classes = network.get('num_classes') or _classes_told_apart(classifier)
    return ModelFacts(
        name=name,
        image_size=model.get('codec', network)['image_size'],
        num_classes=num_classes,
        class_names=names_of_classes(num_classes, model.get('class_names')),
        steps=model.get('num_inference_steps'),
        scheduler=model['diffusion_scheduler'],
        guidance=model.get('guidance'),
        has_classifier=classifier is not None,
        classifier_scale=model.get('classifier_scale', 1.0),
        has_null_label=network.get('class_dropout_prob', 0) > 0,
        has_middle=issubclass(MODELS.get(network['type']), ADMEncoder),
        is_bundled=_is_bundled(config),
        judge=_judge(config),
    )


# Reading a config takes a hundredth of a second, and there are dozens.
_config = functools.lru_cache(maxsize=256)(find_config)


def _facts_of_cascade(name: str, model: Mapping[str, Any]) -> ModelFacts:
    base, upsamplers = facts_of(model['base']), list(map(_config, model['upsamplers']))
    last = upsamplers[-1].model
    return ModelFacts(
        name=name,
        image_size=_network(last)['image_size'],
        num_classes=base.num_classes,
        class_names=base.class_names,
        steps=None,
        scheduler=None,
        guidance=base.guidance
        or (dict(type='ClassifierGuidance') if base.has_classifier else None),
        has_classifier=False,
        classifier_scale=base.classifier_scale,
        has_null_label=False,
        has_middle=False,
        is_bundled=base.is_bundled and all(map(_is_bundled, upsamplers)),
        judge=None,
    )


def _network(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network of a model, without what is around it."""
    return model['unet'].get('network', model['unet'])


def _is_bundled(config: Config) -> bool:
    weights = config.get('weights', {})
    return bool(weights) and all(file.startswith('bundled://') for file in weights.values())


def _samples_from_nothing(config: Config) -> bool:
    if 'type' not in config.get('model', {}):
        return False
    kind = MODELS.get(config.model.type)
    return issubclass(kind, (AblatedDiffusionModel, CascadedDiffusionModel)) and not issubclass(
        kind, AblatedUpsamplingModel
    )


def _classes_told_apart(classifier: Mapping[str, Any] | None) -> int | None:
    return classifier.get('out_channels', IMAGENET_CLASSES) if classifier else None


def _judge(config: Config) -> Mapping[str, Any] | None:
    features = config.to_dict().get('test_evaluator', {}).get('features') or {}
    return features if features.get('type') == 'PlainClassifierFeatures' else None
