"""The guidance methods that the page offers, and which of them go with a model and a scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmagic_adm.apis.class_names import IMAGENET_CLASSES
from mmagic_adm.apis.sampling import scheduler_named
from mmagic_adm.demo.catalogue import ModelFacts
from mmagic_adm.guidance import Form
from mmagic_adm.models.scheduler_choice import TRAINED_PROCESS
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS
from mmagic_adm.schedulers import DiscreteScheduler

NONE, OWN = 'none', 'own'
CLASSIFIER, CLASSIFIER_FREE = 'classifier', 'classifier-free'
OFF_THE_SHELF, PIXELS = 'off-the-shelf', 'pixels-as-parameters'
SELF, PERTURBED = 'self-attention', 'perturbed-attention'

TITLES = {
    NONE: 'None',
    CLASSIFIER: 'Classifier',
    CLASSIFIER_FREE: 'Classifier-free',
    OFF_THE_SHELF: 'Off-the-shelf classifier',
    PIXELS: 'Pixels as parameters',
    SELF: 'Self-attention',
    PERTURBED: 'Perturbed attention',
    OWN: 'As configured',
}

# Of a model that names no guidance of this kind itself; off the shelf as published for ImageNet.
DEFAULTS: dict[str, dict[str, Any]] = {
    CLASSIFIER: dict(type='ClassifierGuidance'),
    CLASSIFIER_FREE: dict(type='ClassifierFreeGuidance'),
    OFF_THE_SHELF: dict(
        type='OffTheShelfGuidance',
        classifier='resnet101',
        softplus_beta=3.0,
        margin_temperature_discount=0.5,
        gamma_factor=0.3,
    ),
    PIXELS: dict(type='PixelAsParamGuidance', variant='clsden_clsdiv'),
    SELF: dict(type='SelfAttentionGuidance', scale=0.5),
    PERTURBED: dict(type='PerturbedAttentionGuidance', scale=1.0),
}

_METHOD_OF = {
    'ClassifierGuidance': CLASSIFIER,
    'ClassifierFreeGuidance': CLASSIFIER_FREE,
    'OffTheShelfGuidance': OFF_THE_SHELF,
    'SampleGuidance': OFF_THE_SHELF,
    'PixelAsParamGuidance': PIXELS,
    'SelfAttentionGuidance': SELF,
    'PerturbedAttentionGuidance': PERTURBED,
}


def own_method(facts: ModelFacts) -> str:
    """The method that a model is configured with."""
    if facts.guidance is None:
        return CLASSIFIER if facts.has_classifier else NONE
    return OWN if facts.is_cascade else _METHOD_OF.get(facts.guidance['type'], OWN)


def methods_for(facts: ModelFacts, scheduler: str | None = None) -> list[str]:
    """The methods that are defined for a model under a scheduler; None is the model's own."""
    if facts.is_cascade:
        return [NONE] if facts.guidance is None else [NONE, OWN]
    sampler = _sampler(facts, scheduler)
    taken = sampler.guided_by | (set() if sampler.is_of_ends else {Form.DENOISER})
    possible = {
        CLASSIFIER: facts.has_classifier,
        CLASSIFIER_FREE: facts.has_null_label,
        OFF_THE_SHELF: facts.num_classes == IMAGENET_CLASSES,
        PIXELS: facts.has_classifier and isinstance(facts.built_scheduler, DiscreteScheduler),
        SELF: facts.has_middle,
        PERTURBED: facts.has_middle,
    }
    methods = [method for method, is_possible in possible.items() if is_possible]
    own = own_method(facts)
    methods += [own] * (own not in [NONE, *methods])
    return [NONE] + [each for each in methods if _forms(guidance_of(facts, each)) <= taken]


def guidance_of(facts: ModelFacts, method: str) -> dict[str, Any]:
    """Config of a method's guidance: the model's own where it names one of that kind."""
    if facts.guidance is not None and method == own_method(facts):
        return dict(facts.guidance)
    return dict(DEFAULTS[method])


def usual_scale(facts: ModelFacts, method: str) -> float:
    """The scale that a method has where nothing else is said."""
    uses_classifier = method in (CLASSIFIER, PIXELS) or facts.is_cascade
    return facts.classifier_scale if uses_classifier else guidance_of(facts, method).get('scale', 1)


def usual_interval(facts: ModelFacts, method: str) -> tuple[float, float] | None:
    """The timesteps between which a method acts where nothing else is said."""
    if method == NONE or facts.is_cascade:
        return None
    low_high = _paced(guidance_of(facts, method)).get('interval')
    return None if low_high is None else tuple(low_high)


def changes(
    facts: ModelFacts,
    method: str,
    interval: tuple[float, float] | None,
    scheduler: str | None = None,
) -> dict[str, dict[str, Any] | None]:
    """Arguments of the model that differ from its config, for ``init_model``.

    The scheduler is among them where the method is not defined under the model's own; elsewhere
    it is left to ``sample``.
    """
    if facts.is_cascade:
        return {}
    if method == NONE:
        return {} if facts.guidance is None else dict(guidance=None)
    wanted = guidance_of(facts, method)
    _paced(wanted).pop('interval', None)
    if interval is not None:
        _paced(wanted).update(interval=interval)
    # A classifier by itself guides without being told to.
    own = facts.guidance or DEFAULTS[CLASSIFIER]
    changed: dict[str, dict[str, Any] | None] = {} if wanted == own else dict(guidance=wanted)
    if facts.has_classifier and method not in (CLASSIFIER, PIXELS, OWN):
        changed['classifier'] = None
    if method not in methods_for(facts):
        changed['diffusion_scheduler'] = _other_scheduler(facts, scheduler)
    return changed


def _other_scheduler(facts: ModelFacts, scheduler: str | None) -> dict[str, Any]:
    """Config of another scheduler for the process that the model was trained on."""
    own, named = facts.scheduler or {}, {} if scheduler is None else scheduler_named(scheduler)
    trained = ('beta_schedule', *TRAINED_PROCESS)
    return named | {name: own[name] for name in trained if name in own}


def _paced(guidance: dict[str, Any]) -> dict[str, Any]:
    """The part of a guidance's config that says when it acts; its source is copied if need be."""
    if guidance['type'] != 'SampleGuidance':
        return guidance
    guidance['source'] = dict(guidance['source'])
    return guidance['source']


def _sampler(facts: ModelFacts, scheduler: str | None) -> Any:
    """A scheduler, or its class, which says what guidance it takes."""
    if scheduler is None:
        return facts.built_scheduler
    return DIFFUSION_SCHEDULERS.get(scheduler_named(scheduler)['type'])


def _forms(guidance: Mapping[str, Any]) -> frozenset[Form]:
    return MODELS.get(guidance['type']).forms
