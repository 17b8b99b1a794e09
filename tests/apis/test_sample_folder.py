"""The folder that samples are written to."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.apis.sample_folder import SampleFolder, trajectory_pictures
from mmagic_adm.diffusion import NoiseLevel
from mmagic_adm.files.whole import CheckpointError

SETTINGS = dict(model='tiny', seed=3, labels=[1, None])


def picture(value):
    return Image.new('RGB', (8, 8), (value, value, value))


def filled(path, count=3, **changes):
    folder = SampleFolder(path, {**SETTINGS, **changes})
    for i in range(count):
        folder.save(i, picture(10 * i), seed=3 + i, label=i)
    return folder


def test_it_knows_what_is_missing(tmp_path):
    folder = filled(tmp_path, count=2)
    assert folder.missing(4) == [2, 3]
    assert SampleFolder(tmp_path, SETTINGS).missing(4) == [2, 3]


def test_a_damaged_sample_is_missing(tmp_path):
    folder = filled(tmp_path)
    file = tmp_path / '000001.png'
    file.write_bytes(file.read_bytes()[:60])
    assert folder.missing(3) == [1]


def test_the_end_is_an_npz_of_the_family_and_a_sheet(tmp_path):
    samples, sheet = filled(tmp_path).finish(3)
    with np.load(samples) as file:
        assert file['arr_0'].shape == (3, 8, 8, 3)
        assert file['arr_0'].dtype == np.uint8
        assert file['arr_0'][:, 0, 0, 0].tolist() == [0, 10, 20]
        assert file['arr_1'].tolist() == [0, 1, 2]
    assert Image.open(sheet).size[0] > 64


def test_samples_without_classes_have_no_labels(tmp_path):
    folder = SampleFolder(tmp_path, SETTINGS)
    folder.save(0, picture(5), seed=0, label=None)
    samples, _ = folder.finish(1)
    with np.load(samples) as file:
        assert file.files == ['arr_0']


def test_each_file_says_its_seed_and_label(tmp_path):
    filled(tmp_path)
    info = Image.open(tmp_path / '000002.png').info
    assert (info['seed'], info['label']) == ('5', '2')


def test_no_temporary_file_is_left(tmp_path):
    filled(tmp_path).finish(3)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        '000000.png',
        '000001.png',
        '000002.png',
        'samples.npz',
        'settings.json',
        'sheet.png',
    }


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    filled(tmp_path).finish(3)
    (tmp_path / 'notes.txt').write_text('mine')
    folder = SampleFolder(tmp_path, {**SETTINGS, 'seed': 9}, overwrite=True)
    assert folder.missing(3) == [0, 1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {'notes.txt', 'settings.json'}


def test_a_trajectory_is_a_strip_of_two_rows_and_a_frame_for_each_step():
    trajectory = dict(
        levels=[NoiseLevel(1.0, sigma) for sigma in (80.0, 3.0, 0.0021)],
        x_t=torch.randn(3, 2, 3, 8, 8),
        pred_x0=torch.zeros(3, 2, 3, 8, 8),
    )
    strip, frames = trajectory_pictures(trajectory, sample=1)
    assert len(frames) == 3
    assert strip.width > 3 * 64
    assert strip.height > 2 * 64


def test_a_trajectory_says_what_its_numbers_are(monkeypatch):
    said = []
    monkeypatch.setattr(
        'PIL.ImageDraw.ImageDraw.text', lambda pen, place, text, **_: said.append(text)
    )
    way = dict(x_t=torch.zeros(2, 1, 1, 8, 8), pred_x0=torch.zeros(2, 1, 1, 8, 8))
    for levels in (NoiseLevel(1, 57.586), NoiseLevel(1, 0.0021)), (NoiseLevel(0.6, 0.8, 480),) * 2:
        trajectory_pictures(dict(way, levels=levels), sample=0)
    assert said[:2] == ['sigma=57.6', 'sigma=0.0021']  # whole, under a small picture
    assert said[4:6] == ['t=480', 't=480']


class TestBadInput:
    def test_a_folder_of_other_samples(self, tmp_path):
        filled(tmp_path)
        with pytest.raises(
            ValueError, match=r'seed: 3 there, 4 now\); nothing was changed: .*--overwrite'
        ):
            SampleFolder(tmp_path, {**SETTINGS, 'seed': 4})

    def test_a_folder_of_something_else(self, tmp_path):
        (tmp_path / 'thesis.tex').write_text('years of work')
        for overwrite in (False, True):
            with pytest.raises(ValueError, match='not empty and not a folder of samples'):
                SampleFolder(tmp_path, SETTINGS, overwrite)
        assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_settings_that_cannot_be_read_are_named_and_left_as_they_are(tmp_path):
    (tmp_path / 'settings.json').write_bytes(b'{"seed": ')
    with pytest.raises(
        CheckpointError, match=r'settings\.json is truncated or damaged .*--overwrite'
    ):
        SampleFolder(tmp_path, dict(seed=1))
    assert (tmp_path / 'settings.json').read_bytes() == b'{"seed": '
    SampleFolder(tmp_path, dict(seed=1), overwrite=True)
