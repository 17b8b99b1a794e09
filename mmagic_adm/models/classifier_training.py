"""Training of classifiers and discriminators: on images as noisy as they will have to judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmagic.structures import DataSample
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmagic_adm.checkpoints.loading import load_network, recognise_on_load
from mmagic_adm.models.quarter_log import QUARTERS, QuarterLog
from mmagic_adm.models.runner_data import DataSamples, labels_of, listed
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part

TOP = (1, 5)


@MODELS.register_module()
class ClassifierTraining(BaseModel):
    """Trains a classifier on images noised to random timesteps (ADM, section 4), or on clean ones.

    Args:
        classifier: Config of the network, or the network. With noise it is called as
            ``classifier(x_t, timesteps)``, without as ``classifier(x)``. A discriminator with
            ``num_classes`` is also told the class that each image is to show.
        diffusion_scheduler: Config of a scheduler, for its process; None trains on clean images.
        label_smoothing: The share of a label's weight that is spread over all classes.
        evenly_in: What noise is drawn evenly in: 'timesteps', or 'log_sigma', its logarithm, as
            discriminators are trained.
        weights: Path or URL of a file for parts of the classifier, by their names in it, such
            as ``dict(classifier=...)`` for that which a discriminator looks through.
        data_preprocessor: Config of what brings data to the device and into range.
        init_cfg: As of any MMEngine model.
    """

    def __init__(
        self,
        classifier: dict | nn.Module,
        diffusion_scheduler: dict | Any | None = None,
        label_smoothing: float = 0.0,
        evenly_in: Literal['timesteps', 'log_sigma'] = 'timesteps',
        weights: Mapping[str, str] | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = data_preprocessor or dict(type='DiffusionDataPreprocessor')
        super().__init__(build_part(MODELS, preprocessor), init_cfg)
        self.classifier = build_part(MODELS, classifier)
        self.process = None
        if diffusion_scheduler is not None:
            self.process = build_part(DIFFUSION_SCHEDULERS, diffusion_scheduler).full_process
        self.label_smoothing = label_smoothing
        if evenly_in not in ('timesteps', 'log_sigma'):
            raise ValueError(f"evenly_in is 'timesteps' or 'log_sigma', not {evenly_in!r}")
        if evenly_in == 'log_sigma' and self.process is None:
            raise ValueError("evenly_in='log_sigma' needs noise: give a diffusion_scheduler")
        self.evenly_in = evenly_in
        for name, source in (weights or {}).items():
            load_network(self.classifier.get_submodule(name), source)
        self.quarter_log = QuarterLog(self.process.num_timesteps if self.process else None)
        recognise_on_load(self)

    @property
    def num_classes(self) -> int:
        """Classes that the classifier tells apart."""
        return self.classifier.out_channels

    def forward(
        self,
        inputs: Tensor,
        data_samples: DataSamples | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """MMEngine's entry point.

        Args:
            inputs: Images, (N, C, H, W) in [-1, 1].
            data_samples: Their ``gt_label`` says what they show.
            mode: 'loss' for what training minimises; 'predict' for the data samples with
                ``logits``, (Q, classes), from a noise level of each quarter of the process, the
                least noisy first; 'tensor' for the logits of the images as they are.
        """
        if mode == 'loss':
            labels = self._labels(data_samples, inputs.device)
            return self._loss(inputs, labels, self._told(data_samples, inputs.device))
        if mode == 'predict':
            told = self._told(data_samples, inputs.device)
            samples = listed(data_samples) or [DataSample() for _ in inputs]
            return self._predict(inputs, samples, told)
        if mode == 'tensor':
            told = self._told(data_samples, inputs.device)
            return self._classify(inputs, inputs.new_zeros(len(inputs), dtype=torch.long), told)
        raise ValueError(f"mode is 'tensor', 'loss' or 'predict', not {mode!r}")

    def draw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps and noise: all that is random here."""
        steps, count = self.process.num_timesteps if self.process else 1, (len(images),)
        if self.process is None or self.evenly_in == 'timesteps':
            t = torch.randint(steps, count, device=images.device)
        else:
            log_sigma = torch.as_tensor(self.process.train_sigmas).log()
            share = torch.rand(count, dtype=torch.float64)
            drawn = log_sigma[0].lerp(log_sigma[-1], share)
            t = torch.searchsorted(log_sigma, drawn).clamp(max=steps - 1).to(images.device)
        return t, torch.randn_like(images)

    def _loss(self, images: Tensor, labels: Tensor, told: dict[str, Tensor]) -> dict[str, Tensor]:
        t, noise = self.draw(images)
        logits = self._classify(self._noised(images, t, noise), t, told)
        losses = F.cross_entropy(
            logits.float(), labels, reduction='none', label_smoothing=self.label_smoothing
        )
        accuracies = hits(logits.detach(), labels)
        # Of clean images, the loss is logged as what is minimised.
        self.quarter_log.add(t, {'loss': losses, **accuracies} if self.process else accuracies)
        return dict(loss=losses.mean())

    @torch.no_grad()
    def _predict(
        self, images: Tensor, data_samples: list[DataSample], told: dict[str, Tensor]
    ) -> list[DataSample]:
        # The same noise whenever it is asked, so that two validations can be compared.
        generator = torch.Generator().manual_seed(0)
        quarters = QUARTERS if self.process else 1
        steps = self.process.num_timesteps if self.process else 1
        logits = []
        for quarter in range(quarters):
            share = torch.rand(len(images), generator=generator)
            t = ((quarter + share) / quarters * steps).long().to(images.device)
            noise = torch.randn(images.shape, generator=generator).to(images)
            logits.append(self._classify(self._noised(images, t, noise), t, told))
        for data_sample, rows in zip(data_samples, torch.stack(logits, dim=1), strict=True):
            data_sample.logits = rows
        return data_samples

    def _noised(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        return self.process.add_noise(images, t, noise) if self.process else images

    def _classify(self, images: Tensor, t: Tensor, told: dict[str, Tensor]) -> Tensor:
        if self.process is None:
            return self.classifier(images, **told)
        return self.classifier(images, self.process.network_timesteps(t), **told)

    def _told(self, data_samples: DataSamples | None, device: torch.device) -> dict[str, Tensor]:
        """What the network is told besides: to a discriminator, what images are to show."""
        if getattr(self.classifier, 'num_classes', None) is None:
            return {}
        each = listed(data_samples)
        if not each or 'shown' not in each[0]:
            raise ValueError(
                f'{type(self.classifier).__name__} is told of {self.classifier.num_classes} '
                'classes, and the images come without: label them all, or give num_classes=None'
            )
        return dict(labels=torch.cat([sample.shown for sample in each]).to(device))

    def _labels(self, data_samples: DataSamples | None, device: torch.device) -> Tensor:
        labels = labels_of(data_samples)
        if labels is None:
            raise ValueError('training a classifier needs data samples with gt_label')
        return labels.to(device)


def hits(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """For each rank of TOP: whether the label is among so many of the largest logits, as floats."""
    ranked = logits.topk(min(max(TOP), logits.shape[-1])).indices == labels[:, None]
    return {f'top{k}': ranked[:, :k].any(1).float() for k in TOP}
