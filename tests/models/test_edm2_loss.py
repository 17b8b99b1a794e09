"""EDM2's loss, with its gradients, against the original."""

import pytest
import torch

from mmagic_adm.models.edm2_loss import EDM2Loss
from tests.networks.test_edm2 import edm2
from tests.reference import load_golden
from tests.tiny import build_model


def test_the_loss_and_its_gradients_are_the_originals(monkeypatch):
    golden = load_golden('edm2', 'loss')
    settings = golden.meta['loss']
    network = edm2(golden.meta['kwargs']).train()
    normal = golden.rnd_normal.view(-1, 1, 1, 1)
    monkeypatch.setattr(torch, 'randn', lambda *shape, device=None: normal)
    monkeypatch.setattr(torch, 'randn_like', lambda images: golden.noise)
    loss = EDM2Loss(settings['P_mean'], settings['P_std'])(
        network, golden.x_0, dict(labels=golden.y)
    )['loss']
    torch.testing.assert_close(loss, golden.loss.mean(), rtol=1e-4, atol=0)
    # The original's is of the sum over everything, divided by the batch.
    (loss * golden.x_0[0].numel()).backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    for name, expected in golden.arrays.items():
        if name.startswith('gradient:'):
            ours = 'network.' + name.removeprefix('gradient:').removeprefix('unet.')
            torch.testing.assert_close(gradients[ours], expected, rtol=1e-3, atol=1e-5)
    total = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    torch.testing.assert_close(total, golden.gradient_norm.float(), rtol=1e-3, atol=0)


def test_another_network_is_refused():
    with pytest.raises(TypeError, match='not a ADMUNet'):
        EDM2Loss()(build_model().unet, torch.zeros(1, 3, 8, 8), {})
