import pytest
import torch
from mmengine import MODELS

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.models.edm_loss import EDMLoss
from tests.tiny import UNET


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
    unet = MODELS.build(dict(UNET, _scope_='mmagic_adm'))
    with pytest.raises(TypeError, match='EDMLoss trains an EDMPrecond, not a bare ADMUNet'):
        EDMLoss()(unet, torch.zeros(1, 3, 8, 8), {})
