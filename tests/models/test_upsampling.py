"""Enlarging small images."""

import numpy as np
import pytest
import torch
from mmengine import MODELS
from PIL import Image

from mmagic_adm.diffusion.noise_schedules import noise_schedule
from tests.reference import fill_by_name
from tests.tiny import as_pixels, model_config

CLOSE = dict(atol=1e-5, rtol=1e-4)


def build_upsampler(**changes):
    changes.setdefault('low_res_size', 4)
    config = model_config(unet=dict(type='ADMSuperResolutionUNet'), **changes)
    model = MODELS.build({**config, 'type': 'AblatedUpsamplingModel'}).eval()
    fill_by_name(model.unet)
    return model


def small_images(count=2):
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_loop_equals_a_straight_line_computation():
    model = build_upsampler()
    x, small, labels = as_pixels(2), small_images(), torch.tensor([3, 7])
    result = model.infer(small, init_image=x, labels=labels)

    alpha_bar = np.cumprod(1 - noise_schedule('linear', 1000))
    steps = (750, 500, 250, 0)
    for here, there in zip(steps, (*steps[1:], None), strict=True):
        a = float(alpha_bar[here])
        after = 1.0 if there is None else float(alpha_bar[there])
        with torch.no_grad():
            eps = model.unet(x, torch.tensor([here, here]), labels, low_res=small)[:, :3]
        x_0 = ((x - (1 - a) ** 0.5 * eps) / a**0.5).clamp(-1, 1)
        eps = (x - a**0.5 * x_0) / (1 - a) ** 0.5
        x = after**0.5 * x_0 + (1 - after) ** 0.5 * eps
    torch.testing.assert_close(result['samples'], x.clamp(-1, 1), **CLOSE)


def test_a_sample_is_its_seed_and_its_small_image():
    model, small = build_upsampler(), small_images(3)
    together = model.infer(small, seeds=[5, 6, 7], labels=1)['samples']
    alone = model.infer(small[1:2], seeds=[6], labels=1)['samples']
    torch.testing.assert_close(alone[0], together[1], **CLOSE)


def test_one_small_image_may_have_several_enlargements():
    result = build_upsampler().infer(small_images(1), seeds=[1, 2, 3], labels=1)
    assert result['samples'].shape == (3, 3, 8, 8)
    assert (result['samples'][0] - result['samples'][1]).abs().max() > 1e-3


def test_the_batch_of_small_images_says_how_many():
    assert len(build_upsampler().infer(small_images(2), seeds=0)['samples']) == 2


class TestWhereSmallImagesComeFrom:
    @pytest.fixture
    def pixels(self):
        return np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)

    @pytest.fixture
    def expected(self, pixels):
        small = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        return build_upsampler().infer(small, seeds=0, labels=[3, 7])['samples']

    def test_an_npz_of_base_samples_with_their_labels(self, tmp_path, pixels, expected):
        np.savez(tmp_path / 'base.npz', pixels, np.array([3, 7]))
        result = build_upsampler().infer(tmp_path / 'base.npz', seeds=0)
        assert result['labels'].tolist() == [3, 7]
        torch.testing.assert_close(result['samples'], expected)

    def test_labels_that_are_given_come_first(self, tmp_path, pixels):
        np.savez(tmp_path / 'base.npz', pixels, np.array([3, 7]))
        result = build_upsampler().infer(tmp_path / 'base.npz', labels=[1, 2], seeds=0)
        assert result['labels'].tolist() == [1, 2]

    def test_a_folder_or_a_list_of_image_files(self, tmp_path, pixels, expected):
        for i, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / f'{i}.png')
        files = sorted(tmp_path.glob('*.png'))
        for low_res in (tmp_path, files, [str(file) for file in files]):
            result = build_upsampler().infer(low_res, seeds=0, labels=[3, 7])
            torch.testing.assert_close(result['samples'], expected)

    def test_a_tensor_of_bytes(self, pixels, expected):
        low_res = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        result = build_upsampler().infer(low_res, seeds=0, labels=[3, 7])
        torch.testing.assert_close(result['samples'], expected)

    def test_other_sizes_are_resized_on_request(self):
        small = torch.nn.functional.interpolate(small_images(), (6, 6))
        result = build_upsampler().infer(small, seeds=0, resize_low_res=True)
        assert result['low_res'].shape == (2, 3, 4, 4)


class TestBadInput:
    @pytest.mark.parametrize(
        ('low_res', 'message'),
        [
            (torch.zeros(2, 3, 5, 5), r'5x5 pixels; this model enlarges 4x4.*--resize-low-res'),
            (torch.full((2, 3, 4, 4), 255.0), r'float values from 255 to 255'),
            (torch.full((2, 3, 4, 4), 300), r'values from 300 to 300; .* \[0, 255\]'),
            (torch.zeros(4), r'shape \(4,\)'),
            ([], 'empty list'),
            ('nowhere', 'no file or folder nowhere'),
        ],
    )
    def test_small_images(self, low_res, message):
        with pytest.raises(ValueError, match=message):
            build_upsampler().infer(low_res, seeds=0)

    def test_an_npz_without_images(self, tmp_path):
        np.savez(tmp_path / 'base.npz', mu=np.zeros(3))
        with pytest.raises(ValueError, match=r"base\.npz holds no images: .*'arr_0'.*has mu"):
            build_upsampler().infer(tmp_path / 'base.npz')

    def test_an_npz_with_too_few_labels(self, tmp_path):
        np.savez(tmp_path / 'base.npz', np.zeros((2, 4, 4, 3), np.uint8), np.array([3]))
        with pytest.raises(ValueError, match='2 images but 1 labels'):
            build_upsampler().infer(tmp_path / 'base.npz')

    def test_a_damaged_image_file_is_named(self, tmp_path):
        (tmp_path / 'small.png').write_text('no image')
        with pytest.raises(ValueError, match=r'small\.png is no readable image'):
            build_upsampler().infer(tmp_path)

    def test_another_number_of_labels(self):
        with pytest.raises(ValueError, match='labels: 3, low_res: 2'):
            build_upsampler().infer(small_images(2), labels=[1, 2, 3])

    def test_a_small_size_that_is_not_smaller(self):
        with pytest.raises(ValueError, match='low_res_size 8 is not smaller'):
            build_upsampler(low_res_size=8)

    def test_a_base_network(self):
        config = {**model_config(), 'type': 'AblatedUpsamplingModel', 'low_res_size': 4}
        with pytest.raises(ValueError, match='ADMSuperResolutionUNet'):
            MODELS.build(config)
