import pytest
import torch

from mmagic_adm.diffusion import randn_like_samples, randn_samples
from tests.schedulers.moves import Moves


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize('size', [(1, 2, 2), (3, 8, 8), (3, 7, 5)])
def test_a_samples_noise_does_not_depend_on_its_batch(size):
    batch = randn_samples((3, *size), generators(10, 11, 12))
    other = randn_samples((2, *size), generators(12, 10))
    alone = randn_samples((1, *size), generators(11))
    assert torch.equal(batch[[2, 0]], other)
    assert torch.equal(batch[1:2], alone)


def test_streams_go_on():
    own = generators(10, 11)
    first, second = randn_samples((2, 3, 4, 4), own), randn_samples((2, 3, 4, 4), own)
    assert not torch.equal(first, second)
    again = generators(11)
    assert torch.equal(randn_samples((1, 3, 4, 4), again), first[1:])
    assert torch.equal(randn_samples((1, 3, 4, 4), again), second[1:])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    'generator', [lambda: None, lambda: generators(3)[0], lambda: generators(3, 4)]
)
def test_every_precision_gets_the_same_noise(dtype, generator):
    torch.manual_seed(1)
    full = randn_samples((2, 3, 4, 4), generator())
    torch.manual_seed(1)
    like = randn_like_samples(torch.zeros(2, 3, 4, 4, dtype=dtype), generator())
    assert like.dtype == dtype
    assert torch.equal(like, full.to(dtype))


def test_noise_is_standard_normal():
    noise = randn_samples((4, 100, 100), generators(0, 1, 2, 3))
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02
    assert torch.corrcoef(noise.flatten(1)).triu(1).abs().max() < 0.05


def test_another_number_of_generators():
    with pytest.raises(ValueError, match='2 generators for a batch of 3'):
        randn_samples((3, 1, 4, 4), generators(1, 2))


def test_noise_that_is_drawn_elsewhere_is_copied_to_the_device_at_once():
    with Moves() as moves:
        noise = randn_samples((4, 3, 8, 8), generators(1, 2, 3, 4), device='meta')
    assert noise.is_meta
    assert moves.places.total() == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_cpu_generator_gives_the_same_noise_on_a_gpu():
    on_gpu = randn_samples((2, 3, 4, 4), generators(1, 2), device='cuda')
    assert on_gpu.is_cuda
    assert torch.equal(on_gpu.cpu(), randn_samples((2, 3, 4, 4), generators(1, 2)))
