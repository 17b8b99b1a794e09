"""MMagic's schedulers against MMagic's own code, which is run from its files as they are."""

import pathlib
import runpy
import sys
import types
import warnings

import mmagic
import pytest
import torch
from mmengine.registry import Registry

from mmagic_adm.checkpoints.parts import mmagic_name
from mmagic_adm.compat.mmagic_schedulers import EditDDIMScheduler, EditDDPMScheduler
from mmagic_adm.networks import ADMClassifier, ADMUNet
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers import DDIMScheduler
from tests.reference import fill_by_name, golden_names, load_golden

# MMagic's DDIM keeps its linear schedules in float32.
CLOSE = dict(rtol=2e-4, atol=2e-5)


@pytest.fixture
def original(monkeypatch):
    """MMagic's classes of a file, without the packages that its models need."""
    folder = pathlib.Path(mmagic.__file__).parent / 'models'

    def run(file):
        return types.SimpleNamespace(**runpy.run_path(str(folder / file)))

    utils = 'mmagic.models.utils.diffusion_utils'
    for name in ('mmagic.models', 'mmagic.models.utils'):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, utils, run('utils/diffusion_utils.py'))
    monkeypatch.setattr('mmagic.registry.DIFFUSION_SCHEDULERS', Registry('unused'))
    return lambda file: run(f'diffusion_schedulers/{file}')


def classifier_grad(classifier, x, t, y=None, classifier_scale=1.0):
    return classifier_scale * (classifier * y.reshape(-1, 1, 1, 1) - x) * (1 + t / 1000)


def disco_grad(unet, scheduler, x, t, beta_prod_t, model_stats, strength):
    assert scheduler.num_train_timesteps == 1000
    return -strength * beta_prod_t * (x - unet) + 0 * t + 0 * model_stats


GUIDANCE = {
    'free': {},
    'guided': dict(
        cond_fn=classifier_grad,
        cond_kwargs=dict(classifier=0.1, y=torch.tensor([3, 5]), classifier_scale=2.0),
    ),
}


def assert_walks_as(theirs, ours, network, **kwargs):
    """MMagic's loop over both; each of our steps starts where MMagic's did."""
    assert list(ours.timesteps) == theirs.timesteps.tolist()
    sample = torch.randn(2, 3, 4, 4)
    for t in theirs.timesteps:
        results = []
        for scheduler in (ours, theirs):
            torch.manual_seed(int(t))
            results.append(scheduler.step(network(sample, t), t, sample, **kwargs))
        assert_same(*results)
        sample = results[1]['prev_sample']


def learned_network(x, t):
    return torch.cat([0.8 * x + 0.2 * torch.sin(2 * x + int(t) / 250), torch.tanh(x)], dim=1)


def plain_network(x, t):
    return learned_network(x, t)[:, :3]


def assert_same(ours, theirs):
    for key, value in theirs.items():
        expected = torch.as_tensor(value).float()
        actual = torch.as_tensor(ours[key]).float()
        torch.testing.assert_close(actual, expected.expand(actual.shape), **CLOSE)


class TestDDIM:
    @pytest.mark.parametrize('guidance', GUIDANCE)
    @pytest.mark.parametrize(
        ('arguments', 'step'),
        [
            ({}, {}),
            (dict(beta_schedule='squaredcos_cap_v2'), {}),
            (dict(beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012), {}),
            (dict(num_train_timesteps=200, beta_start=0.001, beta_end=0.05), {}),
            (dict(clip_sample=False), {}),
            (dict(set_alpha_to_one=False), {}),
            ({}, dict(use_clipped_model_output=True)),
            ({}, dict(eta=0.7)),
            (dict(set_alpha_to_one=False), dict(eta=1.0)),
        ],
    )
    def test_walks_as_mmagics(self, original, arguments, step, guidance):
        theirs = original('ddim_scheduler.py').EditDDIMScheduler(**arguments)
        ours = EditDDIMScheduler(**arguments)
        for scheduler in (theirs, ours):
            scheduler.set_timesteps(10)
        assert_walks_as(theirs, ours, learned_network, **step, **GUIDANCE[guidance])

    @pytest.mark.parametrize(('steps', 'taken'), [(25, 25), (60, 63), (7, 8)])
    def test_takes_as_many_steps_as_mmagics(self, original, steps, taken):
        ours, theirs = EditDDIMScheduler(), original('ddim_scheduler.py').EditDDIMScheduler()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            ours.set_timesteps(steps)
        theirs.set_timesteps(steps)
        assert list(ours.timesteps) == theirs.timesteps.tolist()
        assert len(ours.timesteps) == taken
        assert [str(warning.message) for warning in caught] == (
            []
            if steps == taken
            else [
                f"{steps} steps become {taken}, as MMagic's schedulers space them; DDIMScheduler "
                f'and DDPMScheduler take exactly {steps}'
            ]
        )

    def test_offset(self, original):
        theirs, ours = original('ddim_scheduler.py').EditDDIMScheduler(), EditDDIMScheduler()
        for scheduler in (theirs, ours):
            scheduler.set_timesteps(10, offset=1)
        assert_walks_as(theirs, ours, plain_network)

    def test_offset_out_of_the_process(self):
        with pytest.raises(ValueError, match='offset=100 moves timesteps 0 to 900 out of the 1000'):
            EditDDIMScheduler().set_timesteps(10, offset=100)

    def test_discos_guidance_and_prediction(self, original):
        ends = []
        for scheduler_type in (
            EditDDIMScheduler,
            original('ddim_scheduler.py').EditDDIMScheduler,
        ):
            scheduler = scheduler_type()
            scheduler.set_timesteps(10)
            x = torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)
            output = dict(eps=plain_network(x, 900), pred=0.9 * x)
            kwargs = dict(unet=0.3, model_stats=1.0, strength=0.2)
            free = scheduler.step(output, 900, x)
            ends.append(
                {**scheduler.step(output, 900, x, disco_grad, kwargs), 'free': free['mean']}
            )
        assert_same(*ends)

    def test_has_the_packages_own_seam_too(self):
        scheduler = EditDDIMScheduler(beta_schedule='squaredcos_cap_v2')
        own = DDIMScheduler(beta_schedule='cosine', rederive_eps=False)
        x, noise = torch.randn(2, 2, 3, 4, 4)

        def push(x_t, t, pred_x0):
            assert t.tolist() == [900, 900]
            return -x_t

        results = []
        for each in (scheduler, own):
            each.set_timesteps('ddim10')
            output = learned_network(x, 900)
            results.append(each.step(output, 900, x, guidance=push, noise=noise, generator=None))
        torch.testing.assert_close(results[0].prev_sample, results[1].prev_sample)
        torch.testing.assert_close(results[0].pred_original_sample, results[1].pred_original_sample)
        back = [each.reverse_step(output, 900, x).prev_sample for each in (scheduler, own)]
        torch.testing.assert_close(*back)

    def test_what_is_no_guidance_is_refused(self):
        scheduler = EditDDIMScheduler()
        scheduler.set_timesteps(10)
        rule = types.SimpleNamespace(shift_mean=lambda *_: None)
        with pytest.raises(TypeError, match='SimpleNamespace cannot guide a step'):
            scheduler.step(torch.zeros(1, 6, 4, 4), 900, torch.zeros(1, 3, 4, 4), guidance=rule)

    def test_broken_output_is_named_with_its_step(self):
        scheduler = EditDDIMScheduler()
        scheduler.set_timesteps(10)
        output = torch.full((1, 6, 4, 4), float('nan'))
        with pytest.raises(FloatingPointError, match=r't=800 \(timestep 2 of 10\)'):
            scheduler.step(output, 800, torch.zeros(1, 3, 4, 4))

    def test_step_before_set_timesteps(self):
        with pytest.raises(RuntimeError, match='call set_timesteps first'):
            EditDDIMScheduler().step(torch.zeros(1, 6, 4, 4), 0, torch.zeros(1, 3, 4, 4))

    def test_argument_that_does_nothing_says_so(self):
        with pytest.warns(UserWarning, match='timestep_values has no effect'):
            EditDDIMScheduler(timestep_values=[1, 2])


class TestDDPM:
    @pytest.mark.parametrize('guidance', GUIDANCE)
    @pytest.mark.parametrize(
        ('arguments', 'network', 'step'),
        [
            ({}, plain_network, {}),
            ({}, plain_network, dict(predict_epsilon=False)),
            (dict(variance_type='fixed_large'), plain_network, {}),
            (dict(variance_type='learned_range'), learned_network, {}),
            (dict(variance_type='learned_range'), learned_network, dict(predict_epsilon=False)),
            (dict(beta_schedule='squaredcos_cap_v2', clip_sample=False), plain_network, {}),
            (dict(trained_betas=torch.linspace(0.001, 0.02, 1000).tolist()), plain_network, {}),
        ],
    )
    @pytest.mark.filterwarnings('ignore:EditDDPMScheduler takes')
    def test_walks_as_mmagics(self, original, arguments, network, step, guidance):
        theirs = original('ddpm_scheduler.py').EditDDPMScheduler(**arguments)
        ours = EditDDPMScheduler(**arguments)
        for scheduler in (theirs, ours):
            scheduler.set_timesteps(20)
        assert_walks_as(theirs, ours, network, **step, **GUIDANCE[guidance])

    @pytest.mark.parametrize(
        ('variance_type', 'network'),
        [
            ('fixed_small', plain_network),
            ('learned_range', learned_network),
            ('learned', lambda x, t: learned_network(x, t).abs()),
        ],
    )
    def test_steps_as_mmagics(self, original, variance_type, network):
        results = []
        x = torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)
        for scheduler_type in (
            EditDDPMScheduler,
            original('ddpm_scheduler.py').EditDDPMScheduler,
        ):
            scheduler = scheduler_type(variance_type=variance_type)
            torch.manual_seed(0)
            results.append(scheduler.step(network(x, 500), 500, x, **GUIDANCE['guided']))
        assert_same(*results)

    def test_takes_every_step_until_told_otherwise(self):
        assert list(EditDDPMScheduler().timesteps) == list(range(1000))[::-1]

    def test_few_steps_warn(self):
        scheduler = EditDDPMScheduler()
        with pytest.warns(UserWarning, match='takes 25 steps of a process of 1000'):
            scheduler.set_timesteps(25)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            scheduler.set_timesteps(2000)
        assert len(scheduler.timesteps) == 1000

    def test_has_the_packages_own_seam_too(self):
        scheduler = EditDDPMScheduler()
        x, z = torch.randn(2, 2, 3, 4, 4)
        output = plain_network(x, 500)
        free, given, pushed = (
            scheduler.step(output, 500, x, noise=noise, guidance=guidance)
            for noise, guidance in (
                (0 * x, None),
                (z, None),
                (0 * x, lambda x_t, t, pred_x0: pred_x0),
            )
        )
        sigma = free['sigma']
        torch.testing.assert_close(given.prev_sample, free.prev_sample + sigma * z)
        push = sigma * free.pred_original_sample
        torch.testing.assert_close(pushed.prev_sample, free.prev_sample + push)

    @pytest.mark.filterwarnings('ignore:EditDDPMScheduler takes')
    def test_broken_output_is_named_with_its_step(self):
        scheduler = EditDDPMScheduler()
        scheduler.set_timesteps(10)
        output = torch.full((1, 3, 4, 4), float('nan'))
        with pytest.raises(FloatingPointError, match=r't=800 \(timestep 2 of 10\)'):
            scheduler.step(output, 800, torch.zeros(1, 3, 4, 4))

    def test_samples_have_their_own_randomness(self):
        scheduler, x = EditDDPMScheduler(), torch.randn(2, 3, 4, 4)

        def step(rows, seeds):
            own = [torch.Generator().manual_seed(seed) for seed in seeds]
            return scheduler.step(plain_network(x[rows], 500), 500, x[rows], generator=own)

        both, second = step([0, 1], [7, 8]), step([1], [8])
        torch.testing.assert_close(both.prev_sample[1:], second.prev_sample)

    @pytest.mark.parametrize('variance_type', ['fixed_small_log', 'fixed_large_log'])
    def test_variances_that_are_nan_in_mmagic(self, variance_type):
        with pytest.raises(ValueError, match=f'gives NaN in MMagic.*use .{variance_type[:-4]}'):
            EditDDPMScheduler(variance_type=variance_type)


@pytest.mark.parametrize('scheduler_type', [EditDDIMScheduler, EditDDPMScheduler])
class TestBoth:
    def test_built_by_name(self, scheduler_type):
        config = dict(type=scheduler_type.__name__, beta_schedule='squaredcos_cap_v2')
        assert isinstance(DIFFUSION_SCHEDULERS.build(config), scheduler_type)

    def test_what_code_for_mmagic_uses(self, scheduler_type):
        scheduler = scheduler_type()
        assert len(scheduler) == scheduler.num_train_timesteps == 1000
        assert scheduler.init_noise_sigma == 1
        assert scheduler.num_inference_steps is None
        x, noise = torch.randn(2, 2, 3, 4, 4)
        assert scheduler.scale_model_input(x, 5) is x
        alpha_bar = scheduler.alphas_cumprod[500]
        expected = alpha_bar**0.5 * x + (1 - alpha_bar) ** 0.5 * noise
        torch.testing.assert_close(scheduler.add_noise(x, noise, 500), expected)
        torch.testing.assert_close(
            scheduler.add_noise(x, noise, torch.tensor([500, 500])), expected
        )

    def test_two_guidances(self, scheduler_type):
        scheduler = scheduler_type()
        scheduler.set_timesteps(1000)
        x = torch.zeros(2, 3, 4, 4)
        with pytest.raises(ValueError, match='Give guidance or cond_fn, not both'):
            scheduler.step(x, 500, x, **GUIDANCE['guided'], guidance=lambda *_: x)

    @pytest.mark.parametrize('steps', [0, -3])
    def test_no_steps(self, scheduler_type, steps):
        with pytest.raises(ValueError, match=f'Cannot take {steps} steps on 1000 timesteps'):
            scheduler_type().set_timesteps(steps)

    def test_half_precision_keeps_its_type(self, scheduler_type):
        scheduler = scheduler_type(variance_type='learned_range')
        scheduler.set_timesteps(1000)
        x = torch.randn(1, 3, 4, 4).bfloat16()
        result = scheduler.step(learned_network(x, 500), 500, x)
        assert result.prev_sample.dtype == result.pred_original_sample.dtype == torch.bfloat16


def test_more_steps_than_mmagics_ddim_can_take():
    with pytest.raises(ValueError, match='Cannot take 2000 steps on 1000 timesteps'):
        EditDDIMScheduler().set_timesteps(2000)


class TestGoldenSampling:
    """MMagic's own model, networks and all."""

    def networks(self, meta):
        unet, guide = meta['model']['unet'], meta['model'].get('classifier')
        attention = unet['attention_cfg']
        network = ADMUNet(
            image_size=unet['image_size'],
            model_channels=unet['base_channels'],
            out_channels=6,
            num_res_blocks=unet['resblocks_per_downsample'],
            attention_resolutions=unet['attention_res'],
            channel_mult=unet['channels_cfg'],
            num_classes=unet['num_classes'],
            num_head_channels=attention['num_head_channels'],
            use_new_attention_order=attention['use_new_attention_order'],
        )
        fill_by_name(network.eval(), lambda key: f'unet.{mmagic_name(key)}')
        if guide is None:
            return network, None
        size = guide['image_size']
        classifier = ADMClassifier(
            image_size=size,
            model_channels=guide['model_channels'],
            out_channels=guide['out_channels'],
            num_res_blocks=guide['num_res_blocks'],
            attention_resolutions=[size // factor for factor in guide['attention_resolutions']],
            channel_mult=guide['channel_mult'],
            num_head_channels=guide['num_head_channels'],
            pool=guide['pool'],
        )
        return network, fill_by_name(classifier.eval(), lambda key: f'classifier.{key}')

    @pytest.mark.parametrize('name', golden_names('mmagic'))
    def test_samples_equal_mmagics(self, name):
        golden = load_golden('mmagic', name)
        network, classifier = (each and each.double() for each in self.networks(golden.meta))
        scheduler = DIFFUSION_SCHEDULERS.build(golden.meta['model']['diffusion_scheduler'])
        scheduler.set_timesteps(golden.meta['infer']['num_inference_steps'])
        guidance = None
        if classifier is not None:

            def guidance(x_t, t, pred_x0):
                with torch.enable_grad():
                    x_t = x_t.detach().requires_grad_()
                    log_p = classifier(x_t, t).log_softmax(dim=1)
                    (gradient,) = torch.autograd.grad(
                        log_p[torch.arange(len(x_t)), golden.y].sum(), x_t
                    )
                return golden.meta['infer']['classifier_scale'] * gradient

        sample = golden.x.double()
        with torch.no_grad():
            for t in scheduler.timesteps:
                timesteps = torch.full((len(sample),), scheduler.network_timestep(t))
                output = network(sample, timesteps, golden.y)
                sample = scheduler.step(output, t, sample, guidance=guidance).prev_sample
        # These networks are untrained, and their loops amplify: with the linear schedule a change
        # of x by 1e-7 moves single pixels by 3e-4, whichever implementation walks. In double
        # precision the golden's own rounding is all that is left.
        difference = (sample - golden.samples).abs()
        assert difference.quantile(0.9) < 1e-4
        assert difference.max() < 1e-3
