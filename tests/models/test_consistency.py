"""Losses of consistency models, against the originals', and what training by them comes to."""

import copy
import math

import pytest
import torch
from mmengine import MODELS
from torch import nn

from mmagic_adm.denoisers import EDMPrecond, PreconditionedNetwork, make_denoiser
from mmagic_adm.diffusion import GaussianDiffusion
from mmagic_adm.diffusion.consistency import LogNormalLevels, Scales
from mmagic_adm.guidance import ScoreGuidance
from mmagic_adm.models import ConsistencyLoss, ProgressiveDistillationLoss
from mmagic_adm.models.consistency import Teacher
from tests.consistency import Formula, network_of, precond
from tests.reference import fill_by_name, load_golden
from tests.tiny import UNET, model_config


@pytest.fixture
def draws(monkeypatch):
    """Lets a loss draw what a case has drawn."""

    def given(noise, indices=None, normal=None):
        monkeypatch.setattr(torch, 'randn_like', lambda _: noise)
        monkeypatch.setattr(torch, 'randn', lambda *_, **__: normal)
        monkeypatch.setattr(torch, 'randint', lambda _, shape, **__: indices.view(shape))

    return given


class Frozen(nn.Module):
    """Stands for a model: a teacher in EDM's preconditioning."""

    guidance = None

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def denoiser(self, guide=None, **inputs):
        return make_denoiser(self.unet, GaussianDiffusion(), inputs)


def loss_of(golden, norm, weight):
    """A case's loss, with the network that it compares with."""
    scales = golden.meta['num_scales']
    if 'solver' not in golden.meta:
        loss = ProgressiveDistillationLoss(dict(start=max(scales, 2)), norm, weight)
        loss.step = 2 * loss.scales.period if scales == 1 else 0
        loss.target = precond(network_of(golden, 'teacher.'), distillation=False)
        return loss
    teacher = None
    if golden.meta['solver'] == 'heun':
        teacher = Frozen(precond(network_of(golden, 'teacher.'), distillation=False))
    loss = ConsistencyLoss(Scales(start=scales), teacher, norm=norm, weight=weight)
    loss.step = 0
    loss.target = precond(network_of(golden, 'target.'))
    return loss


@pytest.mark.parametrize(
    'name', ['distillation', 'distillation_40', 'training', 'training_2', 'progdist', 'progdist_1']
)
def test_losses_and_gradients_are_the_originals(name, draws):
    golden = load_golden('consistency', f'losses_{name}')
    draws(golden.noise, golden.indices)
    for norm in golden.meta['norms']:
        for weight in golden.meta['weight_schedules']:
            network = precond(network_of(golden), not name.startswith('progdist'))
            value = loss_of(golden, norm, weight)(network, golden.x_start, {})['loss']
            value.backward()
            for ours, kind in ((value, 'loss'), (network.network.a.grad, 'gradient')):
                theirs = golden.arrays[f'{kind}_{norm}_{weight}'].mean()
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


@pytest.mark.parametrize('name', ['network_distillation', 'network_training'])
def test_so_are_those_of_real_networks(name, draws):
    golden = load_golden('consistency', f'losses_{name}')
    draws(golden.noise, golden.indices)
    network = precond(network_of(golden))
    inputs = dict(labels=golden.y) if 'y' in golden else {}
    value = loss_of(golden, 'l2', 'uniform')(network, golden.x_start, inputs)['loss']
    value.backward()
    torch.testing.assert_close(value, golden.loss.mean(), rtol=1e-4, atol=0)
    squares = [parameter.grad.square().sum() for parameter in network.parameters()]
    norm = sum(squares).sqrt()
    torch.testing.assert_close(norm, golden.gradient_norm.to(norm), rtol=1e-3, atol=0)
    for key in (key for key in golden.arrays if key.startswith('gradient:')):
        theirs = golden.arrays[key]
        ours = network.network.get_parameter(key.removeprefix('gradient:')).grad
        assert (ours - theirs).norm() < 1e-3 * theirs.norm(), key


@pytest.mark.parametrize('name', ['loss_const', 'loss_q256', 'loss_stage_0', 'loss_stage_5'])
def test_easy_consistency_tuning_is_the_same_loss_on_other_levels(name, draws):
    golden = load_golden('ect', name)
    settings = dict(golden.meta['loss'])
    c, constant = settings.pop('c', 0.0), settings.pop('adj', None) == 'const'
    pairs = LogNormalLevels(**settings, **(dict(k=0.0) if constant else {}), period=1)
    loss = ConsistencyLoss(pairs, norm='huber', weight='gap', c=c)
    loss.step = golden.meta['stage']
    draws(golden.noise, normal=golden.normal)

    class Named(EDMPrecond):
        theta = nn.Parameter(torch.ones(()))

        def denoise(self, x, sigma, inputs):
            image = 0.25 * x / (sigma**2 + 0.25) + 0.1 * torch.sin(x / (1 + sigma))
            return self.theta * image

    network = Named(Formula())
    network.theta.grad = None
    value = loss(network, golden.images, {})['loss']
    value.backward()
    torch.testing.assert_close(value, golden.loss.mean(), rtol=1e-4, atol=0)
    torch.testing.assert_close(network.theta.grad, golden.theta_gradient, rtol=1e-4, atol=0)


def test_what_is_dropped_is_dropped_at_both_levels():
    class Dropping(Formula):
        def forward(self, x, t):
            self.seen.append(torch.rand(3))
            return super().forward(x, t)

    network = precond(Dropping())
    network.network.seen = []
    loss = ConsistencyLoss(LogNormalLevels())
    loss.prepare(network)
    for _ in range(2):
        loss(network, torch.zeros(2, 3, 4, 4), {})
    first, again, second, _ = network.network.seen
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


# -- averages and stages ------------------------------------------------------------------------


def test_the_average_follows_at_the_rate_of_the_step():
    network = precond(Formula(1.0))
    loss = ConsistencyLoss(Scales(start_rate=0.9))
    loss.prepare(network)
    with torch.no_grad():
        network.network.a.fill_(2.0)
    for expected in (1.1, 1.19):
        loss.after_step(network)
        torch.testing.assert_close(loss.target.network.a.item(), expected)
    other = ConsistencyLoss(Scales(start_rate=0.9))
    other.prepare(network)
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    assert other.step == 2
    torch.testing.assert_close(other.target.network.a.item(), 1.19)


def test_easy_consistency_tuning_keeps_no_second_network():
    loss = ConsistencyLoss(LogNormalLevels())
    assert loss.prepare(precond(Formula())) == []


def test_progressive_distillation_becomes_its_own_teacher_when_steps_halve():
    network = precond(Formula(1.0), distillation=False)
    loss = ProgressiveDistillationLoss(dict(start=4, period=2))
    loss.prepare(network)
    teachers = []
    for a in (2.0, 3.0, 4.0, 5.0):
        with torch.no_grad():
            network.network.a.fill_(a)
        loss.after_step(network)
        teachers.append(loss.target.network.a.item())
    assert teachers == [1.0, 3.0, 3.0, 3.0]  # 2 steps last two periods


# -- properties ---------------------------------------------------------------------------------


class Line(nn.Module):
    """F(x; t) of normal pixels: a slope and an offset at each level, linear between a few."""

    image_size, in_channels, out_channels, num_classes, null_label = 1, 1, 1, None, None

    def __init__(self, knots=12):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(knots, 2))

    def forward(self, x, c_noise):
        share = (4 * c_noise - math.log(SIGMA_MIN)) / math.log(SIGMA_MAX / SIGMA_MIN)
        place = (share * (len(self.weight) - 1)).clamp(0, len(self.weight) - 1.001)
        low = place.long()
        at = torch.lerp(self.weight[low], self.weight[low + 1], (place - low)[:, None])
        slope, offset = at.view(-1, 2, 1, 1, 1).unbind(1)
        return slope * x + offset


MEAN, STD = 0.3, 0.5
SIGMA_MIN, SIGMA_MAX = 0.002, 10.0


class NormalTeacher(PreconditionedNetwork):
    """The mean of the images in x, of which all pixels are normal."""

    def denoise(self, x, sigma, inputs):
        return MEAN + STD**2 / (STD**2 + sigma**2) * (x - MEAN)


def inconsistency(network):
    """How much what is said along the true ways from noise to image varies, for one way."""
    noise = torch.linspace(-2, 2, 41).view(-1, 1, 1, 1)
    with torch.no_grad():
        said = [
            network(MEAN + (STD**2 + sigma**2) ** 0.5 * noise, torch.tensor([sigma]))
            for sigma in (0.01, 0.1, 0.5, 2.0, 10.0)
        ]
    return torch.stack(said).var(dim=0).mean().item()


@pytest.mark.parametrize('kind', ['distillation', 'training', 'tuning'])
def test_on_a_gaussian_it_grows_consistent_and_reaches_that_in_one_step(kind):
    torch.manual_seed(0)
    ends = dict(sigma_max=SIGMA_MAX)
    teacher = Frozen(NormalTeacher(Line()))
    nearer = LogNormalLevels(P_mean=0.0, P_std=1.5, period=50, last_stage=4, **ends)
    loss, rate = dict(
        distillation=(ConsistencyLoss(Scales(start=9, start_rate=0.5, **ends), teacher), 0.05),
        training=(ConsistencyLoss(Scales(start=16, start_rate=0.9, **ends)), 0.05),
        tuning=(ConsistencyLoss(nearer, norm='huber', weight='gap', c=0.06), 0.03),
    )[kind]
    network = EDMPrecond(Line(), sigma_min=SIGMA_MIN)
    loss.prepare(network)
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    before, steps = inconsistency(network), 300
    for step in range(steps):
        optimiser.param_groups[0]['lr'] = rate * (1 - step / steps)
        value = loss(network, MEAN + STD * torch.randn(256, 1, 1, 1), {})['loss']
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        loss.after_step(network)
    assert inconsistency(network) < before / 5
    with torch.no_grad():
        samples = network(SIGMA_MAX * torch.randn(4000, 1, 1, 1), torch.tensor([SIGMA_MAX]))
    assert abs(samples.mean() - MEAN) < 0.1, samples.mean()
    assert abs(samples.std() - STD) < 0.1, samples.std()


# -- bad input ----------------------------------------------------------------------------------


def model(loss, **changes):
    unet = dict(type='EDMPrecond', network=dict(UNET, out_channels=3), sigma_min=0.002)
    config = model_config(loss=loss, diffusion_scheduler=dict(type='ConsistencyScheduler'))
    return MODELS.build({**config, 'unet': unet, **changes})


@pytest.mark.parametrize(
    'guidance',
    [
        dict(type='ClassifierFreeGuidance', scale=3.0),
        ScoreGuidance(lambda images: images.mean(dim=(1, 2, 3)), scale=100.0),
    ],
    ids=['wraps', 'gradient'],
)
def test_a_teachers_guidance_is_followed(guidance):
    unet, x = dict(class_dropout_prob=0.1), torch.randn(1, 3, 8, 8)
    t, r = torch.full((2, 1, 1, 1, 1), 1.0) * torch.tensor([2.0, 1.0]).view(2, 1, 1, 1, 1)
    ends = []
    for given in (None, guidance):
        torch.manual_seed(0)
        teacher = Teacher(fill_by_name(MODELS.build(model_config(unet=unet, guidance=given))))
        with torch.no_grad():
            ends.append(teacher.follow(x, t, r, dict(labels=torch.tensor([3])), 'euler'))
    assert (ends[1] - ends[0]).abs().max() > 1e-3


def test_where_no_noise_is_left_there_is_no_second_slope():
    teacher, x = Teacher(Frozen(NormalTeacher(Line()))), torch.randn(2, 1, 1, 1)
    t, r = torch.ones(2, 1, 1, 1), torch.tensor([0.0, 0.5]).view(2, 1, 1, 1)
    heun, euler = (teacher.follow(x, t, r, {}, solver) for solver in ('heun', 'euler'))
    assert heun[0] == euler[0]
    assert heun[1] != euler[1]


def test_a_teacher_of_other_images_or_classes_is_refused_when_the_model_is_built():
    for change in (dict(num_classes=5), dict(image_size=16, attention_resolutions=(8,))):
        loss = dict(
            type='ConsistencyLoss', pairs=dict(type='Scales'), teacher=model_config(unet=change)
        )
        (name, value), *_ = change.items()
        with pytest.raises(ValueError, match=f'the teacher has {name}={value}'):
            model(loss)


def test_a_teacher_that_is_guided_now_and_then_is_refused():
    score = ScoreGuidance(lambda images: images.mean(dim=(1, 2, 3)), interval=(0, 500))
    with pytest.raises(ValueError, match='guided alike at all noise levels'):
        Teacher(MODELS.build(model_config(guidance=score)))


def test_what_a_loss_cannot_be_made_of_is_refused():
    with pytest.raises(ValueError, match='pairs are Scales or LogNormalLevels'):
        model(dict(type='ConsistencyLoss', pairs=dict(type='Uniform')))
    with pytest.raises(ValueError, match='norm is l1, l2, l2-32, huber'):
        ConsistencyLoss(Scales(), norm='l3')
    with pytest.raises(ValueError, match='weight is one of uniform, snr'):
        ConsistencyLoss(Scales(), weight='edm')
    with pytest.raises(ValueError, match='goes by the steps of the training'):
        ConsistencyLoss(LogNormalLevels())(precond(Formula()), torch.zeros(1, 3, 4, 4), {})
    with pytest.raises(ValueError, match='trains a network in a preconditioning'):
        MODELS.build(model_config(loss=dict(type='ConsistencyLoss', pairs=dict(type='Scales'))))
