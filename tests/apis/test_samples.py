"""What sampling gives, and the words that it is asked in."""

import io
import logging
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image

from mmagic_adm.apis import Samples, sample, vary
from mmagic_adm.apis import sampling as module
from tests.tiny import CLASSIFIER, build_model

CLOSE = dict(atol=1e-5, rtol=1e-4)


@pytest.fixture(scope='module')
def model():
    return build_model(classifier=CLASSIFIER, num_inference_steps=2)


@pytest.fixture(scope='module')
def made(model):
    """In two batches, with every step."""
    return sample(model, labels=[3, 7, 1], seeds=[9, 4, 5], batch_size=2, trajectory=1)


def test_the_same_images_in_every_form(made):
    assert made['samples'] is made.tensor
    assert made.labels.tolist() == [3, 7, 1]
    assert made.seeds == made['seeds'] == [9, 4, 5]
    assert made.pixels.shape == (3, 8, 8, 3)
    assert made.pixels.dtype == np.uint8
    assert np.array_equal(np.stack(made.images), made.pixels)
    back = torch.from_numpy(made.pixels).permute(0, 3, 1, 2) / 127.5 - 1
    assert (back - made.tensor).abs().max() <= 2 / 255
    assert '3 images of 8x8' in repr(made)


def test_a_notebook_shows_a_sheet(made):
    shown = Image.open(io.BytesIO(made._repr_png_()))
    assert np.array_equal(shown, made.sheet())
    assert made.sheet(columns=3).width > 3 * 64
    # Under each stands its class.
    others = Samples({**made, 'labels': torch.tensor([3, 7, 2])})
    assert not np.array_equal(others.sheet(), made.sheet())


def test_seeds_and_trajectories_are_those_of_infer(model, made):
    whole = model.infer(labels=[3, 7, 1], seeds=[9, 4, 5], return_trajectory=1)
    torch.testing.assert_close(made.tensor, whole['samples'], **CLOSE)
    assert made.trajectory['timesteps'] == whole['trajectory']['timesteps']
    for name in ('x_t', 'pred_x0'):
        torch.testing.assert_close(made.trajectory[name], whole['trajectory'][name], **CLOSE)


def test_each_sample_may_have_a_scale(model):
    asked = dict(labels=1, seed=0)
    each = sample(model, num_samples=3, scale=[0, 1, 9], batch_size=2, **asked).tensor
    for i, scale in enumerate((0, 1, 9)):
        alone = sample(model, labels=1, seed=i, scale=scale).tensor
        torch.testing.assert_close(each[i], alone[0], **CLOSE)


def test_a_saved_folder_is_one_of_the_command(made, tmp_path):
    npz = made.save(tmp_path)
    with np.load(npz) as file:
        assert np.array_equal(file['arr_0'], made.pixels)
        assert file['arr_1'].tolist() == [3, 7, 1]
    assert Image.open(tmp_path / '000001.png').info['seed'] == '4'
    assert (tmp_path / '000002_trajectory.gif').is_file()
    assert made.save(tmp_path) == npz  # the same again


def test_other_samples_are_not_written_over_unasked(model, made, tmp_path):
    made.save(tmp_path)
    other = sample(model, labels=1, seed=0)
    with pytest.raises(ValueError, match=r'nothing was changed: choose .* or overwrite=True'):
        other.save(tmp_path)
    other.save(tmp_path, overwrite=True)
    assert not (tmp_path / '000001.png').exists()


def test_a_bar_counts_the_images_of_all_batches(model, monkeypatch, capfd):
    asked = dict(labels=1, num_samples=3, seed=0, batch_size=1)
    sample(model, **asked)
    assert 'images' not in capfd.readouterr().err  # nobody looks
    monkeypatch.setattr(module, 'is_watched', lambda: True)
    sample(model, **asked, progress=False)
    assert 'images' not in capfd.readouterr().err
    sample(model, **asked)
    assert '100%' in (bar := capfd.readouterr().err)
    assert '3/3 images' in bar


def test_what_is_logged_has_a_line_beside_the_bar(monkeypatch, capsys):
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handlers', [logging.StreamHandler(sys.stderr)])
    with module.image_bar(3):
        logger.warning('a word')
    assert '\ra word\n' in capsys.readouterr().err


def test_pictures_arrays_and_files_are_varied_alike(model, made, tmp_path):
    file = tmp_path / 'one.png'
    made.images[0].save(file)
    forms = [made.images[0], made.pixels[0], file, [str(file)]]
    first, *others = (vary(model, form, 0.5, labels=3, seed=1).tensor for form in forms)
    for other in others:
        assert torch.equal(first, other)
    several = vary(model, file, 0.5, labels=3, seeds=[1, 2])
    torch.testing.assert_close(several.tensor[:1], first, **CLOSE)


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        (dict(seed=1, seeds=[2]), 'seed is that of the first image, and seeds are those of all'),
        (dict(seeds=[1, 2], num_samples=3), '2 seeds were given for 3 samples'),
        (dict(trajectory=0), 'a trajectory keeps every k-th step'),
        (dict(scale='much'), "finite number, or one for each sample; not 'much'"),
    ],
)
def test_an_error_speaks_in_the_words_that_were_used(model, asked, message):
    with pytest.raises(ValueError, match=message):
        sample(model, labels=1, **asked)
