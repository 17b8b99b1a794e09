"""Latents that are encoded once and kept."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.codecs import AutoencoderCodec
from mmagic_adm.datasets import LatentImages, TrainingStream
from mmagic_adm.files.pictures import UnreadableImageError
from mmagic_adm.registry import MODELS
from tests.reference import fill_by_name
from tests.tiny import CODEC

COUNT = 5


@pytest.fixture(scope='module')
def settings(tmp_path_factory):
    """A folder of pictures, and an autoencoder with weights of its own."""
    folder, rng = tmp_path_factory.mktemp('pictures'), np.random.default_rng(0)
    for i in range(COUNT):
        place = folder / f'class{i % 2}'
        place.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f'{i}.png')
    codec = MODELS.build({**CODEC, '_scope_': 'mmagic_adm'})
    fill_by_name(codec.autoencoder)
    vae = tmp_path_factory.mktemp('vae')
    codec.autoencoder.save_pretrained(vae)
    images = dict(
        type='ImageFolder',
        data_root=str(folder),
        serialize_data=False,
        pipeline=[dict(type='ReadImage'), dict(type='CenterSquare', size=16)],
    )
    return dict(
        images=images,
        codec=dict(type='AutoencoderCodec', image_size=16, weights=str(vae), slice_size=2),
        shard_size=2,
        num_workers=0,
        serialize_data=False,  # after which MMEngine collects garbage, for as long as all the rest
    )


def pixels_of(dataset, i):
    image = torch.from_numpy(dataset._images[i]['img']).permute(2, 0, 1)[None]
    return image.float() / 127.5 - 1


def test_they_are_what_the_codec_says_of_image_and_mirror_image(settings, tmp_path):
    dataset = LatentImages(**settings, folder=str(tmp_path))
    assert (len(dataset), dataset.metainfo['classes']) == (COUNT, ('class0', 'class1'))
    codec = MODELS.build({**settings['codec'], '_scope_': 'mmagic_adm'})
    for i in (0, 4):
        info, image = dataset.get_data_info(i), pixels_of(dataset, i)
        assert info['gt_label'] == (0 if i < 3 else 1)
        for version, moments in zip((image, image.flip(3)), info['moments'], strict=True):
            for ours, said in zip(moments, codec.moments(version), strict=True):
                torch.testing.assert_close(torch.from_numpy(ours.copy()), said[0])


def test_an_item_is_drawn_by_its_own_numbers(settings, tmp_path):
    dataset = LatentImages(**settings, folder=str(tmp_path))
    stream, again = TrainingStream(dataset, seed=3), TrainingStream(dataset, seed=3)
    items = [stream[position]['inputs'] for position in range(40)]
    assert items[0].shape == (4, 8, 8)
    assert items[0].dtype == torch.float32
    assert torch.equal(items[7], again[7]['inputs'])
    # The same image, another draw of it.
    index = stream._index_at(0)
    others = [p for p in range(1, 40) if stream._index_at(p) == index]
    stream._index_at(0)
    assert not torch.equal(items[0], items[others[0]])
    versions = dataset.get_data_info(index)['moments']
    drawn = {
        int(abs(versions[:, 0] - items[p].numpy()).mean(axis=(1, 2, 3)).argmin())
        for p in [0, *others]
    }
    assert drawn == {0, 1}
    fixed = dict(settings, codec=dict(settings['codec'], draws=False), mirrors=False)
    means = LatentImages(**fixed, folder=str(tmp_path / 'means'))
    kept = means.get_data_info(0)['moments']
    assert kept.shape == (1, 2, 4, 8, 8)
    assert not kept[0, 1].any()


def test_what_was_broken_off_goes_on_where_it_was(settings, tmp_path):
    encode, calls = AutoencoderCodec.moments, []

    def breaking(self, images):
        calls.append(len(images))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(self, images)

    with patch.object(AutoencoderCodec, 'moments', breaking):
        with pytest.raises(KeyboardInterrupt):
            LatentImages(**settings, folder=str(tmp_path))
        files = sorted(file.name for file in tmp_path.iterdir())
        assert files == ['about.json', 'latents-00000.npy']
        LatentImages(**settings, folder=str(tmp_path))
        assert len(calls) == 4 + 3
        LatentImages(**settings, folder=str(tmp_path))
        assert len(calls) == 4 + 3


def test_processes_share_the_files_out(settings, tmp_path, monkeypatch):
    for rank, there in ((0, '02'), (1, '012')):
        monkeypatch.setattr('mmagic_adm.datasets.latents.get_dist_info', lambda r=rank: (r, 2))
        LatentImages(**settings, folder=str(tmp_path))
        assert ''.join(sorted(file.stem[-1] for file in tmp_path.glob('*.npy'))) == there


def test_a_folder_of_other_latents_is_refused(settings, tmp_path):
    LatentImages(**settings, folder=str(tmp_path))
    other = dict(settings, codec=dict(settings['codec'], scaling='edm2'))
    with pytest.raises(ValueError, match='holds latents of other images: codec was'):
        LatentImages(**other, folder=str(tmp_path))
    assert json.loads((tmp_path / 'about.json').read_text())['images'] == COUNT


def test_images_of_another_size_are_refused(settings, tmp_path):
    images = dict(settings['images'], pipeline=[dict(type='ReadImage')])
    with pytest.raises(ValueError, match='20x16 pixels, and the codec is for 16'):
        LatentImages(**{**settings, 'images': images}, folder=str(tmp_path))


def test_an_image_that_cannot_be_read_is_passed_over(settings, tmp_path):
    pictures = tmp_path / 'pictures' / 'a'
    pictures.mkdir(parents=True)
    Image.new('RGB', (16, 16)).save(pictures / '0.png')
    (pictures / '1.png').write_bytes(b'no picture')
    images = dict(settings['images'], data_root=str(pictures.parent))
    dataset = LatentImages(**{**settings, 'images': images}, folder=str(tmp_path / 'latents'))
    with pytest.raises(UnreadableImageError, match=r'1\.png could not be read'):
        dataset.pipeline(dict(dataset.get_data_info(1), rng=np.random.default_rng(0)))
    stream = TrainingStream(dataset)
    assert all(stream[position]['inputs'].isfinite().all() for position in range(4))
