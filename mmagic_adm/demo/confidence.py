"""How sure a classifier is of the class that a sample was made as."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmagic_adm.files.pictures import as_uint8
from mmagic_adm.guidance.classifier import in_type_of


@torch.no_grad()
def confidences(
    classifier: Any | None, judge: Any | None, samples: Tensor, labels: Tensor | None
) -> list[float | None]:
    """The probability of each sample's label.

    Args:
        classifier: A noise-aware classifier, asked about images without noise.
        judge: Features with 'logits', asked where there is no such classifier.
        samples: (N, C, H, W) in [-1, 1].
        labels: (N,), or None where there are no classes.

    Returns:
        One for each sample; None where nobody can tell.
    """
    if labels is None or (classifier is None and judge is None):
        return [None] * len(samples)
    if classifier is not None:
        no_noise = torch.zeros(len(samples), device=samples.device)
        logits = classifier(in_type_of(classifier, samples), no_noise)
    else:
        logits = judge.extract(as_uint8(samples))['logits']  # type: ignore[union-attr]
    probabilities = logits.float().softmax(dim=1)
    return probabilities.gather(1, labels[:, None].to(probabilities.device))[:, 0].tolist()
