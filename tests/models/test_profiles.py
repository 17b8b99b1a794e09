"""Profiles: exact is exact, fast is close, what the hardware lacks is said, training is safe."""

import logging

import pytest
import torch
from mmengine import MODELS
from mmengine.logging import MMLogger
from torch import nn

from mmagic_adm.apis import init_model
from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.guidance.classifier import ClassifierGuidance
from mmagic_adm.models import profiles
from mmagic_adm.models.compiled import Run
from mmagic_adm.models.profiles import Profile, choose_profile
from tests.networks.own import Plain
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, build_model, model_config

CPU = torch.device('cpu')
HAS_BFLOAT16 = profiles._cpu_has_bfloat16()


def any_run() -> Run:
    return Run((), 100, lambda: 1.0)


def psnr(images: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Of each image, for a range of 2."""
    return -10 * ((images - reference) / 2).square().flatten(1).mean(1).log10()


def own_model(**changes):
    """A small model of a network that offers nothing that a network need not."""
    scheduler = dict(type='DDIMScheduler', variance_type='fixed_small')
    network = fill_by_name(Plain())
    config = dict(unet=network, diffusion_scheduler=scheduler, num_inference_steps=4, **changes)
    return MODELS.build(dict(type='AblatedDiffusionModel', _scope_='mmagic_adm', **config)).eval()


@pytest.fixture
def said(monkeypatch):
    lines: list[str] = []
    logger = MMLogger.get_current_instance()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


class TestExact:
    def test_it_gives_the_images_of_the_networks_as_they_are(self):
        samples = [
            build_model(classifier=CLASSIFIER, profile=profile).infer(seeds=range(4))['samples']
            for profile in (None, 'exact')
        ]
        torch.testing.assert_close(*samples, atol=4e-5, rtol=1e-4)

    def test_its_weights_stay_float32(self):
        model = build_model(profile='exact')
        model.infer(seeds=0)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    @pytest.mark.parametrize('profile', [None, 'exact', 'fast'])
    def test_tensorfloat_is_for_those_who_round_anyway(self, profile, monkeypatch):
        """What `test` takes, what `sample` takes, and what may be told to either."""
        monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)
        monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: True)
        allowed = []
        model = build_model(profile=profile)
        model.infer(seeds=0, on_step=lambda step: allowed.append(torch.backends.cudnn.allow_tf32))
        assert set(allowed) == {profile == 'fast'}
        assert torch.backends.cudnn.allow_tf32

    def test_it_is_what_init_model_gives(self):
        assert init_model('adm_ddim25_digits-16x16').profile == 'exact'


@pytest.mark.skipif(not HAS_BFLOAT16, reason='this CPU has no bfloat16 arithmetic')
class TestFast:
    def test_digits_are_those_of_exact(self):
        settings = dict(seeds=range(6), labels=[0, 1, 2, 3, 4, 5])
        exact, fast = (
            init_model('adm-g_ddim25_digits-16x16', 'cpu', profile=profile).infer(**settings)
            for profile in ('exact', 'fast')
        )
        assert psnr(fast['samples'], exact['samples']).median() > 35

    def test_blocks_compute_in_bfloat16_and_the_rest_in_float32(self):
        model = build_model(classifier=CLASSIFIER, profile='fast')
        model.infer(seeds=0)
        for network in (model.unet, model.classifier):
            assert network.dtype == torch.bfloat16
            assert network.time_embed[0].weight.dtype == torch.float32
            assert network.out[0].weight.dtype == torch.float32
            block = network.input_blocks[1][0]
            assert block.in_layers[0].weight.dtype == torch.float32
            assert block.in_layers[2].weight.dtype == torch.bfloat16

    def test_a_sample_is_close_to_itself_in_another_batch(self):
        model = build_model(profile='fast', num_inference_steps=8)
        together = model.infer(seeds=range(5))['samples']
        alone = model.infer(seeds=3)['samples']
        assert psnr(alone, together[3:4]).item() > 35


def test_what_is_chosen_is_said_once(said, monkeypatch):
    monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: True)
    model = build_model(profile='auto')
    model.infer(seeds=0)
    model.infer(seeds=1)
    lines = [line for line in said if line.startswith("profile 'auto'")]
    assert len(lines) == 1
    assert 'not compiled' in lines[0]


def test_a_type_that_the_hardware_lacks_is_replaced_and_that_is_said(monkeypatch):
    monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: False)
    profile, reason = choose_profile('fast', CPU, any_run())
    assert profile.dtype == 'float32'
    assert reason == 'this CPU has no bfloat16 arithmetic: float32 instead'
    assert choose_profile(dict(dtype='float16'), CPU, any_run()).profile.dtype == 'float32'


def test_without_packed_kernels_it_goes_on_and_says_so(monkeypatch):
    monkeypatch.setattr(profiles, 'why_not_packing', lambda: 'no such thing here')
    profile, reason = choose_profile('exact', CPU, any_run())
    assert not profile.packed
    assert reason.endswith('no such thing here')


def test_a_dict_changes_what_it_names():
    given = dict(base='exact', channels_last=False, packed=False, compiled=True)
    assert choose_profile(given, CPU, any_run()).profile == Profile(compiled=True)


@pytest.mark.parametrize(
    ('profile', 'message'),
    [
        ('quick', "profile is exact, fast, auto or a dict, not 'quick'"),
        (dict(base='quick'), "not 'quick'"),
        (dict(type='fast'), "a profile has no 'type'; it has base"),
        (dict(dtype='int8'), "dtype is float32, bfloat16 or float16, not 'int8'"),
    ],
)
def test_what_is_no_profile_is_refused_when_the_model_is_built(profile, message):
    with pytest.raises(ValueError, match=message):
        build_model(profile=profile)


def test_a_model_in_training_is_left_alone():
    model = build_model(profile='fast')
    model.train()
    model.eval()
    model.infer(seeds=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_use_fp16_and_a_profile_contradict_each_other():
    with pytest.raises(ValueError, match='use_fp16 and profile'):
        MODELS.build(model_config(use_fp16=True, profile='fast'))


class TestReuse:
    def test_of_deep_features_changes_the_images_a_little(self):
        model = build_model(num_inference_steps=4)
        exact = model.infer(seeds=range(2))['samples']
        reused = model.infer(seeds=range(2), reuse_every=2)['samples']
        assert not torch.equal(reused, exact)
        torch.testing.assert_close(model.infer(seeds=range(2))['samples'], exact)

    def test_may_stand_in_the_config(self):
        by_config = build_model(num_inference_steps=4, reuse_every=2).infer(seeds=range(2))
        by_argument = build_model(num_inference_steps=4).infer(seeds=range(2), reuse_every=2)
        torch.testing.assert_close(by_config['samples'], by_argument['samples'])

    def test_starts_anew_with_each_batch(self):
        model = build_model(num_inference_steps=3)
        first, second = (model.infer(seeds=4, reuse_every=2)['samples'] for _ in range(2))
        torch.testing.assert_close(first, second)

    def test_goes_on_after_a_look_from_another_walk_in_between(self):
        model = build_model(num_inference_steps=4)
        settings = dict(seeds=range(2), reuse_every=3)
        expected = model.infer(**settings)['samples']
        watched = model.infer(**settings, on_step=lambda _: model.infer(seeds=9))['samples']
        torch.testing.assert_close(watched, expected)

    def test_is_refused_by_name_for_a_network_that_does_not_offer_it(self):
        with pytest.raises(ValueError, match=r'reuse_every=2 needs a U-Net .* Plain has no deep'):
            own_model().infer(seeds=0, reuse_every=2)

    def test_is_refused_for_compiled_networks(self):
        model = build_model(profile=dict(base='exact', compiled=True))
        with pytest.raises(ValueError, match='needs networks that are not compiled'):
            model.infer(seeds=0, reuse_every=2)


class TestNetworkOfOnesOwn:
    def test_exact_computes_it_as_it_is(self):
        samples = [own_model(profile=p).infer(seeds=range(2))['samples'] for p in (None, 'exact')]
        torch.testing.assert_close(*samples)

    def test_another_type_is_refused_by_name_before_any_sampling(self, monkeypatch):
        monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: True)
        model = own_model(profile='fast')
        for _ in range(2):  # and not only the first time
            with pytest.raises(ValueError, match=r"Plain has no compute_in\(.*='exact'"):
                model.infer(seeds=0)

    def test_float32_in_place_of_what_the_hardware_lacks_is_as_good_as_exact(self, monkeypatch):
        monkeypatch.setattr(profiles, '_cpu_has_bfloat16', lambda: False)
        assert own_model(profile='fast').infer(seeds=0)['samples'].isfinite().all()

    def test_it_is_found_in_whatever_calls_it(self):
        network = Plain()
        within = nn.ModuleList([EDMPrecond(network), ClassifierGuidance(network)])
        assert profiles.networks_of(within) == [network]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
class TestOnGPU:
    @pytest.mark.parametrize('compiled', [False, True])
    def test_fast_is_close_to_exact(self, compiled):
        settings = dict(seeds=range(6), labels=[0, 1, 2, 3, 4, 5])
        exact, fast = (
            init_model('adm-g_ddim25_digits-16x16', 'cuda', profile=profile).infer(**settings)
            for profile in ('exact', dict(base='fast', compiled=compiled))
        )
        assert psnr(fast['samples'], exact['samples']).median() > 35

    def test_exact_does_not_round_to_tensorfloat(self):
        samples = [
            init_model('adm-g_ddim25_digits-16x16', device).infer(
                init_image=torch.ones(1, 1, 16, 16), labels=3, seeds=0
            )['samples']
            for device in ('cpu', 'cuda')
        ]
        torch.testing.assert_close(samples[0], samples[1].cpu(), atol=1e-3, rtol=0)


def test_networks_of_few_channels_keep_the_layout_that_is_faster_for_them():
    digits = init_model('adm-g_ddim25_digits-16x16', 'cpu', weights=False)
    assert not profiles.has_wide_groups(digits.unet)
    with torch.device('meta'):
        photographs = MODELS.build(
            dict(type='ADMUNet', _scope_='mmagic_adm', image_size=64, model_channels=192)
        )
    assert profiles.has_wide_groups(photographs)
    digits.infer(seeds=0, num_inference_steps=1)
    assert digits.unet.memory_format == torch.preserve_format
    assert not any(getattr(layer, 'packs', False) for layer in digits.modules())


@pytest.mark.parametrize(
    ('changes', 'channels_last'),
    [(dict(compiled=True), True), (dict(compiled=False), False)]
    + [(dict(compiled=False, channels_last=True), True)],
)
def test_eager_code_keeps_a_gpus_tensors_contiguous_unless_it_is_told(
    changes, channels_last, monkeypatch
):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
    spec = dict(base='fast', **changes)
    chosen = choose_profile(spec, torch.device('cuda'), any_run())
    assert chosen.profile.channels_last is channels_last
    assert chosen.profile.dtype == 'bfloat16'
