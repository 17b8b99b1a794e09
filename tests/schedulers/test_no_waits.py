"""A step asks nothing of the device: it runs where there are shapes and no numbers to be read."""

import pytest
import torch
from torch import nn

from mmagic_adm.denoisers import ClippedDenoiser, EDMPrecond, make_denoiser
from mmagic_adm.guidance import (
    ClassifierFreeGuidance,
    ClassifierGuidance,
    OffTheShelfGuidance,
    Path,
    PixelAsParamGuidance,
    SampleGuidance,
    ScoreGuidance,
    SumGuidance,
)
from mmagic_adm.networks import ADMUNet
from mmagic_adm.schedulers import DDIMScheduler, DDPMScheduler, EDMHeunScheduler

SCALES = [0.0, 2.0, 1.0]
SCHEDULERS = {
    'ddpm': DDPMScheduler,
    'ddim': lambda: DDIMScheduler(eta=0.5),
    'edm': lambda: EDMHeunScheduler(S_churn=3),
}


class Classifier(nn.Module):
    """Looks at images, and is told how noisy they are if anybody says so."""

    out_channels = 10

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 10)

    def forward(self, x, t=None):
        return self.linear(x.flatten(1))


def unet(**changes):
    shape = dict(image_size=8, model_channels=32, num_res_blocks=1, attention_resolutions=())
    return ADMUNet(**shape, channel_mult=(1,), num_classes=10, class_dropout_prob=0.1, **changes)


def guidances():
    classifier = ClassifierGuidance(
        Classifier().to('meta'), every=2, interval=(100, 900), schedule='cosine'
    )
    shelf = OffTheShelfGuidance(Classifier().to('meta'), gamma_factor=0.3)
    free = ClassifierFreeGuidance(schedule='linear')
    return {
        'classifier': classifier,
        'off the shelf': shelf,
        'score': ScoreGuidance(lambda images: images.mean((1, 2, 3))),
        'classifier-free': free,
        'autoguidance': ClassifierFreeGuidance(other=unet().to('meta').eval()),
        'sum': SumGuidance([classifier, shelf, free], weights=[1.0, 0.5, 2.0]),
        'pixels': PixelAsParamGuidance(classifier, 'clsden_clsdiv'),
        'sample': SampleGuidance(shelf, add_factor=0.3),
    }


def walk(scheduler, denoiser, guidance=None):
    """The last sample of a walk whose tensors are all on the device without numbers."""
    scheduler.set_timesteps(3)
    if guidance is not None:
        path = Path(scheduler.calls(), scheduler.full_process)
        labels = torch.arange(3, device='meta')
        guidance = guidance.bind(path, labels, SCALES, device='meta')
        denoiser, guidance = guidance.wrap(denoiser), guidance.in_step
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    start = scheduler.init_noise(torch.empty(3, 3, 8, 8, device='meta'))
    steps = scheduler.walk(denoiser, start, guidance=guidance, generators=generators)
    return list(steps)[-1].sample


@pytest.mark.parametrize('make', SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize(
    ('name', 'kind'),
    [(None, 'sigma'), ('classifier-free', 'sigma'), *((name, 'timesteps') for name in guidances())],
)
def test_a_step_reads_nothing(name, kind, make):
    scheduler = make()
    guidance = None if name is None else guidances()[name]
    network = unet() if kind == 'timesteps' else EDMPrecond(unet(out_channels=3))
    if guidance is not None and not guidance.forms <= scheduler.guided_by | _WRAPS:
        return  # it has no place in this scheduler
    inputs = dict(labels=torch.arange(3, device='meta'))
    denoiser = make_denoiser(network.to('meta').eval(), scheduler.full_process, inputs)
    sample = walk(scheduler, ClippedDenoiser(denoiser), guidance)
    assert sample.is_meta
    assert sample.shape == (3, 3, 8, 8)


_WRAPS = ClassifierFreeGuidance.forms
