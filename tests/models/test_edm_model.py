"""EDM through the model: sampling, guidance, training, and either sampler for either network."""

import pytest
import torch
from mmengine import MODELS
from mmengine.optim import OptimWrapper

from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.guidance import ClassifierFreeGuidance
from mmagic_adm.models.losses import EDMLoss
from tests.models.test_losses import batch
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, UNET, as_pixels, build_model

EDM = dict(type='EDMHeunScheduler')
UNET3 = dict(UNET, out_channels=3)


@pytest.fixture(scope='module')
def edm():
    return edm_model()


def edm_model(**changes):
    return model_of(dict(type='EDMPrecond', network=dict(UNET, out_channels=3)), **changes)


def model_of(unet, **changes):
    """A small model with weights that follow from their names."""
    config = dict(
        type='AblatedDiffusionModel',
        _scope_='mmagic_adm',
        unet=unet,
        diffusion_scheduler=EDM,
        num_inference_steps=3,
    )
    model = MODELS.build(config | changes).eval()
    fill_by_name(model.unet)
    return model


def test_it_samples_in_the_range_and_type_of_images(edm):
    samples = edm.infer(seeds=[0, 1], labels=[3, 4])['samples']
    assert samples.shape == (2, 3, 8, 8)
    assert samples.dtype == torch.float32
    assert samples.abs().max() <= 1


def test_it_is_heuns_method_written_out(edm):
    sigmas, x = [80.0, 2.5152190, 0.002, 0.0], as_pixels(2).double() * 80
    labels = torch.tensor([3, 4])

    def slope(x, sigma):
        return (x - edm.unet(x, torch.full((2,), sigma), labels)) / sigma

    with torch.no_grad():
        for i in range(3):
            h, d = sigmas[i + 1] - sigmas[i], slope(x, sigmas[i])
            if sigmas[i + 1] > 0:
                d = (d + slope(x + h * d, sigmas[i + 1])) / 2
            x = x + h * d
    samples = edm.infer(init_image=as_pixels(2), labels=labels)['samples']
    torch.testing.assert_close(samples, x.float().clamp(-1, 1), rtol=0, atol=1e-4)


def test_sample_i_is_sample_i_with_churn_too():
    model = edm_model(diffusion_scheduler=dict(EDM, S_churn=10, S_min=0.01))
    together = model.infer(seeds=[5, 6, 7], labels=[1, 2, 3])['samples']
    alone = model.infer(seeds=6, labels=2)['samples']
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-4)
    calm = model.infer(seeds=6, labels=2, scheduler_kwargs=dict(S_churn=0))['samples']
    assert not torch.allclose(alone, calm, atol=1e-2)


def test_without_a_number_of_steps_it_takes_edms(edm):
    model = edm_model(num_inference_steps=None)
    steps = []
    model.infer(seeds=0, on_step=steps.append)
    assert len(steps) == 18


def test_a_noise_aware_classifier_guides_it():
    model = edm_model(classifier=CLASSIFIER, classifier_scale=5.0)
    guided = model.infer(seeds=[0, 1], labels=[3, 4])['samples']
    free = model.infer(seeds=[0, 1], labels=[3, 4], classifier_scale=0)['samples']
    assert not torch.allclose(guided, free, atol=1e-3)


def test_classifier_free_guidance_guides_it():
    unet = dict(type='EDMPrecond', network=dict(UNET, out_channels=3, class_dropout_prob=0.1))
    model = model_of(unet, guidance=dict(type='ClassifierFreeGuidance', scale=3.0))
    guided = model.infer(seeds=[0, 1], labels=[3, 4])['samples']
    free = model.infer(seeds=[0, 1], labels=[3, 4], classifier_scale=0)['samples']
    assert not torch.allclose(guided, free, atol=1e-3)


def test_guidance_of_the_sample_guides_it():
    source = dict(type='ClassifierGuidance', classifier=CLASSIFIER)
    guidance = dict(type='SampleGuidance', source=source, max_guidance=0.1)
    model = edm_model(guidance=guidance)
    guided = model.infer(seeds=[0, 1], labels=[3, 4])['samples']
    free = model.infer(seeds=[0, 1], labels=[3, 4], classifier_scale=0)['samples']
    assert not torch.allclose(guided, free, atol=1e-3)


def test_guidance_and_scheduler_that_do_not_go_together_are_refused():
    source = dict(type='ClassifierGuidance', classifier=CLASSIFIER)
    rule = dict(type='SampleGuidance', source=source)
    with pytest.raises(ValueError, match=r'SampleGuidance .*, which DDPMScheduler has no place'):
        edm_model(diffusion_scheduler=dict(type='DDPMScheduler'), guidance=rule)
    pixels = dict(type='PixelAsParamGuidance', source=source)
    with pytest.raises(ValueError, match=r'PixelAsParamGuidance .*, which EDMHeunScheduler has no'):
        edm_model(guidance=pixels)


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
@pytest.mark.parametrize('type_', ['DDIMScheduler', 'DDPMScheduler', 'DiffusersScheduler'])
def test_edms_network_runs_under_samplers_of_a_discrete_process(edm, type_):
    """The image is asked for in EDM's units, at the sigma of the timestep."""
    kwargs = dict(type=type_, beta_schedule='linear')
    result = edm.infer(
        init_image=as_pixels(2),
        labels=[3, 4],
        num_inference_steps=5,
        scheduler_kwargs=kwargs,
        return_trajectory=1,
    )
    assert result['samples'].isfinite().all()
    level = edm.make_scheduler(kwargs, steps=5).levels[0]
    with torch.no_grad():
        x = as_pixels(2) / level.signal
        image = edm.unet(x, torch.full((2,), level.sigma), torch.tensor([3, 4])).clamp(-1, 1)
    torch.testing.assert_close(result['trajectory']['pred_x0'][0], image, rtol=0, atol=1e-4)


def test_a_network_of_a_discrete_process_runs_under_edms_sampler():
    model = build_model()
    steps = []
    model.infer(
        init_image=as_pixels(2),
        labels=[3, 4],
        num_inference_steps=4,
        scheduler_kwargs=dict(EDM, solver='euler'),
        on_step=steps.append,
    )
    process = model.diffusion_scheduler.full_process
    level = steps[0].level
    with torch.no_grad():
        x = as_pixels(2) * 80 / level.scale
        t = torch.tensor(process.told(level)).float().expand(2)
        eps = model.unet(x, t, torch.tensor([3, 4]))[:, :3]
        image = level.unit().x_0(x, eps)
    torch.testing.assert_close(steps[0].pred_x0.float(), image, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize('network', ['timesteps', 'sigma'])
@pytest.mark.parametrize(
    'scheduler',
    [
        dict(type='DDPMScheduler'),
        dict(type='DDIMScheduler'),
        dict(EDM, S_churn=1),
        dict(type='DiffusersScheduler', type_='HeunDiscreteScheduler'),
    ],
    ids=lambda scheduler: scheduler['type'],
)
@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
def test_led_away_from_itself_a_network_is_not_guided(network, scheduler):
    unet = UNET if network == 'timesteps' else dict(type='EDMPrecond', network=UNET3)
    model = model_of(unet, diffusion_scheduler=scheduler, num_inference_steps=2)
    expected = model.infer(seeds=[0, 1], labels=[3, 4])['samples']
    model.guidance = ClassifierFreeGuidance(3.0, other=model.unet)
    guided = model.infer(seeds=[0, 1], labels=[3, 4])['samples']
    torch.testing.assert_close(guided, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('scheduler', [dict(type='DDIMScheduler'), EDM])
def test_a_network_of_the_other_kind_may_lead_away(scheduler):
    """And is told of noise as it was trained to be."""
    model = model_of(UNET, diffusion_scheduler=scheduler)
    other = fill_by_name(EDMPrecond(dict(UNET3, _scope_='mmagic_adm'))).eval()
    model.guidance = ClassifierFreeGuidance(0.5, other=other)
    guided = model.infer(seeds=[0, 1], labels=[3, 4], num_inference_steps=1)['samples']
    plain = model.infer(seeds=[0, 1], labels=[3, 4], num_inference_steps=1, classifier_scale=0)[
        'samples'
    ]
    assert guided.isfinite().all()
    assert not torch.allclose(guided, plain)


def test_a_checkpoint_of_the_bare_network_loads_into_it(edm):
    bare = fill_by_name(MODELS.build(dict(UNET, _scope_='mmagic_adm', out_channels=3)))
    model = edm_model()
    model.load_state_dict({key: tensor + 1 for key, tensor in bare.state_dict().items()})
    assert torch.equal(model.unet.network.out[2].bias, bare.out[2].bias + 1)


def test_a_train_step_lowers_edms_loss():
    model = edm_model(loss=dict(type='EDMLoss')).train()
    assert isinstance(model.loss, EDMLoss)
    assert isinstance(model.unet, EDMPrecond)
    optimiser = OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-3))
    data = batch()
    losses = [model.train_step(data, optimiser)['loss'].item() for _ in range(20)]
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
