"""The files of a run."""

import dataclasses
import os
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.demo.making import make
from mmagic_adm.demo.outputs import NPZ, ZIP, Outputs
from mmagic_adm.demo.shelf import Shelf
from tests.demo.orders import order


@pytest.fixture(scope='module')
def made():
    return make(Shelf('cpu'), order(trajectory=2), lambda *_, **__: None)


def test_downloads_hold_the_true_pixels(made, tmp_path):
    folder = Outputs(tmp_path).write(made)
    with np.load(folder / NPZ) as samples:
        images, labels = samples['arr_0'], samples['arr_1']
    assert (images.shape, images.dtype, labels.tolist()) == ((2, 16, 16, 1), np.uint8, [3, 7])
    with zipfile.ZipFile(folder / ZIP) as archive:
        assert archive.namelist() == [
            '000000.png',
            '000000_trajectory.gif',
            '000000_trajectory.png',
            '000001.png',
            '000001_trajectory.gif',
            '000001_trajectory.png',
        ]
        with archive.open('000001.png') as file, Image.open(file) as picture:
            assert picture.info['seed'] == '6'
            assert np.array_equal(np.asarray(picture), images[1, ..., 0])


def test_each_run_has_a_folder_of_its_own(made, tmp_path):
    folders = {Outputs(tmp_path).write(made) for _ in range(3)}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path}


def test_of_too_many_runs_the_oldest_make_room(made, tmp_path):
    outputs = Outputs(tmp_path)
    folders = [outputs.write(made) for _ in range(4)]
    sizes = [sum(file.stat().st_size for file in folder.iterdir()) for folder in folders]
    for age, folder in enumerate(reversed(folders)):
        os.utime(folder, (0, time.time() - 60 * age))
    dataclasses.replace(outputs, keep_gigabytes=(sizes[2] + sizes[3] + 1) / 1e9).prune()
    assert [folder.exists() for folder in folders] == [False, False, True, True]


@pytest.mark.parametrize('kept', [0, -1, float('nan')])
def test_how_much_is_kept_is_above_nothing(tmp_path, kept):
    with pytest.raises(ValueError, match=r'keep_days is .* above 0; not'):
        Outputs(tmp_path, keep_days=kept)
