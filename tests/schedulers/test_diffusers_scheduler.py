import importlib.util

import diffusers
import pytest
import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.diffusion import Prediction
from mmagic_adm.schedulers import DDIMScheduler, DiffusersScheduler
from tests.diffusion.formula import formula_gradient, formula_network
from tests.schedulers.gaussian import PLAIN, GaussianData, ends, plain_solver
from tests.toolbox import OLD_DIFFUSERS

# diffusers is not yet at home with NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')

KNOWN = [
    'DDIMParallelScheduler',
    'DDIMScheduler',
    'DDPMParallelScheduler',
    'DDPMScheduler',
    'DEISMultistepScheduler',
    'DPMSolverMultistepScheduler',
    'DPMSolverSinglestepScheduler',
    'EulerAncestralDiscreteScheduler',
    'EulerDiscreteScheduler',
    'HeunDiscreteScheduler',
    'KDPM2AncestralDiscreteScheduler',
    'KDPM2DiscreteScheduler',
    'LCMScheduler',
    'LMSDiscreteScheduler',
    'PNDMScheduler',
    'SASolverScheduler',
    'TCDScheduler',
    'UniPCMultistepScheduler',
]
# An older diffusers has fewer of them, one of which NumPy 2 breaks.
BROKEN = ['DPMSolverSinglestepScheduler'] if OLD_DIFFUSERS else []
SOLVERS = [name for name in KNOWN if hasattr(diffusers, name) and name not in BROKEN]


DATA = GaussianData([0.3, -0.5], [[0.4, 0.1], [0.1, 0.3]])


def generators(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize('name', SOLVERS)
class TestEverySolver:
    def test_arrives_at_the_data(self, name):
        scheduler = plain_solver(name)
        scheduler.set_timesteps(40)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(4000, 2, 1, 1)
        samples = ends(scheduler, DATA, noise, generators=generator).flatten(1).double()
        torch.testing.assert_close(samples.mean(0), DATA.mean, rtol=0, atol=0.05)
        torch.testing.assert_close(samples.T.cov(), DATA.covariance, rtol=0, atol=0.3)

    def test_a_sample_has_its_own_randomness(self, name):
        scheduler = plain_solver(name)
        scheduler.set_timesteps(8)
        noise = torch.randn(3, 2, 1, 1)
        batch = ends(scheduler, DATA, noise, generators=tuple(generators([0, 1, 2])))
        alone = ends(scheduler, DATA, noise[1:2], generators=generators([1]))
        torch.testing.assert_close(batch[1:2], alone, rtol=1e-4, atol=1e-4)

    def test_its_process_is_ours(self, name):
        scheduler = DiffusersScheduler(name, num_train_timesteps=200, beta_schedule='cosine')
        ours = torch.from_numpy(scheduler.full_process.train_alphas_cumprod).float()
        torch.testing.assert_close(scheduler.solver.alphas_cumprod, ours, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('name', ['DPMSolverMultistepScheduler', 'UniPCMultistepScheduler'])
def test_unclipped_and_unguided_it_is_the_solver_alone(name):
    scheduler = DiffusersScheduler(name, **PLAIN)
    scheduler.set_timesteps(10)
    solver = getattr(diffusers, name)(trained_betas=scheduler.full_process.betas.tolist())
    solver.set_timesteps(10)
    sample = noise = torch.randn(4, 2, 1, 1)
    for t in solver.timesteps:
        level = scheduler.full_process.level_at(t.item())
        sample = solver.step(DATA(sample, level).eps.float(), t, sample).prev_sample
    ours = ends(scheduler, DATA, noise)
    torch.testing.assert_close(ours, sample, rtol=1e-4, atol=1e-4)


def test_clipped_and_guided_it_walks_as_ddim_does():
    """diffusers' DDIM and ours, on one spacing, from the first step to the last."""
    ours = DDIMScheduler()
    theirs = DiffusersScheduler('DDIMScheduler', timestep_spacing='leading')
    guidance = formula_gradient(torch.tensor([1, 2]))
    samples, start = [], torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(10)
        denoiser = ClippedDenoiser(make_denoiser(formula_network, scheduler.full_process))
        samples.append(ends(scheduler, denoiser, start, guidance=guidance))
    assert ours.timesteps == theirs.timesteps
    torch.testing.assert_close(*samples, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['DPMSolverMultistepScheduler', 'HeunDiscreteScheduler'])
def test_it_keeps_away_from_a_timestep_that_is_nothing_but_noise(name):
    def first(schedule: str, **kwargs) -> float:
        scheduler = DiffusersScheduler(name, beta_schedule=schedule, **kwargs)
        scheduler.set_timesteps(10)
        return scheduler.timesteps[0]

    assert first('cosine') == 900
    assert first('cosine', timestep_spacing='linspace') == 999
    assert first('linear') == 999


def test_network_sees_unit_variance_whatever_space_the_solver_works_in():
    scheduler = DiffusersScheduler('EulerDiscreteScheduler', **PLAIN)
    scheduler.set_timesteps(10)
    seen = []

    def denoiser(x_t, level):
        seen.append(x_t)
        return Prediction(torch.zeros_like(x_t), x_t)

    noise = torch.randn(2000, 3, 4, 4)
    assert scheduler.init_noise(noise).std() > 50
    next(scheduler.walk(denoiser, scheduler.init_noise(noise)))
    assert seen[0].std().item() == pytest.approx(1, abs=0.01)


def test_timesteps_in_the_familys_language():
    scheduler = DiffusersScheduler('DDPMScheduler', **PLAIN)
    scheduler.set_timesteps('ddim25')
    assert scheduler.timesteps == list(range(0, 1000, 40))[::-1]


def test_language_of_a_solver_that_spaces_by_itself():
    with pytest.raises(ValueError, match=r"UniPCMultistepScheduler spaces .* instead of 'ddim25'"):
        DiffusersScheduler('UniPCMultistepScheduler').set_timesteps('ddim25')


def test_heun_takes_its_repeated_timesteps_in_turn():
    scheduler = DiffusersScheduler('HeunDiscreteScheduler', **PLAIN)
    scheduler.set_timesteps(5)
    timesteps = list(scheduler.timesteps)
    assert len(timesteps) == 9
    assert timesteps[1] == timesteps[2]
    assert len(scheduler.levels) == 5
    steps = list(scheduler.walk(DATA, scheduler.init_noise(torch.ones(1, 2, 1, 1))))
    assert [step.timestep for step in steps] == [*timesteps[::2]]


@pytest.mark.parametrize('name', SOLVERS)
def test_walks_do_not_disturb_each_other(name):
    """Two in lockstep, one of which is of other steps and breaks off half-way."""
    scheduler, noise = plain_solver(name), torch.randn(2, 2, 1, 1)
    scheduler.set_timesteps(8)
    alone = ends(scheduler, DATA, noise, generators=generators([1, 2]))
    first = scheduler.walk(DATA, scheduler.init_noise(noise), generators=generators([1, 2]))
    next(first)
    scheduler.set_timesteps(20)
    second = scheduler.walk(DATA, scheduler.init_noise(noise), generators=generators([3, 4]))
    rest = [step for step, _ in zip(first, second, strict=False)]
    assert torch.equal(rest[-1].sample, alone)


def test_one_that_begins_with_steps_of_another_kind_cannot_begin_in_the_middle():
    image = torch.zeros(1, 2, 1, 1)
    plain = DiffusersScheduler('PNDMScheduler', skip_prk_steps=True, **PLAIN)
    plain.set_timesteps(20)
    assert plain.noised(image, image + 1, 5).isfinite().all()
    runge_kutta = DiffusersScheduler('PNDMScheduler', skip_prk_steps=False, **PLAIN)
    runge_kutta.set_timesteps(20)
    with pytest.raises(ValueError, match='PNDMScheduler begins with steps of another kind'):
        runge_kutta.noised(image, image + 1, 5)


@pytest.mark.skipif(OLD_DIFFUSERS, reason='its solvers cannot be given their noise')
def test_given_noise_is_used():
    scheduler = DiffusersScheduler(**PLAIN, algorithm_type='sde-dpmsolver++')
    scheduler.set_timesteps(5)
    noise, z = torch.randn(1, 2, 1, 1), torch.randn(5, 1, 2, 1, 1)
    results = [ends(scheduler, DATA, noise, noises=noises) for noises in (z, z, -z)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_noise_for_a_solver_that_draws_its_own():
    scheduler = DiffusersScheduler('EulerAncestralDiscreteScheduler', **PLAIN)
    scheduler.set_timesteps(5)
    noise = torch.randn(1, 2, 1, 1)
    with pytest.raises(ValueError, match=r'EulerAncestral.* cannot be given its noise; give a gen'):
        ends(scheduler, DATA, noise, noises=torch.randn(5, 1, 2, 1, 1))


def test_arguments_reach_the_solver():
    scheduler = DiffusersScheduler(use_karras_sigmas=True, solver_order=3)
    assert scheduler.solver.config.use_karras_sigmas
    assert scheduler.solver.config.solver_order == 3


def test_unknown_argument():
    with pytest.raises(
        ValueError, match=r"no argument 'use_karas_sigmas'; did you mean use_karras_"
    ):
        DiffusersScheduler(use_karas_sigmas=True)


@pytest.mark.parametrize('argument', ['trained_betas', 'beta_start'])
def test_the_process_is_not_the_solvers_to_choose(argument):
    with pytest.raises(ValueError, match=f"takes no argument '{argument}'"):
        DiffusersScheduler(**{argument: 0.1})


def test_unknown_solver():
    with pytest.raises(ValueError, match=r"no solver 'DPMSolverMultistep'; did you mean DPMSolver"):
        DiffusersScheduler('DPMSolverMultistep')


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('FlowMatchEulerDiscreteScheduler', 'another kind of process'),
        ('EDMEulerScheduler', 'another kind of process'),
        ('DDIMInverseScheduler', r'DDIMScheduler\.to_noise'),
        ('CogVideoXDPMScheduler', 'takes more than a model output'),
        ('CogVideoXDDIMScheduler', 'other noise than the network was trained on'),
        ('DPMSolverSDEScheduler', 'not installed|not for each sample'),
    ],
)
def test_solvers_that_do_not_fit(name, reason):
    if not hasattr(diffusers, name):
        pytest.skip('an older diffusers')
    with pytest.raises(ValueError, match=f'{name}.*{reason}'):
        DiffusersScheduler(name)


def test_options_that_change_the_process():
    with pytest.raises(ValueError, match='other noise than the network was trained on'):
        DiffusersScheduler('DDIMScheduler', rescale_betas_zero_snr=True)


@pytest.mark.parametrize('name', BROKEN)
def test_a_solver_that_is_broken_here(name):
    with pytest.raises(ValueError, match=f'{name} .* cannot take 8 steps .* a newer diffusers'):
        DiffusersScheduler(name).set_timesteps(8)


def test_a_network_that_predicts_the_step_before():
    with pytest.raises(ValueError, match="prediction_type='previous_x'"):
        DiffusersScheduler(prediction_type='previous_x')


def test_diffusers_missing(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'diffusers' else find(name)
    )
    with pytest.raises(ImportError, match=r"pip install 'mmagic-adm\[solvers\]'"):
        DiffusersScheduler()
