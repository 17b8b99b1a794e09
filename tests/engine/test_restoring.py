"""A run that restores images, and says how near it came."""

import numpy as np
import pytest
import torch

from mmagic_adm.apis import init_model
from mmagic_adm.engine import SamplingLoop
from mmagic_adm.evaluation import psnr, ssim
from mmagic_adm.files.npz import read_images
from mmagic_adm.measurements import Measurement
from mmagic_adm.registry import DATASETS
from tests.commands.running import run_here, succeed

CONFIG = 'restore_mmps25_digits-16x16'
OPTIONS = ['test_dataloader.dataset.num_samples=5', 'test_dataloader.batch_size=2']
OPTIONS += ['model.restoration.iterations=1']
SCANS = dict(type='NpzImages', ann_file='bundled://digits-16x16_held-out.npz')


def run(folder, *more):
    """The figures of a run of five digits in three batches."""
    options = ['--steps', 3, '--cfg-options', *OPTIONS]
    said = succeed('test', CONFIG, '--work-dir', folder, *more, *options)
    return {name: float(value) for name, value in (line.split(': ') for line in said.splitlines())}


def made(folder):
    images, labels = read_images(folder / 'samples_5x16x16x3.npz')
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2), labels


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    return folder, run(folder)


def test_figures_are_of_what_was_restored_beside_the_truth(whole):
    folder, figures = whole
    images, labels = made(folder)
    scans, classes = read_images('mmagic_adm/bundled/digits-16x16_held-out.npz')
    truth = torch.from_numpy(scans[:5].copy()).permute(0, 3, 1, 2)
    assert labels.tolist() == classes[:5].tolist()
    assert figures['PSNR'] == pytest.approx(psnr(images, truth).mean().item(), abs=1e-6)
    assert figures['SSIM'] == pytest.approx(ssim(images, truth).mean().item(), abs=1e-6)
    assert {'FID', 'Accuracy top-1'} <= set(figures)
    # The upper half was measured.
    seen, invented = (psnr(images[:, :, half], truth[:, :, half]).mean()
                      for half in (slice(8), slice(8, 16)))  # fmt: skip
    assert seen > invented + 1


def test_a_run_goes_on_where_it_was_stopped(whole, tmp_path, monkeypatch):
    run_iter = SamplingLoop.run_iter

    def interrupting(loop, idx, data_batch):
        if idx == 1:
            raise KeyboardInterrupt
        run_iter(loop, idx, data_batch)

    with monkeypatch.context() as patched:
        patched.setattr(SamplingLoop, 'run_iter', interrupting)
        options = ['--steps', 3, '--cfg-options', *OPTIONS]
        assert run_here('test', CONFIG, '--work-dir', tmp_path, *options).returncode == 130
    figures = run(tmp_path, '--resume')
    folder, expected = whole
    assert (made(tmp_path)[0].int() - made(folder)[0].int()).abs().max() <= 1
    assert figures['PSNR'] == pytest.approx(expected['PSNR'], rel=1e-3)


class TestMeasuredImages:
    def test_what_is_measured_depends_on_the_samples_number_alone(self):
        settings = dict(
            type='MeasuredImages',
            images=SCANS,
            operator=dict(type='random', hidden=0.5),
            sigma_y=0.1,
            channels=1,
        )
        whole = DATASETS.build(settings)
        assert len(whole) == 599
        late = DATASETS.build(dict(settings, start=3, num_samples=2))
        ours, same = (Measurement.joined([d[i]['inputs']['measurement'] for i in places])
                      for d, places in ((whole, (3, 4)), (late, (0, 1))))  # fmt: skip
        torch.testing.assert_close(ours.y, same.y)
        torch.testing.assert_close(ours.operator.mask, same.operator.mask)
        assert not torch.equal(ours.operator.mask[0], ours.operator.mask[1])
        assert late[0]['inputs']['seed'] == 3
        assert late.metainfo['truth'](3).shape == (1, 16, 16)

    def test_its_noise_is_not_that_of_the_samples_start(self):
        settings = dict(type='MeasuredImages', images=SCANS, channels=1, sigma_y=1.0)
        dataset = DATASETS.build(dict(settings, operator=dict(type='box', height=0.0)))
        known, truth = dataset[0]['inputs']['measurement'], dataset.truth(0) / 127.5 - 1
        _, start = init_model('adm_ddim25_digits-16x16', 'cpu').start_of([0])
        noise = known.y - truth
        other = dataset[1]['inputs']['measurement'].y - (dataset.truth(1) / 127.5 - 1)
        for stranger in (start, other):
            assert abs(np.corrcoef(noise.flatten(), stranger.flatten())[0, 1]) < 0.3

    def test_more_than_there_are(self):
        settings = dict(type='MeasuredImages', images=SCANS, operator='box', num_samples=600)
        with pytest.raises(ValueError, match='num_samples is 600, and from 0 on are 599 images'):
            DATASETS.build(settings)
