"""The page about azula, with azula itself."""

import pytest
import torch

from mmagic_adm.apis import init_model
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY

azula = pytest.importorskip('azula')


def run_page(*fewer_steps):
    """What the page names; each number of steps may be another."""
    torch.manual_seed(0)
    names = {}
    for block in code_blocks(REPOSITORY / 'docs' / 'azula.md'):
        for many, few in fewer_steps:
            block = block.replace(many, few)
        exec(block, names)
    return names


@pytest.fixture(scope='module')
def names():
    return run_page(('steps=25', 'steps=1'), ('set_timesteps(500)', 'set_timesteps(2)'))


@pytest.fixture(scope='module')
def page():
    return run_page()


@pytest.mark.slow
def test_a_model_of_ours_draws_digits_under_its_samplers(page):
    classifier = init_model('adm-g_ddim25_digits-16x16').classifier
    with torch.no_grad():
        read = classifier(page['images'].clamp(-1, 1), torch.zeros(10)).argmax(1)
    assert (read == page['labels']).sum() >= 9


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


def test_its_denoiser_is_asked_at_the_time_with_as_much_noise(names):
    level, x = names['model'].process.level_at(500), torch.randn(2, 1, 4, 4)
    gain = 0.04 * level.signal / (0.04 * level.signal**2 + level.noise**2)
    expected = 0.5 + gain * (x - 0.5 * level.signal)
    found = names['FromAzula'](names['exact'])(x, level).x_0
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_denoiser_of_its_own_is_sampled_by_ours(page):
    samples = page['last'].sample
    assert samples.mean() == pytest.approx(0.5, abs=0.01)
    assert samples.std() == pytest.approx(0.2, abs=0.01)
