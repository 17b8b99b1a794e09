import importlib.util

import diffusers
import pytest
import torch

from mmagic_adm.schedulers import DDIMScheduler, DiffusersScheduler
from tests.diffusion.formula import formula_gradient, formula_network
from tests.schedulers.gaussian import GaussianData, walk

# diffusers is not yet at home with NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')

SOLVERS = [
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
PLAIN = dict(variance_type='fixed_small', clip_sample=False)


def data_for(scheduler):
    return GaussianData([0.3, -0.5], [[0.4, 0.1], [0.1, 0.3]], scheduler.full_process)


def generators(seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize('name', SOLVERS)
class TestEverySolver:
    def test_arrives_at_the_data(self, name):
        scheduler = DiffusersScheduler(name, **PLAIN)
        scheduler.set_timesteps(40)
        data = data_for(scheduler)
        noise = torch.randn(4000, 2, 1, 1)
        generator = torch.Generator().manual_seed(0)
        ends = walk(scheduler, data.predict_eps, noise.double(), generator=generator).flatten(1)
        torch.testing.assert_close(ends.mean(0), data.mean, rtol=0, atol=0.05)
        torch.testing.assert_close(ends.T.cov(), data.covariance, rtol=0, atol=0.3)

    def test_a_sample_has_its_own_randomness(self, name):
        scheduler = DiffusersScheduler(name, **PLAIN)
        scheduler.set_timesteps(8)
        data, noise = data_for(scheduler), torch.randn(3, 2, 1, 1)
        batch = walk(scheduler, data.predict_eps, noise, generator=tuple(generators([0, 1, 2])))
        alone = walk(scheduler, data.predict_eps, noise[1:2], generator=generators([1]))
        torch.testing.assert_close(batch[1:2], alone, rtol=1e-4, atol=1e-4)

    def test_its_process_is_ours(self, name):
        scheduler = DiffusersScheduler(name, beta_schedule='cosine')
        ours = torch.from_numpy(scheduler.full_process.train_alphas_cumprod).float()
        torch.testing.assert_close(scheduler.solver.alphas_cumprod, ours, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize('name', ['DPMSolverMultistepScheduler', 'UniPCMultistepScheduler'])
def test_unclipped_and_unguided_it_is_the_solver_alone(name):
    scheduler = DiffusersScheduler(name, **PLAIN)
    scheduler.set_timesteps(10)
    solver = getattr(diffusers, name)(trained_betas=scheduler.full_process.betas.tolist())
    solver.set_timesteps(10)
    data, noise = data_for(scheduler), torch.randn(4, 2, 1, 1)
    sample = noise
    for t in solver.timesteps:
        eps = data.predict_eps(sample.double(), t.item()).float()
        sample = solver.step(eps, t, sample).prev_sample
    ours = walk(scheduler, lambda x, t: data.predict_eps(x.double(), t).float(), noise)
    torch.testing.assert_close(ours, sample, rtol=1e-4, atol=1e-4)


def test_clipped_and_guided_it_walks_as_ddim_does():
    """diffusers' DDIM and ours, on one spacing, from the first step to the last."""
    ours = DDIMScheduler()
    theirs = DiffusersScheduler('DDIMScheduler', timestep_spacing='leading')
    guidance = formula_gradient(torch.tensor([1, 2]))
    ends = []
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(10)
        sample = torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)
        for t in scheduler.timesteps:
            output = formula_network(sample, torch.full((2,), t))
            sample = scheduler.step(output, t, sample, guidance=guidance).prev_sample
        ends.append(sample)
    assert ours.timesteps == theirs.timesteps
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-4)


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
    noise = torch.randn(2000, 3, 4, 4)
    sample = scheduler.init_noise(noise)
    assert sample.std() > 50
    assert scheduler.network_input(sample, scheduler.timesteps[0]).std().item() == pytest.approx(
        1, abs=0.01
    )


def test_a_network_that_predicts_images():
    ends = []
    for prediction_type in ('epsilon', 'start_x'):
        scheduler = DiffusersScheduler(prediction_type=prediction_type, **PLAIN)
        scheduler.set_timesteps(10)
        data = data_for(scheduler)
        predict = {
            'epsilon': data.predict_eps,
            'start_x': lambda x_t, t, data=data: data.denoise(x_t, t)[0],
        }[prediction_type]
        ends.append(walk(scheduler, predict, torch.ones(1, 2, 1, 1).double()))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-4)


def test_timesteps_in_the_familys_language():
    scheduler = DiffusersScheduler(**PLAIN)
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
    data = data_for(scheduler)
    once = walk(scheduler, data.predict_eps, torch.ones(1, 2, 1, 1))
    assert torch.equal(once, walk(scheduler, data.predict_eps, torch.ones(1, 2, 1, 1)))


@pytest.mark.parametrize('name', SOLVERS)
def test_the_first_timestep_starts_afresh(name):
    """After a whole loop, and after one that broke off half-way."""
    scheduler = DiffusersScheduler(name, **PLAIN)
    scheduler.set_timesteps(8)
    data, noise = data_for(scheduler), torch.randn(2, 2, 1, 1)
    fresh = walk(scheduler, data.predict_eps, noise, generator=generators([1, 2]))
    sample = scheduler.init_noise(noise)
    for t in scheduler.timesteps[:3]:
        output = data.predict_eps(scheduler.network_input(sample, t), t)
        sample = scheduler.step(output, t, sample, generator=generators([3, 4])).prev_sample
    again = walk(scheduler, data.predict_eps, noise, generator=generators([1, 2]))
    assert torch.equal(fresh, again)


def test_timesteps_out_of_turn():
    scheduler = DiffusersScheduler(**PLAIN)
    scheduler.set_timesteps('5')
    sample = torch.randn(1, 2, 1, 1)
    with pytest.raises(ValueError, match='from 999 to 0: it is the turn of 999, not of t=500'):
        scheduler.step(sample, 500, sample)
    for t in scheduler.timesteps:
        sample = scheduler.step(sample, t, sample).prev_sample
    with pytest.raises(ValueError, match='all are taken, not of t=0'):
        scheduler.step(sample, 0, sample)


def test_given_noise_is_used():
    scheduler = DiffusersScheduler(**PLAIN, algorithm_type='sde-dpmsolver++')
    sample, noise = torch.randn(2, 1, 2, 1, 1)
    results = []
    for z in (noise, noise, -noise):
        scheduler.set_timesteps('5')
        results.append(scheduler.step(sample, 999, sample, noise=z).prev_sample)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_noise_for_a_solver_that_draws_its_own():
    scheduler = DiffusersScheduler('EulerAncestralDiscreteScheduler', **PLAIN)
    scheduler.set_timesteps(5)
    sample = torch.randn(1, 2, 1, 1)
    with pytest.raises(ValueError, match=r'EulerAncestral.* cannot be given its noise; give a gen'):
        scheduler.step(sample, scheduler.timesteps[0], sample, noise=sample)


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
        ('DDIMInverseScheduler', r'DDIMScheduler\.reverse_step'),
        ('CogVideoXDPMScheduler', 'takes more than a model output'),
        ('CogVideoXDDIMScheduler', 'other noise than the network was trained on'),
        ('DPMSolverSDEScheduler', 'not installed|not for each sample'),
    ],
)
def test_solvers_that_do_not_fit(name, reason):
    with pytest.raises(ValueError, match=f'{name}.*{reason}'):
        DiffusersScheduler(name)


def test_options_that_change_the_process():
    with pytest.raises(ValueError, match='other noise than the network was trained on'):
        DiffusersScheduler(rescale_betas_zero_snr=True)


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
