"""What any right implementation of the methods does, whatever its numbers."""

import weakref

import pytest
import torch

from mmagic_adm.denoisers import Denoiser
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel, Prediction
from mmagic_adm.guidance import Path
from mmagic_adm.measurements import (
    DDNM,
    JPEG,
    METHODS,
    MMPS,
    TDS,
    BoxInpainting,
    DDNMPlus,
    Downsampling,
    FunctionOperator,
    Greyscale,
    Inpainting,
    KernelBlur,
    Measurement,
    PiGDM,
    RePaint,
    build_method,
    measure,
)
from mmagic_adm.measurements.restoration import Seen
from mmagic_adm.measurements.tds import _uniform, resample
from mmagic_adm.schedulers import DDIMScheduler, DDNMScheduler, EDMHeunScheduler
from tests.measurements.formulas import MatrixOperator
from tests.reference import load_golden
from tests.tiny import CLASSIFIER, build_model

SHAPE = (3, 8, 8)
DDPM = dict(type='DDPMScheduler')
JUMPS = dict(jump_length=2, jump_repeats=2)


def images(count=2, seed=0):
    drawn = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(3 * drawn - 1.5, 3, 1, 1).clamp(-1, 1)


@pytest.fixture(scope='module')
def model():
    return build_model()


def restored(model, measurement, method, scheduler=None, **arguments):
    """What a method makes of a measurement under the scheduler that it was written for."""
    method = build_method(method)
    scheduler = scheduler or (method.scheduler and dict(method.scheduler))
    if method.name == 'repaint':
        scheduler = {**scheduler, **JUMPS}
    arguments = dict(seeds=0, labels=3, num_inference_steps=3) | arguments
    return model.infer(
        measurement=measurement, restoration=method, scheduler_kwargs=scheduler, **arguments
    )


class GaussianDenoiser(Denoiser):
    """The denoiser of images that are normally distributed."""

    network, inputs = None, {}

    def __init__(self, mean, covariance):
        self.mean, self.covariance = mean, covariance

    def predict(self, x_t, level, inputs):
        noise = level.noise**2 * torch.eye(len(self.mean), dtype=torch.float64)
        known = level.signal**2 * self.covariance + noise
        gain = level.signal * self.covariance @ known.inverse()
        x_0 = self.mean + (x_t.flatten(1) - level.signal * self.mean) @ gain.mT
        x_0 = x_0.view(x_t.shape)
        return Prediction(x_0, level.eps(x_t, x_0))

    def of(self, network):
        raise NotImplementedError


class TestOfNormalImages:
    """MMPS with an exact solver is exact where images are normally distributed."""

    def guide(self, y, golden, method, path):
        operator = MatrixOperator(golden.A, (1, 1, 12), sigma_y=golden.meta['sigma_y'])
        return method.on(Measurement(y[:, :, None, None], operator)).bind(path)

    @pytest.mark.parametrize('solver', ['cg', 'gmres'])
    def test_the_image_is_the_posteriors_mean(self, solver):
        golden = load_golden('inverse', 'gaussian_prior')
        process = GaussianDiffusion()
        guide = self.guide(golden.y, golden, MMPS(5, solver), Path([process.level(5)], process))
        denoiser, moved = GaussianDenoiser(golden.prior_mean, golden.prior_covariance), []
        for k, x_t in enumerate(golden.x_t):
            level = NoiseLevel(golden.alpha[k].item(), golden.sigma[k].item())
            said = guide.correct(denoiser)(x_t[:, None, None], level).x_0.flatten(1)
            torch.testing.assert_close(said, golden.mean_given_x_t_and_y[k], rtol=0, atol=1e-5)
            moved.append((said - golden.mean_given_x_t[k]).abs().max())
        assert max(moved) > 0.1

    def test_samples_have_its_mean_and_covariance(self):
        golden, count = load_golden('inverse', 'gaussian_prior'), 4000
        scheduler = EDMHeunScheduler(sigma_max=40.0)
        scheduler.set_timesteps(32)
        path = Path(scheduler.calls(), scheduler.full_process)
        guide = self.guide(golden.y[:1].expand(count, -1), golden, MMPS(5, 'cg'), path)
        denoiser = GaussianDenoiser(golden.prior_mean, golden.prior_covariance)
        start = scheduler.init_noise(torch.randn(count, 1, 1, 12))
        samples = list(scheduler.walk(guide.correct(denoiser), start))[-1].sample.flatten(1)
        a, prior = golden.A, golden.prior_covariance
        known = a @ prior @ a.mT + golden.meta['sigma_y'] ** 2 * torch.eye(5)
        gain = prior @ a.mT @ known.inverse()
        mean = golden.prior_mean + gain @ (golden.y[0] - a @ golden.prior_mean)
        covariance = prior - gain @ a @ prior
        spread = covariance.diagonal().sqrt()
        # Five standard errors of a mean, and of a covariance, of so many samples.
        assert ((samples.mean(dim=0) - mean) / spread).abs().max() < 5 / count**0.5
        scaled = (samples.T.cov() - covariance) / torch.outer(spread, spread)
        assert scaled.abs().max() < 5 * (2 / count) ** 0.5


@pytest.mark.parametrize('name', METHODS)
def test_a_sample_alone_is_the_same_in_a_batch_with_other_operators(model, name):
    method = build_method(dict(type=name, particles=2) if name == 'tds' else name)
    masks = torch.rand(3, 1, 8, 8) > 0.5
    operator = Inpainting(SHAPE, masks, sigma_y=[0.3, 0.05, 0.1])
    known = measure(images(3), operator)
    labels = [1, 5, 7]
    together = restored(model, known, method, labels=labels, seeds=[4, 5, 6])['samples']
    alone = restored(model, known[[1]], method, labels=5, seeds=5)['samples']
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=0.1)


@pytest.mark.parametrize(
    'operator',
    [
        BoxInpainting(SHAPE),
        Downsampling(SHAPE, 2),
        Downsampling(SHAPE, 4, 'bicubic'),
        Greyscale(SHAPE),
        KernelBlur(SHAPE, torch.tensor([[0.2, 0.6, 0.2]])),
        JPEG(SHAPE, 30),
    ],
    ids=lambda operator: type(operator).__name__,
)
@pytest.mark.parametrize('kind', [DDIMScheduler, DDNMScheduler, EDMHeunScheduler])
def test_ddnm_meets_a_measurement_without_noise(model, operator, kind):
    known = measure(images(), operator)
    scheduler = kind()
    scheduler.set_timesteps(4)
    guide = DDNM().on(known).bind(Path(scheduler.calls(), scheduler.full_process))
    with torch.no_grad():
        denoiser = guide.correct(model.denoiser(scheduler, labels=torch.tensor([1, 2])))
        start = scheduler.init_noise(torch.randn(2, *SHAPE))
        *_, last = scheduler.walk(denoiser, start)
    torch.testing.assert_close(operator(last.sample).float(), known.y, rtol=0, atol=1e-4)


SCHEDULERS = [DDPM, dict(type='DDIMScheduler'), dict(type='EDMHeunScheduler')]
SCHEDULERS += [dict(type='DDNMScheduler'), dict(type='DiffusersScheduler')]


@pytest.mark.parametrize('config', SCHEDULERS, ids=lambda config: config['type'])
@pytest.mark.parametrize('name', ['ddnm', 'mmps', 'diffpir', 'tmpd'])
def test_those_that_change_the_denoiser_run_under_every_sampler(model, name, config):
    """Of normal images: no random network's Jacobian is a covariance."""
    known = measure(images(), BoxInpainting(SHAPE, sigma_y=0.05))
    scheduler = model.make_scheduler(config, steps=10)
    places = torch.arange(192, dtype=torch.float64)
    covariance = torch.exp(-(places[:, None] - places).abs() / 5) / 5
    denoiser = GaussianDenoiser(torch.zeros(192, dtype=torch.float64), covariance)
    guide = build_method(name).on(known).bind(Path(scheduler.calls(), scheduler.full_process))
    start = scheduler.init_noise(torch.randn(2, *SHAPE).double())
    missed = []
    for each in (denoiser, guide.correct(denoiser)):
        generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        *_, last = scheduler.walk(each, start, generators=generators)
        missed.append(known.residual(last.sample).norm().item())
    assert missed[1] < 0.4 * missed[0]


class TestTogether:
    def missed(self, model, known, method, scheduler=None, **arguments):
        result = restored(model, known, method, scheduler, **arguments)['samples']
        return result, known.residual(result).abs().max()

    @pytest.mark.parametrize(
        ('guidance', 'scheduler', 'scale'),
        [
            (None, dict(type='DDIMScheduler'), 50.0),
            (dict(type='ClassifierFreeGuidance', scale=2.0), dict(type='DDIMScheduler'), None),
            (None, dict(type='DDNMScheduler'), 50.0),
        ],
    )
    def test_guidance_changes_what_is_invented_and_not_what_is_known(
        self, guidance, scheduler, scale
    ):
        free = guidance is not None and guidance['type'] == 'ClassifierFreeGuidance'
        model = build_model(
            unet=dict(class_dropout_prob=0.1) if free else {},
            classifier=None if free else CLASSIFIER,
            guidance=guidance,
            classifier_scale=scale,
            diffusion_scheduler=DDPM,
        )
        known = measure(images(), BoxInpainting(SHAPE))
        scheduler = dict(scheduler, clip_sample=False)
        guided, missed = self.missed(model, known, 'ddnm', scheduler)
        plain, _ = self.missed(model, known, 'ddnm', scheduler, classifier_scale=0.0)
        # A classifier shifts the last step too, by little.
        assert missed < (1e-5 if free else 0.02)
        assert (guided - plain).abs().max() > 0.02

    def test_a_rule_for_the_step_goes_with_what_corrects_images(self):
        rule = dict(type='PixelAsParamGuidance')
        model = build_model(
            guidance=rule, classifier=CLASSIFIER, classifier_scale=1e5, diffusion_scheduler=DDPM
        )
        known = measure(images(), BoxInpainting(SHAPE))
        guided = restored(model, known, 'ddnm', DDPM)['samples']
        plain = restored(model, known, 'ddnm', DDPM, classifier_scale=0.0)['samples']
        assert not torch.allclose(guided, plain, atol=1e-2)

    def test_methods_that_change_the_step_go_with_classifier_free_guidance(self):
        model = build_model(
            unet=dict(class_dropout_prob=0.1),
            guidance=dict(type='ClassifierFreeGuidance', scale=2.0),
        )
        known = measure(images(), BoxInpainting(SHAPE, sigma_y=0.05))
        for name in ('dps', 'pigdm', 'ddnm+', 'repaint', 'tds'):
            guided = restored(model, known, name)['samples']
            plain = restored(model, known, name, classifier_scale=0.0)['samples']
            assert not torch.allclose(guided, plain, atol=1e-2), name


class TestRefusals:
    @pytest.mark.parametrize(
        ('restoration', 'changes', 'message'),
        [
            ('dps', dict(diffusion_scheduler=dict(type='EDMHeunScheduler')),
             'DPS moves the sample where a step has led, which EDMHeunScheduler has no place for'),
            ('ddnm+', dict(diffusion_scheduler=DDPM), 'DDNMPlus mixes image and noise of a step'),
            ('tds', {}, 'TDS settles a stochastic step, which DDIMScheduler has no place for'),
            ('tds', dict(classifier=CLASSIFIER, diffusion_scheduler=DDPM),
             'sources such as ClassifierGuidance, and TDS is a rule'),
            ('lucy', {}, "there is no method 'lucy'; there are mmps, ddnm"),
            (dict(type='mmps', steps=3), {}, "MMPS: .* 'steps'; it takes iterations, solver"),
            (dict(type='mmps', iterations=0), {}, 'iterations of MMPS is from 1 to 50, not 0'),
            (dict(type='mmps', solver='lu'), {}, "solver is gmres or cg, not 'lu'"),
        ],
    )  # fmt: skip
    def test_what_is_undefined_is_refused_when_the_model_is_built(
        self, restoration, changes, message
    ):
        with pytest.raises(ValueError, match=message):
            build_model(restoration=restoration, **changes)

    @pytest.mark.parametrize(
        ('operator', 'name', 'message'),
        [
            (JPEG(SHAPE), 'mmps', 'MMPS needs an operator with an adjoint .* which JPEG has not'),
            (
                FunctionOperator(SHAPE, torch.square, is_linear=False),
                'tmpd',
                'TMPD needs .* adjoint',
            ),
            (FunctionOperator(SHAPE, lambda x: x), 'ddnm', 'DDNM needs .* a pseudo-inverse'),
            (FunctionOperator(SHAPE, lambda x: x), 'pigdm', 'PiGDM needs .* a pseudo-inverse'),
            (JPEG(SHAPE), 'ddnm+', 'DDNMPlus needs an operator with singular values'),
        ],
    )
    def test_an_operator_without_what_a_method_needs(self, model, operator, name, message):
        with pytest.raises(ValueError, match=message):
            restored(model, measure(images(), operator), name)

    def test_a_measurement_of_other_images_and_one_without_a_method(self, model):
        known = measure(images(), BoxInpainting(SHAPE))
        with pytest.raises(ValueError, match='a measurement was given and no method'):
            model.infer(measurement=known, labels=3)
        with pytest.raises(ValueError, match=r'y has shape \(2, 3, 4, 8\)'):
            restored(model, Measurement(known.y[:, :, :4], known.operator), 'ddnm')
        with pytest.raises(ValueError, match=r'different numbers of samples \(seeds: 3, y: 2\)'):
            restored(model, known, 'ddnm', seeds=[1, 2, 3])

    def test_too_few_steps_to_jump_back(self, model):
        scheduler = dict(type='RePaintScheduler', jump_length=10)
        with pytest.raises(ValueError, match='a walk of 4 steps has no room to jump back'):
            model.infer(num_inference_steps=4, scheduler_kwargs=scheduler)

    def test_a_method_without_a_measurement(self, model):
        path = Path([NoiseLevel(1.0, 1.0)], GaussianDiffusion())
        with pytest.raises(ValueError, match='MMPS has nothing to restore'):
            MMPS().bind(path)


class TestCost:
    def calls(self, model, name, monkeypatch):
        """Network calls and ways back through it, and whether there was a graph in any call."""
        forwards, backwards, graphs = [], [], []
        grad = torch.autograd.grad

        def counted(outputs, inputs, *rest, **options):
            if isinstance(outputs, torch.Tensor) and outputs.shape == inputs.shape:
                backwards.append(1)
            return grad(outputs, inputs, *rest, **options)

        def seen(network, arguments, output):
            forwards.append(1)
            graphs.append(output.requires_grad)

        monkeypatch.setattr(torch.autograd, 'grad', counted)
        hook = model.unet.register_forward_hook(seen)
        restored(model, measure(images(), BoxInpainting(SHAPE, sigma_y=0.1)), name)
        hook.remove()
        return len(forwards), len(backwards), any(graphs)

    @pytest.mark.parametrize('iterations', [1, 3])
    @pytest.mark.parametrize('solver', ['cg', 'gmres'])
    def test_mmps_goes_back_once_an_iteration(self, model, iterations, solver, monkeypatch):
        method = dict(type='mmps', iterations=iterations, solver=solver)
        assert self.calls(model, method, monkeypatch) == (3, 3 * iterations, True)

    @pytest.mark.parametrize('name', ['ddnm', 'ddnm+', 'diffpir'])
    def test_no_graph_where_no_gradient_is_needed(self, model, name, monkeypatch):
        assert self.calls(model, name, monkeypatch) == (3, 0, False)

    def test_repaint_neither(self, model, monkeypatch):
        calls, backwards, graph = self.calls(model, 'repaint', monkeypatch)
        assert calls > 3
        assert (backwards, graph) == (0, False)

    @pytest.mark.parametrize('name', ['mmps', 'dps', 'tds'])
    def test_the_graph_of_a_step_is_gone_after_it(self, model, name):
        outputs, alive = [], []

        def seen(network, arguments, output):
            alive.append(sum(kept() is not None for kept in outputs))
            outputs.append(weakref.ref(arguments[0]))

        hook = model.unet.register_forward_hook(seen)
        result = restored(model, measure(images(), BoxInpainting(SHAPE, sigma_y=0.1)), name)
        hook.remove()
        assert max(alive) == 0
        assert not result['samples'].requires_grad

    def test_the_networks_parameters_are_as_they_were(self, model):
        before = [parameter.requires_grad for parameter in model.unet.parameters()]
        restored(model, measure(images(), BoxInpainting(SHAPE, sigma_y=0.1)), 'mmps')
        assert [parameter.requires_grad for parameter in model.unet.parameters()] == before
        assert all(parameter.grad is None for parameter in model.unet.parameters())


class TestDDNMPlus:
    def test_without_noise_what_is_measured_is_met(self, model):
        known = measure(images(), Downsampling(SHAPE, 2))
        scheduler = DDNMScheduler()
        scheduler.set_timesteps(4)
        guide = DDNMPlus().on(known).bind(Path(scheduler.levels, scheduler.full_process))
        with torch.no_grad():
            denoiser = model.denoiser(scheduler, labels=torch.tensor([1, 2]))
            *_, last = scheduler.walk(denoiser, torch.randn(2, *SHAPE), guidance=guide)
        torch.testing.assert_close(known.operator(last.sample), known.y, rtol=0, atol=1e-4)

    def test_noise_of_a_measurement_stays_out_of_the_image(self, model):
        truth, operator = torch.zeros(8, *SHAPE), Inpainting(SHAPE, torch.ones(8, 8), 0.5)
        known = measure(truth, operator)
        with_noise = restored(model, known, 'ddnm', num_inference_steps=8)['samples']
        without = restored(model, known, 'ddnm+', num_inference_steps=8)['samples']
        assert (known.y.clamp(-1, 1) - with_noise).abs().max() < 0.1
        assert (known.y.clamp(-1, 1) - without).abs().mean() > 0.1


def test_repaint_leaves_the_end_as_it_is(model):
    path = Path([NoiseLevel(1.0, 1.0)], GaussianDiffusion())
    guide = RePaint().on(measure(images(), BoxInpainting(SHAPE))).bind(path)
    x = images(seed=1)
    assert guide.land(x, NoiseLevel(1.0, 0.0), torch.randn_like) is x


def test_pigdm_damps_by_the_noise_of_a_measurement():
    """r² Aᵀ (r² A Aᵀ + σ_y²)⁻¹ (y - A x_0), with r² = σ² / (1 + σ²) (equation 8)."""
    a, x_0, y = torch.randn(5, 48).double(), torch.randn(1, 3, 4, 4).double(), torch.randn(1, 5)
    level, sigma_y = NoiseLevel(0.8, 0.6), 0.7
    known = Measurement(y.double()[:, :, None, None], MatrixOperator(a, sigma_y=sigma_y))
    guide = PiGDM().on(known).bind(Path([level], GaussianDiffusion()))
    guide.guidance.image(Seen(x_0, level, pull=lambda v: v), guide.batch)
    spread = 0.75**2 / (1 + 0.75**2)
    inverse = (spread * a @ a.T + sigma_y**2 * torch.eye(5)).inverse()
    missing = spread * a.T @ inverse @ (y[0] - a @ x_0.flatten())
    pushed = guide.batch.memory['push'].flatten()
    torch.testing.assert_close(pushed, 0.8 * missing, rtol=1e-5, atol=1e-6)


class TestTDS:
    def test_numbers_are_drawn_evenly(self):
        z = torch.tensor([-1.2816, 0.0, 0.6745])  # quantiles of the normal distribution
        torch.testing.assert_close(_uniform(z), torch.tensor([0.1, 0.5, 0.75]), rtol=0, atol=1e-4)

    def test_the_likely_go_on_and_sets_do_not_mix(self):
        chances = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
        assert resample(chances, torch.tensor([0.3, 0.6])).tolist() == [1, 1, 1, 1, 4, 5, 6, 7]

    def test_each_goes_on_as_often_as_its_chance_says(self):
        chances = torch.tensor([[0.1, 0.6, 0.3]]).expand(3000, -1)
        rows = resample(chances, torch.rand(3000)) % 3
        share = torch.bincount(rows, minlength=3) / len(rows)
        torch.testing.assert_close(share, chances[0], rtol=0, atol=0.02)

    def test_a_sample_is_the_first_of_its_set_and_has_its_seeds_start(self, model):
        known = measure(images(), BoxInpainting(SHAPE, sigma_y=0.1))
        result = restored(model, known, TDS(3), seeds=[7, 8])
        assert result['particles'].shape == (2, 3, *SHAPE)
        torch.testing.assert_close(result['particles'][:, 0], result['samples'])
        assert result['seeds'] == [7, 8]
