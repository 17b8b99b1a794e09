"""The networks of the goldens of consistency models: formulas, and U-Nets with weights by name."""

import torch
from torch import nn

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.networks import ADMUNet
from tests.reference import fill_by_name


class Formula(nn.Module):
    """F(x; t) = a x + 0.2 sin(2 x + t / 250)."""

    num_classes = null_label = None
    in_channels = out_channels = 3

    def __init__(self, a=0.8, image_size=4):
        super().__init__()
        self.image_size = image_size
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, x, t):
        return self.a * x + 0.2 * torch.sin(2 * x + t.view(-1, 1, 1, 1) / 250)


def precond(network, distillation=True):
    """A network as OpenAI's consistency models have it, or their teachers."""
    return EDMPrecond(network, sigma_min=0.002 if distillation else 0.0, c_noise=250.0)


def network_of(golden, prefix=''):
    """The bare network of a case."""
    if 'kwargs' not in golden.meta:
        of = {'': 'model', 'target.': 'target', 'teacher.': 'teacher'}[prefix]
        return Formula(golden.meta.get('a', {}).get(of, 0.8) if prefix else 0.8)
    return fill_by_name(ADMUNet(**golden.meta['kwargs']), lambda key: prefix + key)
