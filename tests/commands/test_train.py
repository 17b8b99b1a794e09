"""``mmagic-adm train`` and the scripts around it, as they are called from a shell."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import DefaultScope
from PIL import Image
from safetensors.torch import load_file

from mmagic_adm.checkpoints import load_network, read_checkpoint
from mmagic_adm.engine import TrainingRunner
from mmagic_adm.networks import ADMUNet
from tests.commands.running import TOOLS, fail, run_here, succeed
from tests.engine.training import UNET, training_config
from tests.reference import REPOSITORY
from tests.tiny import UNET as RGB_UNET

FINETUNE = REPOSITORY / 'configs' / 'guided_diffusion' / 'finetune_1xb4_image-folder-256x256.py'


def dump(config, path):
    config.pop('work_dir', None)
    config.dump(path)
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config and the work directory of its training, which stopped after two iterations."""
    folder = tmp_path_factory.mktemp('train')
    config = dump(training_config(folder, experiment_name='tool'), folder / 'tiny.py')
    stopped = 'train_cfg.max_iters=2'
    succeed('train', config, '--work-dir', folder / 'work', '--cfg-options', stopped)
    return config, folder / 'work'


def test_a_training_that_is_there_is_not_written_over(trained):
    config, work_dir = trained
    message = fail('train', config, '--work-dir', work_dir)
    assert 'has a training that got to iter_2.pth: resume it (--resume)' in message


def test_resume_goes_on_to_the_end(trained):
    config, work_dir = trained
    printed = succeed('train', config, '--work-dir', work_dir, '--resume')
    assert printed == f'{work_dir / "iter_6.pth"}\n'
    assert (work_dir / 'iter_6.pth').is_file()


def test_there_may_be_nothing_to_resume(trained, tmp_path):
    assert f'nothing to resume in {tmp_path}' in fail(
        'train', trained[0], '--work-dir', tmp_path, '--resume'
    )


def test_a_full_disk_is_named_by_the_folder(trained, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(TrainingRunner, 'dump_config', full_disk)
    message = fail('train', trained[0], '--work-dir', tmp_path / 'work')
    assert f'cannot write {tmp_path / "work"}: the disk is full' in message


def test_another_order_is_for_a_training_that_had_one(trained):
    ended = run_here('train', trained[0], '--allow-reorder')
    assert ended.returncode == 2
    assert '--allow-reorder goes with --resume' in ended.stderr


def test_a_config_without_training_is_refused():
    assert 'has no training: train_dataloader, train_cfg' in fail(
        'train', 'adm_ddim250_8xb32_imagenet-64x64'
    )


def test_an_empty_folder_is_refused_before_anything_is_made(trained, tmp_path):
    config = Config.fromfile(trained[0])
    config.train_dataloader.dataset.dataset = dict(type='ImageFolder', data_root=str(tmp_path))
    path = dump(config, tmp_path / 'empty.py')
    assert f'there are no images in {tmp_path}' in fail(
        'train', path, '--work-dir', tmp_path / 'work'
    )


def test_a_trained_network_goes_to_the_original_layout_and_back(trained, tmp_path):
    _, work_dir = trained
    checkpoint = max(work_dir.glob('iter_*.pth'))
    original, back = tmp_path / 'original.pt', tmp_path / 'back.safetensors'
    succeed('convert', checkpoint, original, '--to', 'openai', '--prefix', 'unet')
    succeed('convert', original, back, '--to', 'safetensors')
    averaged = torch.load(checkpoint, weights_only=False)['state_dict']
    plain, network = torch.load(original), ADMUNet(**{k: v for k, v in UNET.items() if k != 'type'})
    assert plain.keys() == network.state_dict().keys()
    load_network(network, back)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, averaged[f'unet.{key}'])
        assert torch.equal(tensor, plain[key])


def test_a_published_network_has_the_averaged_weights_in_half_precision(trained, tmp_path):
    checkpoint, out = max(trained[1].glob('iter_*.pth')), tmp_path / 'unet.safetensors'
    succeed('publish', checkpoint, out)
    averaged = read_checkpoint(checkpoint).state_dict
    for key, tensor in load_file(out).items():
        assert torch.equal(tensor, averaged[key].half())
    assert 'exists' in fail('publish', checkpoint, out)


@pytest.fixture
def my_images(tmp_path):
    """Three classes of two images each."""
    for number in range(6):
        folder = tmp_path / 'my_images' / 'abc'[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
    return tmp_path / 'my_images'


def test_fine_tuning_starts_from_released_weights_with_classes_of_ones_own(my_images, tmp_path):
    """The recipe, at toy size: sizes, paths, numbers of steps and the CPU's precision differ."""
    arguments = {key: value for key, value in RGB_UNET.items() if key != 'type'}
    released = ADMUNet(**arguments).state_dict()
    torch.save(released, tmp_path / 'released.pt')
    config = Config.fromfile(FINETUNE)
    config.model.unet = dict(RGB_UNET, num_classes=3, use_checkpoint=True)
    config.model.pretrained_cfgs.unet.ckpt_path = str(tmp_path / 'released.pt')
    config.model.num_inference_steps = 2
    loader = config.train_dataloader
    loader.num_workers, loader.persistent_workers = 0, False
    loader.dataset.dataset.data_root = str(my_images)
    loader.dataset.dataset.pipeline[1].size = 8
    config.optim_wrapper.type = 'OptimWrapper'
    del config.optim_wrapper['dtype']
    config.optim_wrapper.accumulative_counts = 2
    config.train_cfg.max_iters = 4
    config.default_hooks.checkpoint.interval = 4
    path = dump(config, tmp_path / 'mine.py')
    succeed('train', path, '--work-dir', tmp_path / 'work')

    tuned = read_checkpoint(tmp_path / 'work' / 'iter_4.pth', ema=False).state_dict
    assert tuned['label_emb.weight'].shape == (3, released['label_emb.weight'].shape[1])
    others = [key for key in released if key != 'label_emb.weight']
    assert all((tuned[key] - released[key]).abs().max() < 1e-3 for key in others)
    assert any(not torch.equal(tuned[key], released[key]) for key in others)


@pytest.mark.slow
def test_processes_start_and_resume_from_the_shell(trained, tmp_path):
    config, _ = trained
    command = [TOOLS / 'dist_train.sh', config, '2', '--work-dir', tmp_path / 'work']
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    stopped = ['--cfg-options', 'train_cfg.max_iters=2']
    for options in (stopped, ['--resume']):
        result = subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    assert (tmp_path / 'work' / 'iter_6.pth').is_file()


def test_another_scope_that_is_in_force_does_not_matter(tmp_path):
    """As it was when the trainings of another project ran in this process before."""
    config = dump(training_config(tmp_path, experiment_name='scope'), tmp_path / 'tiny.py')
    with DefaultScope.overwrite_default_scope('mmengine'):
        unknown = '--cfg-options', 'runner_type=Marathon'
        message = fail('train', config, '--work-dir', tmp_path / 'none', *unknown)
        assert "there is no type 'Marathon' in the registry of runners" in message
        short = '--cfg-options', 'train_cfg.max_iters=1'
        succeed('train', config, '--work-dir', tmp_path / 'work', *short)
