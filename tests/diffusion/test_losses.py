import functools
import math

import pytest
import torch

from mmagic_adm.diffusion import GaussianDiffusion
from mmagic_adm.diffusion.losses import (
    LOSS_TYPES,
    bound_term,
    discretized_log_likelihood,
    normal_kl,
    training_losses,
)
from tests.diffusion.formula import formula_network, is_learned, process_of
from tests.reference import golden_names, load_golden


@pytest.mark.parametrize('name', golden_names('diffusion', 'step_*'))
def test_losses_equal_the_original(name):
    golden = load_golden('diffusion', name)
    network = functools.partial(formula_network, learned=is_learned(golden.meta))
    process, kind = process_of(golden.meta), golden.meta.get('loss', 'rescaled_mse')
    losses = training_losses(process, network, golden.x_0, golden.t, golden.noise, kind)
    for kind, loss in losses.items():
        if f'loss_{kind}' in golden:
            expected = golden.arrays[f'loss_{kind}']
            torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    recorded = {key.removeprefix('loss_') for key in golden.arrays if key.startswith('loss_')}
    assert recorded <= set(losses)


@pytest.mark.parametrize('name', golden_names('diffusion', 'step_*'))
def test_bound_terms_equal_the_original(name):
    golden = load_golden('diffusion', name)
    process = process_of(golden.meta)
    timesteps = process.network_timesteps(golden.t)
    output = formula_network(golden.x_t, timesteps, is_learned(golden.meta))
    prediction = process.read(output, golden.x_t, golden.t).clipped()
    bits = bound_term(process, prediction, golden.x_0, golden.x_t, golden.t)
    torch.testing.assert_close(bits, golden.vb_bits, rtol=1e-4, atol=1e-6)


def parts_network(x, timesteps, mean, variance):
    return torch.cat([mean * x, variance * x], dim=1)


@pytest.mark.parametrize('loss_type', ['mse', 'rescaled_mse'])
def test_the_bound_trains_the_variance_and_the_error_trains_the_mean(loss_type):
    mean, variance = torch.tensor([0.9, 0.1]).requires_grad_().unbind()
    x_0, noise = torch.randn(2, 4, 3, 4, 4)
    t = torch.tensor([0, 1, 500, 999])
    losses = training_losses(
        GaussianDiffusion(), parts_network, x_0, t, noise, loss_type, mean=mean, variance=variance
    )

    def gradients(loss):
        return torch.autograd.grad(
            loss.sum(), [mean, variance], retain_graph=True, materialize_grads=True
        )

    of_mse, of_vb, of_loss = (gradients(losses[key]) for key in ('mse', 'vb', 'loss'))
    assert [g.item() != 0 for g in of_vb] == [False, True]
    assert [g.item() != 0 for g in of_mse] == [True, False]
    torch.testing.assert_close(of_loss, (of_mse[0], of_vb[1]))


def test_kl_loss_trains_mean_and_variance():
    mean, variance = torch.tensor([0.9, 0.1]).requires_grad_().unbind()
    x_0, noise = torch.randn(2, 2, 3, 4, 4)
    t = torch.tensor([3, 500])
    loss = training_losses(
        GaussianDiffusion(), parts_network, x_0, t, noise, 'kl', mean=mean, variance=variance
    )['loss']
    assert all(g != 0 for g in torch.autograd.grad(loss.sum(), [mean, variance]))


def test_weights_of_the_losses():
    """The bound's term counts as it is, times the steps, or times the steps in thousands."""
    x_0, noise = torch.randn(2, 2, 3, 4, 4)
    t = torch.tensor([3, 40])
    losses = {
        kind: training_losses(
            GaussianDiffusion(respacing='50'), formula_network, x_0, t, noise, kind
        )
        for kind in LOSS_TYPES
    }
    kl = losses['kl']['loss']
    torch.testing.assert_close(losses['mse']['vb'], kl)
    torch.testing.assert_close(losses['rescaled_mse']['vb'], kl * 50 / 1000)
    torch.testing.assert_close(losses['rescaled_kl']['loss'], kl * 50)


def test_perfect_prediction_has_no_error():
    x_0, noise = torch.randn(2, 2, 3, 4, 4)
    for prediction_type, truth in (('epsilon', noise), ('start_x', x_0)):
        process = GaussianDiffusion(prediction_type=prediction_type, variance_type='fixed_large')
        losses = training_losses(
            process, lambda x, t, truth=truth: truth, x_0, torch.tensor([3, 500]), noise
        )
        assert losses['loss'].tolist() == [0, 0]


def test_network_is_called_with_its_own_arguments_and_timesteps():
    seen = {}

    def network(x, timesteps, labels):
        seen.update(timesteps=timesteps.tolist(), labels=labels)
        return torch.cat([x, x], dim=1)

    process = GaussianDiffusion(respacing='5')
    x_0 = torch.zeros(2, 3, 4, 4)
    training_losses(process, network, x_0, torch.tensor([0, 4]), x_0, labels=[1, 2])
    assert seen == {'timesteps': [0, 999], 'labels': [1, 2]}


def test_half_precision_network_gives_float32_losses():
    x_0, noise = torch.randn(2, 2, 3, 4, 4)
    losses = training_losses(
        GaussianDiffusion(),
        lambda x, t: formula_network(x, t).bfloat16(),
        x_0,
        torch.tensor([3, 500]),
        noise,
    )
    assert all(loss.dtype == torch.float32 and loss.isfinite().all() for loss in losses.values())


def test_divergence_of_a_distribution_from_itself_is_zero():
    mean, log_variance = torch.randn(2, 10)
    assert torch.equal(normal_kl(mean, log_variance, mean, log_variance), torch.zeros(10))


def test_divergence_equals_torchs():
    mean, log_variance, other_mean, other_log_variance = torch.randn(4, 10)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()),
        torch.distributions.Normal(other_mean, (other_log_variance / 2).exp()),
    )
    ours = normal_kl(mean, log_variance, other_mean, other_log_variance)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('log_std', [-3.0, -1.0, 0.5])
def test_probabilities_of_the_256_values_add_up_to_one(log_std):
    pixels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    log_p = discretized_log_likelihood(
        pixels, torch.full_like(pixels, 0.3), torch.full_like(pixels, log_std)
    )
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_a_certain_pixel_costs_no_bits():
    pixel = torch.tensor([0.0039215686])
    log_p = discretized_log_likelihood(pixel, pixel, torch.tensor([-10.0]))
    assert log_p.item() == pytest.approx(0, abs=1e-6)
    far = discretized_log_likelihood(pixel, -pixel - 0.5, torch.tensor([-10.0]))
    assert far.item() == pytest.approx(math.log(1e-12))


def test_an_unknown_loss():
    x = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"loss_type is one of .*, not 'l1'"):
        training_losses(GaussianDiffusion(), formula_network, x, torch.tensor([0]), x, 'l1')
