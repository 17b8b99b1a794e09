"""Figures of images beside the ones that they should be."""

import math

import pytest
import torch

from mmagic_adm.evaluation import LPIPS, Fidelity, psnr, ssim
from mmagic_adm.files.whole import CheckpointError
from tests.reference import fill_by_name


def images(count=3, size=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_psnr_of_an_even_error():
    truth = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    off = truth + torch.tensor([1, 10], dtype=torch.uint8).view(2, 1, 1, 1)
    wanted = [20 * math.log10(255), 20 * math.log10(25.5)]
    assert psnr(off, truth).tolist() == pytest.approx(wanted)
    assert psnr(truth, truth).tolist() == [100, 100]


def test_ssim_is_scikit_images():
    metrics = pytest.importorskip('skimage.metrics')
    truth = images()
    noisy = (truth.int() + images(seed=1).int() // 4 - 32).clamp(0, 255).byte()
    for a, b, ours in zip(noisy.numpy(), truth.numpy(), ssim(noisy, truth), strict=True):
        settings = dict(gaussian_weights=True, use_sample_covariance=False, data_range=255)
        _, similar = metrics.structural_similarity(a, b, channel_axis=0, full=True, **settings)
        assert similar[:, 5:-5, 5:-5].mean() == pytest.approx(ours.item(), abs=1e-6)


def test_ssim_of_equal_images_and_of_a_constant_shift():
    flat = torch.full((1, 1, 16, 16), 100, dtype=torch.uint8)
    assert ssim(flat, flat).item() == pytest.approx(1)
    c_1 = (0.01 * 255) ** 2
    brightness = (2 * 100 * 150 + c_1) / (100**2 + 150**2 + c_1)
    assert ssim(flat, flat + 50).item() == pytest.approx(brightness)
    with pytest.raises(ValueError, match='SSIM looks at 11x11 pixels'):
        ssim(flat[..., :8], flat[..., :8])


@pytest.mark.slow
def test_lpips_is_torch_fidelitys(tmp_path, monkeypatch):
    module = pytest.importorskip('torch_fidelity.sample_similarity_lpips')
    import torchvision

    vgg = fill_by_name(torchvision.models.vgg16()).eval()
    channels = (64, 128, 256, 512, 512)
    state = {f'lin{k}.model.1.weight': torch.rand(1, c, 1, 1) for k, c in enumerate(channels)}
    torch.save(vgg.state_dict(), tmp_path / 'vgg.pth')
    torch.save(state, tmp_path / 'lpips.pth')
    monkeypatch.setattr(module, 'load_state_dict_from_url', lambda *a, **k: state)
    monkeypatch.setattr(module, 'torchvision_load_pretrained_vgg16', lambda: vgg)
    theirs = module.SampleSimilarityLPIPS('lpips', sample_similarity_dtype='uint8')
    ours = LPIPS(tmp_path / 'lpips.pth', tmp_path / 'vgg.pth')
    a, b = images(size=32), images(size=32, seed=1)
    torch.testing.assert_close(ours.distance(a, b), theirs(a, b).flatten(), rtol=1e-4, atol=1e-6)
    with pytest.raises(CheckpointError, match=r'is no file of LPIPS: it has no lin0\.model'):
        LPIPS(tmp_path / 'vgg.pth', tmp_path / 'vgg.pth')


def test_means_over_a_run():
    metric, truth, samples = Fidelity(), images(size=16), images(size=16, seed=1)
    metric.dataset_meta = dict(truth=lambda index: truth[index])
    for i, sample in enumerate(samples):
        metric.process(None, [dict(fake_img=sample, index=i)])
    figures = metric.evaluate(3)
    assert figures['PSNR'] == pytest.approx(psnr(samples, truth).mean().item())
    metric.dataset_meta = {}
    with pytest.raises(ValueError, match='only a dataset of MeasuredImages knows'):
        metric.process(None, [dict(fake_img=samples[0], index=0)])
