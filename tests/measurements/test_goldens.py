"""Methods against the original implementations: DPS, DDNM, RePaint, and azula."""

from itertools import pairwise

import pytest
import torch

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.guidance import Path
from mmagic_adm.measurements import (
    DDNM,
    DPS,
    MMPS,
    TDS,
    TMPD,
    Ability,
    DDNMPlus,
    DiffPIR,
    Inpainting,
    Measurement,
    PiGDM,
    RePaint,
)
from mmagic_adm.measurements import tds as tds_file
from mmagic_adm.schedulers import (
    DDIMScheduler,
    DDNMScheduler,
    DDPMScheduler,
    RePaintScheduler,
)
from mmagic_adm.schedulers.travel import visited
from tests.measurements.formulas import NETWORKS, MatrixOperator, measurement_of, walked
from tests.reference import golden_names, load_golden

LOOP = dict(rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', golden_names('inverse', 'dps_*'))
def test_dps(name):
    golden = load_golden('inverse', name)
    meta = golden.meta
    kind = DDIMScheduler if meta['sampler'] == 'ddim' else DDPMScheduler
    scheduler = kind(beta_schedule=meta['schedule'], clip_sample=meta['clip_denoised'])
    scheduler.set_timesteps(meta['respacing'])
    steps = walked(golden, scheduler, DPS(meta['scale']), golden.noise)
    torch.testing.assert_close(torch.stack([s.sample for s in steps]), golden.samples, **LOOP)
    torch.testing.assert_close(torch.stack([s.pred_x0 for s in steps]), golden.pred_xstart, **LOOP)


@pytest.mark.parametrize('name', golden_names('inverse', 'ddnm_*'))
def test_ddnm(name):
    golden = load_golden('inverse', name)
    meta, times = golden.meta, golden.times.tolist()
    scheduler = DDNMScheduler(
        eta=meta['eta'], jump_length=meta['travel_length'], jump_repeats=meta['travel_repeat']
    )
    scheduler.set_timesteps(f'ddim{meta["steps"]}')
    assert scheduler.timesteps == golden.network_timesteps.tolist()
    # Of several transitions upwards in a row, each of which begins anew, the last one counts.
    counts = [
        there < here or later < there
        for here, there, later in zip(times, times[1:], [*times[2:], -2], strict=False)
    ]
    method = DDNMPlus() if meta['sigma_y'] else DDNM()
    steps = walked(golden, scheduler, method, golden.noise[torch.tensor(counts)])
    downwards = torch.tensor([there < here for here, there in pairwise(times)])
    projected = 'samples_projected' if 'samples_projected' in golden else 'samples'
    samples = getattr(golden, projected)[downwards]
    torch.testing.assert_close(torch.stack([s.sample for s in steps]), samples, **LOOP)


@pytest.mark.parametrize('name', ['repaint_10', 'repaint_12_unclipped'])
def test_repaint(name):
    golden = load_golden('inverse', name)
    meta, jump, times = golden.meta, golden.meta['jump'], golden.times.tolist()
    scheduler = RePaintScheduler(
        clip_sample=meta['clip_denoised'],
        jump_length=jump['jump_length'],
        jump_repeats=jump['jump_n_sample'],
    )
    scheduler.set_timesteps(str(jump['t_T']))
    down, up, known = iter(golden.noise), iter(golden.noise_up), iter(golden.noise_known)
    noises = [next(down)]
    for here, there in pairwise(times[1:]):
        noises += [next(known), next(down)] if there < here else [next(up)]
    operator = Inpainting((3, 4, 4), golden.mask.float())
    method = RePaint().on(Measurement(operator(golden.known), operator))
    guide = method.bind(Path(scheduler.levels, scheduler.full_process))
    seen = []
    inner = make_denoiser(NETWORKS[meta['network']], scheduler.full_process)
    inner = ClippedDenoiser(inner) if scheduler.clip_sample else inner

    def denoiser(x, level):
        seen.append(x)
        return inner(x, level)

    steps = list(scheduler.walk(denoiser, golden.x_T, guidance=guide, noises=noises))
    torch.testing.assert_close(torch.stack(seen), golden.network_input, **LOOP)
    torch.testing.assert_close(torch.stack([s.sample for s in steps]), golden.samples, **LOOP)


def test_the_way_that_repaint_goes():
    golden = load_golden('inverse', 'repaint_schedules')
    for name, setting in golden.meta['settings'].items():
        route = visited(
            setting['t_T'],
            setting['jump_length'],
            setting['jump_n_sample'],
            setting.get('start_resampling'),
        )
        assert route == golden.arrays[name].tolist(), name


def scheduler_over(golden, kind, **arguments):
    """A scheduler that walks over the timesteps of a case."""
    scheduler = kind(
        beta_schedule=golden.meta['schedule'],
        clip_sample=golden.meta.get('clip', True),
        **arguments,
    )
    kept = sorted(golden.network_timesteps.tolist())
    scheduler._walk_over(scheduler.full_process.keeping(kept))
    return scheduler


METHODS = dict(mmps=MMPS, tmpd=TMPD, diffpir=DiffPIR, pigdm=PiGDM)


@pytest.mark.parametrize(
    'name',
    ['mmps_ddim', 'mmps_ddpm_cg', 'diffpir_ddim', 'tmpd_ddpm', 'pigdm_ddim', 'pigdm_ddim_eta'],
)
def test_loops_of_azula(name, monkeypatch):
    golden = load_golden('inverse', name)
    meta = golden.meta
    if meta['sampler'] == 'ddim':
        # azula's eta is the square of DDIM's.
        scheduler = scheduler_over(golden, DDIMScheduler, eta=meta['eta'] ** 0.5)
    else:
        scheduler = scheduler_over(golden, DDPMScheduler, variance_type='fixed_small')
    method = METHODS[meta['method']]()
    if meta['method'] == 'mmps':
        method = MMPS(meta['iterations'], meta['solver'])
    if meta['method'] == 'diffpir':
        method = DiffPIR(meta['lmbda'], meta['iterations'])
        monkeypatch.setattr(MatrixOperator, 'abilities', frozenset({Ability.ADJOINT}))
    noises = golden.noise if meta['eta'] or meta['sampler'] == 'ddpm' else None
    steps = walked(golden, scheduler, method, noises)
    torch.testing.assert_close(torch.stack([s.sample for s in steps]), golden.samples, **LOOP)


def corrected(golden, method):
    """What a method makes of the predicted images of a ``one_call`` case."""
    process = GaussianDiffusion(golden.meta['schedule'])
    guide = method.on(measurement_of(golden)).bind(Path([process.level(5)], process))
    denoiser = make_denoiser(NETWORKS[golden.meta['network']], process)
    denoiser = guide.correct(ClippedDenoiser(denoiser) if golden.meta['clip'] else denoiser)
    places = zip(golden.x_t, golden.alpha, golden.sigma, golden.network_timesteps, strict=True)
    return torch.stack(
        [
            denoiser(x, NoiseLevel(alpha.item(), sigma.item(), t.item())).x_0
            for x, alpha, sigma, t in places
        ]
    )


METHOD_OF = {
    'mmps_cg_1': MMPS(1, 'cg'),
    'mmps_cg_3': MMPS(3, 'cg'),
    'mmps_gmres_1': MMPS(1),
    'mmps_gmres_3': MMPS(3),
    'mmps_exact': MMPS(48),
    'diffpir_cg_1': DiffPIR(iterations=1),
    'diffpir_cg_5': DiffPIR(iterations=5),
    'diffpir_exact': DiffPIR(),
    'tmpd': TMPD(),
}


@pytest.mark.parametrize('name', golden_names('inverse', 'one_call_*'))
@pytest.mark.parametrize('key', METHOD_OF)
def test_one_call(name, key, monkeypatch):
    golden, method = load_golden('inverse', name), METHOD_OF[key]
    if 'diffpir' in key:
        method.lmbda = golden.meta['lmbda']
    if 'diffpir_cg' in key:
        monkeypatch.setattr(MatrixOperator, 'abilities', frozenset({Ability.ADJOINT}))
    # An array moves by so much if x_t moves by a float32 digit.
    digit = golden.meta['sensitivity'][key]
    wanted = golden.arrays[key].float()
    torch.testing.assert_close(corrected(golden, method), wanted, rtol=1e-5, atol=1e-5 + digit)


def test_tds(monkeypatch):
    golden = load_golden('inverse', 'tds')
    scheduler = DDPMScheduler(variance_type='fixed_small')
    kept = sorted(golden.network_timesteps.tolist())
    scheduler._walk_over(scheduler.full_process.keeping(kept))
    ancestors, chances = iter(golden.ancestors), []

    def drawn(probabilities, uniform):
        chances.append(probabilities[0])
        return next(ancestors)

    monkeypatch.setattr(tds_file, 'resample', drawn)
    noises = [z for noise in golden.noise for z in (noise, noise[:, :1, :1, :1])]
    method = TDS(golden.meta['particles']).on(measurement_of(golden))
    guide = method.bind(Path(scheduler.levels, scheduler.full_process))

    def network(x, t):
        return NETWORKS['formula'](x, t, learned=False)

    denoiser = guide.correct(ClippedDenoiser(make_denoiser(network, scheduler.full_process)))
    steps = list(scheduler.walk(denoiser, golden.x_T, guidance=guide, noises=noises))
    torch.testing.assert_close(torch.stack(chances), golden.probabilities, **LOOP)
    torch.testing.assert_close(torch.stack([s.sample for s in steps]), golden.samples, **LOOP)
