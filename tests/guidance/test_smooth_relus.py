"""ReLUs made smooth from outside."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from mmagic_adm.guidance.off_the_shelf import SmoothReLUs, has_relus

VALUES = torch.linspace(-2, 2, 9)

FORMS = {
    'layer': nn.ReLU(),
    'layer in place': nn.ReLU(inplace=True),
    'function': F.relu,
    'function in place': lambda x: F.relu(x, inplace=True),
    'torch function': torch.relu,
    'keyword': lambda x: F.relu(input=x),
    'method': lambda x: x.relu(),
    'inside a layer': nn.Sequential(nn.Identity(), nn.ReLU()),
}


@pytest.mark.parametrize('form', FORMS.values(), ids=FORMS)
def test_every_form_of_relu_becomes_softplus(form):
    with SmoothReLUs(3.0) as relus:
        smoothed = form(VALUES.clone())
    torch.testing.assert_close(smoothed, F.softplus(VALUES, 3.0))
    assert relus.count == 1
    assert torch.equal(form(VALUES.clone()), VALUES.clamp(min=0))  # only in there


def test_other_functions_are_left_alone():
    with SmoothReLUs(3.0) as relus:
        assert torch.equal(F.gelu(VALUES), torch.nn.GELU()(VALUES))
        assert relus.count == 0


@pytest.mark.parametrize(('name', 'expected'), [('squeezenet1_1', True), ('vit_b_32', False)])
def test_which_networks_have_any(name, expected):
    with torch.device('meta'):
        network = torchvision.models.get_model(name)
    assert has_relus(network.eval(), 224) is expected


def test_relus_that_are_only_functions_are_found():
    class Functional(nn.Module):
        def forward(self, x):
            return F.relu(x)

    assert has_relus(Functional(), 8)
