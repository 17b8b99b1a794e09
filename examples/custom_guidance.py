"""Guides digits by two scores that are written down here, into outputs/custom_*.png.

    python examples/custom_guidance.py

A score gives each image a number, the larger the better; sampling climbs its gradient. No network
is trained, and no classifier is needed.
"""

from pathlib import Path

from torch import Tensor

from mmagic_adm.apis import init_model, sample
from mmagic_adm.files.pictures import as_pictures, contact_sheet
from mmagic_adm.guidance import GradientSource
from mmagic_adm.registry import MODELS


# The short way: a function of the images that the network predicts, (N, C, H, W) in [-1, 1]. It may
# also take `t` and `labels`. ScoreGuidance makes a source of it.
@MODELS.register_module()
def ink(images: Tensor, target: float) -> Tensor:
    """How near the mean brightness of each image is to a target, (N,)."""
    return -(images.mean(dim=(1, 2, 3)) - target).square()


# The long way, for a source that has arguments or networks of its own: a class.
@MODELS.register_module()
class MirrorGuidance(GradientSource):
    """Pulls images towards their mirror images."""

    looks_at = 'pred_x0'  # or 'x_t', the noisy image itself

    def __init__(self, axis: int, **others) -> None:
        super().__init__(**others)  # scale, interval, every
        self.axis = axis

    def score(self, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """Minus the mean squared difference to the mirror image, (N,)."""
        return -(x - x.flip(self.axis)).square().mean(dim=(1, 2, 3))


GUIDANCE = {
    'none': None,
    'ink': dict(type='ScoreGuidance', score=dict(type='ink', target=-0.1), scale=50.0),
    'mirror': dict(type='MirrorGuidance', axis=-1, scale=50.0, interval=(0, 800)),
}

Path('outputs').mkdir(exist_ok=True)
for name, guidance in GUIDANCE.items():
    model = init_model('adm_ddim25_digits-16x16', guidance=guidance)
    images = sample(model, labels=range(10), seed=0, batch_size=10)['samples']
    asymmetry = (images - images.flip(-1)).square().mean()
    print(f'{name}: brightness {images.mean():.3f}, asymmetry {asymmetry:.3f}')
    contact_sheet(as_pictures(images), columns=10).save(f'outputs/custom_{name}.png')
