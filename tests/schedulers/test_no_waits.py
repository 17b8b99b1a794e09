"""A step asks nothing of the device: it runs where there are shapes and no numbers to be read.

Every guidance, method, scheduler and preconditioning that is registered takes part, with what
ARGUMENTS says to build it with; tensors of the device without numbers, `meta`, raise for whatever
would make a program wait for a GPU, and `Moves` counts what would be copied there.
"""

import inspect

import pytest
import torch
from torch import nn

from mmagic_adm.denoisers import ClippedDenoiser, make_denoiser
from mmagic_adm.denoisers.preconditioned import PreconditionedNetwork
from mmagic_adm.guidance import (
    ClassifierGuidance,
    Guidance,
    OffTheShelfGuidance,
    Path,
    ScoreGuidance,
)
from mmagic_adm.guidance.base import Form
from mmagic_adm.measurements import Measurement, Restoration
from mmagic_adm.measurements.operator import Operator
from mmagic_adm.networks import ADMUNet
from mmagic_adm.networks.blocks import AttentionBlock
from mmagic_adm.registry import DIFFUSION_SCHEDULERS, MODELS
from mmagic_adm.schedulers import Scheduler
from tests.schedulers.moves import Halves, Moves
from tests.tiny import CLASSIFIER, build_model

# diffusers is not yet at home with NumPy 2.
pytestmark = pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')

SHAPE = (3, 8, 8)
SCALES = [0.0, 2.0, 1.0]


class Classifier(nn.Module):
    """Looks at images, and is told how noisy they are if anybody says so."""

    def __init__(self, out_channels=10):
        super().__init__()
        self.out_channels = out_channels
        self.linear = nn.Linear(3 * 64, out_channels)

    def forward(self, x, t=None):
        return self.linear(x.flatten(1).to(self.linear.weight.dtype))


class Small(nn.Module):
    """A network of few operations, each of which takes a while on this device."""

    image_size, in_channels, num_classes, null_label = 8, 3, 10, 10

    def __init__(self, out_channels=6):
        super().__init__()
        self.out_channels = out_channels
        self.convolution = nn.Conv2d(3, out_channels, 1)
        self.embedding = nn.Embedding(11, out_channels)

    def forward(self, x, t, labels=None):
        h = self.convolution(x.to(self.convolution.weight.dtype)) + t.view(-1, 1, 1, 1)
        return (h if labels is None else h + self.embedding(labels)[:, :, None, None]).to(x.dtype)


def unet(**changes):
    shape = dict(image_size=8, model_channels=32, num_res_blocks=1, attention_resolutions=())
    return ADMUNet(**shape, channel_mult=(1,), num_classes=10, class_dropout_prob=0.1, **changes)


def classifier(**arguments):
    return ClassifierGuidance(Classifier().to('meta'), **arguments)


def shelf():
    return OffTheShelfGuidance(Classifier().to('meta'), gamma_factor=0.3)


# What cannot be built without: of each name, one or several ways.
ARGUMENTS = {
    'Autoguidance': lambda: [dict(other=unet().to('meta').eval())],
    'ClassifierFreeGuidance': lambda: [
        dict(schedule='linear'),
        dict(other=unet().to('meta').eval()),
    ],
    'ClassifierGuidance': lambda: [
        dict(classifier=Classifier().to('meta'), every=2, interval=(0, 999), schedule='cosine')
    ],
    'DDIMRestartScheduler': lambda: [dict(restarts=[(2, 1, 100, 600)])],
    'DDIMScheduler': lambda: [{}, dict(eta=0.5), dict(rederive_eps=False)],
    'DiscriminatorGuidance': lambda: [dict(discriminator=Classifier(2).to('meta'))],
    'EDMHeunScheduler': lambda: [dict(S_churn=3)],
    'EDMPrecond': lambda: [dict(network=Small(3))],
    'EditDDPMScheduler': lambda: [dict(variance_type='learned_range')],
    'Inpainting': lambda: [dict(mask=torch.ones(8, 8).tril())],
    'KernelBlur': lambda: [dict(kernel=torch.ones(3, 3) / 9)],
    'MotionBlur': lambda: [dict(length=3)],
    'OffTheShelfGuidance': lambda: [dict(classifier=Classifier().to('meta'), gamma_factor=0.3)],
    'PixelAsParamGuidance': lambda: [dict(source=classifier(), variant='clsden_clsdiv')],
    'RePaintScheduler': lambda: [dict(jump_length=1, jump_repeats=2)],
    'RestartScheduler': lambda: [dict(restarts=[(2, 1, 0.1, 1.0)], restart_gamma=0.1)],
    'SampleGuidance': lambda: [dict(source=shelf(), add_factor=0.3)],
    'ScoreGuidance': lambda: [dict(score=lambda images: images.mean((1, 2, 3)))],
    'SelfAttentionGuidance': lambda: [dict(kernel=3)],
    'SumGuidance': lambda: [dict(sources=[classifier(), shelf()], weights=[1.0, 0.5])],
    'TDS': lambda: [dict(particles=3)],
}


def registered(registry, base):
    """The classes of a kind, by name."""
    registry.import_from_location()
    classes = {k: v for k, v in registry.module_dict.items() if inspect.isclass(v)}
    own = {k: v for k, v in classes.items() if v.__module__.startswith('mmagic_adm')}
    return {k: v for k, v in own.items() if issubclass(v, base)}


def ways(registry, base):
    """Every registered class of a kind with each of its ARGUMENTS."""
    return [
        pytest.param(kind, number, id=f'{name}-{number}' if number else name)
        for name, kind in registered(registry, base).items()
        for number in range(len(ARGUMENTS.get(name, lambda: [{}])()))
    ]


def build(kind, number=0, **more):
    """What a class and the number of its arguments stand for."""
    return kind(**more, **ARGUMENTS.get(kind.__name__, lambda: [{}])()[number])


class Generator(torch.Generator):
    """Draws on the device, as those of samples do; a CPU's generator can stand for it there."""

    device = torch.device('meta')


def walk(scheduler, network, guidance=None, steps=2):
    """The last sample of a walk on the device, and what is copied there in a step."""
    moves = []
    inputs = dict(labels=torch.arange(3, device='meta'))
    for count in (steps, steps + 1):  # what is copied once costs nothing
        scheduler.set_timesteps(count)
        guide, denoiser = None, make_denoiser(network, scheduler.full_process, inputs)
        if guidance is not None:
            path = Path(scheduler.calls(), scheduler.full_process)
            guide = guidance.bind(path, inputs['labels'], SCALES, device='meta')
            denoiser = guide.wrap(denoiser)
        if scheduler.clip_sample:
            denoiser = ClippedDenoiser(denoiser)
        if guide is not None:
            denoiser, guide = guide.correct(denoiser), guide.in_step
        start = scheduler.init_noise(torch.empty(3, *SHAPE, device='meta'))
        generators = [Generator() for _ in range(3)]
        with Moves() as counted:
            taken = list(scheduler.walk(denoiser, start, guidance=guide, generators=generators))
        moves.append(counted.places)
    return taken[-1].sample, moves[1] - moves[0]


def scheduler_for(guidance, network):
    """A scheduler that has a place for guidance."""
    kinds = registered(DIFFUSION_SCHEDULERS, Scheduler)
    own = dict(getattr(guidance, 'scheduler', None) or {})
    first = []
    if name := own.pop('type', None):
        (arguments, *_) = ARGUMENTS.get(name, lambda: [{}])()
        first = [kinds[name](**{**own, **arguments})]
    for scheduler in [*first, *map(build, kinds.values())]:
        try:
            guidance.check_fits(network, scheduler)
        except ValueError:
            continue
        return scheduler
    raise AssertionError(f'no scheduler takes {type(guidance).__name__}')


def check(sample, moved):
    assert sample.is_meta
    assert sample.shape == (3, *SHAPE)
    assert sample.dtype in (torch.float32, torch.float64)
    assert not moved


@pytest.mark.parametrize(('kind', 'number'), ways(DIFFUSION_SCHEDULERS, Scheduler))
def test_a_scheduler_reads_and_moves_nothing(kind, number):
    check(*walk(build(kind, number), Small().to('meta', torch.bfloat16).eval()))


@pytest.mark.parametrize(('kind', 'number'), ways(MODELS, PreconditionedNetwork))
def test_neither_does_a_preconditioning(kind, number):
    scheduler = build(registered(DIFFUSION_SCHEDULERS, Scheduler)['EDMHeunScheduler'])
    check(*walk(scheduler, build(kind, number).to('meta').eval()))


@pytest.mark.parametrize(('kind', 'number'), ways(MODELS, Guidance))
def test_neither_does_guidance(kind, number):
    guidance = build(kind, number)
    network, steps = (unet(), 1) if Form.DENOISER in guidance.forms else (Small(), 2)
    network = network.to('meta').eval()
    if isinstance(guidance, Restoration):
        operator = build(registered(MODELS, Operator)['Downsampling'], shape=SHAPE)
        guidance = guidance.on(Measurement(operator(torch.zeros(3, *SHAPE)), operator))
    check(*walk(scheduler_for(guidance, network), network, guidance, steps))


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'number'), ways(MODELS, Operator))
def test_neither_does_an_operator(kind, number):
    operator = build(kind, number, shape=SHAPE)
    y = operator(torch.zeros(3, *SHAPE))
    network = Small().to('meta').eval()
    for name in ('DPS', 'DDNM', 'MMPS'):
        method = registered(MODELS, Restoration)[name]()
        if method.needs <= operator.abilities:
            method = method.on(Measurement(y, operator))
            check(*walk(scheduler_for(method, network), network, method))


def test_what_would_wait_is_seen():
    network, ddim = (
        Small().to('meta').eval(),
        registered(DIFFUSION_SCHEDULERS, Scheduler)['DDIMScheduler'],
    )
    _, moved = walk(
        ddim(),
        network,
        ScoreGuidance(lambda x: (x * torch.ones(3, 1, 1).to(x.device)).mean((1, 2, 3))),
    )
    assert moved.total() == 1
    with pytest.raises(RuntimeError, match='meta'):
        walk(ddim(), network, ScoreGuidance(lambda x: x.mean((1, 2, 3)) * x.max().item()))


@pytest.mark.parametrize(
    'name',
    [
        'DDPMScheduler',
        pytest.param('DDIMScheduler', marks=pytest.mark.slow),
        pytest.param('EDMHeunScheduler', marks=pytest.mark.slow),
    ],
)
def test_what_is_not_a_network_computes_in_float32(name, monkeypatch):
    """The logits' softmax and the step; a gradient comes back through the classifier's blocks."""
    monkeypatch.setattr(AttentionBlock, 'attend', staticmethod(lambda q, k, v: v))
    model = build_model(classifier=CLASSIFIER).to('meta')
    for network in (model.unet, model.classifier):
        network.compute_in(torch.bfloat16)
    scheduler = build(registered(DIFFUSION_SCHEDULERS, Scheduler)[name])
    with Halves() as halves:
        check(*walk(scheduler, model.unet, ClassifierGuidance(model.classifier), steps=1))
    outside = {file for file in halves.files if not file.startswith('networks/')}
    assert outside == {'guidance/source.py'}
