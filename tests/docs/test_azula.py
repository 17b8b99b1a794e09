"""The page about azula, with azula itself."""

import pytest
import torch

from mmagic_adm.apis import init_model
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY

azula = pytest.importorskip('azula')


@pytest.fixture(scope='module')
def names():
    torch.manual_seed(0)
    names = {}
    for block in code_blocks(REPOSITORY / 'docs' / 'azula.md'):
        exec(block, names)
    return names


@pytest.mark.slow
def test_a_model_of_ours_draws_digits_under_its_samplers(names):
    classifier = init_model('adm-g_ddim25_digits-16x16').classifier
    with torch.no_grad():
        read = classifier(names['images'].clamp(-1, 1), torch.zeros(10)).argmax(1)
    assert (read == names['labels']).sum() >= 9


def test_its_denoiser_says_the_same_as_ours_at_a_timestep(names):
    model, x = names['model'], torch.randn(2, *names['model'].sample_shape)
    level = model.process.level_at(500)

    class Fixed:
        def __call__(self, t):
            return torch.tensor(level.signal), torch.tensor(level.noise)

    labels = torch.tensor([1, 2])
    theirs = names['InAzula'](model, Fixed())(x, torch.tensor(0.5), labels=labels).mean
    ours = model.denoiser(labels=labels)(x, level).x_0
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)


def test_a_denoiser_of_its_own_is_sampled_by_ours(names):
    samples = names['last'].sample
    assert samples.mean() == pytest.approx(0.5, abs=0.01)
    assert samples.std() == pytest.approx(0.2, abs=0.01)
