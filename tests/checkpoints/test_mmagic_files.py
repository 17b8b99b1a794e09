import pytest

from mmagic_adm.checkpoints.formats import shapes_of
from mmagic_adm.checkpoints.mmagic_files import mmagic_name, openai_name
from mmagic_adm.checkpoints.parts import network_prefixes
from mmagic_adm.checkpoints.zoo import build_without_weights, zoo_entries
from tests.checkpoints.conftest import network_config
from tests.reference import golden_names, load_manifest

MMAGIC_FILES = golden_names('checkpoints', 'mmagic_*')


def _part(manifest, prefix):
    return {
        key.removeprefix(f'{prefix}.'): tuple(shape)
        for key, shape in manifest['state_dict_shapes'].items()
        if key.startswith(f'{prefix}.')
    }


@pytest.mark.parametrize('name', MMAGIC_FILES)
def test_every_mmagic_file_is_the_zoo_network_under_other_names(name):
    manifest = load_manifest(name)
    (entry,) = (e for e in zoo_entries() if (e.url or '').endswith(f'/{manifest["checkpoint"]}'))
    configs = entry.network_configs()

    unet = {openai_name(key): shape for key, shape in _part(manifest, 'unet').items()}
    assert unet == shapes_of(build_without_weights(configs['unet']).state_dict())
    classifier = _part(manifest, 'classifier')
    assert bool(classifier) == ('classifier' in configs)
    if classifier:
        assert classifier == shapes_of(build_without_weights(configs['classifier']).state_dict())


@pytest.mark.parametrize('name', MMAGIC_FILES)
def test_mmagic_names_come_back_from_openai_names(name):
    keys = _part(load_manifest(name), 'unet')
    assert [mmagic_name(openai_name(key)) for key in keys] == list(keys)


@pytest.mark.parametrize(
    'name', [n for n in golden_names('networks') if not n.startswith('classifier')]
)
def test_openai_names_come_back_from_mmagic_names(name):
    keys = list(build_without_weights(network_config(name)).state_dict())
    renamed = [mmagic_name(key) for key in keys]
    assert len(set(renamed)) == len(keys)
    assert [openai_name(key) for key in renamed] == keys


def test_names_that_only_look_alike_stay():
    assert openai_name('in_blocks.3.0.downsample.weight') == 'input_blocks.3.0.op.weight'
    assert mmagic_name('output_blocks.1.2.conv.weight') == 'out_blocks.1.2.conv.weight'
    assert openai_name('out.conv.weight') == 'out.2.weight'


def test_networks_are_found_wherever_they_lie():
    keys = ['steps', 'unet.time_embedding.blocks.0.weight', 'module.net.time_embed.0.weight']
    assert network_prefixes(keys) == ['unet.', 'module.net.']
    assert network_prefixes(['time_embed.0.weight']) == ['']
    assert network_prefixes(['sometime_embed.0.weight']) == []
