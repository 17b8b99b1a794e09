import json

import numpy as np
import pytest
from PIL import Image

from mmagic_adm.evaluation import Resize, report_on, write_batch
from mmagic_adm.evaluation.report import report_files
from mmagic_adm.version import __version__
from tests.evaluation.tiny import TINY, blocky_images

KID = dict(type='KernelInceptionDistance', _scope_='mmagic_adm', subsets=5)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A reference, and two sets: one that copies it in part, and one apart from it."""
    folder = tmp_path_factory.mktemp('sets')
    reference, other = blocky_images(60), blocky_images(40, seed=1, high=200)
    sets = dict(reference=reference, near=np.concatenate([reference[:20], other]), apart=other)
    for name, images in sets.items():
        write_batch(
            folder / f'{name}.npz', [images], len(images), dict(arr_1=[0, 1] * (len(images) // 2))
        )
    return folder


@pytest.fixture(scope='module')
def report(folder):
    return report_on(
        folder / 'reference.npz',
        [folder / 'near.npz', folder / 'apart.npz'],
        ['fid', KID, 'prdc', 'class_fid'],
        TINY,
        repeats=3,
        resize=Resize(8, 'lanczos'),
        shown=2,
    )


def test_the_json_has_the_figures_and_all_that_they_follow_from(report):
    written = json.loads(json.dumps(report.as_json()))
    assert written['version'] == __version__
    assert written['reference']['source'].endswith('reference.npz')
    assert len(written['reference']['fingerprint']) == 16
    assert written['resized'] == 'to 8x8 by lanczos (Pillow, antialiased)'
    assert list(written['sets']) == ['near', 'apart']
    near = written['sets']['near']
    assert near['samples'] == 60
    assert near['figures'] == report.sets[0].figures
    assert near['nearest'][0][0]['distance'] == pytest.approx(0, abs=1e-3)
    kid = written['metrics'][1]
    assert kid['settings'] == dict(subsets=5, subset_size=1000, seed=2020)
    assert kid['network'].startswith('TinyFeatures ')


def test_the_table_is_ready_for_a_paper(report):
    lines = report.table().splitlines()
    assert lines[0].startswith('| samples | number | FID ↓ | KID ↓ | Precision ↑ | Recall ↑ |')
    assert len({line.count('|') for line in lines[:4]}) == 1
    figures = report.sets[1].figures
    fid, interval = figures['FID'], figures['FID ±']
    assert lines[3].startswith(f'| apart | 40 | {fid:.4g} ± {interval:.2g} | ')
    assert f'| Class FID[0] | {report.sets[0].figures["Class FID[0]"]:.4g} ± ' in report.table()
    notes = [line for line in lines if line.startswith('- ')]
    assert any('subset_size 1000' in note for note in notes)
    assert '- Images resized to 8x8 by lanczos (Pillow, antialiased).' in notes
    assert '- ±: 95% interval, of 3 random halves of the samples.' in notes


def test_a_class_that_the_first_set_lacks_has_its_row(report, monkeypatch):
    monkeypatch.setitem(report.sets[1].figures, 'Class FID[7]', 3.0)
    assert '| Class FID[7] |  | 3 |' in report.table()


def test_the_plot_shows_each_set_where_its_figures_are(report):
    recall, coverage = report.plot().axes
    assert (recall.get_xlabel(), recall.get_ylabel()) == (
        'recall (diversity)',
        'precision (fidelity)',
    )
    [line] = coverage.lines
    expected = [(each.figures['Coverage'], each.figures['Density']) for each in report.sets]
    assert line.get_xydata().tolist() == [list(pair) for pair in expected]
    assert [text.get_text() for text in coverage.texts] == ['near', 'apart']


def test_it_is_saved_where_it_says_and_over_nothing(report, tmp_path):
    path = tmp_path / 'report.json'
    report.save(path)
    files = report_files(path, sets=2, with_sheets=True)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert [file.name for file in files[1:4]] == ['report.md', 'report.png', 'report_nearest_0.png']
    with Image.open(files[3]) as sheet:
        assert sheet.width > sheet.height  # two samples, each with three neighbours
    with pytest.raises(RuntimeError, match=r'report\.json exists'):
        report.save(path)
    with pytest.raises(ValueError, match=r'report\.txt is to end in \.json'):
        report_files(tmp_path / 'report.txt', 1, with_sheets=False)


def test_a_sheet_shows_the_copied_image_beside_its_copy(report, folder):
    first = report.sets[0].sheet
    with np.load(folder / 'reference.npz') as file:
        copied = file['arr_0'][report.sets[0].nearest[0][0].image]
    enlarged = copied.repeat(8, axis=0).repeat(8, axis=1)
    sheet = np.asarray(first)
    for left in (2, 2 + 64 + 2):
        np.testing.assert_array_equal(sheet[2:66, left : left + 64], enlarged)


def test_sets_of_one_name_go_by_their_paths(folder, tmp_path):
    (tmp_path / 'apart.npz').write_bytes((folder / 'apart.npz').read_bytes())
    sets = [folder / 'apart.npz', tmp_path / 'apart.npz']
    assert report_on(folder / 'reference.npz', sets, ['fid'], TINY).names == list(map(str, sets))


def test_two_metrics_of_one_figure_are_refused_before_any_work(folder):
    with pytest.raises(ValueError, match='two metrics give Precision: leave one out'):
        report_on(folder / 'reference.npz', [folder / 'near.npz'], ['pr', 'prdc'], TINY)


def test_a_report_of_no_trade_has_no_plot(folder):
    sets = [folder / 'near.npz', folder / 'apart.npz']
    assert report_on(folder / 'reference.npz', sets, ['fid'], TINY).plot() is None
