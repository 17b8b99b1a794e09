"""What every scheduler owes to a walk, and those with a step to a loop of one's own."""

import pytest
import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.registry import DIFFUSION_SCHEDULERS
from mmagic_adm.schedulers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusersScheduler,
    EDMHeunScheduler,
)
from tests.diffusion.formula import formula_gradient, formula_network
from tests.schedulers.allocations import Allocations

# diffusers is not yet at home with NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')

MAKERS = {
    'ddpm': DDPMScheduler,
    'ddim': DDIMScheduler,
    'ddim_eta': lambda **kwargs: DDIMScheduler(eta=0.5, **kwargs),
    'ddim_mmagic': lambda **kwargs: DDIMScheduler(rederive_eps=False, **kwargs),
    'dpm++': DiffusersScheduler,
    'heun': lambda **kwargs: DiffusersScheduler('HeunDiscreteScheduler', **kwargs),
    'ancestral': lambda **kwargs: DiffusersScheduler('EulerAncestralDiscreteScheduler', **kwargs),
}
EDM = {
    'edm': lambda **kwargs: EDMHeunScheduler(beta_schedule='linear', **kwargs),
    'edm_churn': lambda **kwargs: EDMHeunScheduler(beta_schedule='linear', S_churn=3, **kwargs),
}
STEPPERS = ('ddpm', 'ddim', 'ddim_eta', 'ddim_mmagic')
every_discrete = pytest.mark.parametrize('make', MAKERS.values(), ids=MAKERS)
every_scheduler = pytest.mark.parametrize('make', (MAKERS | EDM).values(), ids=MAKERS | EDM)
every_stepper = pytest.mark.parametrize('make', [MAKERS[name] for name in STEPPERS], ids=STEPPERS)


def generators(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def denoiser_of(scheduler):
    denoiser = make_denoiser(formula_network, scheduler.full_process)
    return ClippedDenoiser(denoiser) if scheduler.clip_sample else denoiser


def steps(scheduler, noise, generators=None, guidance=None, count=6):
    """The steps of a walk."""
    scheduler.set_timesteps(count)
    start = scheduler.init_noise(noise)
    walk = scheduler.walk(denoiser_of(scheduler), start, guidance=guidance, generators=generators)
    return list(walk)


def walk(*arguments, **settings):
    """The last step of a walk."""
    return steps(*arguments, **settings)[-1]


@every_scheduler
def test_a_sample_does_not_depend_on_its_neighbours(make):
    noise, y = torch.randn(4, 3, 4, 4), torch.arange(4)
    scheduler = make()
    batch = walk(scheduler, noise, generators(range(4)), formula_gradient(y)).sample
    order = [2, 0, 3]
    others = walk(scheduler, noise[order], generators(order), formula_gradient(y[order]))
    torch.testing.assert_close(batch[order], others.sample)
    alone = walk(scheduler, noise[1:2], generators([1]), formula_gradient(y[1:2])).sample
    torch.testing.assert_close(batch[1:2], alone)


@every_scheduler
def test_walks_do_not_disturb_each_other(make):
    """Two in lockstep, one of which begins after other timesteps were set, and breaks off."""
    scheduler, noise = make(), torch.randn(2, 3, 4, 4)
    alone = walk(scheduler, noise, generators([1, 2])).sample
    denoiser, start = denoiser_of(scheduler), scheduler.init_noise(noise)
    first = scheduler.walk(denoiser, start, generators=generators([1, 2]))
    scheduler.set_timesteps(9)
    second = scheduler.walk(denoiser, scheduler.init_noise(noise), generators=generators([3, 4]))
    rest = [step for step, _ in zip(first, second, strict=False)]
    assert torch.equal(rest[-1].sample, alone)


@every_scheduler
def test_steps_are_counted_and_say_where_they_start(make):
    scheduler = make()
    scheduler.set_timesteps(6)
    noise = scheduler.init_noise(torch.randn(2, 3, 4, 4))
    steps = list(scheduler.walk(denoiser_of(scheduler), noise, generators=generators([1, 2])))
    assert [step.index for step in steps] == list(range(6))
    assert {step.total for step in steps} == {6}
    assert [step.level for step in steps] == list(scheduler.levels)
    sigmas = [step.level.sigma for step in steps]
    assert sigmas == sorted(sigmas, reverse=True)


@every_scheduler
def test_the_levels_of_the_calls_are_known_beforehand(make):
    scheduler, seen = make(), []
    scheduler.set_timesteps(6)
    denoiser = denoiser_of(scheduler)

    def noting(x_t, level):
        seen.append(level)
        return denoiser(x_t, level)

    for skip in (0, 2):
        start = scheduler.noised(torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4), skip)
        seen.clear()
        list(scheduler.walk(noting, start, generators=generators([1, 2]), skip=skip))
        assert seen == list(scheduler.calls(skip))


@every_scheduler
@pytest.mark.parametrize('skip', [-1, 6])
def test_steps_that_cannot_be_left_out(make, skip):
    scheduler = make()
    scheduler.set_timesteps(6)
    noise = scheduler.init_noise(torch.randn(2, 3, 4, 4))
    with pytest.raises(ValueError, match=f'of 6 steps, {skip} cannot be left out'):
        scheduler.walk(denoiser_of(scheduler), noise, skip=skip)


@every_stepper
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_a_step_keeps_the_type_of_its_sample(make, dtype):
    scheduler = make()
    scheduler.set_timesteps(5)
    sample, output = torch.randn(2, 3, 4, 4), torch.randn(2, 6, 4, 4)
    t = scheduler.timesteps[0]
    result = scheduler.step(output.to(dtype), t, sample.to(dtype), generator=generators([1, 2]))
    assert result.prev_sample.dtype == result.pred_original_sample.dtype == dtype


@every_stepper
def test_one_step_of_bfloat16_is_calculated_in_float32(make):
    scheduler = make()
    scheduler.set_timesteps(5)
    sample, output = torch.randn(2, 3, 4, 4).bfloat16(), torch.randn(2, 6, 4, 4).bfloat16()
    results = [
        scheduler.step(out, scheduler.timesteps[0], x, generator=generators([1, 2]))
        for x, out in ((sample, output), (sample.float(), output.float()))
    ]
    assert torch.equal(results[0].prev_sample, results[1].prev_sample.bfloat16())
    assert torch.equal(results[0].pred_original_sample, results[1].pred_original_sample.bfloat16())


@every_scheduler
def test_inference_mode_changes_nothing(make):
    scheduler, noise = make(), torch.randn(2, 3, 4, 4)
    with torch.inference_mode():
        inside = walk(scheduler, noise, generators([1, 2])).sample
    assert torch.equal(inside, walk(scheduler, noise, generators([1, 2])).sample)


@every_discrete
def test_predicted_images_stay_in_range_without_guidance(make):
    result = walk(make(), 3 * torch.randn(2, 3, 4, 4), generators([1, 2]))
    assert result.pred_x0.abs().max() <= 1 + 1e-5
    unclipped = walk(make(clip_sample=False), 3 * torch.randn(2, 3, 4, 4), generators([1, 2]))
    assert unclipped.pred_x0.isfinite().all()


@every_discrete
def test_guidance_is_told_what_the_network_is(make):
    scheduler = make(num_train_timesteps=100, rescale_timesteps=True)
    seen = []

    def guidance(x_t, t, pred_x0):
        seen.append(t)
        assert x_t.shape == pred_x0.shape == (2, 3, 4, 4)
        return torch.zeros_like(x_t)

    walk(scheduler, torch.randn(2, 3, 4, 4), generators([1, 2]), guidance)
    told = [scheduler.network_timestep(t) for t in scheduler.timesteps]
    assert told == [pytest.approx(10 * t) for t in scheduler.timesteps]
    torch.testing.assert_close(torch.stack(seen), torch.tensor(told)[:, None].expand(-1, 2))


@every_scheduler
def test_no_push_is_no_guidance(make):
    scheduler, noise = make(), torch.randn(2, 3, 4, 4)
    idle = walk(scheduler, noise, generators([1, 2]), lambda x_t, t, pred_x0: 0 * x_t)
    free = walk(scheduler, noise, generators([1, 2]))
    torch.testing.assert_close(idle.sample, free.sample)


@every_stepper
@pytest.mark.parametrize('guided', [False, True])
def test_a_step_takes_a_few_tensors_of_the_batchs_size_and_no_table(make, guided):
    scheduler = make()
    scheduler.set_timesteps(10)
    sample, output = torch.randn(64, 3, 64, 64), torch.randn(64, 6, 64, 64)
    guidance = (lambda x_t, t, pred_x0: -x_t) if guided else None
    with Allocations() as allocations:
        scheduler.step(output, scheduler.timesteps[1], sample, guidance=guidance)
    size = sample.numel() * sample.element_size()
    assert allocations.peak <= 8.01 * size
    small = [other for other in allocations.sizes if other < size]
    assert max(small, default=0) <= 8 * len(sample)  # a timestep for each sample, no table


@every_scheduler
def test_a_walk_before_set_timesteps(make):
    scheduler = make()
    with pytest.raises(RuntimeError, match='has no timesteps: call set_timesteps first'):
        scheduler.walk(denoiser_of(scheduler), torch.zeros(1, 3, 4, 4))
    with pytest.raises(RuntimeError, match='call set_timesteps first'):
        _ = scheduler.levels


@every_scheduler
@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_broken_output_of_a_network_is_named_with_its_level(make, broken):
    scheduler, calls = make(), []
    scheduler.set_timesteps(5)

    def network(x, timesteps):
        output = formula_network(x, timesteps)
        calls.append(timesteps)
        if len(calls) == 2:
            output[2, 5, 1, 3] = broken
        return output

    denoiser = make_denoiser(network, scheduler.full_process)
    start = scheduler.init_noise(torch.randn(4, 3, 4, 4))
    name = scheduler.calls()[1].name.replace('.', r'\.')
    message = rf'{name} \(call 2\) holds NaN or infinity \(samples \[2\] of the batch of 4'
    with pytest.raises(FloatingPointError, match=message):
        list(scheduler.walk(denoiser, start))


@every_stepper
@pytest.mark.parametrize('broken', [float('nan'), float('inf')])
def test_broken_model_output_is_named_with_its_step(make, broken):
    scheduler = make()
    scheduler.set_timesteps(5)
    sample, output = torch.randn(4, 3, 4, 4), torch.randn(4, 6, 4, 4)
    output[2, 5, 1, 3] = broken
    second = scheduler.timesteps[1]
    message = (
        rf't={second} \(timestep 2 of 5\) holds NaN or infinity \(samples \[2\] of the batch of 4'
    )
    with pytest.raises(FloatingPointError, match=message):
        scheduler.step(output, second, sample)


def test_large_but_finite_output_passes():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(5)
    output = torch.full((1, 6, 8, 8), 3e38)
    result = scheduler.step(output, scheduler.timesteps[0], torch.zeros(1, 3, 8, 8))
    assert result.pred_original_sample.unique().tolist() == [-1]


@every_stepper
def test_wrong_channels_for_the_variance_type(make):
    scheduler = make()
    scheduler.set_timesteps(5)
    with pytest.raises(ValueError, match=r"'learned_range' need a model output of \(1, 6, 4, 4\)"):
        scheduler.step(torch.zeros(1, 3, 4, 4), scheduler.timesteps[0], torch.zeros(1, 3, 4, 4))


@every_discrete
@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ('ddim400', "'ddim400' does not exist"),
        ('10,400,10', '400 steps in a section of 333'),
        (2000, '2000 steps in a section of 1000'),
        (0, "Cannot read '?0"),
        ('plenty', "Cannot read 'plenty'"),
    ],
)
def test_specs_that_cannot_be(make, spec, message):
    with pytest.raises(ValueError, match=message):
        make().set_timesteps(spec)


@pytest.mark.parametrize('name', ['ddpm', 'ddim_eta', 'ancestral', 'dpm++', 'edm_churn'])
def test_number_of_generators(name):
    with pytest.raises(ValueError, match='2 generators for a batch of 3'):
        walk((MAKERS | EDM)[name](), torch.zeros(3, 3, 4, 4), generators([1, 2]))


@pytest.mark.parametrize('make', [DDPMScheduler, MAKERS['ddim_eta']])
def test_noise_of_another_shape(make):
    scheduler = make()
    scheduler.set_timesteps('ddim5')
    sample = torch.zeros(2, 3, 4, 4)
    with pytest.raises(
        ValueError, match=r'Noise of shape \(1, 3, 4, 4\) for a sample of \(2, 3, 4, 4\)'
    ):
        scheduler.step(torch.zeros(2, 6, 4, 4), 800, sample, noise=sample[:1])


@pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler])
def test_timestep_that_is_not_in_the_schedule(make):
    scheduler = make()
    scheduler.set_timesteps('ddim25')
    for t in (999, 961, -1, 40.5):
        with pytest.raises(
            ValueError, match=rf't={t} is not one of the 25 timesteps from 960 to 0'
        ):
            scheduler.step(torch.zeros(1, 6, 4, 4), t, torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler])
def test_timesteps_may_come_in_tensors(make):
    scheduler = make()
    scheduler.set_timesteps('ddim25')
    sample, output = torch.randn(1, 3, 4, 4), torch.randn(1, 6, 4, 4)
    one, other = (scheduler.step(output, t, sample, noise=sample) for t in (960, torch.tensor(960)))
    assert torch.equal(one.prev_sample, other.prev_sample)


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        (dict(type='DDPMScheduler', beta_schedule='cosine'), DDPMScheduler),
        (dict(type='DDIMScheduler', eta=0.5), DDIMScheduler),
        (dict(type='DiffusersScheduler', type_='UniPCMultistepScheduler'), DiffusersScheduler),
    ],
)
def test_built_from_a_config(config, expected):
    assert isinstance(DIFFUSION_SCHEDULERS.build(config), expected)


@pytest.mark.parametrize('spec', ['ddim25', '10,15,20', 60, None])
def test_timesteps_run_from_noise_to_image(spec):
    for make in (DDPMScheduler, DDIMScheduler):
        scheduler = make()
        scheduler.set_timesteps(spec)
        kept = list(scheduler.timesteps)
        assert kept == sorted(set(kept), reverse=True) == scheduler.process.timesteps[::-1]
        expected = {'ddim25': 25, '10,15,20': 45, 60: 60, None: 1000}[spec]
        assert len(kept) == expected


def test_steps_can_be_set_again():
    scheduler = DDPMScheduler()
    scheduler.set_timesteps(5)
    scheduler.set_timesteps(250)
    fresh = DDPMScheduler()
    fresh.set_timesteps(250)
    assert scheduler.timesteps == fresh.timesteps
    assert (scheduler.process.betas == fresh.process.betas).all()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@every_scheduler
def test_a_gpu_gives_the_same_samples(make):
    """To rounding, which is that of the largest sample on the way: some solvers have large ones."""
    scheduler, noise = make(), torch.randn(2, 3, 8, 8)
    y = torch.tensor([1, 2])
    on_cpu = steps(scheduler, noise, generators([1, 2]), formula_gradient(y))
    on_gpu = steps(scheduler, noise.cuda(), generators([1, 2]), formula_gradient(y.cuda()))
    assert on_gpu[-1].sample.is_cuda
    largest = max(step.sample.abs().max().item() for step in on_cpu)
    rounding = max(1e-4, 2 * largest * torch.finfo(torch.float32).eps)
    torch.testing.assert_close(on_gpu[-1].sample.cpu(), on_cpu[-1].sample, rtol=0, atol=rounding)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('make', [DDPMScheduler, DDIMScheduler])
def test_a_step_waits_for_the_gpu_once(make):
    """For the check of the model output, which ends in one number."""
    scheduler = make()
    scheduler.set_timesteps(5)
    sample, output = torch.randn(2, 3, 8, 8).cuda(), torch.randn(2, 6, 8, 8).cuda()
    own = [torch.Generator('cuda').manual_seed(seed) for seed in (1, 2)]
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with pytest.warns(UserWarning, match='synchronizing') as waits:
            scheduler.step(output, scheduler.timesteps[0], sample, generator=own)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len(waits) == 1


class TestWhatCannotGuide:
    @every_scheduler
    @pytest.mark.parametrize('guidance', ['classifier', object(), torch.nn.Identity()])
    def test_things(self, make, guidance):
        name = type(guidance).__name__
        with pytest.raises(TypeError, match=rf'{name} cannot guide a step, .* a plain callable'):
            walk(make(), torch.randn(2, 3, 4, 4), generators([1, 2]), guidance)

    @every_scheduler
    def test_a_gradient_of_another_shape(self, make):
        def score_of_sample(x_t, t, pred_x0):
            return x_t.flatten(1).sum(1)

        message = r'score_of_sample must return a tensor of shape \(2, 3, 4, 4\), got \(2,\)'
        with pytest.raises(ValueError, match=message):
            walk(make(), torch.randn(2, 3, 4, 4), generators([1, 2]), score_of_sample)

    def test_a_gradient_that_is_none(self):
        with pytest.raises(ValueError, match=r'must return a tensor .*, got NoneType'):
            walk(DDPMScheduler(), torch.randn(2, 3, 4, 4), None, lambda x_t, t, pred_x0: None)


@every_scheduler
def test_a_gradient_may_be_in_half_precision(make):
    noise, samples = torch.randn(2, 3, 4, 4), []
    for gradient in (lambda x_t, t, pred_x0: -x_t, lambda x_t, t, pred_x0: -x_t.bfloat16()):
        samples.append(walk(make(), noise, generators([1, 2]), gradient).sample)
    assert samples[0].dtype == samples[1].dtype
    torch.testing.assert_close(samples[0], samples[1], rtol=0.05, atol=0.1)
