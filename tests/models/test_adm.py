"""Sampling with the model a user meets."""

import numpy as np
import pytest
import torch
from mmagic.structures import DataSample
from mmengine import MODELS

from mmagic_adm.diffusion.noise_schedules import noise_schedule
from mmagic_adm.guidance import ClassifierGuidance
from tests.tiny import CLASSIFIER, as_pixels, build_model, model_config

# A sum taken in another order differs by a rounding or two of float32 (1.2e-7), and DDIM's first
# step multiplies what the network says by sqrt(1 / alpha_bar - 1), which is 157 at t = 999.
CLOSE = dict(atol=2 * 1.2e-7 * 157, rtol=1e-4)


class TestStraightLine:
    """The model against the algorithms of the paper, written down without any of its parts."""

    ALPHA_BAR = np.cumprod(1 - noise_schedule('linear', 1000))

    @classmethod
    def walk(cls, *steps):
        """Timestep and alpha_bar of each step and of the one after it, noisiest first."""
        for here, there in zip(steps, (*steps[1:], None), strict=True):
            after = 1.0 if there is None else float(cls.ALPHA_BAR[there])
            yield torch.tensor([here, here]), float(cls.ALPHA_BAR[here]), after

    @staticmethod
    def gradient(model, x, t, labels, scale):
        x = x.detach().requires_grad_()
        logits = model.classifier(x, t)
        log_p = logits.log_softmax(dim=1)[range(len(x)), labels].sum()
        return scale * torch.autograd.grad(log_p, x)[0]

    def test_guided_ddim(self):
        model = build_model(classifier=CLASSIFIER)
        x, labels, scale = as_pixels(2), torch.tensor([3, 7]), 20.0
        result = model.infer(init_image=x, labels=labels, classifier_scale=scale, seeds=0)
        for t, a, before in self.walk(750, 500, 250, 0):
            with torch.no_grad():
                eps = model.unet(x, t, labels)[:, :3]
            x_0 = ((x - (1 - a) ** 0.5 * eps) / a**0.5).clamp(-1, 1)
            eps = (x - a**0.5 * x_0) / (1 - a) ** 0.5
            eps = eps - (1 - a) ** 0.5 * self.gradient(model, x, t, labels, scale)
            x_0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
            x = before**0.5 * x_0 + (1 - before) ** 0.5 * eps
        torch.testing.assert_close(result['samples'], x.clamp(-1, 1), **CLOSE)

    def test_guided_ddpm(self):
        model = build_model(classifier=CLASSIFIER, diffusion_scheduler=dict(type='DDPMScheduler'))
        labels, scale, seeds = torch.tensor([3, 7]), 20.0, [11, 5]
        result = model.infer(labels=labels, classifier_scale=scale, seeds=seeds)

        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def normal():
            return torch.stack([torch.randn(3, 8, 8, generator=g) for g in generators])

        for g in generators:
            torch.rand((), generator=g)  # the label's draw
        x, last_small = normal(), None
        for t, a, before in self.walk(999, 666, 333, 0):
            beta = 1 - a / before
            z = normal()
            with torch.no_grad():
                eps, v = model.unet(x, t, labels).chunk(2, dim=1)
            x_0 = ((x - (1 - a) ** 0.5 * eps) / a**0.5).clamp(-1, 1)
            mean = (beta * before**0.5 * x_0 + (1 - before) * (1 - beta) ** 0.5 * x) / (1 - a)
            small = beta * (1 - before) / (1 - a)
            if before == 1.0:  # no noise is left; the variance of the step before stands in
                small = last_small
            last_small = small
            mix = (v + 1) / 2
            variance = torch.exp(mix * np.log(beta) + (1 - mix) * np.log(small))
            mean = mean + variance * self.gradient(model, x, t, labels, scale)
            x = mean + (variance.sqrt() * z if before < 1 else 0)
        torch.testing.assert_close(result['samples'], x.clamp(-1, 1), **CLOSE)


class TestSampleIsItsSeed:
    """Sample i is sample i, whatever it is made with."""

    @pytest.fixture(params=['DDIMScheduler', 'DDPMScheduler'])
    def model(self, request):
        scheduler = dict(type=request.param)
        return build_model(
            classifier=CLASSIFIER, diffusion_scheduler=scheduler, num_inference_steps=3
        )

    def test_alone_or_in_a_batch_it_is_the_same(self, model):
        together = model.infer(seeds=range(20, 25), classifier_scale=5.0)
        for i in (0, 3):
            alone = model.infer(seeds=[20 + i], classifier_scale=5.0)
            assert alone['labels'] == together['labels'][i]
            torch.testing.assert_close(alone['samples'][0], together['samples'][i], **CLOSE)

    def test_order_does_not_matter(self, model):
        forth = model.infer(seeds=[4, 8, 15])['samples']
        back = model.infer(seeds=[15, 8, 4])['samples']
        torch.testing.assert_close(forth, back.flip(0), **CLOSE)

    def test_a_first_seed_counts_up(self, model):
        listed = model.infer(seeds=[30, 31, 32])
        counted = model.infer(seeds=30, batch_size=3)
        assert counted['seeds'] == listed['seeds'] == [30, 31, 32]
        torch.testing.assert_close(counted['samples'], listed['samples'])

    def test_naming_the_label_that_was_drawn_changes_nothing(self, model):
        drawn = model.infer(seeds=[1, 2, 3])
        named = model.infer(seeds=[1, 2, 3], labels=drawn['labels'])
        torch.testing.assert_close(named['samples'], drawn['samples'])

    def test_a_drawn_seed_is_returned_and_makes_the_sample_again(self, model):
        first = model.infer(batch_size=2)
        again = model.infer(seeds=first['seeds'])
        torch.testing.assert_close(first['samples'], again['samples'])
        assert model.infer(batch_size=2)['seeds'] != first['seeds']

    def test_per_sample_scales_equal_samples_made_one_by_one(self, model):
        scales = [0.0, 3.0, 30.0]
        together = model.infer(seeds=[1, 2, 3], labels=5, classifier_scale=scales)['samples']
        for i, scale in enumerate(scales):
            alone = model.infer(seeds=[i + 1], labels=5, classifier_scale=scale)['samples']
            torch.testing.assert_close(alone[0], together[i], **CLOSE)


def test_drawn_labels_are_uniform():
    labels = build_model().infer(batch_size=300, seeds=0, num_inference_steps=1)['labels']
    counts = torch.bincount(labels, minlength=10)
    assert counts.min() > 12
    assert counts.max() < 50


class TestGuidance:
    def test_the_push_is_towards_the_label(self):
        model = build_model(classifier=CLASSIFIER, num_inference_steps=5)

        def log_p(scale):
            samples = model.infer(seeds=range(2), labels=5, classifier_scale=scale)['samples']
            with torch.no_grad():
                logits = model.classifier(samples, torch.zeros(2))
            return logits.log_softmax(dim=1)[:, 5].mean()

        assert log_p(100.0) > log_p(0.0) + 0.1 > log_p(-100.0) + 0.2

    def test_a_scale_of_zero_never_calls_the_classifier(self):
        model = build_model(classifier=CLASSIFIER)
        plain = build_model()
        model.classifier.forward = None  # calling it would fail
        for scale in (0, 0.0, [0.0, 0.0]):
            unguided = model.infer(seeds=[1, 2], classifier_scale=scale)['samples']
            torch.testing.assert_close(unguided, plain.infer(seeds=[1, 2])['samples'])

    def test_only_pushed_samples_are_classified(self):
        model = build_model(classifier=CLASSIFIER)
        counts = []
        model.classifier.register_forward_hook(lambda m, args, out: counts.append(len(args[0])))
        model.infer(seeds=[1, 2, 3], classifier_scale=[0.0, 1.0, 0.0])
        assert counts == [1] * 4

    def test_an_unconditional_network_is_guided_to_a_class(self):
        model = build_model(unet=dict(num_classes=None), classifier=CLASSIFIER)
        one, other = (
            model.infer(seeds=[1], labels=label, classifier_scale=50.0)['samples']
            for label in (2, 8)
        )
        assert (one - other).abs().max() > 1e-3

    def test_the_classifier_collects_no_gradients_and_stays_in_evaluation_mode(self):
        model = build_model(classifier=CLASSIFIER).train()
        model.infer(seeds=[1], classifier_scale=5.0)
        assert not model.classifier.training
        assert all(not p.requires_grad and p.grad is None for p in model.classifier.parameters())

    def test_the_classifiers_weights_are_saved_once(self):
        keys = build_model(classifier=CLASSIFIER).state_dict()
        assert {key.split('.')[0] for key in keys} == {'unet', 'classifier'}

    def test_it_works_in_inference_mode(self):
        model = build_model(classifier=CLASSIFIER)
        expected = model.infer(seeds=[1], classifier_scale=5.0)['samples']
        with torch.inference_mode():
            result = model.infer(seeds=[1], classifier_scale=5.0)['samples']
        torch.testing.assert_close(result, expected)

    def test_guidance_by_config_takes_the_models_classifier(self):
        by_config = build_model(classifier=CLASSIFIER, guidance=dict(type='ClassifierGuidance'))
        assert isinstance(by_config.guidance, ClassifierGuidance)
        assert by_config.guidance.classifier is by_config.classifier


class TestTypesAndDevices:
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision_networks_give_nearly_the_same_images(self, dtype):
        model = build_model(classifier=CLASSIFIER)
        exact = model.infer(seeds=[1, 2], classifier_scale=1.0)['samples']
        result = model.to(dtype).infer(seeds=[1, 2], classifier_scale=1.0)['samples']
        assert result.dtype == torch.float32
        assert (result - exact).abs().mean() < 0.02

    def test_use_fp16_converts_the_networks(self):
        model = MODELS.build(model_config(classifier=CLASSIFIER, use_fp16=True))
        assert model.unet.dtype == model.classifier.dtype == torch.float16

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
    def test_it_samples_on_a_gpu_and_back(self):
        model = build_model(classifier=CLASSIFIER).cuda()
        result = model.infer(seeds=[1, 2], classifier_scale=1.0)
        assert result['samples'].device.type == 'cuda'
        assert model.cpu().infer(seeds=[1, 2])['samples'].device.type == 'cpu'


class TestScheduler:
    def test_another_kind_keeps_the_process_that_the_network_was_trained_on(self):
        trained = dict(
            beta_schedule='cosine',
            num_train_timesteps=100,
            prediction_type='start_x',
            rescale_timesteps=True,
        )
        model = build_model(diffusion_scheduler=dict(type='DDIMScheduler', eta=0.5, **trained))
        ours = build_model(diffusion_scheduler=dict(type='DDPMScheduler', **trained))
        result = model.infer(seeds=[1], scheduler_kwargs=dict(type='DDPMScheduler'))
        torch.testing.assert_close(result['samples'], ours.infer(seeds=[1])['samples'])
        # Classifiers are told the timesteps of the scheduler.
        other = model.make_scheduler(dict(type='DDPMScheduler')).full_process
        assert other.network_timesteps(torch.tensor([7])).tolist() == [70.0]

    def test_single_settings_can_be_changed(self):
        model = build_model()
        noisy = build_model(diffusion_scheduler=dict(type='DDIMScheduler', eta=1.0))
        result = model.infer(seeds=[1], scheduler_kwargs=dict(eta=1.0))
        torch.testing.assert_close(result['samples'], noisy.infer(seeds=[1])['samples'])

    def test_a_solver_of_diffusers_samples(self):
        solver = dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler')
        model = build_model(num_inference_steps=15)
        exact = model.infer(seeds=[1], num_inference_steps=60)['samples']
        fast = model.infer(seeds=[1], scheduler_kwargs=solver)['samples']
        assert (fast - exact).abs().mean() < 0.05

    def test_steps_may_be_a_spec(self):
        model = build_model()
        steps = []
        model.infer(seeds=[1], num_inference_steps='2,3', on_step=steps.append)
        assert len(steps) == steps[0].total == 5


class TestTrajectory:
    def test_it_holds_every_kth_step_and_the_last(self):
        result = build_model().infer(seeds=[1, 2], num_inference_steps=5, return_trajectory=3)
        trajectory = result['trajectory']
        assert trajectory['timesteps'] == [800, 200, 0]
        assert trajectory['x_t'].shape == trajectory['pred_x0'].shape == (3, 2, 3, 8, 8)
        torch.testing.assert_close(trajectory['x_t'][-1].clamp(-1, 1), result['samples'])

    def test_it_is_not_kept_unasked(self):
        assert set(build_model().infer(seeds=[1])) == {'samples', 'labels', 'seeds'}


def test_rgb2bgr_swaps_the_channels():
    rgb = build_model().infer(seeds=[1])['samples']
    bgr = build_model(rgb2bgr=True).infer(seeds=[1])['samples']
    torch.testing.assert_close(bgr, rgb[:, [2, 1, 0]])


def test_it_says_in_a_few_lines_what_it_is():
    said = repr(build_model(classifier=CLASSIFIER, classifier_scale=2.0)).splitlines()
    assert said[0] == 'AblatedDiffusionModel: 3x8x8 images, 10 classes'
    assert 'ADMUNet' in said[1]
    assert 'DDIMScheduler, 4 steps' in said[2]
    assert said[3] == '  guided by: ClassifierGuidance, scale 2'
    assert repr(build_model()).endswith('guided by: nothing')
    own = build_model(diffusion_scheduler=dict(type='EDMHeunScheduler'), num_inference_steps=None)
    assert 'EDMHeunScheduler, 18 steps' in repr(own)


def test_a_progress_bar_is_shown_on_request(capsys):
    model = build_model()
    model.infer(seeds=[1])
    assert capsys.readouterr().err == ''
    model.infer(seeds=[1], show_progress=True)
    assert '4/4' in capsys.readouterr().err


class TestProtocols:
    def test_a_request_by_seed_and_label_fills_data_samples(self):
        model = build_model()
        inputs = dict(seed=[7, 8], label=[None, 4], index=[70, 80])
        samples = model.test_step(dict(inputs=inputs))
        expected = model.infer(seeds=[7, 8], labels=[None, 4])
        assert [s.seed for s in samples] == [7, 8]
        assert [s.index for s in samples] == [70, 80]
        assert [s.gt_label.label.item() for s in samples] == expected['labels'].tolist()
        image = ((expected['samples'][0] + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        assert torch.equal(samples[0].fake_img, image)
        assert samples[0].channel_order == 'rgb'

    def test_mmagics_request_by_count_and_arguments(self):
        model = build_model(rgb2bgr=True)
        data = dict(
            inputs=dict(
                num_batches=3,
                sample_kwargs=dict(num_inference_steps=2, labels=4, show_progress=False),
            ),
            data_samples=[DataSample() for _ in range(3)],
        )
        samples = model.val_step(data)
        assert [s.gt_label.label.item() for s in samples] == [4, 4, 4]
        assert samples[0].fake_img.shape == (3, 8, 8)
        assert samples[0].channel_order == 'bgr'

    def test_tensor_mode_is_the_network(self):
        model = build_model()
        inputs = dict(x=as_pixels(2), timesteps=torch.tensor([3, 9]), labels=torch.tensor([0, 1]))
        torch.testing.assert_close(model(inputs, mode='tensor'), model.unet(**inputs))


class TestBadInput:
    """Refused before the network is called once, with the numbers."""

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch):
        def forbidden(*args, **kwargs):
            raise AssertionError('the network was called')

        monkeypatch.setattr('mmagic_adm.networks.ADMUNet.forward', forbidden)

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (dict(labels=10), r'label 10 is out of range: the classes are 0 to 9'),
            (dict(labels=[1, -1]), r'label -1 is out of range'),
            (dict(labels=1.5), r'not 1.5'),
            (dict(labels=[1, 2], batch_size=3), r'batch_size: 3, labels: 2'),
            (dict(seeds=[1], batch_size=3), r'1 seeds were given for 3 samples'),
            (dict(labels=[1, 2], seeds=[1, 2, 3]), r'labels: 2, seeds: 3'),
            (dict(labels=[]), r'labels is empty'),
            (dict(batch_size=0), r'batch_size .* not 0'),
            (dict(seeds=-1), r'a seed .* not -1'),
            (dict(classifier_scale=1.0), r'guidance scale of 1.0 was given, .* neither'),
            (dict(init_image=torch.zeros(2, 3, 4, 4)), r'shape \(2, 3, 4, 4\), .* \(2, 3, 8, 8\)'),
            (dict(init_image=torch.full((1, 3, 8, 8), 255.0)), r'to 255'),
            (dict(init_image=torch.zeros(1, 3, 8, 8, dtype=torch.uint8)), r'uint8'),
            (dict(num_inference_steps='ddim400'), r'400'),
            (dict(num_inference_steps=1001), r'1001'),
            (dict(return_trajectory=0), r'not 0'),
        ],
    )
    def test_arguments_of_infer(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            build_model().infer(**arguments)

    def test_labels_where_there_are_no_classes(self):
        with pytest.raises(ValueError, match='no classes'):
            build_model(unet=dict(num_classes=None)).infer(labels=3)

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(out_channels=7), r'tells 7 classes apart, the network has 10'),
            (
                dict(image_size=16, attention_resolutions=(8,)),
                r'images of 16 pixels, the network for 8',
            ),
        ],
    )
    def test_a_classifier_that_does_not_fit(self, changes, message):
        with pytest.raises(ValueError, match=message):
            build_model(classifier={**CLASSIFIER, **changes})

    def test_weights_for_a_part_that_is_not_there(self):
        with pytest.raises(ValueError, match="'classifier', which this model does not have"):
            build_model(pretrained_cfgs=dict(classifier=dict(ckpt_path='x.pth')))

    def test_weights_that_need_not_fit(self):
        source = dict(ckpt_path='x.pth', strict=False)
        with pytest.raises(ValueError, match='strict=False; name what to leave'):
            build_model(pretrained_cfgs=dict(unet=source))


class TestTheModelIsLeftAsItWas:
    """Sampling is evaluation, whatever mode the model is in; and it gives the mode back."""

    def test_dropout_is_off(self):
        model = build_model(unet=dict(dropout=0.5))
        expected = model.infer(seeds=[1], labels=3)['samples']
        model.train()
        for _ in range(2):
            assert torch.equal(model.infer(seeds=[1], labels=3)['samples'], expected)

    def test_every_mode_is_given_back(self):
        model = build_model(classifier=CLASSIFIER).train()
        model.unet.middle_block.eval()
        before = {name: module.training for name, module in model.named_modules()}
        model.infer(seeds=[1], labels=3)
        assert {name: module.training for name, module in model.named_modules()} == before
        assert any(before.values())
        assert not all(before.values())

    def test_even_if_it_fails(self):
        model = build_model().train()
        with pytest.raises(RuntimeError, match='seen enough'):
            model.infer(seeds=[1], on_step=_fail)
        assert model.training

    def test_other_steps_for_one_call_are_not_kept(self):
        model = build_model()
        expected = model.infer(seeds=[1], labels=3)['samples']
        model.infer(seeds=[1], labels=3, num_inference_steps=9)
        assert torch.equal(model.infer(seeds=[1], labels=3)['samples'], expected)


def _fail(step):
    raise RuntimeError('seen enough')


SOLVER = dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler')


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
@pytest.mark.parametrize(
    'scheduler',
    [dict(type='DDPMScheduler'), dict(type='EDMHeunScheduler', S_churn=1), SOLVER],
    ids=lambda scheduler: scheduler['type'],
)
def test_sampling_while_one_watches_does_not_disturb_what_is_watched(scheduler):
    model = build_model(diffusion_scheduler=scheduler)
    expected = model.infer(seeds=[1, 2], labels=3)['samples']

    def look(step):
        model.infer(seeds=[9], labels=4, num_inference_steps=2)

    assert torch.equal(model.infer(seeds=[1, 2], labels=3, on_step=look)['samples'], expected)


class TestStartingFromAnImage:
    def test_skipped_steps_need_one(self):
        with pytest.raises(ValueError, match='skip_steps goes with start_image'):
            build_model().infer(seeds=[1], skip_steps=2)

    def test_guidance_counts_the_steps_that_are_taken(self):
        """Every other of the five that are left, from the first of them on."""
        guidance = dict(type='ClassifierGuidance', every=2)
        model = build_model(classifier=CLASSIFIER, guidance=guidance, num_inference_steps=8)
        guided, walked = [], []
        model.classifier.register_forward_pre_hook(lambda _, args: guided.append(int(args[1][0])))
        model.unet.register_forward_pre_hook(lambda _, args: walked.append(int(args[1][0])))
        model.infer(seeds=[1], labels=3, start_image=torch.zeros(1, 3, 8, 8), skip_steps=3)
        assert len(walked) == 5
        assert guided == walked[::2]


def test_settings_of_a_loss_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r'loss_type are of DiffusionLoss, .* EDMLoss'):
        build_model(loss=dict(type='EDMLoss'), loss_type='mse')
    with pytest.raises(ValueError, match='timestep_sampler are of DiffusionLoss'):
        build_model(loss=dict(type='EDMLoss'), timestep_sampler='uniform')


def test_a_network_that_does_not_say_what_it_is_is_refused():
    with pytest.raises(ValueError, match='Linear has no image_size'):
        build_model_of(torch.nn.Linear(2, 2))


def build_model_of(network):
    return MODELS.build(model_config() | dict(unet=network))
