"""The embedding of classes, and of the null class that some labels become in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmagic_adm.arguments import whole


class ClassTable(nn.Embedding):
    """A row for each class, and one more for none of them if labels are dropped in training.

    Args:
        num_classes: How many classes there are.
        channels: Width of the embedding.
        dropout_prob: In training, how often a label is replaced by the null class.

    Attributes:
        null_label: The label of the null class, if there is one.
    """

    def __init__(self, num_classes: int, channels: int, dropout_prob: float = 0.0) -> None:
        if not 0 <= dropout_prob < 1:
            raise ValueError(f'class_dropout_prob is a probability below 1, not {dropout_prob}')
        whole(num_classes, 'num_classes is a number from 1 on, or None')
        has_null_class = dropout_prob > 0
        super().__init__(num_classes + has_null_class, channels)
        self.num_classes, self.dropout_prob = num_classes, dropout_prob
        self.null_label = num_classes if has_null_class else None

    def forward(self, labels: Tensor | None, like: Tensor) -> Tensor:  # type: ignore[override]
        """The rows of labels, (N,); None is the null class, as often as ``like`` is long."""
        if labels is None:
            if self.null_label is None:
                raise ValueError(
                    f'this network needs labels: it is conditional on {self.num_classes} classes '
                    'and was trained without label dropout'
                )
            labels = torch.full_like(like, self.null_label, dtype=torch.long)
        if self.training and self.null_label is not None:
            dropped = torch.rand(labels.shape, device=labels.device) < self.dropout_prob
            labels = labels.masked_fill(dropped, self.null_label)
        return super().forward(labels)
