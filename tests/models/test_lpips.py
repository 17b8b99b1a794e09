"""LPIPS as the consistency models were distilled by it, around the package that has its weights."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmagic_adm.diffusion.consistency import Scales
from mmagic_adm.models import LPIPS, ConsistencyLoss


class Package(nn.Module):
    """Stands for lpips.LPIPS: a distance of what is left after pooling."""

    def __init__(self, net, verbose):
        super().__init__()
        self.slices = nn.Sequential(nn.MaxPool2d(2, 2), nn.Conv2d(3, 2, 1))
        self.seen = []

    def forward(self, said, target):
        self.seen.append(said.shape[-1])
        error = self.slices(said) - self.slices(target)
        return error.square().mean(dim=(1, 2, 3), keepdim=True)


def test_it_looks_at_224_pixels_and_takes_means_for_maxima(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', SimpleNamespace(LPIPS=Package))
    loss = ConsistencyLoss(Scales(), norm=dict(type='LPIPS'))
    said = torch.rand(2, 3, 16, 16, requires_grad=True)
    distances = loss.distance(said, torch.rand(2, 3, 16, 16))
    assert distances.shape == (2,)
    assert loss.norm.network.seen == [224]
    assert isinstance(loss.norm.network.slices[0], nn.AvgPool2d)
    assert not any(parameter.requires_grad for parameter in loss.norm.parameters())
    distances.sum().backward()
    assert said.grad.abs().sum() > 0


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(ImportError, match="pip install 'lpips'"):
        LPIPS()
