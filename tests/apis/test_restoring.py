"""Restoring from Python, also what others' operators measured."""

import pytest
import torch

from mmagic_adm.apis import restore
from mmagic_adm.measurements import (
    DDNM,
    Ability,
    BoxInpainting,
    Downsampling,
    Measurement,
    PhysicsOperator,
    build_operator,
    measure,
)
from tests.tiny import build_model

SHAPE = (3, 8, 8)


@pytest.fixture(scope='module')
def model():
    return build_model()


def images(count=2):
    drawn = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(3 * drawn - 1.5, 3, 1, 1).clamp(-1, 1)


def test_it_is_infer_in_batches(model):
    operator = BoxInpainting(SHAPE, sigma_y=0.1)
    known = measure(images(3), operator)
    asked = dict(labels=[1, 2, 3], draws=2, seed=5, batch_size=4)
    result = restore(model, known.y, operator, 'mmps', iterations=1, **asked)
    rows = torch.tensor([0, 0, 1, 1, 2, 2])
    expected = model.infer(
        measurement=known[rows],
        restoration=dict(type='mmps', iterations=1),
        labels=[1, 1, 2, 2, 3, 3],
        seeds=range(5, 11),
    )
    torch.testing.assert_close(result['samples'], expected['samples'], rtol=1e-4, atol=1e-4)
    assert result['labels'].tolist() == [1, 1, 2, 2, 3, 3]
    assert result['seeds'] == [*range(5, 11)]


def test_names_configs_and_the_models_own_method(model):
    y = measure(images(), Downsampling(SHAPE, 2)).y
    config = dict(type='downsampling', factor=2)
    named = restore(model, y, config, 'ddnm', seed=0, labels=1)
    given = restore(model, y, Downsampling(SHAPE, 2), DDNM(), seed=0, labels=1)
    torch.testing.assert_close(named['samples'], given['samples'])
    own = build_model(restoration='ddnm', diffusion_scheduler=dict(type='DDNMScheduler'))
    torch.testing.assert_close(
        restore(own, y, config, seed=0, labels=1)['samples'], named['samples']
    )


def test_a_function_is_a_linear_operator(model):
    def rows(x):
        return x[:, :, ::2]

    result = restore(model, rows(images()), rows, 'diffpir', sigma_y=0.01, labels=1, seed=0)
    assert (rows(result['samples']) - rows(images())).abs().mean() < 0.1


def test_sets_of_samples_come_back_whole(model):
    y = measure(images(), Downsampling(SHAPE, 2)).y
    operator = Downsampling(SHAPE, 2, sigma_y=0.1)
    result = restore(model, y, operator, 'tds', particles=3, labels=1, batch_size=1)
    assert result['particles'].shape == (2, 3, *SHAPE)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(draws=0), 'draws is how many samples to make'),
        (dict(draws=1.5), 'draws is how many samples to make'),
        (dict(labels=[1, 2, 3]), '3 labels were given for 2 images'),
        (dict(sigma_y=0.1), 'BoxInpainting is made already: give it its own sigma_y'),
        (dict(method='dps', scheduler='edm'), 'which EDMHeunScheduler has no place for'),
        (dict(method=DDNM(), iterations=2), 'DDNM is made already, and takes no iterations'),
    ],
)
def test_bad_requests_are_refused_in_a_line(model, options, message):
    operator = BoxInpainting(SHAPE)
    with pytest.raises(ValueError, match=message):
        restore(model, measure(images(), operator).y, operator, **options)


class FakePhysics:
    """What deepinv's operators have: here the mean of two neighbours, of images in [0, 1]."""

    def A(self, x):
        return (x[..., ::2] + x[..., 1::2]) / 2

    def A_adjoint(self, y):
        return y.repeat_interleave(2, dim=-1) / 2

    def A_dagger(self, y):
        return y.repeat_interleave(2, dim=-1)


class TestPhysics:
    def physics(self, kind):
        if kind == 'like deepinv':
            return FakePhysics()
        deepinv = pytest.importorskip('deepinv')
        mask = (torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) > 0.4).float()
        return {
            'inpainting': lambda: deepinv.physics.Inpainting(SHAPE, mask=mask),
            'downsampling': lambda: deepinv.physics.Downsampling(SHAPE, filter='bicubic', factor=2),
            'blur': lambda: deepinv.physics.BlurFFT(
                SHAPE, filter=deepinv.physics.blur.gaussian_blur(sigma=0.6)
            ),
        }[kind]()

    @pytest.mark.parametrize('kind', ['like deepinv', 'inpainting', 'downsampling', 'blur'])
    def test_its_images_are_from_0_to_1(self, model, kind):
        physics, x = self.physics(kind), images()
        operator = build_operator(physics, SHAPE, sigma_y=0.1)
        assert isinstance(operator, PhysicsOperator)
        assert operator.abilities == {Ability.ADJOINT, Ability.INVERSE}
        # Its noise counts double where the images' range is.
        assert operator.noise.item() == pytest.approx(0.2)
        theirs = physics.A((x + 1) / 2)
        taken = operator.taken(theirs)
        torch.testing.assert_close(taken, operator(x), rtol=0, atol=1e-5)
        projected = operator.project(torch.zeros_like(x), taken)
        torch.testing.assert_close(physics.A((projected + 1) / 2), theirs, rtol=0, atol=2e-2)
        y = torch.randn_like(taken)
        dot = (operator(x) * y).sum()
        assert dot.item() == pytest.approx((x * operator.adjoint(y)).sum().item(), rel=1e-3)
        result = restore(model, theirs, physics, 'ddnm', sigma_y=0.1, labels=1, seed=0)
        expected = model.infer(
            measurement=Measurement(taken, operator),
            restoration='ddnm',
            scheduler_kwargs=dict(type='DDNMScheduler'),
            labels=1,
            seeds=0,
        )
        torch.testing.assert_close(result['samples'], expected['samples'])
