import pytest
import torch
from mmengine import Config

from mmagic_adm.checkpoints import (
    CheckpointError,
    config_from_checkpoint,
    config_from_flags,
    load_network,
    write_checkpoint,
)
from mmagic_adm.checkpoints.inspection import AMBIGUOUS, DEFAULT, GIVEN, READ, RECORDED
from mmagic_adm.registry import MODELS
from tests.checkpoints.conftest import (
    UNET,
    assert_same_tensors,
    network_config,
    network_state,
    save_released,
)
from tests.reference import built, golden_names, load_manifest

RELEASED = [n for n in golden_names('checkpoints') if not n.startswith('edm')]


def _shapes(name, prefix=''):
    return {
        key.removeprefix(prefix): tuple(shape)
        for key, shape in load_manifest(name)['state_dict_shapes'].items()
        if key.startswith(prefix)
    }


@pytest.mark.parametrize('name', built(RELEASED))
def test_every_released_file_gives_the_config_of_its_network(tmp_path, name):
    inspection = config_from_checkpoint(save_released(name, tmp_path))
    manifest = load_manifest(name)
    networks = {k: v for k, v in inspection.config.items() if k in ('unet', 'classifier')}
    if 'flags' in manifest and 'flags_by_checkpoint' not in manifest:
        from_flags = config_from_flags(manifest['flags'])
        for part, config in networks.items():
            expected = from_flags[part]
            for field in config.keys() & expected.keys() - {'num_heads'}:
                assert config[field] == expected[field], field
        if 'unet' in networks:
            # Those of one were never published.
            scaled = name == '512x512_diffusion_uncond_finetune_008100'
            expected = from_flags['diffusion_scheduler'] | dict(rescale_timesteps=scaled)
            assert inspection.config['diffusion_scheduler'] == expected
    if 'in_force' in manifest:
        unet, scheduler = inspection.config['unet'], inspection.config['diffusion_scheduler']
        in_force = manifest['in_force']
        assert (unet['num_heads'], unet['num_head_channels']) == (in_force['num_heads'], -1)
        assert scheduler['rescale_timesteps'] == in_force['rescale_timesteps']
        assert f'--diffusion_steps {scheduler["num_train_timesteps"]} ' in manifest['flags']
        assert f'--noise_schedule {scheduler["beta_schedule"]}' in manifest['flags']


@pytest.mark.parametrize('name', golden_names('networks'))
def test_any_network_of_the_family_is_rebuilt_from_its_file(tmp_path, name):
    state = network_state(name)
    path = write_checkpoint(state, tmp_path / 'net.pt')
    inspection = config_from_checkpoint(path)
    ((part, config), *_) = inspection.config.items()
    network = MODELS.build({'_scope_': 'mmagic_adm', **config})
    load_network(network, path)
    assert_same_tensors(dict(network.state_dict()), state)
    assert inspection.origins[f'{part}.model_channels'] == READ


def test_it_says_what_was_read_and_what_was_guessed(unet_file):
    inspection = config_from_checkpoint(unet_file)
    for field in (
        'unet.model_channels',
        'unet.channel_mult',
        'unet.num_res_blocks',
        'unet.num_classes',
        'unet.out_channels',
        'unet.resblock_updown',
        'unet.use_scale_shift_norm',
        'diffusion_scheduler.variance_type',
    ):
        assert field in inspection.read
        assert field not in inspection.guessed
    for field in (
        'unet.image_size',
        'unet.dropout',
        'unet.num_head_channels',
        'unet.use_new_attention_order',
        'diffusion_scheduler.beta_schedule',
    ):
        assert inspection.guessed[field] == DEFAULT
        assert field not in inspection.read
    assert 'image_size = 16' in inspection.guessed['unet.attention_resolutions']


def test_a_released_dit_is_known_with_all_that_it_needs(tmp_path):
    found = config_from_checkpoint(save_released('DiT-XL-2-256x256', tmp_path)).config
    assert (found['unet']['size'], found['unet']['num_classes']) == ('XL', 1000)
    assert found['codec']['image_size'] == 256
    scheduler = found['diffusion_scheduler']
    assert (scheduler['clip_sample'], scheduler['variance_type']) == (False, 'learned_range')


def test_the_zoo_knows_what_shapes_do_not_tell(tmp_path):
    inspection = config_from_checkpoint(save_released('64x64_diffusion', tmp_path))
    unet = inspection.config['unet']
    assert (unet['dropout'], unet['use_new_attention_order']) == (0.1, True)
    assert inspection.config['diffusion_scheduler']['beta_schedule'] == 'cosine'
    for field in ('unet.dropout', 'diffusion_scheduler.beta_schedule'):
        assert inspection.guessed[field] == 'the zoo: 64x64_diffusion'


def test_a_files_name_decides_between_networks_of_the_same_shapes(tmp_path):
    path = save_released('lsun_horse', tmp_path)
    named = config_from_checkpoint(path)
    assert named.config['unet']['dropout'] == 0.1
    assert named.guessed['unet.dropout'] == 'the zoo: lsun_horse'

    renamed = path.rename(tmp_path / 'mine.pt')
    unnamed = config_from_checkpoint(renamed)
    assert unnamed.config['unet']['dropout'] == 0.0
    assert 'unlike lsun_bedroom, lsun_cat, lsun_horse' in unnamed.guessed['unet.dropout']
    assert 'unlike' not in unnamed.guessed['unet.num_head_channels']
    assert set(unnamed.fits['unet']) > {'256x256_diffusion_uncond', 'lsun_horse_nodropout'}


def test_a_converted_file_remembers_the_name_it_had(tmp_path):
    path = save_released('lsun_horse', tmp_path)
    content = dict(state_dict=torch.load(path), meta={'source': path.name})
    torch.save(content, tmp_path / 'converted.pth')
    inspection = config_from_checkpoint(tmp_path / 'converted.pth')
    assert inspection.guessed['unet.dropout'] == 'the zoo: lsun_horse'


def test_mmagics_combined_file_gives_both_networks(tmp_path):
    path = save_released('mmagic_adm-g_8xb32_imagenet-64x64-2c0fbeda', tmp_path)
    inspection = config_from_checkpoint(path)
    assert list(inspection.config) == ['unet', 'diffusion_scheduler', 'classifier']
    assert inspection.layout == 'mmagic'
    assert '64x64_diffusion' in inspection.fits['unet']
    assert inspection.fits['classifier'] == ('64x64_classifier',)
    assert list(config_from_checkpoint(path, 'classifier').config) == ['classifier']


def test_what_the_file_says_of_itself_beats_the_zoo_and_defaults(tmp_path, unet_state):
    recorded = dict(type='ADMUNet', dropout=0.3, num_head_channels=16, image_size=32)
    scheduler = dict(type='DDIMScheduler', beta_schedule='cosine')
    path = write_checkpoint(
        unet_state,
        tmp_path / 'net.safetensors',
        'safetensors',
        metadata={'config': {'unet': recorded, 'diffusion_scheduler': scheduler}},
    )
    inspection = config_from_checkpoint(path)
    unet = inspection.config['unet']
    assert {name: unet[name] for name in recorded} == recorded
    assert unet['attention_resolutions'] == (16,)
    assert inspection.origins['unet.dropout'] == RECORDED
    assert inspection.config['diffusion_scheduler']['beta_schedule'] == 'cosine'


def test_a_runners_own_checkpoint_has_its_config_with_it(tmp_path):
    config = dict(network_config(UNET), num_classes=9, class_dropout_prob=0.1, dropout=0.2)
    # Nine classes and the null class make the ten rows of this state.
    state = {f'unet.{key}': tensor for key, tensor in network_state(UNET).items()}
    model = Config(dict(model=dict(type='AblatedDiffusionModel', unet=config)))
    torch.save(dict(state_dict=state, meta=dict(cfg=model.pretty_text)), tmp_path / 'iter_9.pth')
    unet = config_from_checkpoint(tmp_path / 'iter_9.pth').config['unet']
    assert (unet['num_classes'], unet['class_dropout_prob'], unet['dropout']) == (9, 0.1, 0.2)
    assert unet['num_head_channels'] == 32


def test_mmagics_own_config_in_a_file_is_passed_over(tmp_path, mmagic_state):
    model = Config(dict(model=dict(unet=dict(type='DenoisingUnet', dropout=0.7))))
    torch.save(dict(state_dict=mmagic_state, meta=dict(cfg=model.pretty_text)), tmp_path / 'a.pth')
    assert config_from_checkpoint(tmp_path / 'a.pth').config['unet']['dropout'] == 0.0


def test_the_caller_knows_best(unet_file):
    inspection = config_from_checkpoint(
        unet_file,
        unet=dict(image_size=64, num_heads=2, num_head_channels=-1),
        diffusion_scheduler=dict(beta_schedule='cosine'),
    )
    unet = inspection.config['unet']
    assert (unet['num_heads'], unet['num_head_channels']) == (2, -1)
    assert unet['attention_resolutions'] == (32,)
    assert inspection.origins['unet.num_heads'] == GIVEN
    assert inspection.config['diffusion_scheduler']['beta_schedule'] == 'cosine'
    assert 'unet.num_heads' not in inspection.guessed


@pytest.mark.parametrize(
    ('given', 'complaint'),
    [
        (dict(num_classes=7), r'unet\.pt: the tensors are not those .*\(label_emb\.weight 10x128'),
        (dict(heads=2), r"unet\.pt: ADMUNet has no argument 'heads'; it has image_size, "),
        (dict(type='ADMUnet'), r"unet\.pt: there is no type 'ADMUnet' .* did you mean ADMUNet"),
        (
            dict(attention_resolutions=(16,), num_head_channels=32),
            r'the tensors are not those .* missing .*input_blocks\.1\.1\.norm',
        ),
        (dict(image_size=33), r'unet\.pt: .*image_size 33 does not halve'),
        (dict(num_head_channels=48), r'unet\.pt: .*64 channels do not divide'),
    ],
)
def test_but_not_better_than_the_tensors(unet_file, given, complaint):
    with pytest.raises(CheckpointError, match=complaint):
        config_from_checkpoint(unet_file, unet=given)


def test_levels_that_are_open_are_guessed_and_can_be_given(tmp_path):
    config = dict(
        type='ADMClassifier',
        image_size=16,
        model_channels=32,
        out_channels=5,
        attention_resolutions=(),
        num_head_channels=32,
        num_res_blocks=3,
        channel_mult=(1,),
        pool='adaptive',
    )
    network = MODELS.build({'_scope_': 'mmagic_adm', **config})
    path = write_checkpoint(network.state_dict(), tmp_path / 'net.pt')
    inspection = config_from_checkpoint(path)
    assert inspection.guessed['classifier.num_res_blocks'] == AMBIGUOUS
    given = config_from_checkpoint(path, classifier=dict(num_res_blocks=3, channel_mult=(1,)))
    assert given.config['classifier']['num_res_blocks'] == 3


def test_two_networks_of_a_kind_must_be_chosen_from(tmp_path, unet_state):
    state = {f'{part}.{k}': t for part in ('unet', 'unet_ema') for k, t in unet_state.items()}
    torch.save(dict(state_dict=state), tmp_path / 'net.pth')
    with pytest.raises(CheckpointError, match='holds more than one unet; choose one with prefix='):
        config_from_checkpoint(tmp_path / 'net.pth')
    assert 'unet' in config_from_checkpoint(tmp_path / 'net.pth', 'unet_ema').config


def test_almost_a_network_is_told_from_one(tmp_path, unet_state):
    odd = dict(unet_state, **{'input_blocks.1.0.in_layers.2.bias': torch.ones(31)})
    torch.save(odd, tmp_path / 'odd.pt')
    with pytest.raises(CheckpointError, match=r'not those of the nearest ADMUNet: .* 31 for 32'):
        config_from_checkpoint(tmp_path / 'odd.pt')
    del odd['out.2.weight']
    torch.save(odd, tmp_path / 'odd.pt')
    with pytest.raises(CheckpointError, match=r"no ADM network: there is no 'out\.2\.weight'"):
        config_from_checkpoint(tmp_path / 'odd.pt')


def test_the_report_has_a_line_for_everything(mmagic_file):
    inspection = config_from_checkpoint(mmagic_file)
    report = str(inspection)
    assert report.startswith(f'{mmagic_file}: layout mmagic\n')
    assert 'unet\n' in report
    for place in inspection.origins:
        part, name = place.split('.')
        assert f'  {name} = {inspection.config[part][name]!r} ' in report
    assert len(report.splitlines()) == 1 + len(inspection.config) + len(inspection.origins)


def test_consistency_models_are_told_apart_by_their_names(tmp_path):
    manifest = load_manifest('consistency_imagenet64')
    shapes = manifest['state_dict_shapes'].items()
    zero = torch.zeros(1)
    state = {key: zero.expand(*shape) for key, shape in shapes}
    torch.save(state, tmp_path / 'x.pt')
    for file, is_consistent in manifest['distillation'].items():
        named = (tmp_path / 'x.pt').rename(tmp_path / file)
        inspection = config_from_checkpoint(named)
        named.rename(tmp_path / 'x.pt')
        assert inspection.fits['unet'] == (file.removesuffix('.pt'),)
        around = inspection.config['preconditioning']
        assert ('sigma_min' in around) == is_consistent
        assert around['c_noise'] == 250.0
        kind = 'ConsistencyScheduler' if is_consistent else 'EDMHeunScheduler'
        assert inspection.config['diffusion_scheduler']['type'] == kind
    unnamed = config_from_checkpoint(tmp_path / 'x.pt')
    assert 'which fits too: the name tells' in unnamed.guessed['preconditioning.type']


def test_whose_defaults_a_network_of_either_project_has_is_asked_or_told(tmp_path):
    path = write_checkpoint(network_state('improved_unconditional'), tmp_path / 'mine.pt')
    asked = config_from_checkpoint(path)
    assert asked.config['unet']['num_heads'] == 4
    assert asked.config['unet']['num_head_channels'] == -1
    assert not asked.config['diffusion_scheduler']['rescale_timesteps']
    origin = asked.guessed['diffusion_scheduler.rescale_timesteps']
    assert origin == "default of guided-diffusion; project='improved-diffusion' has others"
    told = config_from_checkpoint(path, project='improved-diffusion')
    assert told.config['diffusion_scheduler']['rescale_timesteps']
    assert told.guessed['diffusion_scheduler.rescale_timesteps'] == DEFAULT
