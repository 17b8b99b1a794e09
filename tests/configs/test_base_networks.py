"""Each network config describes exactly the tensors of its released checkpoint."""

import pytest
import torch
from mmengine import MODELS, Config

from mmagic_adm.registry import SCOPE
from tests.reference import REPOSITORY, load_manifest

NETWORKS = REPOSITORY / 'configs' / 'guided_diffusion' / '_base_' / 'models'

NETWORK_OF_CHECKPOINT = {
    '64x64_diffusion': 'adm_imagenet-64x64',
    '128x128_diffusion': 'adm_imagenet-128x128',
    '256x256_diffusion': 'adm_imagenet-256x256',
    '256x256_diffusion_uncond': 'adm_imagenet-256x256-uncond',
    '512x512_diffusion': 'adm_imagenet-512x512',
    'lsun_bedroom': 'adm_lsun-256x256',
    'lsun_cat': 'adm_lsun-256x256',
    'lsun_horse': 'adm_lsun-256x256',
    'lsun_horse_nodropout': 'adm_lsun-256x256-nodropout',
    '64_256_upsampler': 'adm-u_imagenet-64x64-256x256',
    '128_512_upsampler': 'adm-u_imagenet-128x128-512x512',
    '64x64_classifier': 'classifier_imagenet-64x64',
    '128x128_classifier': 'classifier_imagenet-128x128',
    '256x256_classifier': 'classifier_imagenet-256x256',
    '512x512_classifier': 'classifier_imagenet-512x512',
}


def build_on_meta(name: str) -> torch.nn.Module:
    config = Config.fromfile(NETWORKS / f'{name}.py')
    network = config.get('unet') or config.get('classifier')
    with torch.device('meta'):
        return MODELS.build(dict(network, _scope_=SCOPE))


@pytest.mark.parametrize(('checkpoint', 'network'), NETWORK_OF_CHECKPOINT.items())
def test_network_has_the_checkpoints_keys_shapes_and_size(checkpoint, network):
    manifest = load_manifest(checkpoint)
    module = build_on_meta(network)
    ours = {key: list(value.shape) for key, value in module.state_dict().items()}
    assert ours == manifest['state_dict_shapes']
    assert sum(p.numel() for p in module.parameters()) == manifest['num_parameters']


def test_every_network_config_is_checked():
    others = (
        'cm',
        'dit',
        'edm',
        'iddpm',
        'song',
        'discriminator',
        'adm_ffhq',
    )  # tests of their own
    ours = {path.stem for path in NETWORKS.glob('*.py') if not path.stem.startswith(others)}
    assert ours == set(NETWORK_OF_CHECKPOINT.values())


@pytest.mark.parametrize('checkpoint', ['lsun_bedroom', 'lsun_horse_nodropout', '64x64_diffusion'])
def test_dropout_is_the_one_the_flags_state(checkpoint):
    flags = load_manifest(checkpoint)['flags'].split()
    stated = float(flags[flags.index('--dropout') + 1])
    network = build_on_meta(NETWORK_OF_CHECKPOINT[checkpoint])
    dropouts = {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}
    assert dropouts == {stated}
