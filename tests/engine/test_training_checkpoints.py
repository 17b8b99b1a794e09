"""Checkpoints of a training: whole or not there, sound, and gone on from only by the same one."""

import errno
import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.logging import MessageHub

from mmagic_adm.engine import (
    StopOnNaN,
    TrainingRunner,
    checkpoint_to_resume,
    last_checkpoint,
)
from mmagic_adm.files import CheckpointError
from tests.engine.training import UNET, resume, train, training_config
from tests.models.on_its_way import OnItsWay


def train_and_die_while_writing(work_dir):
    """Killed half-way through the second checkpoint."""
    put = LocalBackend.put

    def put_half(self, obj, filepath):
        if 'iter_4' not in str(filepath):
            put(self, obj, filepath)
            return
        put(self, bytes(obj)[: len(obj) // 2], filepath)
        os.kill(os.getpid(), signal.SIGKILL)

    LocalBackend.put = put_half
    config = training_config(work_dir)
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    train(config)


def test_killed_while_writing_the_last_good_one_remains_and_training_goes_on(tmp_path):
    process = multiprocessing.get_context('fork').Process(
        target=train_and_die_while_writing, args=(tmp_path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob('iter_*')] == ['iter_2.pth']

    assert last_checkpoint(tmp_path).name == 'iter_2.pth'
    config = training_config(tmp_path)
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    resume(config, last_checkpoint(tmp_path))
    assert [path.name for path in tmp_path.glob('iter_*')] == ['iter_6.pth']
    assert not list(tmp_path.glob('.iter_*'))


@pytest.mark.parametrize('note', [None, b'', b'/moved/away/iter_6.pth', b'\xff\xfe\0', b'x' * 999])
def test_the_newest_checkpoint_is_found_whatever_the_note_says(tmp_path, note):
    for step in (2, 10, 4, 'best'):
        (tmp_path / f'iter_{step}.pth').touch()
    if note is not None:
        (tmp_path / 'last_checkpoint').write_bytes(note)
    assert last_checkpoint(tmp_path).name == 'iter_10.pth'


def test_checkpoints_that_go_elsewhere_are_found_by_the_note(tmp_path):
    elsewhere = tmp_path / 'elsewhere.pth'
    elsewhere.touch()
    (tmp_path / 'last_checkpoint').write_text(str(elsewhere))
    assert last_checkpoint(tmp_path) == elsewhere


def flip_a_bit(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize('damage', [flip_a_bit, lambda data: data[:-100], lambda data: b''])
def test_a_damaged_checkpoint_is_named_with_the_last_sound_one(tmp_path, damage):
    for step in (2, 4, 6):
        torch.save(dict(weights=torch.arange(1000)), tmp_path / f'iter_{step}.pth')
    assert checkpoint_to_resume(tmp_path).name == 'iter_6.pth'
    for step, said in ((6, 'iter_6.pth'), (4, 'iter_6.pth and iter_4.pth')):
        file = tmp_path / f'iter_{step}.pth'
        file.write_bytes(damage(file.read_bytes()))
        sound = f'iter_{step - 2}.pth'
        message = f'{said} is truncated or damaged; delete it, and --resume goes on from {sound}'
        with pytest.raises(CheckpointError, match=message):
            checkpoint_to_resume(tmp_path)
    (tmp_path / 'iter_2.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match='none is sound: start anew'):
        checkpoint_to_resume(tmp_path)


def test_a_full_disk_is_called_so_and_says_where(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(LocalBackend, 'put', full_disk)
    message = f'cannot write {tmp_path / "iter_2.pth"}: the disk is full .*; make room'
    with pytest.raises(CheckpointError, match=message):
        train(training_config(tmp_path, max_iters=2))
    assert not [*tmp_path.glob('*.pth'), *tmp_path.glob('.*')]


def test_a_folder_without_checkpoints_has_no_last_one(tmp_path):
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / 'nowhere') is None


def test_ctrl_c_says_where_training_goes_on(tmp_path, monkeypatch):
    def stop(hook, runner, *_, **__):
        if runner.iter == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(StopOnNaN, 'after_train_iter', stop)
    said = f'stopped at iteration 2; --resume goes on from {tmp_path / "iter_2.pth"}'
    with pytest.raises(KeyboardInterrupt, match=said):
        train(training_config(tmp_path))


def test_nan_in_the_loss_names_iteration_and_learning_rate_and_keeps_the_checkpoint(tmp_path):
    runner = TrainingRunner.from_cfg(training_config(tmp_path))
    draw = runner.model.loss.draw

    def draw_or_damage(images):
        t, weights, noise = draw(images)
        return t, weights, noise * float('nan') if runner.iter == 2 else noise

    runner.model.loss.draw = draw_or_damage
    with pytest.raises(FloatingPointError, match=r'loss is nan at iteration 3, .*rate of 0.00075'):
        runner.train()
    kept = torch.load(last_checkpoint(tmp_path), weights_only=False)
    assert kept['meta']['iter'] == 2
    assert all(torch.isfinite(tensor).all() for tensor in kept['state_dict'].values())


def test_the_loss_is_not_waited_for_a_second_time():
    hub = MessageHub.get_instance('test_the_loss_is_not_waited_for')
    hub.update_scalar('train/loss', 1.0)
    runner = SimpleNamespace(message_hub=hub)
    StopOnNaN().after_train_iter(runner, 0, outputs=dict(loss=torch.ones(()).as_subclass(OnItsWay)))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    runner = TrainingRunner.from_cfg(training_config(tmp_path, max_iters=2))
    update = runner.model.train_step

    def train_step(data, optim_wrapper):
        losses = update(data, optim_wrapper)
        if runner.iter == 1:
            runner.model.unet.time_embed[0].bias.data[0] = float('nan')
        return losses

    runner.model.train_step = train_step
    with pytest.raises(FloatingPointError, match=r'time_embed.0.bias is not finite at iteration 2'):
        runner.train()
    assert last_checkpoint(tmp_path) is None


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('begun')
    train(training_config(work_dir, max_iters=2))
    return work_dir / 'iter_2.pth'


def test_another_model_is_refused_by_what_differs(begun, tmp_path):
    config = training_config(tmp_path)
    config.model.unet = dict(UNET, dropout=0.3)
    with pytest.raises(ValueError, match=r'model.unet.dropout: 0.1 there, 0.3 now.*--work-dir'):
        resume(config, begun)


def test_other_changes_are_named(begun, tmp_path):
    config = training_config(tmp_path, max_iters=3)
    config.optim_wrapper.optimizer.lr = 0.1
    config.log_level = 'INFO'
    resume(config, begun)
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'optim_wrapper.optimizer.lr: 0.001 there, 0.1 now' in log
    assert 'train_cfg.max_iters: 2 there, 3 now' in log


def test_another_order_of_the_data_is_refused_unless_allowed(begun, tmp_path):
    config = training_config(tmp_path, max_iters=3)
    config.train_dataloader.batch_size = 2
    config.randomness.seed = 5
    order = 'seed: 3 there, 5 now; images_per_iteration: 4 there, 2 now'
    with pytest.raises(ValueError, match=rf'another order \({order}\): .*--allow-reorder'):
        resume(config, begun)
    config.train_cfg.allow_reorder = True
    resume(config, begun)
    assert last_checkpoint(tmp_path).name == 'iter_3.pth'


def test_gradients_that_a_checkpoint_would_lose_are_refused(tmp_path):
    config = training_config(tmp_path)
    config.optim_wrapper.accumulative_counts = 3
    with pytest.raises(ValueError, match=r'every 2 iterations.* a multiple of 3'):
        TrainingRunner.from_cfg(config).train()
