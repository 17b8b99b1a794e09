import json

import numpy as np
import pytest
import torch

from mmagic_adm.evaluation import evaluate, write_batch
from tests.commands.running import fail, succeed
from tests.evaluation.tiny import TINY, blocky_images


@pytest.fixture
def batches(tmp_path):
    for name, seed in (('reference', 0), ('samples', 1)):
        write_batch(tmp_path / f'{name}.npz', [blocky_images(40, seed)], 40)
    return [tmp_path / 'reference.npz', tmp_path / 'samples.npz']


@pytest.fixture
def features(tmp_path):
    path = tmp_path / 'features.py'
    path.write_text(f'features = {TINY!r}\n')
    return path


def test_it_prints_a_figure_a_line(batches, features):
    printed = succeed('evaluate', *batches, '--features', features).splitlines()
    expected = evaluate(*batches, TINY)
    assert printed == [f'{name}: {value}' for name, value in expected.items()]
    assert printed[0].startswith('Inception Score: ')


def test_figures_are_written_as_json_and_never_over_a_file_unasked(batches, features, tmp_path):
    out = tmp_path / 'new' / 'figures.json'
    arguments = [*batches, '--features', features, '--out', out]
    succeed('evaluate', *arguments)
    figures = json.loads(out.read_text())['sets']['samples']['figures']
    assert figures == pytest.approx(evaluate(*batches, TINY))
    assert out.with_suffix('.md').read_text().startswith('| samples | number | Inception Score ↑ |')
    out.write_text('mine')
    refusal = fail('evaluate', *arguments)
    assert 'figures.json exists; choose another --out, or --overwrite' in refusal
    assert out.read_text() == 'mine'
    succeed('evaluate', *arguments, '--overwrite')
    assert 'sets' in json.loads(out.read_text())


def test_of_several_sets_it_prints_a_table_and_draws_a_plot(batches, features, tmp_path):
    sets = [*batches, '--features', features, '--metrics', 'fid,prdc', '--repeats', '2']
    out = tmp_path / 'report.json'
    printed = succeed('evaluate', batches[0], *sets, '--nearest', '2', '--out', out)
    assert printed.startswith('| samples | number | FID ↓ | Precision ↑ |')
    assert printed.rstrip() == out.with_suffix('.md').read_text().rstrip()
    ends = ('.json', '.md', '.png', '_nearest_0.png', '_nearest_1.png')
    assert {file.name for file in tmp_path.glob('report*')} == {f'report{end}' for end in ends}


def test_a_data_set_in_a_config_is_a_reference_and_images_are_resized_if_asked(
    batches, features, tmp_path
):
    write_batch(tmp_path / 'large.npz', [blocky_images(40, size=16)], 40)
    (tmp_path / 'data.yml').write_text(
        f'dataset: {{type: NpzImages, ann_file: {batches[0].as_posix()}}}'
    )
    arguments = [tmp_path / 'data.yml', tmp_path / 'large.npz', '--features', features]
    said = fail('evaluate', *arguments)
    assert 'is of 8x8 images' in said
    assert '--resize' in said
    assert 'FID: ' in succeed('evaluate', *arguments, '--resize', '8', '--filter', 'box')


def test_bad_input_ends_in_one_line(batches, features, tmp_path):
    np.savez(tmp_path / 'float.npz', np.zeros((4, 8, 8, 3)))
    line = fail('evaluate', batches[0], tmp_path / 'float.npz', '--features', features)
    assert 'float.npz: arr_0 is float64' in line


def test_weights_that_are_not_the_inceptions_are_named(batches, tmp_path):
    torch.save({'weight': torch.zeros(1)}, tmp_path / 'other.pth')
    line = fail('evaluate', *batches, '--inception', tmp_path / 'other.pth')
    assert 'other.pth does not hold the weights' in line


@pytest.mark.parametrize('name', ['features.yml', 'features.json'])
def test_yaml_and_json_configure_as_data(batches, tmp_path, name):
    (tmp_path / name).write_text(json.dumps(dict(features=TINY)))
    printed = succeed('evaluate', *batches, '--features', tmp_path / name)
    assert 'Inception Score: ' in printed


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        ('a.yml', '!!python/object/apply:os.mkdir ["trace"]', 'could not determine a constructor'),
        ('a.yml', 'features: {type: [', 'is no plain YAML or JSON'),
        ('a.yml', 'a: &a [x, x]\nfeatures: {b: *a}', 'it refers to parts of itself'),
        ('a.json', '[' * 100_000, 'is no plain YAML or JSON'),
        ('a.yaml', 'type: TinyFeatures', 'configures no `features`'),
        ('a.py', 'feature = 1', 'configures no `features`'),
        ('a', None, 'there is no config file'),
    ],
)
def test_what_configures_nothing_is_named_and_runs_nothing(
    batches, tmp_path, monkeypatch, name, text, said
):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / name).write_text(text)
    assert said in fail('evaluate', *batches, '--features', tmp_path / name)
    assert not (tmp_path / 'trace').exists()
