"""A base model and its upsamplers, behind one ``infer``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import torch
from mmagic.structures import DataSample
from mmengine.model import BaseModel
from torch import nn

from mmagic_adm.files.pictures import as_uint8
from mmagic_adm.guidance.base import as_scales
from mmagic_adm.models.adm import AblatedDiffusionModel
from mmagic_adm.models.batch import Labels, Seeds, check_labels, count_samples, resolve_seeds
from mmagic_adm.models.configs import find_config
from mmagic_adm.models.runner_data import DataSamples, as_data_samples, infer_arguments
from mmagic_adm.models.saved import SavedModel
from mmagic_adm.models.upsampling import AblatedUpsamplingModel
from mmagic_adm.registry import MODELS, SCOPE
from mmagic_adm.schedulers import Scheduler

# Added to a sample's seed from one stage to the next, so that no two stages draw the same numbers.
# An odd number near 2**32 divided by the golden ratio spreads the seeds of many stages evenly.
SEED_STRIDE = 0x9E3779B9

IN_WORDS = dict(
    num_inference_steps='numbers of steps',
    classifier_scale='guidance scales',
    scheduler_kwargs='schedulers',
)


@MODELS.register_module()
class CascadedDiffusionModel(SavedModel, BaseModel):
    """Samples small images, and enlarges them in one or more stages (ADM, section 6).

    Between stages images are rounded to 8 bits, as they are when samples are handed over in files.

    Args:
        base: The model that samples small images: the name of a config of the package, the config
            of a model, or a model.
        upsamplers: The same of each upsampling model, smallest first.
        data_preprocessor: Config of what brings data to the device.
        profile: How the networks of all stages compute, see :class:`AblatedDiffusionModel`; None
            leaves that to the stages.
        init_cfg: As of any MMEngine model.
    """

    def __init__(
        self,
        base: str | dict | AblatedDiffusionModel,
        upsamplers: Sequence[str | dict | AblatedUpsamplingModel],
        data_preprocessor: dict | nn.Module | None = None,
        profile: str | dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        preprocessor = data_preprocessor or dict(type='DiffusionDataPreprocessor', _scope_=SCOPE)
        super().__init__(preprocessor, init_cfg)
        self.base = _built(base)
        self.upsamplers = nn.ModuleList(map(_built, upsamplers))
        if not self.upsamplers:
            raise ValueError('a cascade needs at least one upsampler')
        for model in self.upsamplers:
            if not isinstance(model, AblatedUpsamplingModel):
                raise ValueError(f'{type(model).__name__} is not an upsampling model')
        self._check_sizes()
        self._check_classes()
        for model in self.stages if profile is not None else ():
            model.use_profile(profile)

    @property
    def stages(self) -> list[AblatedDiffusionModel]:
        """The models, in the order in which they run."""
        return cast('list[AblatedDiffusionModel]', [self.base, *self.upsamplers])

    @property
    def device(self) -> torch.device:
        """Where samples are made."""
        return self.data_preprocessor.device

    @property
    def num_classes(self) -> int | None:
        """Classes that labels choose from: those of the first stage that has any."""
        return next((stage.num_classes for stage in self.stages if stage.num_classes), None)

    @property
    def class_names(self) -> Sequence[str] | None:
        """What they are called, if that stage says."""
        return next((stage.class_names for stage in self.stages if stage.num_classes), None)

    @property
    def rgb2bgr(self) -> bool:
        """Whether samples come out in BGR."""
        return self.stages[-1].rgb2bgr

    def __repr__(self) -> str:
        stages = '\n'.join(map(repr, self.stages)).replace('\n', '\n  ')
        return f'{type(self).__name__} of {len(self.stages)} stages:\n  {stages}'

    def infer(
        self,
        batch_size: int = 1,
        labels: Labels = None,
        seeds: Seeds = None,
        num_inference_steps: Any = None,
        classifier_scale: Any = None,
        scheduler_kwargs: Any = None,
        offload: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Samples images through all stages.

        Args:
            batch_size: Number of samples; 1 leaves it to the other arguments.
            labels: Class of each sample; None draws one for each.
            seeds: Seed of each sample. Stage k of a sample has the seed
                ``(seed + k * SEED_STRIDE) % 2**32``.
            num_inference_steps: For all stages, or a list with an entry for each.
            classifier_scale: For all stages that are guided, or a list with an entry for each.
            scheduler_kwargs: For all stages, or a list with an entry for each.
            offload: Whether a stage leaves the device when it is done, until it is needed again.
            **kwargs: Other arguments of ``infer``, for every stage.

        Returns:
            That of the last stage, with the ``labels`` and ``seeds`` of the first; and
            ``stages``, the samples of each.
        """
        settings = self._per_stage(
            num_inference_steps=num_inference_steps,
            classifier_scale=classifier_scale,
            scheduler_kwargs=scheduler_kwargs,
        )
        self._check_labels(labels)
        for own in settings:
            as_scales(0.0 if own['classifier_scale'] is None else own['classifier_scale'])
        count = count_samples(batch_size, labels=labels, seeds=seeds)
        seeds = resolve_seeds(seeds, count)
        outputs: list[dict[str, Any]] = []
        for k, (stage, own) in enumerate(zip(self.stages, settings, strict=True)):
            if stage.guidance is None:
                own = {**own, 'classifier_scale': None}
            request: dict[str, Any] = dict(
                labels=None if stage.num_classes is None else labels,
                seeds=[(seed + k * SEED_STRIDE) % 2**32 for seed in seeds],
            )
            if outputs:
                request['low_res'] = as_uint8(outputs[-1]['samples'])
            outputs.append(stage.to(self.device).infer(**request, **own, **kwargs))
            if outputs[-1]['labels'] is not None:
                labels = outputs[-1]['labels']  # drawn once, for all stages
            if offload:
                stage.to('cpu')
        return {
            **outputs[-1],
            'labels': labels,
            'seeds': seeds,
            'stages': [output['samples'] for output in outputs],
        }

    def forward(
        self,
        inputs: dict[str, Any],
        data_samples: DataSamples | None = None,
        mode: str | None = None,
    ) -> list[DataSample]:
        """MMEngine's entry point, for ``mode`` 'predict' or None: see AblatedDiffusionModel."""
        if mode not in (None, 'predict'):
            raise ValueError(f"a cascade is sampled from: mode is 'predict', not {mode!r}")
        request = infer_arguments(inputs)
        request.pop('init_image')
        result = self.infer(**request)
        return as_data_samples(result, inputs, data_samples, 'bgr' if self.rgb2bgr else 'rgb')

    def make_scheduler(self, changes: Any = None, steps: Any = None) -> list[Scheduler]:
        """Schedulers for one walk of each stage; arguments for all, or lists with one for each."""
        settings = self._per_stage(num_inference_steps=steps, scheduler_kwargs=changes)
        return [
            stage.make_scheduler(own['scheduler_kwargs'], own['num_inference_steps'])
            for stage, own in zip(self.stages, settings, strict=True)
        ]

    def _per_stage(self, **settings: Any) -> list[dict[str, Any]]:
        """Arguments that are alike for all stages or differ, as one dict for each stage."""
        count = len(self.stages)
        per_stage: list[dict[str, Any]] = [{} for _ in range(count)]
        for name, value in settings.items():
            if not isinstance(value, (list, tuple)):
                value = [value] * count
            if len(value) != count:
                raise ValueError(
                    f'{len(value)} {IN_WORDS[name]} were given; this cascade has {count} stages'
                )
            for own, entry in zip(per_stage, value, strict=True):
                own[name] = entry
        return per_stage

    def _check_labels(self, labels: Labels) -> None:
        """Refuses classes that there are not, and to draw that of images that are there already."""
        if labels is not None and self.num_classes is not None:
            check_labels(labels, self.num_classes)
        if labels is not None or self.base.num_classes is not None:
            return
        for stage in self.stages:
            if stage.num_classes is not None:
                raise ValueError(
                    f'an upsampler of this cascade is conditional on {stage.num_classes} classes, '
                    'and its base knows none: say which the images are of, labels=...'
                )

    def _check_classes(self) -> None:
        known = {stage.num_classes for stage in self.stages if stage.num_classes}
        if len(known) > 1:
            raise ValueError(
                'the stages of a cascade have the same classes; these have '
                f'{" and ".join(map(str, sorted(known)))}'
            )

    def _check_sizes(self) -> None:
        for small, large in itertools.pairwise(self.stages):
            assert isinstance(large, AblatedUpsamplingModel)
            size = small.sample_shape[-1]
            if size != large.low_res_size:
                raise ValueError(
                    f'a stage of this cascade gives images of {size} pixels, the '
                    f'next enlarges images of {large.low_res_size}'
                )
            if small.rgb2bgr:
                raise ValueError('only the last stage of a cascade may have rgb2bgr=True')


def _built(model: str | dict | nn.Module) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    config = find_config(model).model if isinstance(model, str) else model
    return MODELS.build({'_scope_': SCOPE, **config})
