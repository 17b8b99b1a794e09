import pytest
import torch
from torch import nn

from mmagic_adm.engine import EvaluationRunner, EvaluationSummary


@pytest.fixture
def runner():
    return EvaluationRunner.__new__(EvaluationRunner)


def test_a_model_without_anything_to_train_is_taken_as_it_is(runner):
    model = nn.Linear(2, 2).requires_grad_(False)
    assert runner.wrap_model(None, model) is model


def test_processes_without_gpus_talk_through_gloo(runner, tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr('mmengine.runner.Runner.setup_env', lambda self, env_cfg: None)
    monkeypatch.setattr(
        torch.distributed,
        'init_process_group',
        lambda backend, timeout: given.update(backend=backend, seconds=timeout.total_seconds()),
    )
    runner._launcher = 'pytorch'
    runner.setup_env(dict(dist_cfg=dict(backend='nccl', timeout=86400)))
    assert given == dict(backend='gloo', seconds=86400)


@pytest.mark.parametrize(('launcher', 'has_gpu'), [('none', False), ('pytorch', True)])
def test_otherwise_mmengine_sets_the_processes_up(runner, launcher, has_gpu, monkeypatch):
    left_to_mmengine = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    monkeypatch.setattr(
        'mmengine.runner.Runner.setup_env', lambda self, env_cfg: left_to_mmengine.append(env_cfg)
    )
    monkeypatch.delattr(torch.distributed, 'init_process_group')
    runner._launcher = launcher
    runner.setup_env({})
    assert len(left_to_mmengine) == 1


@pytest.mark.parametrize(
    ('hooks', 'summaries'),
    [(None, [64]), ([dict(type='EvaluationSummary', num_shown=9)], [9])],
)
def test_a_run_is_summed_up_once(hooks, summaries, tmp_path):
    runner = EvaluationRunner(
        model=nn.Linear(2, 2), work_dir=str(tmp_path), custom_hooks=hooks, log_level='ERROR',
        default_scope='mmagic_adm', experiment_name=tmp_path.name,
    )  # fmt: skip
    shown = [hook.num_shown for hook in runner.hooks if isinstance(hook, EvaluationSummary)]
    assert shown == summaries


def test_processes_wait_for_one_that_is_a_batch_behind(runner, monkeypatch):
    passed_on = []
    monkeypatch.setattr(
        'mmengine.runner.Runner.setup_env', lambda self, env_cfg: passed_on.append(env_cfg)
    )
    runner._launcher = 'none'
    runner.setup_env(dict(dist_cfg=dict(backend='nccl')))
    runner.setup_env(dict(dist_cfg=dict(timeout=60)))
    assert passed_on == [
        dict(dist_cfg=dict(backend='nccl', timeout=86400)), dict(dist_cfg=dict(timeout=60))
    ]  # fmt: skip
