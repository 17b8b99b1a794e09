"""Tells real images from made ones, both noisy: a head on what a noise-aware classifier sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmagic_adm.networks.classifier import ADMClassifier
from mmagic_adm.registry import MODELS, build_part


@MODELS.register_module()
class ADMDiscriminator(nn.Module):
    """A shallow classifier of two classes, made and real (Kim et al. 2023, section 4.1).

    It looks at the last feature map of a noise-aware classifier, which is not trained with it.

    Args:
        classifier: Config of the noise-aware classifier, or the classifier.
        num_classes: Classes of which it is told the one that an image is to show; None for none.
        **head: Arguments of the :class:`ADMClassifier` on top, such as ``model_channels``.
    """

    def __init__(
        self, classifier: dict | ADMClassifier, num_classes: int | None = None, **head: Any
    ) -> None:
        super().__init__()
        self.classifier = build_part(MODELS, classifier).requires_grad_(False).eval()
        size = self.classifier.sizes[-1]
        settings = dict(
            image_size=size,
            in_channels=self.classifier.widths[-1],
            out_channels=2,
            attention_resolutions=(size,),
            channel_mult=(1,),
        )
        self.head = ADMClassifier(**{**settings, **head})
        self.num_classes = num_classes
        self.image_size, self.in_channels = self.classifier.image_size, self.classifier.in_channels
        self.out_channels = self.head.out_channels
        if num_classes is not None:
            # With the head, whose embedding it is added to.
            self.head.label_emb = nn.Embedding(num_classes, self.head.embedding_channels)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judges noisy images.

        Args:
            x: Noisy images, (N, in_channels, H, W).
            timesteps: Noise level of each image, (N,), or (1,) if they share it.
            labels: Class that each image is to show, (N,), if it is told.

        Returns:
            Logits of 'made' and 'real', (N, 2).
        """
        with torch.set_grad_enabled(x.requires_grad):
            seen = self.classifier.feature_maps(x, self.classifier.embed_time(timesteps))
            *_, features = seen
        embedding = self.head.embed_time(timesteps)
        if self.num_classes is not None:
            if labels is None:
                raise ValueError(
                    f'this discriminator is told labels, of {self.num_classes} classes'
                )
            embedding = embedding + self.head.get_submodule('label_emb')(labels)
        return self.head.classify(features.to(x.dtype), embedding)

    def train(self, mode: bool = True) -> ADMDiscriminator:
        """Puts the head in training mode; the classifier stays as it is."""
        super().train(mode)
        self.classifier.eval()
        return self
