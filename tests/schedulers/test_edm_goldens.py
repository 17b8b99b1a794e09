"""EDM's sampler on EDM's network, step by step."""

import pytest
import torch

from mmagic_adm.checkpoints.edm import adm_state_dict
from mmagic_adm.denoisers import EDMPrecond, make_denoiser
from mmagic_adm.guidance import Path, SampleGuidance
from mmagic_adm.networks import ADMUNet
from mmagic_adm.schedulers.edm import EDMHeunScheduler
from tests.checkpoints.edm_files import edm_state
from tests.reference import golden_names, load_golden


def network_of(golden, name):
    network = golden.meta['network']
    unet = ADMUNet(
        image_size=network['img_resolution'],
        model_channels=network['model_channels'],
        out_channels=network['img_channels'],
        num_res_blocks=network['num_blocks'],
        attention_resolutions=network['attn_resolutions'],
        channel_mult=network['channel_mult'],
        num_classes=network['label_dim'] or None,
        num_head_channels=64,
        use_new_attention_order=True,
        min_group_channels=4,
    )
    unet.load_state_dict(adm_state_dict(edm_state(name)))
    return EDMPrecond(unet).eval()


def guidance_of(golden):
    """The off-the-shelf paper's guidance, if the case is guided, by a linear classifier."""
    settings = golden.meta['elucd']
    if settings is None:
        return None
    joint, marginal = settings['joint_temperature'], settings['uncond_temperature']

    def source(x_t, t, pred_x0):
        with torch.enable_grad():
            image = pred_x0.requires_grad_()
            logits = image.flatten(1) @ golden.weight.T
            of_label = logits.gather(1, golden.y[:, None]).squeeze(1)
            score = joint * of_label - (marginal * logits).logsumexp(dim=1)
            return torch.autograd.grad(score.sum(), image)[0]

    return SampleGuidance(source, settings['max_guidance'], settings['add_factor'])


@pytest.mark.parametrize('name', golden_names('edm'))
def test_every_step_ends_where_edms_does(name):
    golden = load_golden('edm', name)
    labels = golden.y if golden.meta['network']['label_dim'] else None
    network, guidance = network_of(golden, name), guidance_of(golden)
    scheduler = EDMHeunScheduler(**golden.meta['churn'])
    scheduler.set_timesteps(golden.meta['steps'])
    path = Path(scheduler.calls(), scheduler.full_process)
    guide = guidance and guidance.bind(path, labels=golden.y)
    inputs = {} if labels is None else dict(labels=labels)
    denoiser = make_denoiser(network, scheduler.full_process, inputs)
    with torch.no_grad():
        walk = scheduler.walk(
            denoiser, scheduler.init_noise(golden.x), guidance=guide, noises=golden.noise
        )
        samples = torch.stack([step.sample for step in walk])
    assert samples.dtype == torch.float64
    torch.testing.assert_close(samples, golden.samples, rtol=0, atol=1e-4)
