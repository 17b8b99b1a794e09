"""The files of a run."""

import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis.demo.making import make
from mmagic_adm.apis.demo.results import write_results
from mmagic_adm.apis.demo.shelf import Shelf
from tests.apis.demo.orders import order


@pytest.fixture(scope='module')
def made():
    return make(Shelf('cpu'), order(), lambda *_, **__: None, every=2)


def test_downloads_hold_the_true_pixels(made, tmp_path):
    files = write_results(tmp_path, order(), made, made.samples)
    with np.load(files.npz) as samples:
        images, labels = samples['arr_0'], samples['arr_1']
    assert (images.shape, images.dtype, labels.tolist()) == ((2, 16, 16, 1), np.uint8, [3, 7])
    with zipfile.ZipFile(files.zip) as archive:
        assert archive.namelist() == [
            '000000.png',
            '000000_trajectory.gif',
            '000000_trajectory.png',
            '000001.png',
        ]
        with archive.open('000001.png') as file, Image.open(file) as picture:
            assert picture.info['seed'] == '6'
            assert np.array_equal(np.asarray(picture), images[1, ..., 0])


def test_each_run_has_a_folder_of_its_own(made, tmp_path):
    folders = {write_results(tmp_path, order(), made, made.samples).folder for _ in range(3)}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path}
