"""Puts guidance together from a model's config."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from mmagic_adm.codecs import Codec
from mmagic_adm.guidance.base import Guidance
from mmagic_adm.guidance.classifier import ClassifierGuidance
from mmagic_adm.guidance.pixel_as_param import PixelAsParamGuidance
from mmagic_adm.guidance.source import GradientSource, as_guidance, guidance_config
from mmagic_adm.registry import MODELS


def build_guidance(
    guidance: str | dict | Guidance | None,
    classifier: nn.Module | None = None,
    scale: float | None = None,
) -> Guidance | None:
    """The guidance that a model's config asks for.

    Args:
        guidance: Short name or config of a source or rule, or one already built. A
            ``ClassifierGuidance`` in it that names no classifier, and a rule that names no source,
            take the model's classifier.
        classifier: The model's own noise-aware classifier. Alone, it guides by itself.
        scale: Scale of that classifier's guidance where the config gives none; None is 1.

    Raises:
        ValueError: There is no classifier where one is needed, or one that nothing uses.
    """
    own_scale = 1.0 if scale is None else scale
    if guidance is None:
        return None if classifier is None else ClassifierGuidance(classifier, own_scale)
    if isinstance(guidance, str):
        guidance = guidance_config(guidance)
    kind = guidance.get('type') if isinstance(guidance, dict) else type(guidance).__name__
    if classifier is None and scale is not None:
        raise ValueError(
            f"classifier_scale={scale} is that of the model's classifier, and it has none: give "
            f'{kind} its own scale'
        )
    if isinstance(guidance, dict):
        guidance = _completed(guidance, classifier, own_scale)
    built = as_guidance(guidance)
    if classifier is not None and not _uses(built, classifier):
        raise ValueError(
            f'the model has a classifier that its {kind} does not use: leave it out '
            '(classifier=None), or add it up (SumGuidance)'
        )
    return built


def check_sizes(guidance: Guidance, network: Any, codec: Codec) -> None:
    """Refuses, before anything is sampled, a classifier of images of another size.

    Args:
        guidance: The guidance.
        network: The network that is sampled from.
        codec: What makes images of what it samples.
    """
    latents = (network.in_channels, network.image_size, network.image_size)
    for part in guidance.modules():
        if not isinstance(part, GradientSource) or not part.image_size:
            continue
        sees_images = part.looks_at == 'pred_x0'
        size = codec.image_shape(latents)[-1] if sees_images else network.image_size
        if part.image_size != size:
            raise ValueError(
                f'the classifier of {type(part).__name__} is for images of {part.image_size} '
                f'pixels, the network for {size}; take the classifier of that size'
            )


def _uses(guidance: Guidance, classifier: nn.Module) -> bool:
    """Whether a classifier is anywhere in guidance."""
    return any(getattr(part, 'classifier', None) is classifier for part in guidance.modules())


def _completed(node: Any, classifier: nn.Module | None, scale: float) -> Any:
    """The config with the model's classifier put where one is missing."""
    if isinstance(node, (list, tuple)):
        return [_completed(item, classifier, scale) for item in node]
    if not isinstance(node, dict):
        return copy.copy(node)
    filled = {key: _completed(value, classifier, scale) for key, value in node.items()}
    filled = guidance_config(filled)
    kind = filled.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if kind is PixelAsParamGuidance and 'source' not in filled:
        filled['source'] = _completed(dict(type='ClassifierGuidance'), classifier, scale)
    if kind is ClassifierGuidance and 'classifier' not in filled:
        if classifier is None:
            raise ValueError(
                'the guidance takes the classifier of the model, and the model has none: give '
                "classifier=..., in the model's config or in the guidance's"
            )
        filled['classifier'] = classifier
        filled.setdefault('scale', scale)
    return filled
