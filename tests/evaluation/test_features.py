import pytest
import torch

from mmagic_adm.evaluation.features import Tap, fingerprint, images_of, shared_extractor
from tests.evaluation.tiny import TINY, TinyFeatures, as_samples, blocky_images


def test_a_batch_is_looked_at_once_however_many_ask():
    extractor = TinyFeatures()
    first, second = (as_samples(blocky_images(3, seed)) for seed in (0, 1))
    features = extractor.of_samples(first)
    assert extractor.of_samples(first) is features
    assert extractor.calls == 1
    assert not torch.equal(extractor.of_samples(second)['pool'], features['pool'])
    assert extractor.calls == 2


def test_a_forgotten_batch_is_let_go():
    extractor = TinyFeatures()
    samples = as_samples(blocky_images(3))
    extractor.of_samples(samples)
    extractor.forget()
    extractor.of_samples(samples)
    assert extractor.calls == 2


def test_equal_configs_share_a_network_as_long_as_it_is_in_use():
    first = shared_extractor(dict(type='TinyFeatures', dim=5))
    assert shared_extractor(dict(dim=5, type='TinyFeatures')) is first
    assert shared_extractor(dict(type='TinyFeatures', dim=4)) is not first
    first.marked = True
    del first
    assert not hasattr(shared_extractor(dict(type='TinyFeatures', dim=5)), 'marked')


def test_an_extractor_that_is_built_already_is_taken_as_it_is():
    extractor = TinyFeatures()
    assert shared_extractor(extractor) is extractor


def test_a_config_of_ours_is_found_whatever_the_default_scope():
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmagic'):
        assert isinstance(shared_extractor(TINY), TinyFeatures)


def test_bgr_images_are_turned_to_rgb():
    [image] = blocky_images(1)
    rgb = torch.from_numpy(image).permute(2, 0, 1)
    samples = [
        dict(fake_img=rgb, channel_order='rgb'),
        dict(fake_img=rgb.flip(0), channel_order='bgr'),
        dict(fake_img=rgb),
    ]
    for seen in images_of(samples):
        assert torch.equal(seen, rgb)


@pytest.mark.parametrize(
    'images', [torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)]
)
def test_float_and_grey_images_are_refused(images):
    with pytest.raises(ValueError, match=r'uint8 from 0 to 255, not of \(2'):
        TinyFeatures()(images)


def test_features_are_float32_without_gradients_even_under_autocast():
    images = torch.stack([s['fake_img'] for s in as_samples(blocky_images(2))])
    expected = TinyFeatures()(images)['pool']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pool = TinyFeatures()(images)['pool']
    assert pool.dtype == torch.float32
    assert not pool.requires_grad
    assert torch.equal(pool, expected)


def test_a_tap_averages_feature_maps_and_keeps_rows():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 1), torch.nn.Flatten())
    maps, rows = Tap(network, '0'), Tap(network, '1')
    x = torch.randn(2, 3, 4, 4)
    network(x)
    torch.testing.assert_close(maps.rows, network[0](x).mean((2, 3)))
    assert rows.rows.shape == (2, 80)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no layer 'conv'; its outermost are 0, 1"):
        Tap(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity()), 'conv')


class Network(torch.nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(6, dtype=dtype).view(2, 3))
        self.register_buffer('count', torch.tensor(3))


class TestFingerprint:
    def test_equal_weights_are_one(self):
        assert fingerprint(Network()) == fingerprint(Network())

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
    def test_another_precision_is_another(self, dtype):
        assert fingerprint(Network(dtype)) != fingerprint(Network())

    def test_one_number_makes_the_difference(self):
        network = Network()
        network.count += 1
        assert fingerprint(network) != fingerprint(Network())

    def test_another_shape_makes_the_difference(self):
        network = Network()
        network.weight = torch.nn.Parameter(network.weight.view(3, 2))
        assert fingerprint(network) != fingerprint(Network())

    def test_it_sees_through_strides(self):
        network = Network()
        network.weight = torch.nn.Parameter(network.weight.t().contiguous().t())
        assert fingerprint(network) == fingerprint(Network())
