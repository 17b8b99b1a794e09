"""The loss in training, through the model and MMEngine's train_step."""

import pytest
import torch
from mmagic.structures import DataSample
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.diffusion import GaussianDiffusion, training_losses
from mmagic_adm.models.edm2_loss import EDM2Loss
from mmagic_adm.models.losses import DiffusionLoss, EDMLoss, TrainingLoss
from mmagic_adm.models.quarter_log import ITERATIONS
from mmagic_adm.networks import EDM2UNet
from mmagic_adm.registry import MODELS
from tests.models.on_its_way import OnItsWay
from tests.schedulers.moves import Moves
from tests.schedulers.test_no_waits import registered
from tests.tiny import UNET, build_model


def batch(count=8):
    """Images as a data loader hands them over, and their labels."""
    images = [torch.randint(256, (3, 8, 8), dtype=torch.uint8) for _ in range(count)]
    samples = [DataSample() for _ in range(count)]
    for i, sample in enumerate(samples):
        sample.set_gt_label(i % 10)
    return dict(inputs=images, data_samples=samples)


def test_the_loss_is_the_process_loss_at_the_timesteps_drawn():
    process = GaussianDiffusion()
    images = torch.rand(4, 3, 4, 4) * 2 - 1

    def network(x, t):
        return torch.cat([x.sin(), x.cos()], dim=1)

    torch.manual_seed(5)
    losses = DiffusionLoss(process)(network, images, {})
    torch.manual_seed(5)
    t = torch.multinomial(torch.ones(1000, dtype=torch.float64), 4, replacement=True)
    expected = training_losses(process, network, images, t, torch.randn_like(images))
    for name in ('loss', 'mse', 'vb'):
        torch.testing.assert_close(losses[name], expected[name].mean())


@pytest.mark.parametrize('prediction', ['epsilon', 'start_x'])
@pytest.mark.parametrize(
    ('weighting', 'of_noise'),
    [
        ('min_snr', lambda snr: min(snr, 5) / snr),
        (dict(type='min_snr', gamma=1), lambda snr: min(snr, 1) / snr),
        ('p2', lambda snr: 1 / (1 + snr)),
        (dict(type='p2', k=0.5, gamma=2), lambda snr: (0.5 + snr) ** -2),
    ],
    ids=['min-SNR', 'min-SNR of 1', 'P2', 'P2 of 0.5 and 2'],
)
def test_errors_weigh_by_the_signal_to_noise_ratio(prediction, weighting, of_noise):
    process = GaussianDiffusion(prediction_type=prediction)
    weights = DiffusionLoss(process, loss_weighting=weighting).mse_weights
    for t in (0, 100, 999):
        snr = process.level(t).sigma ** -2
        # The error in the image is 1 / snr times that in the noise.
        expected = of_noise(snr) * (snr if prediction == 'start_x' else 1)
        assert weights[t].item() == pytest.approx(expected, rel=1e-5)


def test_the_weighting_leaves_the_bound_alone():
    process = GaussianDiffusion()
    images = torch.rand(4, 3, 4, 4) * 2 - 1
    plain, weighted = DiffusionLoss(process), DiffusionLoss(process, loss_weighting='p2')

    def network(x, t):
        return torch.cat([x.sin(), x.cos()], dim=1)

    losses = []
    for loss in (plain, weighted):
        torch.manual_seed(5)
        losses.append(loss(network, images, {}))
    torch.testing.assert_close(losses[0]['vb'], losses[1]['vb'])
    torch.manual_seed(5)
    drawn, _, noise = weighted.draw(images)
    errors = training_losses(process, network, images, drawn, noise)['mse']
    torch.testing.assert_close(losses[1]['mse'], (weighted.mse_weights[drawn] * errors).mean())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(loss_weighting='p3'), "one of min_snr, p2, not 'p3'"),
        (dict(loss_weighting='p2', loss_type='kl'), r"loss_weighting='p2' .* 'kl'"),
    ],
)
def test_a_weighting_of_nothing_is_refused_when_the_model_is_built(settings, message):
    with pytest.raises(ValueError, match=message):
        build_model(**settings)


def test_a_train_step_lowers_the_loss_of_the_network_alone():
    torch.manual_seed(0)
    model = build_model().train()
    optimiser = OptimWrapper(torch.optim.Adam(model.parameters(), lr=2e-3))
    data = batch(4)
    losses = [model.train_step(data, optimiser) for _ in range(15)]
    assert set(losses[0]) == {'loss', 'mse', 'vb'}
    assert losses[-1]['mse'].item() < losses[0]['mse'].item() / 2


def test_the_log_has_the_losses_of_each_quarter_of_the_noise_range(monkeypatch):
    hub = MessageHub.get_instance('test_losses_by_quarter')
    t = torch.tensor([0, 249, 250, 499, 500, 999])
    images = torch.rand(6, 3, 4, 4) * 2 - 1
    noise = torch.randn_like(images)
    loss = DiffusionLoss(GaussianDiffusion())
    monkeypatch.setattr(loss, 'draw', lambda images: (t, torch.ones(6), noise))

    def network(x, t):
        return torch.cat([x.sin(), x.cos()], dim=1)

    for _ in range(ITERATIONS):
        loss(network, images, {})
    losses = training_losses(loss.process, network, images, t, noise)['loss']
    logged = [float(hub.get_scalar(f'train/loss_q{quarter}').mean()) for quarter in range(4)]
    expected = [losses[:2].mean(), losses[2:4].mean(), losses[4], losses[5]]
    assert logged == pytest.approx([float(value) for value in expected], rel=1e-5)


def test_no_result_is_waited_for():
    loss = DiffusionLoss(GaussianDiffusion())

    def network(x, t):
        return torch.cat([x.sin(), x.cos()], dim=1)

    images = torch.rand(4, 3, 4, 4).as_subclass(OnItsWay)
    for _ in range(ITERATIONS - 1):
        assert isinstance(loss(network, images, {})['loss'], OnItsWay)
    with pytest.raises(AssertionError, match='tolist waits'):
        loss(network, images, {})


class TestImportanceSampling:
    @pytest.fixture
    def loss(self):
        """A loss that has seen that later timesteps have greater ones."""
        sampler = dict(type='loss_second_moment', history_per_term=1, uniform_probability=0.1)
        process = GaussianDiffusion(num_train_timesteps=20, beta_schedule='cosine')
        loss = DiffusionLoss(process, timestep_sampler=sampler)
        torch.manual_seed(0)
        for _ in range(20):
            loss(self.network, torch.rand(32, 3, 4, 4), {})
        return loss

    @staticmethod
    def network(x, t):
        return torch.cat([x * t.view(-1, 1, 1, 1), torch.zeros_like(x)], dim=1)

    def test_it_is_fed_with_the_losses(self, loss):
        assert loss.timestep_sampler.is_warmed_up
        weights = loss.timestep_sampler.weights()
        assert weights[-1] > weights[1]

    def test_what_is_drawn_more_often_counts_less(self, loss):
        images = torch.rand(32, 3, 4, 4)
        torch.manual_seed(1)
        t, factors, noise = loss.draw(images)
        assert factors[t == t.max()].max() < 1 < factors[t == t.min()].min()
        expected = training_losses(loss.process, self.network, images, t, noise)
        torch.manual_seed(1)
        for name, value in loss(self.network, images, {}).items():
            torch.testing.assert_close(value, (expected[name] * factors).mean())


def test_the_network_is_trained_on_the_timesteps_that_it_is_sampled_with():
    process = dict(num_train_timesteps=20, beta_schedule='cosine', rescale_timesteps=True)
    model = build_model(diffusion_scheduler=dict(type='DDIMScheduler', **process)).train()
    seen = []
    model.unet.register_forward_pre_hook(lambda module, args: seen.extend(args[1].tolist()))
    model(torch.rand(32, 3, 8, 8), batch(32)['data_samples'], mode='loss')
    assert len(seen) == 32
    assert set(seen) <= {50 * t for t in range(20)}
    assert max(seen) > 20


class TestBadInput:
    def test_unknown_loss(self):
        with pytest.raises(ValueError, match="rescaled_kl, not 'l1'"):
            build_model(loss_type='l1')

    def test_unknown_timestep_sampler(self):
        with pytest.raises(ValueError, match="uniform, loss_second_moment, not 'normal'"):
            build_model(timestep_sampler='normal')

    def test_images_without_labels(self):
        with pytest.raises(ValueError, match='needs data samples with gt_label'):
            build_model()(torch.zeros(2, 3, 8, 8), [DataSample(), DataSample()], mode='loss')


# -- EDM's --------------------------------------------------------------------------------------


class Perfect(EDMPrecond):
    """Knows the images and keeps the levels; it is off by c_out everywhere."""

    def __init__(self, images, sigma_data=0.5):
        super().__init__(dict(UNET, _scope_='mmagic_adm', out_channels=3), sigma_data)
        self.images = images

    def forward(self, x, timesteps, labels=None):
        self.sigma, self.noise = timesteps, x - self.images
        c_out = timesteps * self.sigma_data / (timesteps**2 + self.sigma_data**2).sqrt()
        return self.images + c_out.view(-1, 1, 1, 1)


def test_the_levels_are_log_normal_and_the_noise_has_them():
    network = Perfect(torch.zeros(4000, 3, 4, 4))
    EDMLoss(P_mean=-1.2, P_std=1.2)(network, network.images, {})
    logarithm = network.sigma.log()
    assert logarithm.mean().item() == pytest.approx(-1.2, abs=0.08)
    assert logarithm.std().item() == pytest.approx(1.2, abs=0.08)
    spread = network.noise.std((1, 2, 3)) / network.sigma
    assert spread.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize('sigma_data', [0.5, 1.0])
def test_an_error_counts_as_much_as_it_does_in_the_networks_output(sigma_data):
    network = Perfect(torch.randn(16, 3, 4, 4), sigma_data)
    losses = EDMLoss()(network, network.images, dict(labels=torch.zeros(16, dtype=torch.long)))
    assert list(losses) == ['loss']
    torch.testing.assert_close(losses['loss'], torch.tensor(1.0))


def test_it_starts_at_one_and_teaches_the_network():
    """A network begins with no output, and its task has unit variance at every level."""
    network = EDMPrecond(dict(UNET, _scope_='mmagic_adm', out_channels=3, num_classes=None))
    loss = EDMLoss()(network, 0.5 * torch.randn(64, 3, 8, 8), {})['loss']
    assert loss.item() == pytest.approx(1, abs=0.1)
    loss.backward()
    assert network.network.out[2].weight.grad.abs().sum() > 0


def test_a_network_without_preconditioning_is_refused():
    with pytest.raises(ValueError, match='EDMLoss trains a network in a preconditioning'):
        build_model(loss=dict(type='EDMLoss'))


# What they cannot be built without.
ARGUMENTS = {
    'ConsistencyLoss': dict(pairs=dict(type='LogNormalLevels')),
    'ProgressiveDistillationLoss': dict(scales=dict(start=4)),
}


@pytest.mark.parametrize('kind', [DiffusionLoss, *registered(MODELS, TrainingLoss).values()])
def test_an_iteration_reads_nothing_from_the_device(kind):
    """And moves there what is drawn on the CPU alone: timesteps and the two factors at them.

    The sampler that learns from the losses has to read them; nothing else does.
    """
    drawn_here = 3 if kind is DiffusionLoss else 0
    loss = kind(GaussianDiffusion()) if drawn_here else kind(**ARGUMENTS.get(kind.__name__, {}))
    small = dict(UNET, _scope_='mmagic_adm', channel_mult=(1,), attention_resolutions=())
    network = MODELS.build(dict(small, out_channels=6 if drawn_here else 3))
    if kind is EDM2Loss:
        network = EDM2UNet(8, 3, 64, (1,), 1, attention_resolutions=(8,), num_classes=10)
    network = (network if drawn_here else EDMPrecond(network)).to('meta').train()
    loss.prepare(network)
    images, labels = torch.empty(2, 3, 8, 8, device='meta'), torch.tensor([1, 2], device='meta')
    for _ in range(2):
        with Moves() as counted:  # of the second iteration: tables are moved in the first
            loss(network, images, dict(labels=labels))['loss'].backward()
            loss.after_step(network)
    assert counted.places.total() == drawn_here
    assert next(network.parameters()).grad.is_meta
