"""Networks of ours in the diffusers library, which loads and runs them by itself; and back."""

import json

import diffusers
import pytest
import torch

from mmagic_adm.checkpoints import CheckpointError, config_from_checkpoint, find, read_checkpoint
from mmagic_adm.checkpoints.diffusers_folder import write_pipeline
from mmagic_adm.checkpoints.diffusers_schedulers import (
    from_diffusers_scheduler,
    to_diffusers_scheduler,
)
from mmagic_adm.checkpoints.diffusers_unet import to_unet_2d
from mmagic_adm.checkpoints.sampling_models import sampling_model
from mmagic_adm.checkpoints.zoo import build_without_weights
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS
from tests.checkpoints.conftest import assert_same_tensors
from tests.reference import fill_by_name
from tests.tiny import UNET, as_pixels
from tests.toolbox import newer_diffusers

IMPROVED = dict(
    resblock_updown=False,
    num_heads=4,
    num_head_channels=-1,
    attention_resolutions=(),
    use_scale_shift_norm=False,
)
CASES = {
    'conditional': (dict(), dict(type='DDPMScheduler')),
    'unconditional': (
        dict(num_classes=None, num_head_channels=16, use_new_attention_order=True),
        dict(type='DDPMScheduler', beta_schedule='cosine', rescale_timesteps=True),
    ),
    'improved': (
        dict(IMPROVED, num_classes=None),
        dict(type='DDPMScheduler', num_train_timesteps=4000, rescale_timesteps=True),
    ),
    'dropped labels': (dict(class_dropout_prob=0.1), dict(type='DDIMScheduler')),
}
LABELS = torch.tensor([3, 5])


def slow(*values):
    """Values for the slow tests."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def parts_of(unet, scheduler, around=None):
    parts = dict(unet={**UNET, **unet}, diffusion_scheduler=scheduler)
    return parts if around is None else parts | dict(preconditioning=around)


def written(folder, parts):
    """A pipeline of diffusers', and our model, of the same weights."""
    model = MODELS.build(sampling_model(parts)).eval()
    fill_by_name(model.unet)
    write_pipeline(folder, parts, model.unet.state_dict())
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, model


@pytest.mark.parametrize(
    'case', ['conditional', 'improved', *slow('unconditional', 'dropped labels')]
)
def test_a_network_goes_there_and_back(tmp_path, case):
    parts = parts_of(*CASES[case])
    pipeline, model = written(tmp_path / 'out', parts)
    scale = 0.25 if case == 'improved' else 1.0
    x, t = as_pixels(2), torch.tensor([3, 700])
    labelled = parts['unet']['num_classes'] is not None
    theirs, ours = (dict(class_labels=LABELS), dict(labels=LABELS)) if labelled else ({}, {})
    with torch.no_grad():
        out = pipeline.unet(x, t, **theirs).sample
        torch.testing.assert_close(out, model.unet(x, t * scale, **ours), atol=1e-5, rtol=1e-5)

    checkpoint = read_checkpoint(tmp_path / 'out')
    assert checkpoint.layout == 'diffusers'
    assert_same_tensors(checkpoint.state_dict, dict(model.unet.state_dict()))
    found = config_from_checkpoint(tmp_path / 'out').config
    for part in ('unet', 'diffusion_scheduler'):
        for name, value in parts[part].items():
            # Told of 1000 timesteps, scaled ones are what they are.
            if (case, name) not in {('unconditional', 'rescale_timesteps')}:
                assert found[part][name] == value, name


@newer_diffusers
@pytest.mark.parametrize('labelled', [True, *slow(False)])
def test_stock_samples_equal_ours(tmp_path, labelled):
    unet = dict() if labelled else dict(num_classes=None)
    parts = parts_of(unet, dict(type='DDIMScheduler', beta_schedule='cosine'))
    pipeline, model = written(tmp_path / 'out', parts)
    noise = as_pixels(2)
    theirs = pipeline(
        batch_size=2,
        latents=noise,
        class_labels=LABELS if labelled else None,
        timesteps=list(range(900, -1, -100)),
        output_type='pt',
    ).images
    ours = model.infer(noise, labels=LABELS if labelled else None, num_inference_steps='ddim10')
    torch.testing.assert_close(theirs * 2 - 1, ours['samples'], atol=1e-4, rtol=0)


def test_a_step_with_learned_variance_equals_ours(tmp_path):
    pipeline, _ = written(tmp_path / 'out', parts_of(*CASES['conditional']))
    assert isinstance(pipeline.scheduler, diffusers.DDPMScheduler)
    output, x = torch.cat([as_pixels(2, 1), as_pixels(2, 2)], dim=1), as_pixels(2, 3)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    pipeline.scheduler.set_timesteps(10)
    theirs = pipeline.scheduler.step(output, 500, x, torch.Generator().manual_seed(4)).prev_sample
    ours = DIFFUSION_SCHEDULERS.build(dict(type='DDPMScheduler', _scope_='mmagic_adm'))
    ours.set_timesteps('ddim10')
    expected = ours.step(output, 500, x, noise=noise).prev_sample
    torch.testing.assert_close(theirs, expected, atol=1e-5, rtol=1e-5)


def test_consistency_models_sample_in_one_step_and_know_their_levels(tmp_path):
    around = dict(type='EDMPrecond', sigma_min=0.002, c_noise=250.0)
    scheduler = dict(type='ConsistencyScheduler', num_scales=40)
    pipeline, model = written(tmp_path / 'out', parts_of(dict(out_channels=3), scheduler, around))
    noise = as_pixels(2)
    theirs = pipeline(2, LABELS, latents=noise, output_type='pt').images
    ours = model.infer(noise, labels=LABELS, num_inference_steps=1)['samples']
    torch.testing.assert_close(theirs * 2 - 1, ours, atol=1e-4, rtol=0)
    pipeline.scheduler.set_timesteps(timesteps=[22, 0])
    model.diffusion_scheduler.set_timesteps('0,22,39')
    levels = [level.sigma for level in model.diffusion_scheduler.levels]
    assert pipeline.scheduler.sigmas.tolist()[:2] == pytest.approx(levels)
    found = config_from_checkpoint(tmp_path / 'out').config
    assert found['diffusion_scheduler']['num_scales'] == 40
    assert (found['preconditioning']['sigma_min'], found['preconditioning']['c_noise']) == (
        0.002,
        250.0,
    )


@pytest.mark.slow
def test_edms_network_is_stepped_by_euler_there(tmp_path):
    parts = parts_of(
        dict(out_channels=3),
        dict(type='EDMHeunScheduler', solver='euler'),
        dict(type='EDMPrecond'),
    )
    pipeline, model = written(tmp_path / 'out', parts)
    noise = as_pixels(2)
    # Theirs starts from the noise of a process that has an image in it.
    start = noise * 80 / pipeline.scheduler.init_noise_sigma
    theirs = pipeline(2, LABELS, 6, latents=start, output_type='pt').images
    ours = model.infer(noise, labels=LABELS, num_inference_steps=6)['samples']
    torch.testing.assert_close(theirs * 2 - 1, ours, atol=1e-4, rtol=0)


SHAPES = [
    'cifar10_uncond_50M_500K',
    '64x64_diffusion',
    '256x256_diffusion',
    'lsun_bedroom',
    'lsun_uncond_100M_1200K_bs128',
    'cd_imagenet64_lpips',
    'cd_bedroom256_l2',
    'edm-imagenet-64x64-cond-adm',
]


@newer_diffusers
@pytest.mark.parametrize('name', ['ffhq_10m', *slow(*SHAPES)])
def test_released_networks_have_exactly_the_tensors_of_theirs(name):
    entry = find(name)
    unet, scheduler = entry.network_configs()['unet'], entry.scheduler_config()
    state = build_without_weights(unet).state_dict()
    config, tensors = to_unet_2d(unet, state, scheduler)
    with torch.device('meta'):
        network = diffusers.UNet2DModel(**config)
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    assert shapes == {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    to_diffusers_scheduler(scheduler, entry.preconditioning)


REFUSED = {
    '512x512_diffusion': 'first level has 128 channels and its embedding of time 256',
    '128x128_diffusion': 'a fixed number of heads makes its heads 128 and 192 and 256 channels',
    'imagenet64_uncond_100M_1500K': 'a fixed number of heads makes its heads 96 and 128',
    '64_256_upsampler': 'none for networks like ADMSuperResolutionUNet',
    '64x64_classifier': 'no place for a classifier',
    'edm_imagenet64_ema': 'tells a network 250.0 ln sigma and steps like EDMHeunScheduler',
}
MORE_REFUSED = [name for name in REFUSED if name not in ('64x64_classifier', '128x128_diffusion')]


@pytest.mark.parametrize('name', ['64x64_classifier', '128x128_diffusion', *slow(*MORE_REFUSED)])
def test_what_it_cannot_be_is_refused_with_the_reason(tmp_path, name):
    entry = find(name)
    parts = entry.network_configs()
    if 'unet' in parts:
        parts['diffusion_scheduler'] = entry.scheduler_config()
    if entry.preconditioning is not None:
        parts['preconditioning'] = entry.preconditioning
    with pytest.raises(CheckpointError, match=REFUSED[name]):
        write_pipeline(tmp_path / 'out', parts, {})
    assert not list(tmp_path.iterdir())


def ddim_of_diffusers(**changes):
    return dict(diffusers.DDIMScheduler(**changes).config, _class_name='DDIMScheduler')


def test_settings_of_schedulers_become_ours_or_a_solvers():
    ours, around = from_diffusers_scheduler(ddim_of_diffusers(), learns_variance=False)
    assert around is None
    assert (ours['type'], ours['beta_schedule'], ours['rederive_eps']) == (
        'DDIMScheduler',
        'linear',
        False,
    )
    betas = ddim_of_diffusers(beta_start=0.001, num_train_timesteps=10)
    ours, _ = from_diffusers_scheduler(betas, learns_variance=False)
    assert ours['beta_schedule'][0] == 0.001
    spaced = ddim_of_diffusers(timestep_spacing='trailing', set_alpha_to_one=False)
    ours, _ = from_diffusers_scheduler(spaced, learns_variance=False)
    solver = DIFFUSION_SCHEDULERS.build(dict(ours, _scope_='mmagic_adm'))
    assert solver.solver.config.timestep_spacing == 'trailing'
    assert solver.solver.config.set_alpha_to_one is False
    euler = dict(diffusers.EulerDiscreteScheduler().config)
    euler = dict(euler, _class_name='EulerDiscreteScheduler', sigma_min=None, sigma_max=None)
    unclipped, _ = from_diffusers_scheduler(euler, learns_variance=False)
    assert (unclipped['type_'], unclipped['clip_sample']) == ('EulerDiscreteScheduler', False)
    # And there again.
    assert (
        to_diffusers_scheduler(ours, None).items()
        >= {
            '_class_name': 'DDIMScheduler',
            'timestep_spacing': 'trailing',
            'set_alpha_to_one': False,
        }.items()
    )


@pytest.mark.parametrize(
    ('config', 'complaint'),
    [
        (dict(_class_name='FlowMatchEulerDiscreteScheduler'), 'no counterpart here'),
        (ddim_of_diffusers(prediction_type='v_prediction'), "predictions of kind 'v_prediction'"),
        (ddim_of_diffusers(thresholding=True), 'DDIMScheduler with thresholding=True'),
        (ddim_of_diffusers(rescale_betas_zero_snr=True), 'with rescale_betas_zero_snr=True'),
        (ddim_of_diffusers(clip_sample_range=2.0), 'DDIMScheduler with clip_sample_range=2.0'),
        (dict(_class_name='CMStochasticIterativeScheduler', s_noise=1.1), 's_noise=1.1'),
    ],
)
def test_a_scheduler_without_a_counterpart_is_named(config, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_diffusers_scheduler(config, learns_variance=False)


def test_folders_without_what_is_needed_say_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match='has no weights in it: there is no safetensors'):
        read_checkpoint(tmp_path)
    (tmp_path / 'unet').mkdir()
    weights = tmp_path / 'unet' / 'diffusion_pytorch_model.bin'
    weights.write_bytes(b'pickle')
    with pytest.raises(CheckpointError, match=r'in a pickle alone .*safe_serialization=True'):
        read_checkpoint(tmp_path)
    (tmp_path / 'unet' / 'model-00001-of-00002.safetensors').touch()
    with pytest.raises(CheckpointError, match='weights in 1 files: join them'):
        read_checkpoint(tmp_path)


def test_other_networks_are_told_apart_by_what_their_config_says(tmp_path):
    folder = tmp_path / 'out'
    written(folder, parts_of(*CASES['conditional']))
    file = folder / 'unet' / 'config.json'
    config = json.loads(file.read_text())
    for change, complaint in (
        (dict(flip_sin_to_cos=False), 'flip_sin_to_cos is False, where one has True'),
        (dict(layers_per_block=10**9), 'more blocks than there are tensors'),
        (dict(sample_size=[8, 16]), 'is no ADM U-Net'),
        (dict(layers_per_block=2), 'its weights and its config do not agree on'),
        (dict(_class_name='UNet1DModel'), 'is of a UNet1DModel; of diffusers, UNet2DModel'),
    ):
        file.write_text(json.dumps({**config, **change}))
        with pytest.raises(CheckpointError, match=complaint):
            read_checkpoint(folder)
