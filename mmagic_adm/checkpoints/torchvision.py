"""torchvision's classifiers by name, their weights read as safely as any."""

from __future__ import annotations

import re
from pathlib import Path

import torchvision
from torch import nn

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.configs import nearest
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError

# Their weights are of another normalisation than ImageNet's, from which they convert.
CONVERTING = ('googlenet', 'inception_v3')


def load_torchvision(
    name: str, weights: str | Path | None = 'DEFAULT', num_classes: int = 1000
) -> nn.Module:
    """A classifier of torchvision, for images of ImageNet's normalisation.

    Args:
        name: torchvision's name of it, such as 'resnet50'.
        weights: torchvision's name for weights ('DEFAULT', 'IMAGENET1K_V2'), or a path or URL;
            None leaves it as it was initialised.
        num_classes: How many classes the weights are for.

    Raises:
        ValueError: torchvision has no such classifier; the message suggests some.
        CheckpointError: The file cannot be had or read, or is of another network.
    """
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        hint = nearest(name.lower(), names, f'there are {", ".join(names)}')
        raise ValueError(f'torchvision has no classifier called {name!r}; {hint}')
    # These two take seconds to initialise what the weights then replace.
    more = dict(init_weights=weights is None) if name in CONVERTING else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **more)
    if weights is None:
        return network
    published = torchvision.models.get_model_weights(name).__members__
    source = published[str(weights)].url if str(weights) in published else weights
    state = read_document(fetch(source)).state_dict
    if name.startswith('densenet'):  # released before its layers were renamed
        state = {re.sub(r'\.(norm|conv)\.(\d)\.', r'.\1\2.', key): state[key] for key in state}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(
            f'{source} does not hold the weights of a {name} of {num_classes} classes'
        ) from error
    if name in CONVERTING:
        network.transform_input = True
    return network
