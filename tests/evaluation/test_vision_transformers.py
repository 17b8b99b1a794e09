"""Small networks of the same classes, with weights by their names, stand for the large ones."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.evaluation import CLIPFeatures, DINOv2Features
from mmagic_adm.evaluation.vision_transformers import CLIP_MEAN, CLIP_STD
from tests.evaluation.tiny import blocky_images
from tests.reference import fill_by_name

SMALL = dict(embed_dim=32, depth=2, num_heads=2)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = 42  # three patches of 14


def images(size=24):
    return torch.from_numpy(blocky_images(2, size=size)).permute(0, 3, 1, 2)


def normalised(x, mean, std):
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return (x / 255 - mean) / std


@pytest.fixture(autouse=True, scope='module')
def timm():
    return pytest.importorskip('timm')


@pytest.fixture
def dinov2(timm, tmp_path):
    """A network whose file has a grid of 5 by 5, as the released one has 37 by 37."""
    network = timm.create_model('vit_large_patch14_dinov2', img_size=70, num_classes=0, **SMALL)
    state = fill_by_name(network).eval().state_dict()
    torch.save({**state, 'mask_token': torch.zeros(1, 32)}, tmp_path / 'dinov2.pth')

    def extractor(image_size):
        return DINOv2Features(tmp_path / 'dinov2.pth', image_size=image_size, options=SMALL)

    return network, extractor


def test_dinov2_sees_images_resized_without_aliasing(dinov2):
    network, extractor = dinov2
    x = F.interpolate(images().float(), (70, 70), mode='bicubic', antialias=True)
    with torch.no_grad():
        expected = network(normalised(x, *IMAGENET))
    features = extractor(70)(images())
    assert features.keys() == {'pool'}
    torch.testing.assert_close(features['pool'], expected)


def test_positions_go_to_another_grid_as_dinov2s_own_code_has_it(dinov2):
    network, extractor = dinov2
    found = extractor(SIZE).network.pos_embed.detach()
    own = network.pos_embed.detach()
    grid = own[:, 1:].reshape(1, 5, 5, 32).permute(0, 3, 1, 2)
    scale = (3 + 0.1) / 5
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode='bicubic', antialias=False)
    expected = torch.cat([own[:, :1], grid.permute(0, 2, 3, 1).reshape(1, 9, 32)], 1)
    torch.testing.assert_close(found, expected)


def clip_state(width=32, depth=2, embedding=8, positions=10):
    """The tensors of a file of transformers', the text's as well."""
    names = {
        'vision_model.embeddings.class_embedding': (width,),
        'vision_model.embeddings.patch_embedding.weight': (width, 3, 14, 14),
        'vision_model.embeddings.position_embedding.weight': (positions, width),
        'visual_projection.weight': (embedding, width),
        'text_model.embeddings.token_embedding.weight': (4, 5),
        'logit_scale': (),
    }
    shapes = {'q_proj': (width, width), 'k_proj': (width, width), 'v_proj': (width, width)}
    shapes = {f'self_attn.{name}': shape for name, shape in shapes.items()}
    shapes |= {'self_attn.out_proj': (width, width), 'layer_norm1': (width,)}
    shapes |= {'mlp.fc1': (4 * width, width), 'mlp.fc2': (width, 4 * width)}
    shapes |= {'layer_norm2': (width,)}
    layers = {
        f'vision_model.encoder.layers.{n}.{name}': shape
        for n in range(depth)
        for name, shape in shapes.items()
    }
    norms = {f'vision_model.{name}': (width,) for name in ('pre_layrnorm', 'post_layernorm')}
    for name, shape in {**layers, **norms}.items():
        names |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) / 4 for name, shape in names.items()}


@pytest.fixture
def clip(tmp_path):
    save_file(clip_state(), tmp_path / 'clip.safetensors')
    return CLIPFeatures(tmp_path / 'clip.safetensors', image_size=SIZE, embedding=8, options=SMALL)


def encoded_by_clip(x, state, heads=2):
    """Radford et al. 2021, with the released networks' activation, from the file's tensors."""

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'])

    def linear(x, name):
        return x @ state[f'{name}.weight'].T + state[f'{name}.bias']

    embeddings = 'vision_model.embeddings'
    x = F.conv2d(x, state[f'{embeddings}.patch_embedding.weight'], stride=14).flatten(2).mT
    token = state[f'{embeddings}.class_embedding'].expand(len(x), 1, -1)
    x = torch.cat([token, x], 1) + state[f'{embeddings}.position_embedding.weight']
    x = norm(x, 'vision_model.pre_layrnorm')
    for n in range(2):
        layer = f'vision_model.encoder.layers.{n}'
        y = norm(x, f'{layer}.layer_norm1')
        q, k, v = (
            linear(y, f'{layer}.self_attn.{part}_proj').unflatten(2, (heads, -1)).transpose(1, 2)
            for part in 'qkv'
        )
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f'{layer}.self_attn.out_proj')
        y = linear(norm(x, f'{layer}.layer_norm2'), f'{layer}.mlp.fc1')
        x = x + linear(y * torch.sigmoid(1.702 * y), f'{layer}.mlp.fc2')
    return norm(x[:, 0], 'vision_model.post_layernorm') @ state['visual_projection.weight'].T


def test_clip_embeds_images_as_the_file_says(clip):
    x = F.interpolate(images().float(), (SIZE, SIZE), mode='bicubic')
    expected = encoded_by_clip(normalised(x, CLIP_MEAN, CLIP_STD), clip_state())
    torch.testing.assert_close(clip(images())['pool'], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_clip_embeds_images_as_transformers_does(clip, tmp_path):
    transformers = pytest.importorskip('transformers')
    try:
        config = transformers.CLIPVisionConfig(
            hidden_size=32, intermediate_size=128, projection_dim=8, num_hidden_layers=2,
            num_attention_heads=2, image_size=SIZE, patch_size=14, hidden_act='quick_gelu',
        )  # fmt: skip
        network = transformers.CLIPVisionModelWithProjection(config).eval()
    except ImportError as error:
        pytest.skip(str(error))
    state = {name: value for name, value in clip_state().items() if name[:4] in ('visi', 'visu')}
    assert not network.load_state_dict(state, strict=False).unexpected_keys
    x = F.interpolate(images().float(), (SIZE, SIZE), mode='bicubic')
    with torch.no_grad():
        expected = network(normalised(x, CLIP_MEAN, CLIP_STD)).image_embeds
    torch.testing.assert_close(clip(images())['pool'], expected, rtol=1e-5, atol=1e-5)


def test_settings_and_weights_tell_features_apart(dinov2):
    _, extractor = dinov2
    assert extractor(70).identity() == extractor(70).identity() != extractor(SIZE).identity()


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({'conv.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    for kind in (DINOv2Features, CLIPFeatures):
        with pytest.raises(CheckpointError, match=f'does not hold the weights .* {kind.__name__}'):
            kind(tmp_path / 'other.pth', image_size=SIZE, options=SMALL)


@pytest.mark.slow
def test_the_released_networks_have_as_many_parameters_as_their_files(timm):
    clip = timm.create_model('vit_large_patch14_clip_quickgelu_336', num_classes=768)
    dinov2 = timm.create_model('vit_large_patch14_dinov2', num_classes=0)
    counts = [sum(p.numel() for p in each.parameters()) for each in (clip, dinov2)]
    # CLIP's file has no bias for its projection, DINOv2's a mask token besides.
    assert counts == [304_293_888 + 768, 304_368_640 - 1024]
