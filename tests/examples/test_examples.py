"""The scripts that people copy run as they are, and do what they say."""

import contextlib
import io
import re
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from tests.reference import REPOSITORY

EXAMPLES = REPOSITORY / 'examples'


def run(name, folder, *arguments):
    """What an example prints, run in a folder."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, 'argv', [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name='__main__')
    return printed.getvalue()


def numbers(what, printed):
    """The numbers that are printed after a word."""
    return [float(number) for number in re.findall(rf'{what}:? (-?[\d.]+)', printed)]


def rows_of(sheet, count):
    """The rows of a contact sheet, as arrays without its frame."""
    pixels = np.asarray(Image.open(sheet).convert('L'))[2:]
    return np.split(pixels[: len(pixels) // count * count], count)


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.py')), ids=lambda path: path.name)
def test_it_is_short_and_says_how_to_run_it(path):
    text = path.read_text()
    assert len(text.splitlines()) < 60
    assert f'    python examples/{path.name}' in text


def test_guided_sampling_draws_a_row_for_each_scale(tmp_path):
    printed = run('guided_sampling.py', tmp_path)
    assert numbers('scale', printed) == [0, 2, 8]
    assert printed.splitlines()[-1] == 'outputs/guided.png'
    none, weak, strong = rows_of(tmp_path / 'outputs' / 'guided.png', 3)
    # The same digits from the same noise, pushed further and further.
    assert 0 < np.abs(none - 1.0 * weak).mean() < np.abs(none - 1.0 * strong).mean()


def test_custom_guidance_does_what_its_scores_reward(tmp_path):
    printed = run('custom_guidance.py', tmp_path)
    none, ink, mirror = numbers('brightness', printed)
    assert abs(ink + 0.1) < abs(none + 0.1) / 2
    none, ink, mirror = numbers('asymmetry', printed)
    assert mirror < none / 4
    for name in ('none', 'ink', 'mirror'):
        assert (tmp_path / 'outputs' / f'custom_{name}.png').is_file()


class TestEvaluatingOwnSamples:
    @pytest.mark.slow
    def test_digits_are_made_and_compared_without_a_download(self, tmp_path):
        printed = run('evaluate_own_samples.py', tmp_path)
        assert len(list((tmp_path / 'outputs' / 'my_digits').glob('*.png'))) == 100
        with np.load(tmp_path / 'outputs' / 'my_digits.npz') as file:
            assert file['arr_0'].shape == (100, 16, 16, 3)
        (score,), (fid,) = numbers('Inception Score', printed), numbers('FID', printed)
        assert 6 < score <= 10
        assert fid < 1
        assert numbers('Precision', printed)[0] > 0.5

    def test_samples_that_are_given_are_compared_by_inception(self, tmp_path, monkeypatch):
        asked = {}

        def evaluate(**arguments):
            asked.update(arguments)
            return {'FID': 2.5}

        monkeypatch.setattr('mmagic_adm.evaluation.evaluate', evaluate)
        assert run('evaluate_own_samples.py', tmp_path, 'mine', 'reference.npz') == 'FID: 2.500\n'
        assert asked == dict(samples='mine', reference='reference.npz', features=None)
