import re

import pytest
import yaml

from mmagic_adm.checkpoints import CheckpointError, config_directory, find, zoo, zoo_names
from mmagic_adm.checkpoints.parts import shapes_of
from mmagic_adm.checkpoints.zoo import ZooEntry, build_without_weights, zoo_entries
from mmagic_adm.files.download import cached_path
from tests.reference import built, golden_names, load_manifest

MANIFESTS = golden_names('checkpoints')


def _files_of(manifest):
    """Those that a manifest describes: several may be of one architecture."""
    return manifest.get('checkpoints', [manifest['checkpoint']])


def _entry_of(manifest, file=None):
    file = file or manifest['checkpoint']
    (entry,) = (e for e in zoo_entries() if e.file_name == file)
    return entry


@pytest.mark.parametrize('name', MANIFESTS)
def test_every_released_file_is_in_the_zoo_once(name):
    manifest = load_manifest(name)
    for file in _files_of(manifest):
        entry = _entry_of(manifest, file)
        assert entry.parameters == manifest['num_parameters']
        assert entry.page or entry.weights().split('#')[0] == entry.url
        if 'distillation' in manifest:
            is_consistent = 'sigma_min' in entry.preconditioning
            assert is_consistent == manifest['distillation'][file]
        if 'distillation' not in manifest:
            flags = manifest.get('flags_by_checkpoint', {}).get(file, manifest.get('flags'))
            # Of one, the flags were not published: the scale of its timesteps is 1 either way. Of
            # another, only the script's name said that it is an upsampler.
            rest = (entry.flags or '').removeprefix(flags or '')
            assert rest in ('', ' --rescale_timesteps True', ' --large_size 256 --small_size 64')
            code = manifest.get('code', 'guided-diffusion')
            assert ('improved' in entry.project) == ('improved' in code)
    if name.startswith('mmagic'):
        assert entry.config == f'guided_diffusion/{manifest["config"]}'


@pytest.mark.parametrize('name', built(n for n in MANIFESTS if 'flags' in load_manifest(n)))
def test_the_networks_config_builds_exactly_what_is_in_the_file(name):
    manifest = load_manifest(name)
    (config,) = _entry_of(manifest).network_configs().values()
    network = build_without_weights(config)
    shapes = {
        key: tuple(shape[:3] if key.endswith(('.qkv.weight', '.proj_out.weight')) else shape)
        for key, shape in manifest['state_dict_shapes'].items()
    }
    assert shapes_of(network.state_dict()) == shapes
    assert sum(p.numel() for p in network.parameters()) == manifest['num_parameters']


# EDM2's files, of which the paper has the parameters in millions.
EDM2 = {
    'edm2-img64-xs-0134217-0.110.pkl': 125,
    'edm2-img64-xs-0134217-0.175.pkl': 125,
    'edm2-img64-s-1073741-0.045.pkl': 280,
    'edm2-img64-s-1073741-0.075.pkl': 280,
    'edm2-img64-s-1073741-0.105.pkl': 280,
    'edm2-img64-m-2147483-0.060.pkl': 498,
    'edm2-img64-l-1073741-0.040.pkl': 777,
    'edm2-img64-xl-0671088-0.040.pkl': 1119,
}


AUTOENCODERS = ('sd-vae-ft-ema', 'sd-vae-ft-mse')


@pytest.mark.parametrize('file', EDM2)
def test_edm2s_networks_are_as_large_as_the_papers(file):
    entry = find(file.removesuffix('.pkl'))
    state = build_without_weights(entry.network_configs()['unet']).state_dict()
    assert sum(value.numel() for value in state.values()) == entry.parameters
    assert round(entry.parameters / 1e6) == EDM2[file]
    assert entry.url.endswith(file)


def test_licence_and_size_are_said_once_before_a_download(monkeypatch, tmp_path):
    said = []
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path))
    monkeypatch.setattr(zoo, 'print_log', lambda text, logger: said.append(text))
    zoo._say_once.cache_clear()
    for name in ('64x64_diffusion', 'edm2-img64-s-1073741-0.045', 'edm2-img64-s-1073741-0.045'):
        assert find(name).weights().startswith('https://')
    assert said == [
        'the weights of 64x64_diffusion (1.2 GB) come under MIT',
        'the weights of edm2-img64-s-1073741-0.045 (1.1 GB) come under CC BY-NC-SA 4.0: no '
        'commercial use',
    ]


def test_what_is_had_by_hand_says_where_and_what_to_do_with_it():
    with pytest.raises(CheckpointError, match=r'celeba256_250000.pt from https://drive.*its path'):
        find('celeba256_250000').weights()


def test_a_hash_that_was_published_goes_with_the_address():
    source = find('512x512_diffusion_uncond_finetune_008100').weights()
    assert source.endswith('#sha256=' + find('512x512_diffusion_uncond_finetune_008100').sha256)
    assert cached_path(source).name == (
        '512x512_diffusion_uncond_finetune_008100-9c111ab89e214862.pt'
    )


# EDM's of other layouts, and how many million parameters they have.
SONGS = {
    f'edm-{data}-{kind}.pkl': size
    for data, kind, size in (
        ('cifar10-32x32', 'uncond-vp', 55.7),
        ('cifar10-32x32', 'cond-vp', 55.7),
        ('cifar10-32x32', 'uncond-ve', 56.4),
        ('cifar10-32x32', 'cond-ve', 56.4),
        ('ffhq-64x64', 'uncond-vp', 61.8),
        ('ffhq-64x64', 'uncond-ve', 62.8),
        ('afhqv2-64x64', 'uncond-vp', 61.8),
        ('afhqv2-64x64', 'uncond-ve', 62.8),
    )
}


@pytest.mark.slow
@pytest.mark.parametrize('file', SONGS)
def test_edms_other_networks_build_with_as_many_numbers_as_the_index_says(file):
    entry = find(file.removesuffix('.pkl'))
    network = build_without_weights(entry.network_configs()['unet'])
    assert sum(value.numel() for value in network.state_dict().values()) == entry.parameters
    assert round(entry.parameters / 1e6, 1) == SONGS[file]
    assert (network.num_classes == 10) == ('-cond-' in file)


# What shapes were not recorded of: networks of LSUN's shapes.
LSUNS = {'ffhq.pt', 'celeba256_250000.pt', 'places256_300000.pt'}


def test_there_is_nothing_in_the_zoo_that_was_not_released_or_is_not_in_the_paper():
    released = {file for name in MANIFESTS for file in _files_of(load_manifest(name))}
    networks = [e for e in zoo_entries() if e.name not in AUTOENCODERS]
    named = {e.file_name for e in networks if e.url or e.page}
    assert named - set(EDM2) - set(SONGS) - LSUNS == released
    assert [e.name for e in zoo_entries() if not (e.url or e.page)] == [
        'ADM_diffusion_64_unconditioned',
        'ADM_diffusion_128_unconditioned',
        'ADM_diffusion_512_unconditioned',
    ]


OTHER_NAMES = [
    *(f'ADM_diffusion_{size}_conditioned' for size in (64, 128, 256, 512)),
    *(f'ADM_diffusion_{size}_unconditioned' for size in (64, 128, 256, 512)),
    *(f'ADM_classifier_{size}' for size in (64, 128, 256, 512)),
    'ADM_U',
    'ADM_G',
]


@pytest.mark.parametrize('name', OTHER_NAMES)
def test_other_names_resolve_to_networks_of_that_size_and_kind(name):
    assert name in zoo_names()
    entry = find(name)
    ((kind, config),) = entry.network_configs().items()
    size = re.search(r'\d+', name)
    if size:
        assert config['image_size'] == int(size[0])
    assert kind == ('classifier' if 'classifier' in name else 'unet')
    if 'conditioned' in name:
        assert (config.get('num_classes') is None) == ('unconditioned' in name)


@pytest.mark.parametrize('size', [64, 128, 512])
def test_what_was_not_released_builds_and_says_so_when_weights_are_wanted(size):
    entry = find(f'ADM_diffusion_{size}_unconditioned')
    keys = build_without_weights(entry.network_configs()['unet']).state_dict().keys()
    conditional = build_without_weights(
        find(f'ADM_diffusion_{size}_conditioned').network_configs()['unet']
    )
    assert conditional.state_dict().keys() - keys == {'label_emb.weight'}
    with pytest.raises(CheckpointError, match=f'no weights were released for {entry.name}'):
        entry.weights()


def test_guided_sampling_finds_its_classifier():
    entry = find('ADM_G')
    classifier = find(entry.classifier)
    assert entry.classifier_scale == 1.0
    assert classifier.network_configs()['classifier']['image_size'] == 256
    for entry in zoo_entries():
        if entry.classifier:
            assert 'classifier' in find(entry.classifier).network_configs()
        if entry.base_model:
            assert 'unet' in find(entry.base_model).network_configs()


def test_the_published_figures_are_there():
    (result,) = find('128x128_diffusion').results
    assert result['Metrics'] == {'FID': 2.97, 'Precision': 0.78, 'Recall': 0.59}
    (result,) = find('adm-g_ddim25_8xb32_imagenet-64x64').results
    assert result['Metrics']['FID-Full-50K'] == 3.7566


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="called '64x64_difusion'; did you mean 64x64_diffusion"):
        find('64x64_difusion')
    with pytest.raises(ValueError, match='see zoo_names'):
        find('???')


def test_an_entry_without_a_network_says_that_it_has_no_config():
    with pytest.raises(CheckpointError, match='no network that this package has a config of'):
        ZooEntry('other').network_configs()


def test_the_index_has_what_the_ecosystems_tools_read():
    index = yaml.safe_load((config_directory() / 'guided_diffusion/metafile.yml').read_text())
    collections = {collection['Name'] for collection in index['Collections']}
    names = [model['Name'] for model in index['Models']]
    files = [file for name in MANIFESTS for file in _files_of(load_manifest(name))]
    others = [*EDM2, *SONGS, *LSUNS, *AUTOENCODERS]
    assert len(set(names)) == len(names) == len(files) + len(others)
    for model in index['Models']:
        assert model['In Collection'] in collections
        where = model.get('Weights') or model['Metadata']['Page']
        assert where.startswith('https://')
        for result in model.get('Results', ()):
            assert result.keys() == {'Task', 'Dataset', 'Metrics'}


def test_the_entries_networks_are_files_that_exist():
    for entry in zoo_entries():
        for file in (entry.network, entry.classifier_network):
            assert file is None or (config_directory() / file).is_file()


def test_a_name_is_a_name_whatever_is_in_it_and_lies_around(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / '64x64_diffusion').mkdir()
    for name in ('64x64_diffusion', 'edm2-img64-s-1073741-0.045'):
        assert zoo.source_of(name) == find(name).url
    (tmp_path / 'mine').mkdir()
    assert zoo.source_of('mine') == 'mine'
