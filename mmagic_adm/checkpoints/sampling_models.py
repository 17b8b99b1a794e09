"""From the parts of a checkpoint to the config of a model that samples from it."""

from collections.abc import Mapping
from typing import Any

from mmagic_adm.registry import SCOPE

# Both of ADM's upsamplers, and improved diffusion's, enlarge by as much.
_ENLARGEMENT = 4
_STEPS = 250


def sampling_model(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a model.

    Args:
        parts: The configs of ``unet`` and ``diffusion_scheduler``; of ``preconditioning`` around a
            network that is told sigma; of the ``codec`` of latents; and of ``classifier``. As
            ``Inspection.config`` has them.

    Raises:
        ValueError: There is no U-Net, and so nothing to sample from.
    """
    if 'unet' not in parts:
        raise ValueError('it is a classifier, which guides a model, and nothing to sample from')
    unet, scheduler = parts['unet'], parts['diffusion_scheduler']
    model = dict(
        type='AblatedDiffusionModel', _scope_=SCOPE, unet=unet, diffusion_scheduler=scheduler
    )
    if 'num_train_timesteps' in scheduler:
        model['num_inference_steps'] = min(_STEPS, scheduler['num_train_timesteps'])
    if unet['type'] == 'ADMSuperResolutionUNet':
        model |= dict(
            type='AblatedUpsamplingModel', low_res_size=unet['image_size'] // _ENLARGEMENT
        )
    if 'preconditioning' in parts:
        model['unet'] = dict(parts['preconditioning'], network=unet)
    return model | {part: parts[part] for part in ('classifier', 'codec') if part in parts}
