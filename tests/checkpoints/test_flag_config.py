import inspect

import pytest

from mmagic_adm.checkpoints import config_from_flags, find, flags
from mmagic_adm.checkpoints.parts import shapes_of
from mmagic_adm.checkpoints.zoo import build_without_weights, zoo_entries
from mmagic_adm.registry import MODELS
from tests.reference import built, golden_names, load_manifest

# ADM's scripts know no flag of consistency models.
MANIFESTS = [
    name
    for name in golden_names('checkpoints')
    if 'flags' in load_manifest(name) and not name.startswith('consistency')
]


@pytest.mark.parametrize('name', built(MANIFESTS))
def test_the_flags_of_a_released_file_build_exactly_its_network(name):
    manifest = load_manifest(name)
    project = manifest.get('code', '').removeprefix('openai/').partition(',')[0]
    given = manifest['flags']
    if 'large_size' in manifest.get('in_force', {}):  # which the script's name said
        given += ' --large_size 256'
    config = config_from_flags(given, project or None)
    for name, value in manifest.get('in_force', {}).items():
        if name in ('rescale_timesteps', 'rescale_learned_sigmas'):
            where = config['diffusion']
            held = where['loss_type'].startswith('rescaled') if 'sigmas' in name else where[name]
            assert held == value, name
    assert ('classifier' in config, 'unet' in config) == (
        (True, False) if manifest['kind'] == 'classifier' else (False, True)
    )
    network = build_without_weights(config.get('unet') or config['classifier'])
    shapes = {key: tuple(shape) for key, shape in manifest['state_dict_shapes'].items()}
    assert shapes_of(network.state_dict()) == shapes
    assert sum(p.numel() for p in network.parameters()) == manifest['num_parameters']


def _complete(config):
    """A config with the constructor's defaults filled in, comparable with another's."""
    parameters = inspect.signature(MODELS.get(config['type'])).parameters.values()
    complete = {p.name: p.default for p in parameters} | config
    if complete['num_head_channels'] != -1:
        complete.pop('num_heads')
    if complete['resblock_updown']:
        complete.pop('conv_resample')
    network = build_without_weights(config)
    complete['channel_mult'] = tuple(width / config['model_channels'] for width in network.widths)
    return complete


@pytest.mark.parametrize('name', built(entry.name for entry in zoo_entries() if entry.flags))
def test_flags_and_config_of_the_zoo_agree_on_what_shapes_do_not_tell(name):
    entry = find(name)
    ((kind, config),) = entry.network_configs().items()
    from_flags = config_from_flags(entry.flags, entry.project)
    assert _complete(from_flags[kind]) == _complete(config)


def test_what_is_absent_has_the_originals_default():
    config = config_from_flags('')
    assert config['unet'] == dict(
        type='ADMUNet',
        image_size=64,
        in_channels=3,
        model_channels=128,
        out_channels=3,
        num_res_blocks=2,
        attention_resolutions=(16, 8),
        channel_mult=(1, 2, 3, 4),
        num_classes=None,
        dropout=0.0,
        num_heads=4,
        num_head_channels=-1,
        num_heads_upsample=-1,
        use_scale_shift_norm=True,
        resblock_updown=False,
        use_new_attention_order=False,
        use_checkpoint=False,
    )
    assert config['diffusion_scheduler'] == dict(
        type='DDPMScheduler',
        num_train_timesteps=1000,
        beta_schedule='linear',
        prediction_type='epsilon',
        variance_type='fixed_large',
        clip_sample=True,
        rescale_timesteps=False,
    )
    assert config['sampling'] == dict(num_inference_steps='1000')
    assert config['use_fp16'] is False
    assert not {'classifier', 'classifier_scale', 'pretrained_cfgs', 'training'} & config.keys()


def test_guided_sampling_as_the_readme_has_it():
    config = config_from_flags(
        '--class_cond True --image_size 128 --learn_sigma True --num_channels 256 --use_fp16 True '
        '--classifier_attention_resolutions 32,16,8 --classifier_depth 4 --classifier_width 96 '
        '--classifier_pool spatial --classifier_scale 1.5 --classifier_use_fp16 True '
        '--batch_size 4 --num_samples 50000 --timestep_respacing ddim25 --use_ddim True '
        '--model_path unet.pt --classifier_path classifier.pt --clip_denoised False'
    )
    assert config['unet']['num_classes'] == 1000
    assert config['unet']['out_channels'] == 6
    assert config['classifier'] == dict(
        type='ADMClassifier',
        image_size=128,
        in_channels=3,
        model_channels=96,
        out_channels=1000,
        num_res_blocks=4,
        attention_resolutions=(32, 16, 8),
        channel_mult=(1, 1, 2, 3, 4),
        num_head_channels=64,
        use_scale_shift_norm=True,
        resblock_updown=True,
        pool='spatial',
    )
    assert config['classifier_scale'] == 1.5
    assert config['use_fp16'] is True
    assert config['diffusion_scheduler']['type'] == 'DDIMScheduler'
    assert config['diffusion_scheduler']['variance_type'] == 'learned_range'
    assert config['diffusion_scheduler']['clip_sample'] is False
    assert config['pretrained_cfgs'] == dict(
        unet=dict(ckpt_path='unet.pt'), classifier=dict(ckpt_path='classifier.pt')
    )
    assert config['sampling'] == dict(
        num_inference_steps='ddim25', batch_size=4, num_samples=50000, classifier_use_fp16=True
    )


def test_a_classifiers_path_is_enough_to_mean_one():
    config = config_from_flags('--num_channels 256 --classifier_path c.pt --image_size 256')
    assert config['classifier']['image_size'] == 256
    assert config['classifier_scale'] == 1.0


def test_training_a_classifier_needs_no_unet():
    config = config_from_flags(
        '--iterations 300000 --anneal_lr True --batch_size 256 --lr 3e-4 --save_interval 10000 '
        '--weight_decay 0.05 --image_size 128 --classifier_width 128 --noise_schedule cosine'
    )
    assert 'unet' not in config
    assert config['training'] == dict(
        iterations=300000,
        anneal_lr=True,
        batch_size=256,
        lr=3e-4,
        save_interval=10000,
        weight_decay=0.05,
    )
    assert config['diffusion']['beta_schedule'] == 'cosine'
    assert 'sampling' not in config


def test_an_upsampler_is_one_by_its_sizes():
    config = config_from_flags(
        '--large_size 512 --small_size 128 --attention_resolutions 32,16 --base_samples 128.npz'
    )
    assert config['unet']['type'] == 'ADMSuperResolutionUNet'
    assert config['unet']['image_size'] == 512
    # Unlike the base network's of that size.
    assert config['unet']['channel_mult'] == (1, 1, 2, 2, 4, 4)
    assert config['sampling'] == dict(
        num_inference_steps='1000', small_size=128, base_samples='128.npz'
    )
    assert config_from_flags('--base_samples 64.npz')['unet']['image_size'] == 256


@pytest.mark.parametrize(
    ('flags', 'loss'),
    [
        ('', 'mse'),
        ('--rescale_learned_sigmas True', 'rescaled_mse'),
        ('--use_kl True', 'rescaled_kl'),
        ('--use_kl True --rescale_learned_sigmas True', 'rescaled_kl'),
    ],
)
def test_the_training_loss_is_the_originals(flags, loss):
    assert config_from_flags(flags)['diffusion']['loss_type'] == loss


def test_the_process_follows_its_flags():
    config = config_from_flags(
        '--diffusion_steps 4000 --noise_schedule cosine --predict_xstart True '
        '--rescale_timesteps True --timestep_respacing 10,15,20'
    )
    assert config['diffusion'] == dict(
        num_train_timesteps=4000,
        beta_schedule='cosine',
        prediction_type='start_x',
        variance_type='fixed_large',
        loss_type='mse',
        rescale_timesteps=True,
        respacing='10,15,20',
    )
    assert config['diffusion_scheduler']['prediction_type'] == 'start_x'
    assert config['sampling']['num_inference_steps'] == '10,15,20'


def test_attention_that_the_original_passes_over_is_passed_over_aloud(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.checkpoints.flag_config.print_log', lambda text, **_: said.append(text)
    )
    config = config_from_flags('--large_size 512 --small_size 128 --attention_resolutions 32,16,8')
    assert config['unet']['attention_resolutions'] == (32, 16)
    assert len(said) == 1
    assert 'no feature map of 8 pixels' in said[0]
    build_without_weights(config['unet'])


def test_attention_sizes_are_the_originals_division():
    # 64 // 24 = 2: the level of 32 pixels.
    config = config_from_flags('--image_size 64 --attention_resolutions 24')
    assert config['unet']['attention_resolutions'] == (32,)


@pytest.mark.parametrize(
    ('flags', 'complaint'),
    [
        (
            '--image_size 48',
            '--image_size 48: it is one of 32, 64, 128, 256, 512 or give --channel_mult',
        ),
        ('--large_size 128', '--large_size 128: it is one of 64, 256, 512'),
        ('--image_size 48 --classifier_depth 2', '--image_size 48: it is one of 32, 64'),
        ('--large_size 256 --channel_mult 1,2', '--channel_mult: the original scripts of an up'),
        ('--large_size 256 --classifier_scale 1', '--classifier_scale: the original scripts of'),
    ],
)
def test_what_does_not_go_together_is_named(flags, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_from_flags(flags)


def test_other_image_sizes_work_with_multipliers_of_ones_own():
    config = config_from_flags('--image_size 32 --channel_mult 1,2,2 --num_channels 64')
    network = build_without_weights(config['unet'])
    assert network.sizes == [32, 16, 8]


def test_whose_defaults_hold_is_told_or_said(monkeypatch):
    said = []
    monkeypatch.setattr(flags, 'print_log', lambda text, **_: said.append(text))
    four = '--image_size 32 --diffusion_steps 4000'
    told = config_from_flags(four, 'improved-diffusion')
    assert (told['diffusion']['rescale_timesteps'], said) == (True, [])
    assert told['unet']['channel_mult'] == (1, 2, 2, 2)
    # A flag that one project alone has tells whose they are.
    assert config_from_flags(f'{four} --sigma_small True')['diffusion'] == {
        **told['diffusion'],
        'variance_type': 'fixed_small',
    }
    config_from_flags(f'{four} --resblock_updown True')
    assert not said
    assert not config_from_flags(four)['diffusion']['rescale_timesteps']
    assert 'another rescale_learned_sigmas and rescale_timesteps' in said[0]
    with pytest.raises(ValueError, match='--sigma_small is no flag of guided-diffusion'):
        config_from_flags('--sigma_small True', 'guided-diffusion')
