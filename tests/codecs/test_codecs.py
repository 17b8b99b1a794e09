"""Codecs: images as they are, and latents of an autoencoder."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmagic_adm.checkpoints import CheckpointError
from mmagic_adm.codecs import PIXELS, AutoencoderCodec
from mmagic_adm.diffusion import randn_like_samples
from mmagic_adm.registry import MODELS
from tests.reference import fill_by_name
from tests.tiny import AUTOENCODER, CODEC

IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
LATENTS = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def codec(**changes) -> AutoencoderCodec:
    built = MODELS.build({**CODEC, **changes, '_scope_': 'mmagic_adm'})
    fill_by_name(built.autoencoder)
    return built


def test_pixels_are_left_as_they_are():
    assert PIXELS.encode(IMAGES) is PIXELS.decode(IMAGES) is PIXELS.latents_of(IMAGES) is IMAGES
    assert PIXELS.image_shape((3, 16, 16)) == (3, 16, 16)


def test_latents_are_those_of_diffusers_times_the_scale():
    ours = codec()
    said = ours.autoencoder.encode(IMAGES).latent_dist
    torch.testing.assert_close(ours.encode(IMAGES), 0.18215 * said.mean)
    noise = torch.ones_like(said.mean)
    drawn = ours.encode(IMAGES, torch.ones_like)
    torch.testing.assert_close(drawn, 0.18215 * (said.mean + said.std * noise))
    torch.testing.assert_close(
        codec(draws=False).encode(IMAGES, torch.ones_like), ours.encode(IMAGES)
    )
    decoded = ours.autoencoder.decode(LATENTS / 0.18215).sample
    torch.testing.assert_close(ours.decode(LATENTS), decoded)
    assert ours.image_shape((4, 8, 8)) == (3, 16, 16) == tuple(decoded.shape[1:])


def test_edm2s_latents_are_whitened_with_a_deviation_of_a_half():
    ours, mean = codec(scaling='edm2'), torch.tensor([5.81, 3.25, 0.12, -2.15])
    std = torch.tensor([4.17, 4.62, 3.71, 3.28])
    z = ours.autoencoder.encode(IMAGES).latent_dist.mean
    whitened = (z - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    torch.testing.assert_close(ours.encode(IMAGES), 0.5 * whitened)
    torch.testing.assert_close(ours.decode(ours.encode(IMAGES)), ours.autoencoder.decode(z).sample)


@pytest.mark.parametrize('slice_size', [1, 2, 5])
def test_slices_change_neither_images_nor_gradients(slice_size):
    whole, sliced = codec(slice_size=3), codec(slice_size=slice_size)
    gradients = []
    for ours in (whole, sliced):
        z = LATENTS.clone().requires_grad_()
        images = ours.decode(z)
        torch.testing.assert_close(images, whole.decode(LATENTS), rtol=1e-4, atol=1e-4)
        gradients.append(torch.autograd.grad(images.square().sum(), z)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_each_slice_keeps_its_graph_only_while_it_is_gone_back_through():
    kept = {1: 0, 3: 0}
    for slice_size in kept:

        def note(x, slice_size=slice_size):
            kept[slice_size] += x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            codec(slice_size=slice_size).decode(LATENTS.clone().requires_grad_())
    assert kept[1] < kept[3] / 20


def test_the_gradient_through_the_decoder_is_that_of_finite_differences():
    ours = codec()
    ours.autoencoder.double()
    z, direction = LATENTS[:1], torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))

    def score(latents):
        with torch.no_grad():
            return ours.autoencoder.decode(latents.double() / 0.18215).sample.square().sum()

    step = 1e-4
    slope = (score(z + step * direction) - score(z - step * direction)) / (2 * step)
    ours.autoencoder.float()
    x = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(ours.decode(x).square().sum(), x)
    torch.testing.assert_close((gradient * direction).sum().double(), slope, rtol=1e-3, atol=0)


def test_each_sample_draws_from_its_own_generator():
    def draw(seeds):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return lambda x: randn_like_samples(x, generators)

    both = codec().encode(IMAGES[:2], draw([3, 4]))
    alone = codec().encode(IMAGES[1:2], draw([4]))
    torch.testing.assert_close(both[1:], alone, rtol=1e-5, atol=1e-5)


def test_it_stays_out_of_checkpoints_optimisers_and_half_precision():
    model = nn.ModuleDict(dict(codec=codec()))
    assert not model.state_dict()
    assert not list(model.parameters())
    model.half()
    ours = model['codec']
    assert next(ours.autoencoder.parameters()).dtype == torch.float32
    with torch.autocast('cpu', torch.bfloat16):
        assert ours.decode(LATENTS).dtype == torch.float32
    assert copy.deepcopy(ours).autoencoder is ours.autoencoder
    model.to('meta')
    assert next(ours.autoencoder.parameters()).is_meta
    model.train()
    assert not ours.autoencoder.training


def test_training_takes_images_and_kept_latents():
    ours = codec()
    assert ours.latents_of(LATENTS) is LATENTS
    torch.manual_seed(0)
    drawn = ours.latents_of(IMAGES)
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, ours.encode(IMAGES, torch.randn_like))
    with pytest.raises(ValueError, match=r'neither images of shape \(3, 16, 16\) nor latents of'):
        ours.latents_of(IMAGES[:, :, :8])


class TestWeights:
    def test_a_folder_says_what_is_in_it(self, tmp_path):
        ours = codec()
        ours.autoencoder.save_pretrained(tmp_path / 'vae')
        for folder in (tmp_path, tmp_path / 'vae'):
            there = AutoencoderCodec(16, weights=folder)
            torch.testing.assert_close(there.decode(LATENTS), ours.decode(LATENTS))

    def test_a_file_with_the_older_names_of_its_attention(self, tmp_path):
        ours, older = codec(), {'to_q': 'query', 'to_k': 'key', 'to_v': 'value'}
        state = {}
        for key, tensor in ours.autoencoder.state_dict().items():
            name = key.replace('to_out.0', 'proj_attn')
            for new, old in older.items():
                name = name.replace(f'attentions.0.{new}.', f'attentions.0.{old}.')
            is_map = 'attentions' in key and tensor.ndim == 2
            state[name] = tensor[..., None, None].contiguous() if is_map else tensor
        assert any('proj_attn' in name for name in state)
        save_file(state, tmp_path / 'old.safetensors')
        there = AutoencoderCodec(16, tmp_path / 'old.safetensors', AUTOENCODER)
        torch.testing.assert_close(there.decode(LATENTS), ours.decode(LATENTS))

    def test_pickles_and_other_networks_are_refused(self, tmp_path):
        torch.save({}, tmp_path / 'vae.bin')
        with pytest.raises(CheckpointError, match=r'read from \.safetensors alone'):
            AutoencoderCodec(16, tmp_path / 'vae.bin', AUTOENCODER)
        codec().autoencoder.save_pretrained(tmp_path)
        file = tmp_path / 'diffusion_pytorch_model.safetensors'
        with pytest.raises(CheckpointError, match='does not fit this AutoencoderKL'):
            AutoencoderCodec(16, file, {**AUTOENCODER, 'block_out_channels': (8, 16)})


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(image_size=15), 'image_size 15 does not divide into the squares of 2 pixels'),
        (dict(scaling='sdxl'), "scaling is 'stable_diffusion', 'edm2', or a dict .* 'sdxl'"),
        (dict(scaling=dict(scale=[1.0, 2.0])), 'scale of the latents has 2 entries, .* 4 channels'),
        (dict(slice_size=0), 'slice_size is how many images to decode together, not 0'),
    ],
)
def test_what_is_no_codec_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        codec(**changes)
