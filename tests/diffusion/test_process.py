import numpy as np
import pytest
import torch

from mmagic_adm.diffusion import CLEAN, PURE_NOISE, GaussianDiffusion, NoiseLevel
from tests.diffusion.formula import (
    formula_network,
    is_learned,
    process_of,
    reverse_distribution,
)
from tests.reference import golden_names, load_golden

CLOSE = dict(rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', golden_names('diffusion', 'step_*'))
class TestGoldenSteps:
    def test_forward_process(self, name):
        golden = load_golden('diffusion', name)
        process = process_of(golden.meta)
        torch.testing.assert_close(
            process.add_noise(golden.x_0, golden.t, golden.noise), golden.x_t, **CLOSE
        )
        posterior = process.posterior(golden.x_0, golden.x_t, golden.t)
        torch.testing.assert_close(posterior.mean, golden.posterior_mean, **CLOSE)
        torch.testing.assert_close(posterior.variance, golden.posterior_variance, **CLOSE)
        torch.testing.assert_close(posterior.log_variance, golden.posterior_log_variance, **CLOSE)

    @pytest.mark.parametrize('clip', [True, False])
    def test_reverse_distribution(self, name, clip):
        golden = load_golden('diffusion', name)
        process = process_of(golden.meta)
        timesteps = process.network_timesteps(golden.t)
        output = formula_network(golden.x_t, timesteps, is_learned(golden.meta))
        p = reverse_distribution(process, output, golden.x_t, golden.t, clip=clip)
        kind = 'clipped' if clip else 'raw'
        for ours, theirs in [
            (p.mean, 'mean'),
            (p.variance, 'variance'),
            (p.log_variance, 'log_variance'),
            (p.pred_x0, 'pred_xstart'),
        ]:
            torch.testing.assert_close(ours, golden.arrays[f'{theirs}_{kind}'], **CLOSE)


@pytest.mark.parametrize('prediction_type', ['epsilon', 'start_x', 'previous_x'])
@pytest.mark.parametrize(
    'variance_type', ['learned_range', 'learned', 'fixed_large', 'fixed_small']
)
def test_one_timestep_for_all_is_that_timestep_for_each(prediction_type, variance_type):
    process = GaussianDiffusion(
        respacing='20', prediction_type=prediction_type, variance_type=variance_type
    )
    x_t = torch.randn(3, 2, 4, 4)
    output = torch.randn(3, 4 if variance_type.startswith('learned') else 2, 4, 4)
    for t in (0, 7, 19):
        one = reverse_distribution(process, output, x_t, t)
        each = reverse_distribution(process, output, x_t, torch.full((3,), t))
        for a, b in zip(one, each, strict=True):
            torch.testing.assert_close(a, b)


def test_a_sample_does_not_depend_on_its_neighbours():
    process = GaussianDiffusion()
    x_t, output = torch.randn(5, 3, 4, 4), torch.randn(5, 6, 4, 4)
    t = torch.tensor([0, 1, 500, 998, 999])
    batch = reverse_distribution(process, output, x_t, t)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = reverse_distribution(process, output[order], x_t[order], t[order])
    for a, b in zip(batch, shuffled, strict=True):
        assert torch.equal(a[order], b)


def test_parts_of_a_noisy_image_follow_from_each_other():
    process = GaussianDiffusion(beta_schedule='cosine')
    x_0, eps = torch.randn(2, 3, 3, 4, 4, dtype=torch.float64)
    t = torch.tensor([0, 500, 990])
    x_t = process.add_noise(x_0, t, eps)
    level = process.level(t, x_t)
    torch.testing.assert_close(level.x_0(x_t, eps), x_0)
    torch.testing.assert_close(level.eps(x_t, x_0), eps)


def test_previous_image_implies_the_image():
    process = GaussianDiffusion(prediction_type='previous_x', variance_type='fixed_small')
    x_0, noise = torch.randn(2, 3, 3, 4, 4, dtype=torch.float64)
    t = torch.tensor([0, 1, 999])
    x_t = process.add_noise(x_0, t, noise)
    previous = process.posterior(x_0, x_t, t).mean
    torch.testing.assert_close(process.read(previous, x_t, t).x_0, x_0)


def test_learned_range_lies_between_the_fixed_variances():
    x_t = torch.zeros(1, 1, 2, 2)
    for v, fixed in ((-1.0, 'fixed_small'), (1.0, 'fixed_large')):
        output = torch.cat([x_t, torch.full_like(x_t, v)], dim=1)
        learned = reverse_distribution(GaussianDiffusion(), output, x_t, 500)
        expected = reverse_distribution(GaussianDiffusion(variance_type=fixed), x_t, x_t, 500)
        torch.testing.assert_close(learned.variance, expected.variance)
        torch.testing.assert_close(learned.log_variance, expected.log_variance)


def test_respacing_to_all_steps_is_the_identity():
    whole, respaced = GaussianDiffusion(), GaussianDiffusion(respacing='1000')
    assert whole.timesteps == respaced.timesteps == list(range(1000))
    np.testing.assert_allclose(whole.betas, respaced.betas, rtol=1e-11)
    np.testing.assert_allclose(whole.betas, np.linspace(1e-4, 0.02, 1000), rtol=1e-11)


@pytest.mark.parametrize('spec', ['10', 'ddim25', '10,15,20', '1'])
def test_respacing_leads_to_the_same_noise(spec):
    whole, few = GaussianDiffusion('cosine'), GaussianDiffusion('cosine', respacing=spec)
    for index, t in enumerate(few.timesteps):
        assert few.level(index).signal == pytest.approx(whole.level(t).signal, rel=1e-9)


def test_steps_that_are_added_up_arrive_at_the_same_noise():
    """x_t, one step of beta after the other, has the signal and noise of the direct way."""
    process = GaussianDiffusion(respacing='7')
    signal, variance = 1.0, 0.0
    for index, beta in enumerate(process.betas):
        signal, variance = signal * (1 - beta) ** 0.5, variance * (1 - beta) + beta
        level = process.level(index)
        assert level.signal == pytest.approx(signal)
        assert level.noise**2 == pytest.approx(variance)


def test_one_step_outside_is_the_clean_image_and_pure_noise():
    process = GaussianDiffusion(respacing='5')
    assert process.level(-1) == CLEAN == NoiseLevel(1, 0)
    assert process.level(5) == PURE_NOISE == NoiseLevel(0, 1)
    with pytest.raises(IndexError, match='Timestep 6 of a process of 5'):
        process.level(6)


def test_network_timesteps_are_the_original_ones():
    t = torch.tensor([0, 1, 4])
    timesteps = GaussianDiffusion(respacing='5').network_timesteps(t)
    assert timesteps.dtype == torch.int64
    assert timesteps.tolist() == [0, 250, 999]
    rescaled = GaussianDiffusion(num_train_timesteps=100, rescale_timesteps=True)
    assert rescaled.network_timesteps(t).tolist() == [0.0, 10.0, 40.0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_calculated_in_float32(dtype):
    process = GaussianDiffusion()
    x_t, output = torch.randn(2, 3, 4, 4).to(dtype), torch.randn(2, 6, 4, 4).to(dtype)
    t = torch.tensor([3, 700])
    low = reverse_distribution(process, output, x_t, t)
    full = reverse_distribution(process, output.float(), x_t.float(), t)
    for a, b in zip(low, full, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)
    assert process.add_noise(x_t, t, x_t).dtype == torch.float32


def test_tables_made_under_inference_mode_serve_in_training():
    process = GaussianDiffusion()
    t = torch.tensor([3, 700])
    with torch.inference_mode():
        process.add_noise(torch.zeros(2, 3, 4, 4), t, torch.zeros(2, 3, 4, 4))
    x_0 = torch.randn(2, 3, 4, 4, requires_grad=True)
    process.add_noise(x_0, t, torch.randn(2, 3, 4, 4)).sum().backward()
    assert x_0.grad.abs().sum() > 0


def test_tables_are_moved_once():
    process = GaussianDiffusion()
    x, t = torch.zeros(2, 3, 4, 4), torch.tensor([3, 700])
    process.add_noise(x, t, x)
    table = process._tables.on_device('signal', x.device, x.dtype)
    process.add_noise(x, t, x)
    assert process._tables.on_device('signal', x.device, x.dtype) is table


@pytest.mark.parametrize(
    ('variance_type', 'channels', 'needed'), [('learned_range', 3, 6), ('fixed_small', 6, 3)]
)
def test_wrong_number_of_channels_for_the_variance(variance_type, channels, needed):
    process = GaussianDiffusion(variance_type=variance_type)
    x_t, output = torch.zeros(2, 3, 4, 4), torch.zeros(2, channels, 4, 4)
    with pytest.raises(
        ValueError, match=rf'{variance_type}.*\(2, {needed}, 4, 4\), got \(2, {channels}'
    ):
        reverse_distribution(process, output, x_t, 5)


def test_noise_of_another_shape():
    with pytest.raises(
        ValueError, match=r'Noise of shape \(1, 3, 4, 4\) for x_0 of \(2, 3, 4, 4\)'
    ):
        GaussianDiffusion().add_noise(torch.zeros(2, 3, 4, 4), 5, torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize('argument', ['prediction_type', 'variance_type'])
def test_unknown_types(argument):
    with pytest.raises(ValueError, match=f"Unknown {argument} 'v'; there are"):
        GaussianDiffusion(**{argument: 'v'})


def test_one_step_process_is_finite():
    for variance_type in ('learned_range', 'fixed_large', 'fixed_small'):
        process = GaussianDiffusion(respacing='1', variance_type=variance_type)
        x_t = torch.randn(1, 1, 2, 2)
        output = torch.cat([x_t, x_t], dim=1) if variance_type == 'learned_range' else x_t
        p = reverse_distribution(process, output, x_t, 0)
        assert all(part.isfinite().all() for part in p)
