"""``mmagic-adm test`` and the scripts around it, as they are called from a shell."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmagic_adm.evaluation import write_batch
from tests.commands.running import TOOLS, fail, succeed
from tests.evaluation.tiny import TINY, blocky_images
from tests.reference import REPOSITORY
from tests.tiny import build_model, model_config

COUNT = 14


@pytest.fixture(scope='module')
def run_arguments(tmp_path_factory):
    """CONFIG and CHECKPOINT of a small model."""
    folder = tmp_path_factory.mktemp('model')
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pt'
    write_batch(folder / 'reference.npz', [blocky_images(40)], 40)
    torch.save(build_model().unet.state_dict(), checkpoint)
    metrics = ['InceptionScore', 'FrechetInceptionDistance', 'PrecisionRecall']
    Config(
        dict(
            default_scope='mmagic_adm',
            custom_imports=dict(imports=['tests.evaluation.tiny']),
            model=model_config(num_inference_steps=2),
            test_dataloader=dict(
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
                dataset=dict(type='SampleSpecs', num_samples=COUNT, num_classes=10),
            ),
            test_cfg=dict(type='SamplingLoop'),
            test_evaluator=dict(
                type='SampleEvaluator',
                reference=str(folder / 'reference.npz'),
                features=TINY,
                metrics=[dict(type=each) for each in metrics],
            ),
            custom_hooks=[dict(type='EvaluationSummary')],
        )
    ).dump(config)
    return [str(config), str(checkpoint)]


def shell_environment(**variables):
    paths = [str(REPOSITORY), *filter(None, [os.environ.get('PYTHONPATH')])]
    return {
        **os.environ,
        'PYTHON': sys.executable,
        'PYTHONPATH': os.pathsep.join(paths),
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '-1',
        **variables,
    }


def in_shell(*command, **variables):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=shell_environment(**variables)
    )


def figures_and_samples(folder):
    figures = json.loads((folder / 'figures.json').read_text())['figures']
    with np.load(folder / f'samples_{COUNT}x8x8x3.npz') as arrays:
        return figures, arrays['arr_0'].astype(int), arrays['arr_1']


def assert_same_run(folder, other):
    figures, images, labels = figures_and_samples(folder)
    other_figures, other_images, other_labels = figures_and_samples(other)
    assert figures == pytest.approx(other_figures, rel=1e-3)
    # Rounding may differ with the batch, and tip a value over to the next.
    assert np.abs(images - other_images).max() <= 1
    assert np.mean(images != other_images) < 0.01
    np.testing.assert_array_equal(labels, other_labels)


def test_it_prints_the_figures_and_writes_them_where_it_is_told(run_arguments, tmp_path):
    out = tmp_path / 'figures.json'
    options = ['--cfg-options', 'test_dataloader.dataset.num_samples=5']
    options += ['--work-dir', tmp_path / 'work', '--out', out]
    printed = succeed('test', *run_arguments, *options)
    figures = json.loads(out.read_text())
    assert printed.splitlines() == [f'{name}: {value}' for name, value in figures.items()]
    assert list(figures) == ['Inception Score', 'FID', 'Precision', 'Recall']
    assert (tmp_path / 'work' / 'samples_5x8x8x3.npz').is_file()


def test_another_sampler_takes_as_many_steps_as_it_is_told(run_arguments, tmp_path):
    few = ['--cfg-options', 'test_dataloader.dataset.num_samples=5']
    solver = ['--scheduler', 'dpmsolver++', '--steps', '3']
    arguments = ['test', *run_arguments, *few, '--work-dir', tmp_path / 'work']
    succeed(*arguments, *solver)
    with np.load(tmp_path / 'work' / 'samples_5x8x8x3.npz') as arrays:
        images, labels = arrays['arr_0'], arrays['arr_1']
    expected = build_model().infer(
        seeds=range(5),
        labels=labels.tolist(),
        num_inference_steps=3,
        scheduler_kwargs=dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler'),
    )['samples']
    assert np.abs((expected.permute(0, 2, 3, 1).numpy() + 1) * 127.5 - images).max() < 2
    refusal = fail(*arguments, '--resume')
    assert 'sample_kwargs.num_inference_steps: 3 there, nothing now' in refusal


def test_the_work_directory_is_named_after_the_config(run_arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed('test', *run_arguments, '--cfg-options', 'test_dataloader.dataset.num_samples=4')
    assert (tmp_path / 'work_dirs' / 'tiny' / 'figures.json').is_file()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--cfg-options', 'model.unet.model_channels=64'], 'does not fit'),
        (['--resume', '--cfg-options', 'test_cfg.type=TestLoop'], 'test_cfg of .* is a TestLoop'),
        (['--steps', '3', '--cfg-options', 'test_cfg.type=TestLoop'], 'test_cfg of .* is a TestL'),
        (['--scheduler', 'dddim'], "no scheduler is called 'dddim'"),
        (['--cfg-options', 'test_evaluator.reference=nowhere.npz'], 'nowhere.npz does not exist'),
    ],
)
def test_bad_input_ends_in_one_line(options, message, run_arguments, tmp_path):
    line = fail('test', *run_arguments, '--work-dir', tmp_path / 'work', *options)
    assert re.search(message, line)


def test_files_that_are_there_are_not_written_over_unasked(run_arguments, tmp_path):
    out = tmp_path / 'figures.json'
    out.write_text('mine')
    options = ['--cfg-options', 'test_dataloader.dataset.num_samples=5']
    arguments = ['test', *run_arguments, '--work-dir', tmp_path / 'work', '--out', out, *options]
    assert 'figures.json exists' in fail(*arguments)
    assert out.read_text() == 'mine'
    assert not (tmp_path / 'work').exists()
    succeed(*arguments, '--overwrite')
    assert 'FID' in json.loads(out.read_text())


def test_a_config_without_evaluation_says_so(run_arguments, tmp_path):
    path = tmp_path / 'bare.py'
    Config(dict(model=model_config())).dump(path)
    assert 'bare.py has no evaluation' in fail('test', path, run_arguments[1])


@pytest.mark.slow
def test_two_processes_make_what_one_makes(run_arguments, tmp_path):
    succeed('test', *run_arguments, '--work-dir', tmp_path / 'one')
    result = in_shell(
        TOOLS / 'dist_test.sh', *run_arguments, 2, '--work-dir', tmp_path / 'two'
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / 'two', tmp_path / 'one')


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(run_arguments, processes, tmp_path):
    steps = ['--cfg-options', 'model.num_inference_steps=20']
    succeed('test', *run_arguments, '--work-dir', tmp_path / 'whole', *steps)

    work = tmp_path / 'killed'
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmagic_adm', 'test', *run_arguments, '--work-dir', work, *steps],
        env=shell_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(work.glob('samples/*.npz'))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, 'it ended before it could be killed'
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = len(list(work.glob('samples/*.npz')))
    assert 2 <= stored < COUNT / 2

    result = in_shell(
        TOOLS / 'dist_test.sh', *run_arguments, processes, '--work-dir', work, '--resume', *steps
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f'{2 * stored} of {COUNT} samples were there' in result.stdout + result.stderr
    assert_same_run(work, tmp_path / 'whole')


def test_dist_test_starts_the_processes_on_one_machine_or_several():
    arguments = ['config.py', 'weights.pth', 8, '--resume']
    alone = in_shell(TOOLS / 'dist_test.sh', *arguments, PYTHON='echo').stdout
    assert alone.split() == [
        '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=8',
        str(TOOLS / 'test.py'), 'config.py', 'weights.pth', '--launcher', 'pytorch', '--resume',
    ]  # fmt: skip
    released = in_shell(TOOLS / 'dist_test.sh', 'config.py', 8, '--resume', PYTHON='echo').stdout
    assert released.split() == [word for word in alone.split() if word != 'weights.pth']
    places = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='first')
    several = in_shell(TOOLS / 'dist_test.sh', *arguments, PYTHON='echo', **places).stdout
    assert '--nnodes=2 --node-rank=1 --master-addr=first --master-port=29500' in several
    assert '--standalone' not in several


def test_slurm_test_starts_torchrun_on_each_machine(fake_slurm):
    result = in_shell(
        TOOLS / 'slurm_test.sh', 'gpu', 'fid', 'config.py', 'weights.pth', '--resume',
        PATH=fake_slurm, PYTHON='echo', GPUS='16',
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert '--partition=gpu --job-name=fid --nodes=2' in result.stderr
    assert '--gres=gpu:8' in result.stderr
    assert '--nnodes=2 --node-rank=1 --master-addr=n1 --master-port=20123' in result.stdout
    assert '--nproc-per-node=8' in result.stdout
    assert result.stdout.endswith('config.py weights.pth --launcher pytorch --resume\n')


def test_slurm_test_needs_no_checkpoint(fake_slurm):
    result = in_shell(
        TOOLS / 'slurm_test.sh', 'gpu', 'fid', 'config.py', '--resume',
        PATH=fake_slurm, PYTHON='echo',
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith('/test.py config.py --launcher pytorch --resume\n')


def test_slurm_test_refuses_gpus_that_do_not_fill_machines(fake_slurm):
    result = in_shell(TOOLS / 'slurm_test.sh', 'gpu', 'fid', 'c', 'w', PATH=fake_slurm, GPUS='12')
    assert result.returncode == 2
    assert 'GPUS=12 is no multiple of GPUS_PER_NODE=8' in result.stderr
