"""MMagic's own names for what is here, so that its guided-diffusion configs build as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmagic.structures import DataSample
from torch import Tensor, nn

from mmagic_adm.compat.mmagic_schedulers import EditDDIMScheduler, EditDDPMScheduler
from mmagic_adm.guidance.base import Scale
from mmagic_adm.models import AblatedDiffusionModel as Model
from mmagic_adm.models.batch import Labels
from mmagic_adm.models.runner_data import DiffusionDataPreprocessor
from mmagic_adm.networks import CHANNEL_MULT, ADMClassifier, ADMUNet
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS, build_part
from mmagic_adm.schedulers import Scheduler


@MODELS.register_module(name=['ADM', 'GuidedDiffusion'])
class AblatedDiffusionModel(Model):
    """The model with the arguments of MMagic's, in its order and with its defaults.

    What ours takes besides is given by name. A scheduler of MMagic's that ``scheduler_kwargs``
    names walks its own process: it takes nothing from the model's.
    """

    def __init__(
        self,
        data_preprocessor: dict | nn.Module | None,
        unet: dict | nn.Module,
        diffusion_scheduler: dict | Any,
        use_fp16: bool = False,
        classifier: dict | nn.Module | None = None,
        classifier_scale: float | None = None,
        rgb2bgr: bool = False,
        pretrained_cfgs: dict | None = None,
        **ours: Any,
    ) -> None:
        super().__init__(
            unet,
            diffusion_scheduler,
            data_preprocessor=data_preprocessor,
            use_fp16=use_fp16,
            classifier=classifier,
            classifier_scale=classifier_scale,
            rgb2bgr=rgb2bgr,
            pretrained_cfgs=pretrained_cfgs,
            **ours,
        )

    def infer(  # type: ignore[override]
        self,
        scheduler_kwargs: dict | Scheduler | None = None,
        init_image: Tensor | None = None,
        batch_size: int = 1,
        num_inference_steps: int | str | None = None,
        labels: Labels = None,
        classifier_scale: Scale | None = 0.0,
        show_progress: bool = False,
        **ours: Any,
    ) -> dict[str, Any]:
        """Samples images, guided only if ``classifier_scale`` says so; None is the config's.

        As in MMagic, a scale is not looked at where there is nothing to guide with.
        """
        return super().infer(
            init_image=init_image,
            batch_size=batch_size,
            num_inference_steps=num_inference_steps,
            labels=labels,
            classifier_scale=None if self.guidance is None else classifier_scale,
            scheduler_kwargs=scheduler_kwargs,
            show_progress=show_progress,
            **ours,
        )

    def forward(
        self,
        inputs: Any,
        data_samples: Sequence[DataSample] | DataSample | None = None,
        mode: str | None = None,
    ) -> Any:
        """MMEngine's entry point: a runner's samples are guided by the config's scale."""
        if mode in (None, 'predict'):
            told = {'classifier_scale': None, **(inputs.get('sample_kwargs') or {})}
            inputs = {**inputs, 'sample_kwargs': told}
        return super().forward(inputs, data_samples, mode)

    def make_scheduler(
        self, changes: dict | Scheduler | None = None, steps: int | str | None = None
    ) -> Scheduler:
        """A scheduler for one walk; one of MMagic's, by its name, is made as it says."""
        if isinstance(changes, dict) and changes.get('type') in MMAGIC_SCHEDULERS:
            changes = build_part(DIFFUSION_SCHEDULERS, changes)
        return super().make_scheduler(changes, steps)


@MODELS.register_module()
class DenoisingUnet(ADMUNet):
    """An :class:`ADMUNet` from the arguments of MMagic's U-Net, where the two are the same network.

    0 is no classes, ``channels_cfg`` may be a table by image size, ``output_cfg`` says by its
    ``var`` whether the variance is learned, and ``attention_cfg`` comes before ``num_heads``. What
    ADM leaves at MMagic's default is in ``fixed``, and refused with another value.
    """

    def __init__(
        self,
        image_size: int | Sequence[int],
        in_channels: int = 3,
        out_channels: int | None = None,
        base_channels: int = 128,
        resblocks_per_downsample: int = 3,
        *,
        dropout: float = 0.0,
        num_classes: int = 0,
        use_fp16: bool = False,
        channels_cfg: Sequence[float] | Mapping[int, Sequence[float]] | None = None,
        output_cfg: Mapping[str, str] | None = None,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        num_heads: int = 4,
        attention_cfg: Mapping[str, Any] | None = None,
        downsample_conv: bool = True,
        attention_res: int | Sequence[int] = (16, 8),
        **fixed: Any,
    ) -> None:
        _check_fixed('DenoisingUnet', fixed, _FIXED_UNET)
        size = image_size if isinstance(image_size, int) else image_size[0]
        attention = dict(attention_cfg or {})
        attention_type = attention.pop('type', None)
        if attention_type != 'MultiHeadAttentionBlock':
            raise ValueError(
                f'DenoisingUnet with attention of type {attention_type!r} is not an ADM network; '
                "its attention_cfg is of type 'MultiHeadAttentionBlock'"
            )
        attention.pop('norm_cfg', None)
        if isinstance(channels_cfg, Mapping) or channels_cfg is None:
            channels_cfg = (channels_cfg or CHANNEL_MULT).get(size)
        if out_channels is None:
            learned = 'FIXED' not in (output_cfg or {}).get('var', 'learned_range').upper()
            out_channels = 2 * in_channels if learned else in_channels
        super().__init__(
            image_size=size,
            in_channels=in_channels,
            model_channels=base_channels,
            out_channels=out_channels,
            num_res_blocks=resblocks_per_downsample,
            attention_resolutions=(
                [attention_res] if isinstance(attention_res, int) else attention_res
            ),
            channel_mult=channels_cfg,
            num_classes=num_classes or None,
            dropout=dropout,
            use_scale_shift_norm=use_scale_shift_norm,
            resblock_updown=resblock_updown,
            conv_resample=downsample_conv,
            **{'num_heads': num_heads, **attention},
        )
        if use_fp16:
            self.half()

    def forward(  # type: ignore[override]
        self,
        x_t: Tensor,
        t: Tensor | int,
        labels: Tensor | None = None,
        *,
        label: Tensor | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Predicts from noisy images.

        Args:
            x_t: Noisy images, (N, in_channels, H, W).
            t: Their timesteps, (N,); or one for all, as MMagic's loop has it.
            labels: Class of each image, (N,), as everything here gives it.
            label: The same, as MMagic's callers give it.

        Returns:
            The output; under ``sample`` in a dict, as MMagic has it, for one timestep or ``label``.
        """
        t = torch.as_tensor(t, device=x_t.device)
        if label is None and t.ndim == 1:
            return super().forward(x_t, t, labels)
        return {'sample': super().forward(x_t, t.reshape(-1), labels if label is None else label)}


@MODELS.register_module(name='EncoderUNetModel')
def EncoderUNetModel(
    image_size: int,
    attention_resolutions: Sequence[int],
    use_fp16: bool = False,
    dims: int = 2,
    num_heads_upsample: int = -1,
    **arguments: Any,
) -> ADMClassifier:
    """An :class:`ADMClassifier` with the defaults of MMagic's classifier.

    Its ``attention_resolutions`` say by how much the image is shrunk where the network attends.
    """
    given = dict(dims=dims, num_heads_upsample=num_heads_upsample)
    _check_fixed('EncoderUNetModel', given, _FIXED_CLASSIFIER)
    attended = [image_size // factor for factor in attention_resolutions]
    arguments = {**_CLASSIFIER_DEFAULTS, **arguments}
    network = ADMClassifier(image_size, attention_resolutions=attended, **arguments)
    return network.half() if use_fp16 else network


@MODELS.register_module(name='DataPreprocessor')
def DataPreprocessor(
    mean: float = 127.5, std: float = 127.5, **fixed: Any
) -> DiffusionDataPreprocessor:
    """Our preprocessor, where MMagic's is set up to do the same."""
    _check_fixed('DataPreprocessor', dict(mean=mean, std=std, **fixed), _FIXED_PREPROCESSOR)
    return DiffusionDataPreprocessor()


MMAGIC_SCHEDULERS = (EditDDIMScheduler.__name__, EditDDPMScheduler.__name__)
_FIXED_UNET: dict[str, Any] = dict(
    num_timesteps=1000,
    use_rescale_timesteps=False,
    embedding_channels=-1,
    norm_cfg=(dict(type='GN32', num_groups=32), dict(type='GN', num_groups=32)),
    act_cfg=(dict(type='SiLU', inplace=False), dict(type='SiLU')),
    shortcut_kernel_size=1,
    time_embedding_mode='sin',
    time_embedding_cfg=None,
    resblock_cfg=dict(type='DenoisingResBlock'),
    encoder_channels=None,
    upsample_conv=True,
    downsample_cfg=dict(type='DenoisingDownsample'),
    upsample_cfg=dict(type='DenoisingUpsample'),
    pretrained=None,
    unet_type='',
)
_CLASSIFIER_DEFAULTS: dict[str, Any] = dict(
    channel_mult=(1, 2, 4, 8),
    num_head_channels=-1,
    use_scale_shift_norm=False,
    resblock_updown=False,
    pool='adaptive',
)
_FIXED_CLASSIFIER: dict[str, Any] = dict(dims=2, num_heads_upsample=-1)
_FIXED_PREPROCESSOR: dict[str, Any] = dict(
    mean=127.5,
    std=127.5,
    pad_size_divisor=1,
    pad_value=0,
    pad_mode='constant',
    non_image_keys=None,
    non_concentate_keys=None,
    output_channel_order=None,
    data_keys='gt_img',
    input_view=None,
    output_view=None,
    stack_data_sample=True,
)


def _check_fixed(name: str, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuses a value other than the one (or ones, in a tuple) that makes the parts the same."""
    for key, value in given.items():
        if key not in fixed:
            raise TypeError(f'{name} has no argument {key!r}')
        allowed = fixed[key] if isinstance(fixed[key], tuple) else (fixed[key],)
        if value not in allowed:
            raise ValueError(
                f'{name}({key}={value!r}) has no counterpart here; ADM has {key}={allowed[0]!r}'
            )
