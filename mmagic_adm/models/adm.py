"""The model that a user meets: a U-Net, a scheduler, and guidance, behind ``infer``."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from mmagic_adm.arguments import finite, whole
from mmagic_adm.checkpoints.loading import load_network, recognise_on_load
from mmagic_adm.codecs import Codec, PixelCodec
from mmagic_adm.denoisers import (
    ClippedDenoiser,
    Denoiser,
    FiniteWatch,
    RedrawnLabels,
    make_denoiser,
)
from mmagic_adm.diffusion import randn_like_samples, randn_samples
from mmagic_adm.guidance import Guidance, Guide, Path
from mmagic_adm.guidance.assembly import build_guidance, check_sizes
from mmagic_adm.guidance.base import Scale, as_scales
from mmagic_adm.guidance.classifier import freeze
from mmagic_adm.guidance.combination import SumGuidance, together
from mmagic_adm.measurements import Measurement, Restoration, build_method
from mmagic_adm.measurements.decoded import DecodedOperator
from mmagic_adm.measurements.making import MethodSpec
from mmagic_adm.models.batch import (
    Labels,
    SampleBatch,
    Seeds,
    check_labels,
    count_samples,
    make_batch,
    resolve_seeds,
)
from mmagic_adm.models.compiled import time_call
from mmagic_adm.models.losses import build_loss
from mmagic_adm.models.profiles import ProfiledModel
from mmagic_adm.models.runner_data import (
    DataSamples,
    as_data_samples,
    infer_arguments,
    labels_of,
)
from mmagic_adm.models.sampling import (
    Trajectory,
    Watcher,
    checked_images,
    checked_noise,
    evaluating,
    follow,
)
from mmagic_adm.models.saved import SavedModel
from mmagic_adm.models.scheduler_choice import build_scheduler
from mmagic_adm.networks.deep_features import reused_deep_features
from mmagic_adm.networks.network import check_network
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part
from mmagic_adm.schedulers import Scheduler

MMAGICS_ORDER = (
    "If these arguments are in MMagic's order, give them by name, or take the model with MMagic's "
    "order and defaults: type='ADM', which is mmagic_adm.compat.mmagic_names.AblatedDiffusionModel"
)


@MODELS.register_module()
class AblatedDiffusionModel(SavedModel, ProfiledModel):
    """Samples images by the reverse process of a diffusion model, guided or not (ADM).

    Args:
        unet: Config of the network, or the network.
        codec: Config of what makes images of what is diffused, or the codec; None diffuses images.
        diffusion_scheduler: Config of the scheduler, or the scheduler.
        classifier: Config of a noise-aware classifier to guide with, or the classifier.
        classifier_scale: Scale of its guidance; None is 1.
        guidance: Short name or config of another guidance, which may use the classifier too:
            'cfg', 'pag', ``dict(type='cfg', scale=2.0)``.
        restoration: Config of the method by which ``infer`` restores what it is given a
            measurement of, or the method.
        num_inference_steps: Steps that ``infer`` takes where it is not told: a number, or a spec
            of the scheduler's. None takes every step of the training process.
        class_names: What the classes are called, in the order of the labels; None calls them by
            ImageNet's names if there are 1000, else by their numbers.
        redraw_labels: Whether samples are of no class in particular, although the network wants
            one: it is asked about another class in every call.
        loss_type: What training minimises; see :class:`DiffusionLoss`, whose default None is.
        timestep_sampler: How training picks timesteps; likewise.
        loss_weighting: How much errors at a noise level weigh; likewise.
        loss: Config of another loss than :class:`DiffusionLoss`, or the loss.
        data_preprocessor: Config of what brings data to the device and into range.
        rgb2bgr: Whether samples come out in BGR, as OpenCV and MMagic's metrics have it.
        use_fp16: Whether the networks run in float16, as MMagic's configs say it.
        profile: How the networks compute when the model samples: 'exact', 'fast', 'auto' or a
            dict, see :func:`~mmagic_adm.models.profiles.choose_profile`; None leaves them as they
            are. A model in training is left as it is.
        reuse_every: Compute the inner levels of the U-Net in every k-th call only, and reuse what
            they said in between: faster, and not the same image. 1 computes them in all.
        reuse_levels: With it, the levels, from the finest on, that every call computes.
        pretrained_cfgs: Weights to load: for 'unet', 'classifier' and networks in the guidance,
            such as 'guidance.classifier' and 'guidance.other', a dict with ``ckpt_path`` (a name,
            path or URL) and, for a file that holds several networks, ``prefix``.
        init_cfg: As of any MMEngine model.
    """

    def __init__(
        self,
        unet: dict | nn.Module,
        diffusion_scheduler: dict | Any,
        classifier: dict | nn.Module | None = None,
        classifier_scale: float | None = None,
        guidance: str | dict | Guidance | None = None,
        restoration: MethodSpec | None = None,
        num_inference_steps: int | str | None = None,
        class_names: Sequence[str] | None = None,
        redraw_labels: bool = False,
        loss_type: str | None = None,
        timestep_sampler: str | dict | None = None,
        loss_weighting: str | dict | None = None,
        loss: dict | Callable[..., dict[str, Tensor]] | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        rgb2bgr: bool = False,
        use_fp16: bool = False,
        profile: str | dict | None = None,
        reuse_every: int = 1,
        reuse_levels: int = 1,
        pretrained_cfgs: dict | None = None,
        codec: dict | Codec | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if use_fp16 and profile is not None:
            raise ValueError('use_fp16 and profile both say what to compute in; give one')
        super().__init__(
            build_part(MODELS, data_preprocessor or dict(type='DiffusionDataPreprocessor')),
            init_cfg,
        )
        self.unet = build_part(MODELS, unet)
        if isinstance(self.unet, BaseDataPreprocessor):
            raise TypeError(f'unet is the network, not a preprocessor. {MMAGICS_ORDER}')
        check_network(self.unet)
        self.codec: Codec = build_part(MODELS, codec or dict(type='PixelCodec'))
        self.codec.check_fits(self.unet)
        with reused_deep_features(self.unet, reuse_every, reuse_levels):
            pass  # It refuses now what the network does not offer.
        self.classifier = None if classifier is None else freeze(build_part(MODELS, classifier))
        self.diffusion_scheduler = build_part(DIFFUSION_SCHEDULERS, diffusion_scheduler)
        self._scheduler_config = diffusion_scheduler
        self.num_inference_steps = num_inference_steps
        self.loss = build_loss(
            self.process,
            self.unet,
            loss,
            loss_type=loss_type,
            timestep_sampler=timestep_sampler,
            loss_weighting=loss_weighting,
        )
        given = 1.0 if classifier_scale is None else classifier_scale
        self.classifier_scale = finite(given, 'classifier_scale is a finite number')
        self.guidance = build_guidance(guidance, self.classifier, classifier_scale)
        self.restoration = None if restoration is None else build_method(restoration)
        self.redraw_labels = redraw_labels
        self.class_names = class_names
        if class_names is not None and len(class_names) != self.num_classes:
            raise ValueError(f'{len(class_names)} class_names for {self.num_classes} classes')
        self.rgb2bgr = rgb2bgr
        self.use_fp16 = use_fp16
        self.use_profile(profile)
        self.reuse_every, self.reuse_levels = reuse_every, reuse_levels
        self._check_parts(self.diffusion_scheduler)
        self.make_scheduler()  # refuses steps that it could not take

        # A checkpoint need not repeat what has a file of its own.
        recognise_on_load(self, optional=('guidance', *(pretrained_cfgs or {})))
        for name, source in (pretrained_cfgs or {}).items():
            self._load_part(name, dict(source))
        if use_fp16:
            self.unet.half()
            if self.classifier is not None:
                self.classifier.half()

    @property
    def stages(self) -> list[AblatedDiffusionModel]:
        """The models that run one after another: this one."""
        return [self]

    @property
    def device(self) -> torch.device:
        """Where the network is, and samples are made."""
        return next(self.unet.parameters()).device

    @property
    def num_classes(self) -> int | None:
        """Classes that labels choose from: the network's, or else those that guidance knows."""
        if self.redraw_labels:
            return None
        if self.unet.num_classes is not None or self.guidance is None:
            return self.unet.num_classes
        return self.guidance.num_classes

    def __repr__(self) -> str:
        shape = 'x'.join(map(str, self.sample_shape))
        classes = f', {self.num_classes} classes' if self.num_classes else ''
        parameters = sum(each.numel() for each in self.unet.parameters()) / 1e6
        steps = len(self.make_scheduler().levels)
        guided = self.guidance and f'{type(self.guidance).__name__}, scale {self.guidance.scale:g}'
        return (
            f'{type(self).__name__}: {shape} images{classes}\n'
            f'  network: {type(self.unet).__name__}, {parameters:.1f} million parameters, on '
            f'{self.device}\n'
            f'  samples by: {type(self.diffusion_scheduler).__name__}, {steps} steps\n'
            f'  guided by: {guided or "nothing"}'
        )

    def train(self, mode: bool = True) -> AblatedDiffusionModel:
        """Puts the network in training mode; the classifier stays as it is."""
        super().train(mode)
        if self.classifier is not None:
            self.classifier.eval()
        return self

    @torch.no_grad()
    def infer(
        self,
        init_image: Tensor | None = None,
        batch_size: int = 1,
        num_inference_steps: int | str | None = None,
        labels: Labels = None,
        classifier_scale: Scale | None = None,
        scheduler_kwargs: dict | Scheduler | None = None,
        seeds: Seeds = None,
        show_progress: bool = False,
        return_trajectory: int | None = None,
        on_step: Watcher | None = None,
        network_inputs: Mapping[str, Tensor] | None = None,
        start_image: Tensor | None = None,
        skip_steps: int = 0,
        reuse_every: int | None = None,
        measurement: Measurement | None = None,
        restoration: MethodSpec | None = None,
    ) -> dict[str, Any]:
        """Samples images.

        Every argument that may hold one entry per sample may also hold one for all.

        Args:
            init_image: The noise x_T to start from, (N, C, H, W), instead of drawing it; where
                latents are diffused, of their shape.
            batch_size: Number of samples; 1 leaves it to the other arguments.
            num_inference_steps: Steps to take: a number, or a spec such as 'ddim25'.
            labels: Class of each sample; None draws one for each.
            classifier_scale: Scale of the guidance; 0 samples without it, at no cost.
            scheduler_kwargs: Another scheduler: without ``type``, what to change in the config of
                the model's own; with it, another kind, for the process the network was trained on.
                Or a scheduler.
            seeds: Seed of each sample; from a number they are counted up. Sample and seed belong
                together, whatever the batch. None draws them.
            show_progress: Whether to show a progress bar.
            return_trajectory: Keep every k-th step, to be returned as ``trajectory``.
            on_step: Called with each :class:`~mmagic_adm.models.sampling.Step`.
            network_inputs: What the network is given besides, by the names of its arguments.
            start_image: Images to start from instead of noise, (N, C, H, W) in [-1, 1]: noised to
                what samples are after the steps that are left out.
            skip_steps: Steps to leave out at the start, with ``start_image``.
            reuse_every: Compute the inner levels of the U-Net in every k-th call only; None takes
                the config's.
            measurement: What is known of the images: a row for each, or one for all.
            restoration: Method to restore them by, beside the guidance; None takes the config's.

        Returns:
            ``samples``: (N, C, H, W) in [-1, 1]; ``labels``: (N,) or None; ``seeds``: a list;
            ``trajectory`` if asked for: ``timesteps`` (or sigmas) and ``levels``, whose ``name``
            says which, and ``x_t`` and ``pred_x0`` of shape (steps, N, C, H, W); and ``particles``,
            (N, K, C, H, W), of a method that draws sets of samples, whose first is the sample.
        """
        if isinstance(init_image, Mapping):
            raise TypeError(f'init_image is the noise to start from, not a dict. {MMAGICS_ORDER}')
        scheduler = self.make_scheduler(scheduler_kwargs, num_inference_steps)
        if whole(skip_steps, 'skip_steps is how many to leave out', 0) and start_image is None:
            raise ValueError('skip_steps goes with start_image: noise has no steps behind it')
        network_inputs = network_inputs or {}
        method = self._method(restoration, measurement, scheduler)
        count = count_samples(
            batch_size,
            init_image=init_image,
            start_image=start_image,
            labels=labels,
            seeds=seeds,
            scale=classifier_scale,
            y=None if measurement is None else measurement.y,
            **network_inputs,
        )
        batch = self._make_batch(seeds, labels, count)
        path = Path(scheduler.calls(skip_steps), scheduler.full_process, self.codec)
        together_drawn = 1 if method is None else method.particles
        if together_drawn > 1:
            batch, classifier_scale = batch.repeated(together_drawn, classifier_scale)
        guide = self._bind_guidance(batch, classifier_scale, path)
        if guide is not None:
            self._check_parts(scheduler)
        if method is not None:
            guide = together(
                [guide, method.spread(len(batch)).bind(path, device=self.device)], path
            )
        sample = self._start(init_image, start_image, batch, scheduler, skip_steps)
        trajectory = None if return_trajectory is None else Trajectory(return_trajectory)
        watchers: list[Watcher] = [watch for watch in (trajectory, on_step) if watch is not None]

        watch, inputs = FiniteWatch(), self._inputs(batch, network_inputs)
        denoiser = self.denoiser(scheduler, guide, watch, **inputs)
        if self.redraw_labels:
            denoiser = RedrawnLabels(denoiser, self.unet.num_classes, batch.generators)
        walk = scheduler.walk(
            denoiser,
            sample,
            guidance=guide and guide.in_step,
            generators=batch.generators,
            skip=skip_steps,
        )
        with evaluating(self):
            timing = functools.partial(time_call, self.unet, sample, inputs)
            self.settle(len(batch), len(path.levels), timing)
            with self.computing(self.unet, reuse_every):
                sample = follow(walk, watchers, show_progress and is_main_process(), self.codec)
                watch.close()
                samples, own = self._finish(sample), slice(None, None, together_drawn)
        labels = None if batch.labels is None else batch.labels[own]
        result: dict[str, Any] = dict(samples=samples[own], labels=labels, seeds=batch.seeds[own])
        if together_drawn > 1:
            result['particles'] = samples.unflatten(0, (-1, together_drawn))
        if trajectory is not None:
            result['trajectory'] = trajectory.as_dict()
        return result

    @property
    def process(self) -> Any:
        """The discrete process that the network was trained on, if it is told timesteps."""
        return self.diffusion_scheduler.process_for(self.unet)

    def denoiser(
        self,
        scheduler: Scheduler | None = None,
        guide: Guide | None = None,
        watch: FiniteWatch | None = None,
        **inputs: Any,
    ) -> Denoiser:
        """The network as samplers ask for it.

        Args:
            scheduler: Who asks; whether images are clipped is up to it.
            guide: Guidance, which may wrap the denoiser.
            watch: Sees to it that the network's output is finite.
            **inputs: What the network is given besides, one row for each sample.
        """
        process = self.process if scheduler is None else scheduler.process_walked(self.process)
        denoiser = make_denoiser(self.unet, process, inputs, watch)
        if guide is not None:
            denoiser = guide.wrap(denoiser)
        if scheduler is not None and scheduler.clip_sample:
            denoiser = ClippedDenoiser(denoiser)
        return denoiser if guide is None else guide.correct(denoiser)

    def forward(
        self,
        inputs: Any,
        data_samples: DataSamples | None = None,
        mode: str | None = None,
    ) -> Any:
        """MMEngine's entry point.

        Args:
            inputs: For ``mode='tensor'``, the network's arguments by name; for 'loss', images to
                train on, (N, C, H, W) in [-1, 1], or their latents. Else a request for samples:
                either ``seed`` and ``label``, a list each, and optionally ``index``; or MMagic's
                ``num_batches``, ``noise`` and ``sample_kwargs``.
            data_samples: One for each sample, to be filled; made where there are none. For
                'loss', their ``gt_label`` is what the network is conditioned on.
            mode: 'tensor' for the network's output, 'loss' for what training minimises, 'predict'
                or None for samples.
        """
        if mode == 'tensor':
            return self.unet(**inputs)
        if mode == 'loss':
            latents = self.codec.latents_of(inputs)
            return self.loss(self.unet, latents, self._training_inputs(data_samples))
        if mode not in (None, 'predict'):
            raise ValueError(f"mode is 'tensor', 'loss' or 'predict', not {mode!r}")
        result = self.infer(**infer_arguments(inputs))
        return as_data_samples(result, inputs, data_samples, 'bgr' if self.rgb2bgr else 'rgb')

    def _training_inputs(self, data_samples: DataSamples | None) -> dict[str, Tensor]:
        """What the network is given in training besides the noisy image and its timestep."""
        if self.unet.num_classes is None:
            return {}
        labels = labels_of(data_samples)
        if labels is None:
            raise ValueError(
                'training a class-conditional network needs data samples with gt_label'
            )
        return dict(labels=labels.to(self.device))

    def _inputs(self, batch: SampleBatch, more: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the network is given besides the noisy image and its timestep."""
        inputs = {
            name: rows.to(self.device).expand(len(batch), *rows.shape[1:])
            for name, rows in more.items()
        }
        if self.redraw_labels:
            inputs['labels'] = torch.zeros(len(batch), dtype=torch.long, device=self.device)
        elif self.unet.num_classes is not None and batch.labels is not None:
            inputs['labels'] = batch.labels
        return inputs

    def _make_batch(self, seeds: Seeds, labels: Labels, count: int) -> SampleBatch:
        if labels is not None:
            if self.num_classes is None:
                raise ValueError(
                    'labels were given, but this model has no classes: its network is '
                    'unconditional and nothing guides it, or it redraws its labels'
                )
            check_labels(labels, self.num_classes)
        return make_batch(resolve_seeds(seeds, count), labels, self.num_classes, self.device)

    def _bind_guidance(self, batch: SampleBatch, scale: Scale | None, path: Path) -> Guide | None:
        if self.guidance is not None:
            return self.guidance.bind(path, batch.labels, scale, self.device)
        if scale is not None and as_scales(scale).any():
            raise ValueError(
                f'a guidance scale of {scale} was given, but this model has neither classifier nor '
                "guidance; give one, such as guidance='cfg', or a scale of 0"
            )
        return None

    def _method(
        self, spec: MethodSpec | None, measurement: Measurement | None, scheduler: Scheduler
    ) -> Restoration | None:
        """How to restore, if anything is; refuses what cannot be, before the first step."""
        spec = self.restoration if spec is None else spec
        if measurement is None:
            return None
        if spec is None:
            raise ValueError(
                'a measurement was given and no method: choose one, such as restoration="mmps"'
            )
        method = build_method(spec)
        measurement.check(self.sample_shape)
        self.check_method(method, scheduler)
        if not isinstance(self.codec, PixelCodec):
            seen = DecodedOperator(measurement.operator, self.codec)
            measurement = Measurement(measurement.y, seen)
        return method.on(measurement)

    def check_method(self, method: Restoration, scheduler: Any) -> None:
        """Refuses a method beside a scheduler or guidance that it is not defined for."""
        method.check_fits(self.unet, scheduler)
        if self.guidance is not None:
            SumGuidance([self.guidance, method])

    def _start(
        self,
        noise: Tensor | None,
        images: Tensor | None,
        batch: SampleBatch,
        scheduler: Scheduler,
        skip: int,
    ) -> Tensor:
        """What the walk starts from, in the form that its scheduler takes."""
        shape = (len(batch), *self.latent_shape)
        if noise is None:
            noise = randn_samples(shape, batch.generators, device=self.device)
        else:
            noise = checked_noise(noise, shape).to(self.device)
        if images is None:
            return scheduler.init_noise(noise)
        images = checked_images(images, self.sample_shape).to(self.device)
        images = images.expand(len(batch), *self.sample_shape)
        draw = functools.partial(randn_like_samples, generator=batch.generators)
        return scheduler.noised(self.codec.encode(images, draw), noise, skip)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what is diffused."""
        return self.unet.in_channels, self.unet.image_size, self.unet.image_size

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample, which is an image."""
        return self.codec.image_shape(self.latent_shape)

    def _finish(self, sample: Tensor) -> Tensor:
        sample = self.codec.decode(sample.float()).clamp(-1, 1)
        return sample.flip(1) if self.rgb2bgr else sample

    def start_of(self, seeds: Sequence[int], labels: Labels = None) -> tuple[SampleBatch, Tensor]:
        """What these seeds' samples start from: their labels, drawn where not given, and noise."""
        batch = self._make_batch(seeds, labels, len(seeds))
        shape = (len(batch), *self.latent_shape)
        return batch, randn_samples(shape, batch.generators, device=self.device)

    def make_scheduler(
        self, changes: dict | Scheduler | None = None, steps: int | str | None = None
    ) -> Scheduler:
        """A scheduler for one walk: the model's, or another for the process it was trained on.

        Args:
            changes: See ``scheduler_kwargs`` of :meth:`infer`.
            steps: The steps that it will take; None takes the config's.
        """
        if changes is None or isinstance(changes, Scheduler):
            scheduler = copy.copy(changes or self.diffusion_scheduler)
        else:
            own = self.diffusion_scheduler.full_process
            scheduler = build_scheduler(changes, self._scheduler_config, own)
            self._check_parts(scheduler)
        scheduler.set_timesteps(self.num_inference_steps if steps is None else steps)
        return scheduler

    def _check_parts(self, scheduler: Any) -> None:
        if scheduler.clip_sample and not isinstance(self.codec, PixelCodec):
            raise ValueError(
                f'{type(scheduler).__name__} clips what it predicts to [-1, 1], and latents go '
                'beyond: clip_sample=False'
            )
        if self.guidance is not None:
            self.guidance.check_fits(self.unet, scheduler)
            check_sizes(self.guidance, self.unet, self.codec)
        if self.restoration is not None:
            self.check_method(self.restoration, scheduler)
        if not self.redraw_labels:
            return
        if self.unet.num_classes is None:
            raise ValueError(
                f'redraw_labels=True is for a conditional network, and this '
                f'{type(self.unet).__name__} has no classes'
            )
        if self.guidance is not None and self.guidance.num_classes is not None:
            raise ValueError(
                f'redraw_labels=True samples no class in particular, and '
                f'{type(self.guidance).__name__} is towards one: leave either out'
            )

    def _load_part(self, name: str, source: dict) -> None:
        network: Any = self
        for part in name.split('.'):
            network = getattr(network, part, None)
        if not isinstance(network, nn.Module):
            raise ValueError(f"pretrained_cfgs names '{name}', which this model does not have")
        # MMagic's own keys. Weights go where the network is, and they are all loaded or none.
        source.pop('map_location', None)
        if not source.pop('strict', True):
            raise ValueError(
                f"pretrained_cfgs of '{name}' has strict=False; name what to leave as it is with "
                "ignore=['label_emb'] instead"
            )
        load_network(network, source.pop('ckpt_path'), **source)
