import copy
import json
import os
import shutil
import uuid

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmagic_adm.engine import EvaluationRunner, SamplingLoop
from mmagic_adm.evaluation import evaluate, write_batch
from mmagic_adm.files.alone import claimed
from mmagic_adm.registry import DATASETS
from tests.evaluation.tiny import TINY, blocky_images, run_on_processes
from tests.tiny import build_model, model_config

COUNT = 14


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'unet.pt'
    torch.save(build_model().unet.state_dict(), path)
    return path


@pytest.fixture(scope='module')
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp('reference') / 'reference.npz'
    write_batch(path, [blocky_images(40)], 40)
    return path


def config_of(checkpoint, reference, work_dir):
    metrics = ['InceptionScore', 'FrechetInceptionDistance', 'PrecisionRecall']
    return dict(
        default_scope='mmagic_adm',
        work_dir=str(work_dir),
        load_from=str(checkpoint),
        model=model_config(num_inference_steps=2),
        test_dataloader=dict(
            batch_size=3,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset=dict(type='SampleSpecs', num_samples=COUNT, num_classes=10),
        ),
        test_cfg=dict(type='SamplingLoop'),
        test_evaluator=dict(
            type='SampleEvaluator',
            reference=str(reference),
            features=TINY,
            metrics=[dict(type=each) for each in metrics],
        ),
        custom_hooks=[dict(type='EvaluationSummary')],
        log_level='ERROR',
    )


@pytest.fixture
def config(checkpoint, reference, tmp_path):
    return config_of(checkpoint, reference, tmp_path / 'work')


def changed(config, **changes):
    """The config with other values under dotted keys (a double underscore for each dot)."""
    # MMEngine keeps loggers and visualisers by the experiment's name.
    config = Config(dict(copy.deepcopy(config), experiment_name=uuid.uuid4().hex))
    config.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return config


def run(config, **changes):
    return EvaluationRunner.from_cfg(changed(config, **changes)).test()


def samples(folder, count=COUNT):
    with np.load(folder / f'samples_{count}x8x8x3.npz') as arrays:
        return arrays['arr_0'], arrays['arr_1']


@pytest.fixture(scope='module')
def whole(checkpoint, reference, tmp_path_factory):
    """A work directory in which all was made at once, and the figures."""
    work = tmp_path_factory.mktemp('whole')
    return work, run(config_of(checkpoint, reference, work))


@pytest.fixture(scope='module')
def begun(checkpoint, reference, tmp_path_factory):
    """A work directory in which three of five batches were made."""
    work, test_step = tmp_path_factory.mktemp('begun'), SamplingLoop.run_iter

    def interrupting(loop, idx, data_batch):
        if idx == 3:
            raise KeyboardInterrupt
        test_step(loop, idx, data_batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SamplingLoop, 'run_iter', interrupting)
        said = r'with 9 of 14 samples in .*/samples; .*--resume'
        with pytest.raises(KeyboardInterrupt, match=said):
            run(config_of(checkpoint, reference, work))
    return work


@pytest.fixture
def interrupted(begun, tmp_path, monkeypatch):
    """The numbers that are asked for once three of five batches are in the work directory."""
    asked, test_step = [], SamplingLoop.run_iter
    shutil.copytree(begun, tmp_path / 'work')

    def watching(loop, idx, data_batch):
        asked.extend(data_batch['inputs']['index'])
        test_step(loop, idx, data_batch)

    monkeypatch.setattr(SamplingLoop, 'run_iter', watching)
    return asked


def test_a_run_leaves_its_samples_and_their_figures(whole, reference):
    work, figures = whole
    expected = evaluate(reference, work / f'samples_{COUNT}x8x8x3.npz', TINY)
    assert figures == pytest.approx({name: expected[name] for name in figures})
    assert set(figures) == {'Inception Score', 'FID', 'Precision', 'Recall'}

    written = json.loads((work / 'figures.json').read_text())
    assert written['figures'] == pytest.approx(figures)
    assert written['samples'] == str(work / f'samples_{COUNT}x8x8x3.npz')
    with Image.open(work / 'samples.png') as sheet:
        assert sheet.size[0] > 3 * 8


def test_samples_are_those_that_the_model_makes_of_their_seeds(whole):
    images, labels = samples(whole[0])
    model = build_model(num_inference_steps=2)
    made = model.infer(seeds=range(COUNT))
    assert labels.tolist() == made['labels'].tolist()
    quantised = ((made['samples'] + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    assert np.abs(images.astype(int) - quantised.numpy().astype(int)).max() <= 1


def test_a_model_without_classes_needs_no_labels(config, tmp_path):
    state = build_model(unet=dict(num_classes=None)).unet.state_dict()
    torch.save(state, tmp_path / 'uncond.pt')
    run(
        config,
        load_from=str(tmp_path / 'uncond.pt'),
        model__unet__num_classes=None,
        test_dataloader__dataset__labels=None,
    )
    with np.load(tmp_path / 'work' / f'samples_{COUNT}x8x8x3.npz') as arrays:
        assert arrays.files == ['arr_0']


def test_samples_are_together_even_if_their_figures_cannot_be_had(config, tmp_path, monkeypatch):
    def fails(metric, results):
        raise RuntimeError('no memory left')

    monkeypatch.setattr('mmagic_adm.evaluation.PrecisionRecall.compute_metrics', fails)
    with pytest.raises(RuntimeError, match='no memory left'):
        run(config)
    assert len(samples(tmp_path / 'work')[0]) == COUNT


def test_an_interrupted_run_goes_on_with_what_is_missing(config, interrupted, whole, tmp_path):
    figures = run(config, test_cfg__resume=True)
    assert interrupted == list(range(9, COUNT))
    assert figures == pytest.approx(whole[1], rel=1e-6)
    for resumed, at_once in zip(samples(tmp_path / 'work'), samples(whole[0]), strict=True):
        np.testing.assert_array_equal(resumed, at_once)


def test_a_damaged_shard_is_made_again(config, interrupted, whole, tmp_path):
    shard = tmp_path / 'work' / 'samples' / '00000003.npz'
    shard.write_bytes(shard.read_bytes()[:-200])
    figures = run(config, test_cfg__resume=True)
    assert interrupted == [3, 4, 5, *range(9, COUNT)]
    assert figures == pytest.approx(whole[1], rel=1e-6)


def test_a_finished_run_is_evaluated_again_without_sampling(config, tmp_path, interrupted):
    figures = run(config, test_cfg__resume=True)
    file = tmp_path / 'work' / f'samples_{COUNT}x8x8x3.npz'
    before, asked = file.stat().st_mtime_ns, len(interrupted)
    assert run(config, test_cfg__resume=True) == pytest.approx(figures, rel=1e-6)
    assert len(interrupted) == asked
    assert file.stat().st_mtime_ns == before

    # What they were put together in is damaged, and they are sound.
    whole = samples(tmp_path / 'work')[0]
    file.write_bytes(file.read_bytes()[:-9])
    run(config, test_cfg__resume=True)
    assert len(interrupted) == asked
    np.testing.assert_array_equal(samples(tmp_path / 'work')[0], whole)


def test_a_longer_run_takes_over_the_samples_of_a_shorter_one(config, interrupted, tmp_path):
    run(config, test_cfg__resume=True)
    interrupted.clear()
    run(config, test_cfg__resume=True, test_dataloader__dataset__num_samples=COUNT + 3)
    assert interrupted == [COUNT, COUNT + 1, COUNT + 2]
    np.testing.assert_array_equal(
        samples(tmp_path / 'work', COUNT + 3)[0][:COUNT], samples(tmp_path / 'work')[0]
    )


def test_a_shorter_run_takes_no_more_than_it_needs(config, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / 'work')
    count = 8
    run(config, test_cfg__resume=True, test_dataloader__dataset__num_samples=count)
    np.testing.assert_array_equal(
        samples(tmp_path / 'work', count)[0], samples(tmp_path / 'work')[0][:count]
    )


def test_any_number_of_processes_makes_the_same(config, interrupted, whole, tmp_path):
    # Nine samples are there; five more are made by three processes.
    for figures in run_on_processes(lambda: run(config, test_cfg__resume=True), 3, tmp_path):
        assert figures == pytest.approx(whole[1], rel=1e-6)
    for spread, at_once in zip(samples(tmp_path / 'work'), samples(whole[0]), strict=True):
        assert np.abs(spread.astype(int) - at_once.astype(int)).max() <= 1


def test_samples_that_are_there_are_not_made_again_unasked(config, interrupted):
    with pytest.raises(ValueError, match='earlier run; go on with them by --resume'):
        run(config)


def test_another_config_is_refused_with_what_differs(config, interrupted):
    with pytest.raises(ValueError, match=r'model\.num_inference_steps: 2 there, 3 now'):
        run(config, test_cfg__resume=True, model__num_inference_steps=3)
    with pytest.raises(ValueError, match=r'dataset\.seed: 0 there, 1 now'):
        run(config, test_cfg__resume=True, test_dataloader__dataset__seed=1)


def test_other_weights_are_refused(config, interrupted, tmp_path):
    state = build_model().unet.state_dict()
    state['out.2.bias'] += 1
    torch.save(state, tmp_path / 'other.pt')
    with pytest.raises(ValueError, match='weights: '):
        run(config, test_cfg__resume=True, load_from=str(tmp_path / 'other.pt'))
    assert not interrupted


def test_all_processes_refuse_together(config, interrupted, tmp_path):
    def refused():
        with pytest.raises(ValueError, match='run') as why:
            run(config)
        return [str(why.value)]

    for [said] in run_on_processes(refused, 2, tmp_path):
        assert 'earlier run' in said
    with claimed(tmp_path / 'work' / 'samples'):
        for [said] in run_on_processes(refused, 2, tmp_path):
            assert f'in use by another run (process {os.getpid()} on' in said


def test_a_copied_shard_is_found_out(config, interrupted, tmp_path):
    folder = tmp_path / 'work' / 'samples'
    (folder / '00000099.npz').write_bytes((folder / '00000003.npz').read_bytes())
    with pytest.raises(ValueError, match='has 3 samples twice'):
        run(config, test_cfg__resume=True)


def test_a_sampler_that_repeats_samples_is_refused(config):
    with pytest.raises(ValueError, match='round_up=False'):
        run(config, test_dataloader__sampler__round_up=True)


@DATASETS.register_module()
class SomethingElse(torch.utils.data.Dataset):
    def __len__(self):
        return 3


def test_a_dataset_of_something_else_is_refused(config):
    config['test_dataloader']['dataset'] = dict(type='SomethingElse')
    with pytest.raises(ValueError, match='runs over SampleSpecs, not over SomethingElse'):
        run(config)


def test_a_checkpoint_that_does_not_fit_is_refused_before_any_sampling(config, tmp_path):
    with pytest.raises(RuntimeError, match='does not fit'):
        run(config, model__unet__model_channels=64)
    assert not (tmp_path / 'work' / 'samples').exists()


def test_samples_are_visualised_if_asked(config, tmp_path):
    config['custom_hooks'] = [dict(type='EvaluationSummary', num_shown=0, num_visualized=2)]
    run(config)
    shown = [path.name for path in (tmp_path / 'work').rglob('vis_image/*.png')]
    assert sorted(shown) == ['sample_0_0.png', 'sample_1_0.png']
    assert not (tmp_path / 'work' / 'samples.png').exists()
