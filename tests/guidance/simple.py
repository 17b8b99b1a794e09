"""Sources and settings that are easy to calculate with."""

import torch
from torch import nn

from mmagic_adm.diffusion import GaussianDiffusion, NoiseLevel
from mmagic_adm.guidance import GradientSource, Moment, Path
from mmagic_adm.registry import MODELS

X = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
PRED_X0 = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
LABELS = torch.tensor([0, 2, 1])
PROCESS = GaussianDiffusion()
TIMESTEPS = [900, 700, 500, 300, 100]


def path_over(timesteps=TIMESTEPS, process=PROCESS):
    """The way of a walk over timesteps."""
    return Path([process.level_at(t) for t in timesteps], process)


def moment(t=500, x_t=X, x_0=PRED_X0):
    """Where a walk is."""
    level = t if isinstance(t, NoiseLevel) else PROCESS.level_at(t)
    return Moment(x_t, level, x_0)


def push(guidance, labels=LABELS, scale=None, t=500, weight=1.0, timesteps=TIMESTEPS, **what):
    """What guidance adds, times a weight."""
    guide = guidance.bind(path_over(timesteps), labels, scale)
    return guide.push(moment(t, **what), weight)


class ColourTarget(GradientSource):
    """Pushes every pixel towards a grey; remembers how many samples it looked at, and when."""

    def __init__(self, scale=1.0, target=0.5, looks_at='pred_x0', **pace):
        super().__init__(scale, **pace)
        self.target = target
        self.looks_at = looks_at
        self.calls = []

    def score(self, x, t, labels):
        self.calls.append((int(t[0]), len(x)))
        return -(x - self.target).square().flatten(1).sum(dim=1)


@MODELS.register_module(force=True)
class CleanClassifier(nn.Sequential):
    """A classifier of images without noise."""

    def __init__(self, out_channels=10):
        layers = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
        super().__init__(*layers, nn.Linear(72, out_channels))
        self.out_channels = out_channels
