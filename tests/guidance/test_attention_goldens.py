"""Self-attention and perturbed-attention guidance against the original implementations."""

import functools

import pytest
import torch
from mmengine import MODELS

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.guidance import (
    Path,
    PerturbedAttentionGuidance,
    SelfAttentionGuidance,
    SumGuidance,
)
from mmagic_adm.guidance.self_attention import AttentionMap
from mmagic_adm.networks.attention import attending
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler
from tests.diffusion.formula import formula_gradient
from tests.reference import fill_by_name, golden_names, load_golden

NAMES = golden_names('attention_guidance')
# In others, a digit of the start moves the end by more than a step may be off.
LOOPS = [n for n in NAMES if load_golden('attention_guidance', n).meta['whole_loop']]
EPS = 1e-5
STEP = dict(rtol=1e-3, atol=1e-3)


class Case:
    """A network, a scheduler and guidance as a golden describes them."""

    def __init__(self, name: str) -> None:
        self.golden = golden = load_golden('attention_guidance', name)
        meta = golden.meta
        config = dict(type='ADMUNet', _scope_='mmagic_adm', **meta['network'])
        self.network = fill_by_name(MODELS.build(config)).eval()
        kind = DDIMScheduler if meta['sampler'] == 'ddim' else DDPMScheduler
        self.scheduler = kind(beta_schedule=meta['schedule'])
        self.scheduler.set_timesteps(meta['respacing'])
        self.guidance = self._guidance(meta)
        self.guided = golden.guided.nonzero().flatten().tolist()

    def _guidance(self, meta: dict):
        last = len(self.scheduler.levels) - 1
        bounds = meta.get('range') or [meta['guide_start'] - 1, 0]
        timesteps = [self.scheduler.timesteps[last - min(index, last)] for index in bounds]
        settings = dict(scale=meta['guide_scale'] - 1, interval=timesteps[::-1])
        if meta['method'] == 'pag':
            stages = [layer.rpartition('.')[0] for layer in meta['layers']]
            guidance = PerturbedAttentionGuidance(stages=stages, **settings)
        else:
            at = {'output': f'output_blocks.{meta["depth"]}', 'middle': 'middle_block'}
            heads = None if meta['map_heads'] == meta['real_heads'] else meta['map_heads']
            guidance = SelfAttentionGuidance(
                stage=at[meta['block']],
                blur_sigma=meta['blur_sigma'],
                kernel=meta['blur_kernel'],
                map_heads=heads,
                **settings,
            )
        guidance.check_fits(self.network, self.scheduler)
        if not meta['gradient_scale']:
            return guidance
        source = formula_gradient(self.golden.y)
        return SumGuidance([guidance, lambda *seen: meta['gradient_scale'] * source(*seen)])

    @property
    def inputs(self) -> dict:
        return {} if self.network.num_classes is None else dict(labels=self.golden.y)

    def x_before(self, step: int) -> torch.Tensor:
        return self.golden.samples[step - 1] if step else self.golden.x_T

    @torch.no_grad()
    def denoiser(self):
        path = Path(self.scheduler.levels, self.scheduler.full_process)
        guide = self.guidance.bind(path, self.golden.y)
        plain = make_denoiser(self.network, self.scheduler.process, self.inputs)
        return guide, guide.wrap(plain)

    @torch.no_grad()
    def step(self, step: int, x: torch.Tensor) -> torch.Tensor:
        guide, denoiser = self.denoiser()
        walk = self.scheduler.walk(
            ClippedDenoiser(denoiser),
            x,
            guidance=guide.in_step,
            noises=self.golden.noise[step:],
            skip=step,
        )
        return next(walk).sample


case_of = functools.cache(Case)


@pytest.mark.parametrize('name', NAMES)
def test_the_guided_noise(name):
    case = case_of(name)
    # g eps - (g - 1) eps_worse is as many times as far off as either.
    off = EPS * (2 * case.golden.meta['guide_scale'] - 1)
    _, denoiser = case.denoiser()
    for row, step in enumerate(case.guided):
        with torch.no_grad():
            said = denoiser(case.x_before(step), case.scheduler.levels[step])
        torch.testing.assert_close(said.eps, case.golden.eps_guided[row], rtol=EPS, atol=off)


@pytest.mark.parametrize('name', NAMES)
def test_every_step(name):
    case = case_of(name)
    for step, expected in enumerate(case.golden.samples):
        torch.testing.assert_close(case.step(step, case.x_before(step)), expected, **STEP)


# It is those steps, one after another.
@pytest.mark.parametrize(
    'name', [LOOPS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in LOOPS[1:])]
)
def test_the_end_of_the_loop(name):
    case = case_of(name)
    x = case.golden.x_T
    for step in range(len(case.golden.samples)):
        x = case.step(step, x)
    torch.testing.assert_close(x, case.golden.samples[-1], **STEP)


@pytest.mark.parametrize('name', [name for name in NAMES if name.startswith('sag')])
def test_what_is_attended_to_is_blurred(name):
    case = case_of(name)
    golden, step = case.golden, case.guided[0]
    rule = case.guidance.parts[0] if isinstance(case.guidance, SumGuidance) else case.guidance
    attention = AttentionMap(rule.map_heads)
    level = case.scheduler.levels[step]
    with torch.no_grad(), attending(case.network, {rule.stage: attention}):
        said = make_denoiser(case.network, case.scheduler.process, case.inputs)(
            case.x_before(step), level
        )
    torch.testing.assert_close(attention.received, golden.column_sum[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rule.degraded(said, level, attention.received), golden.degraded[0])
