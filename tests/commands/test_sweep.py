"""``mmagic-adm sweep``, as it is called from a shell."""

import json

import pytest
from mmengine import Config
from PIL import Image

from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.commands import sweep
from mmagic_adm.evaluation import write_batch
from tests.commands.running import fail, run_here, succeed
from tests.evaluation.tiny import TINY, blocky_images
from tests.tiny import CLASSIFIER, build_model, model_config

FIGURES = ['scale', 'Accuracy top-1', 'FID', 'Precision', 'Recall', 'ms per step']


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A small guided model, its weights, a reference batch, and features to compare by."""
    folder = tmp_path_factory.mktemp('sweep')
    model = model_config(classifier=CLASSIFIER)
    Config(dict(model=model)).dump(folder / 'tiny-g.py')
    write_checkpoint(
        build_model(classifier=CLASSIFIER).state_dict(),
        folder / 'tiny-g.safetensors',
        'safetensors',
    )
    write_batch(folder / 'reference.npz', [blocky_images(40)], 40)
    (folder / 'features.py').write_text(f'features = {TINY!r}\n')
    evaluated = dict(
        model=model,
        test_evaluator=dict(reference=str(folder / 'reference.npz'), features=TINY),
    )
    Config(evaluated).dump(folder / 'evaluated.py')
    return folder


@pytest.fixture
def small(files):
    """Arguments for a small model of this config."""

    def small(model, *options):
        weights = files / 'tiny-g.safetensors'
        shared = ['--checkpoint', weights, '--num-samples', '12', '--steps', '2']
        shared += ['--device', 'cpu']
        return ['sweep', files / model, *shared, *options]

    return small


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the plot out, which takes longer than the samples."""
    monkeypatch.setattr(sweep.Results, 'save_plot', lambda results, *_: results.file)


@pytest.fixture
def given(files):
    return ['--reference', files / 'reference.npz', '--features', files / 'features.py']


def rows(folder):
    return json.loads((folder / 'sweep.json').read_text())['figures']


def test_a_row_for_each_scale_as_table_json_and_plot(small, given, tmp_path):
    out = tmp_path / 'out'
    arguments = small('tiny-g.py', '--scales', '4,0', *given, '--out', out)
    printed = succeed(*arguments).splitlines()
    assert [name.strip() for name in printed[0].split('  ') if name] == FIGURES
    assert [line.split()[0] for line in printed[1:3]] == ['0', '4']
    assert printed[3:] == [str(out / 'sweep.json'), str(out / 'sweep.png')]
    assert [row['scale'] for row in rows(out)] == [0, 4]
    assert all(list(row) == FIGURES for row in rows(out))
    assert rows(out)[0]['FID'] != rows(out)[1]['FID']
    assert all(row['ms per step'] > 0 for row in rows(out))
    assert Image.open(out / 'sweep.png').width > 1000


@pytest.mark.usefixtures('undrawn')
def test_ctrl_c_keeps_the_scales_that_are_done_and_more_of_them_add_to_it(
    small, given, tmp_path, monkeypatch
):
    out = tmp_path / 'out'
    add = sweep.Results.add

    def add_and_stop(results, scale, row):
        add(results, scale, row)
        if scale == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep.Results, 'add', add_and_stop)
        ended = run_here(*small('tiny-g.py', '--scales', '0,2,4', *given, '--out', out))
    assert ended.returncode == 130
    assert f'{out / "sweep.json"} has 0, 2: the same command makes the rest' in ended.stderr
    before = rows(out)
    succeed(*small('tiny-g.py', '--scales', '0,1,2', *given, '--out', out))
    after = rows(out)
    assert [row['scale'] for row in after] == [0, 1, 2]
    assert [after[0], after[2]] == before


@pytest.mark.usefixtures('undrawn')
def test_the_configs_own_evaluation_is_the_default(small, given, tmp_path):
    for name, arguments in (('tiny-g.py', given), ('evaluated.py', [])):
        succeed(*small(name, '--scales', '1', *arguments, '--out', tmp_path / name))
    ours, theirs = rows(tmp_path / 'tiny-g.py')[0], rows(tmp_path / 'evaluated.py')[0]
    assert {**ours, 'ms per step': 0} == pytest.approx({**theirs, 'ms per step': 0})


@pytest.mark.usefixtures('undrawn')
def test_the_config_can_be_changed(small, tmp_path):
    skipping = ['model.guidance.type=ClassifierGuidance', 'model.guidance.interval=0,250']
    for name, options in (('plain', []), ('skipping', ['--cfg-options', *skipping])):
        out = tmp_path / name
        succeed(*small('evaluated.py', '--scales', '0,8', '--out', out, *options))
    plain, skipping = rows(tmp_path / 'plain'), rows(tmp_path / 'skipping')
    assert plain[0]['FID'] == pytest.approx(skipping[0]['FID'])
    assert plain[1]['FID'] != pytest.approx(skipping[1]['FID'])


@pytest.mark.slow
def test_a_larger_scale_trades_diversity_for_fidelity(tmp_path):
    """On the bundled digits, as on ImageNet (ADM, figure 4)."""
    out = tmp_path / 'out'
    succeed(
        'sweep', 'adm-g_ddim25_digits-16x16', '--scales', '0,1,8', '--num-samples', 300,
        '--batch-size', 100, '--device', 'cpu', '--out', out,
    )  # fmt: skip
    for name in ('Accuracy top-1', 'Precision'):
        figures = [row[name] for row in rows(out)]
        assert figures == sorted(figures)
        assert figures[-1] > figures[0]
    recalls = [row['Recall'] for row in rows(out)]
    assert recalls[0] > recalls[1] > recalls[2]


class TestBadInput:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (
                ['--scales', '0,much'],
                "finite numbers with commas between, not '0,much'",
            ),
            (['--scales', '0,inf'], "finite numbers with commas between, not '0,inf'"),
            (['--scales', '0'], 'names no reference batch: give one by --reference'),
            (['--scales', '0', '--num-samples', '3'], '--num-samples is more than 3'),
        ],
    )
    def test_one_line_says_what_is_wrong(self, small, tmp_path, options, message):
        failed = fail(*small('tiny-g.py', '--out', tmp_path / 'out', *options))
        assert message in failed

    def test_a_model_without_guidance(self, small, given, files, tmp_path):
        Config(dict(model=model_config())).dump(files / 'plain.py')
        failed = fail(*small('plain.py', '--scales', '0,1', *given, '--out', tmp_path / 'out'))
        assert 'has neither classifier nor guidance to scale' in failed

    @pytest.mark.usefixtures('undrawn')
    def test_a_folder_of_another_sweep_is_left_alone(self, small, tmp_path):
        out = tmp_path / 'out'
        succeed(*small('evaluated.py', '--scales', '1', '--out', out))
        before = (out / 'sweep.json').read_text()
        another = small('evaluated.py', '--scales', '1', '--out', out, '--seed', '5')
        assert 'belongs to another run (seed: 0 there, 5 now); nothing was changed' in fail(
            *another
        )
        assert (out / 'sweep.json').read_text() == before
        succeed(*another, '--overwrite')
        assert (out / 'sweep.json').read_text() != before
