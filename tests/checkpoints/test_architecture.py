import pytest

from mmagic_adm.checkpoints.architecture import read_architecture
from mmagic_adm.checkpoints.parts import shapes_of
from mmagic_adm.checkpoints.zoo import build_without_weights
from tests.checkpoints.conftest import network_config
from tests.reference import golden_names, load_manifest


def _shapes(config):
    return shapes_of(build_without_weights(config).state_dict())


@pytest.mark.parametrize('name', golden_names('networks'))
def test_what_leaves_a_trace_is_read(name):
    config = network_config(name)
    architecture = read_architecture(_shapes(config))
    for field, value in architecture.fields.items():
        if field in config:
            expected = tuple(config[field]) if isinstance(config[field], list) else config[field]
            assert value == expected, field
    assert architecture.attention_resolutions(config['image_size']) == tuple(
        sorted(config['attention_resolutions'], reverse=True)
    )


@pytest.mark.parametrize(
    'name', [n for n in golden_names('checkpoints') if 'flags' in load_manifest(n)]
)
def test_released_networks_are_read_without_doubt(name):
    manifest = load_manifest(name)
    shapes = {key: tuple(shape) for key, shape in manifest['state_dict_shapes'].items()}
    ambiguous = read_architecture(shapes).ambiguous
    assert ambiguous == (('type', 'in_channels') if manifest['kind'] == 'upsampler' else ())


OTHERS = {
    'DiT with a name': dict(type='DiT', image_size=16, size='S', patch_size=8, num_classes=5),
    'DiT of pixels': dict(
        type='DiT',
        image_size=12,
        size=(128, 3, 2),
        patch_size=4,
        in_channels=3,
        out_channels=3,
        num_classes=None,
        mlp_ratio=2.0,
    ),
    'DDPM++': dict(
        type='SongUNet',
        image_size=16,
        model_channels=16,
        channel_mult=(1, 2),
        num_blocks=1,
        attention_resolutions=(),
        num_classes=None,
        augment_channels=9,
    ),
    'NCSN++': dict(
        type='SongUNet',
        image_size=32,
        layout='ncsn++',
        in_channels=1,
        model_channels=16,
        channel_mult=(2, 2, 1),
        num_blocks=2,
        attention_resolutions=(16, 8),
        num_classes=3,
        augment_channels=0,
    ),
    'EDM2': dict(
        type='EDM2UNet',
        image_size=16,
        in_channels=4,
        model_channels=64,
        channel_mult=(1, 2),
        num_res_blocks=2,
        attention_resolutions=(8,),
        num_classes=10,
        logvar_channels=32,
    ),
}


@pytest.mark.parametrize('name', OTHERS)
def test_what_is_not_adms_is_read_too(name):
    shapes = _shapes(OTHERS[name])
    architecture = read_architecture(shapes)
    rows = architecture.fields['num_classes']
    if 'DiT' in name and rows:  # of the table, with one for no class
        architecture.fields['num_classes'] = rows - 1
    assert architecture.fields.items() >= OTHERS[name].items()
    assert architecture.ambiguous == (('size',) if name == 'DiT of pixels' else ())
    rest = {key: shape for key, shape in shapes.items() if key[:4] not in ('enc.', 'bloc')}
    with pytest.raises((LookupError, ValueError), match=r'blocks\.0|around .* nothing is shaped'):
        read_architecture(rest)


CLASSIFIER = dict(
    type='ADMClassifier',
    image_size=16,
    model_channels=32,
    out_channels=5,
    attention_resolutions=(),
    num_head_channels=32,
    num_res_blocks=1,
)


def test_levels_that_shapes_leave_open_are_called_ambiguous():
    # Four stages of one width could be two levels, or one of three blocks.
    config = dict(CLASSIFIER, channel_mult=(1, 1), pool='adaptive')
    architecture = read_architecture(_shapes(config))
    assert architecture.ambiguous == ('num_res_blocks', 'channel_mult')


def test_attention_tells_where_a_level_ends():
    config = dict(CLASSIFIER, channel_mult=(1, 1), attention_resolutions=(16, 8))
    architecture = read_architecture(_shapes(config))
    assert architecture.ambiguous == ()
    assert architecture.fields['num_res_blocks'] == 1


def test_a_network_of_one_level_is_read():
    config = dict(
        type='ADMUNet', image_size=8, model_channels=32, channel_mult=(2,), attention_resolutions=()
    )
    architecture = read_architecture(_shapes(config))
    assert architecture.fields['channel_mult'] == (2,)
    assert architecture.fields['num_res_blocks'] == 2
    assert architecture.num_levels == 1


def test_the_pooling_attention_tells_the_image_size():
    for size in (16, 32):
        config = dict(CLASSIFIER, image_size=size, channel_mult=(1, 2), num_res_blocks=2)
        assert read_architecture(_shapes(config)).fields['image_size'] == size


def test_stages_that_make_no_levels_are_refused():
    shapes = _shapes(network_config('adm_conditional'))
    broken = {key: shape for key, shape in shapes.items() if not key.startswith('input_blocks.3.')}
    with pytest.raises(ValueError, match='its 3 input blocks do not fall into levels'):
        read_architecture(broken)


def test_a_tensor_that_every_network_has_is_missed():
    shapes = _shapes(network_config('adm_conditional'))
    del shapes['out.2.weight']
    with pytest.raises(LookupError, match=r'out\.2\.weight'):
        read_architecture(shapes)
