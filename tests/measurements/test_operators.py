"""Operators: what they do to images, and that their parts belong together."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmagic_adm.measurements import (
    JPEG,
    OPERATORS,
    Ability,
    BoxInpainting,
    Downsampling,
    FunctionOperator,
    GaussianBlur,
    Greyscale,
    Inpainting,
    KernelBlur,
    MaskedFourier,
    Measurement,
    MotionBlur,
    RandomInpainting,
    build_operator,
    measure,
)
from tests.measurements.formulas import MatrixOperator

SHAPE = (3, 8, 16)


def images(count=2, shape=SHAPE, seed=0):
    drawn = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
    return 2 * drawn.double() - 1


KERNEL = torch.rand(3, 5, generator=torch.Generator().manual_seed(5)) + torch.eye(3, 5)
LINEAR = {
    'inpainting': Inpainting(SHAPE, torch.rand(2, 1, 8, 16) > 0.5),
    'box': BoxInpainting(SHAPE),
    'random': RandomInpainting(SHAPE),
    'downsampling': Downsampling(SHAPE, 4),
    'bicubic': Downsampling(SHAPE, 2, 'bicubic'),
    'gaussian-blur': GaussianBlur(SHAPE, 0.7),
    'motion-blur': MotionBlur(SHAPE, 4.0, 30.0),
    'kernel-blur': KernelBlur(SHAPE, KERNEL),
    'greyscale': Greyscale(SHAPE),
    'masked-fourier': MaskedFourier(SHAPE, 0.4),
    'matrix': MatrixOperator(torch.randn(20, 48), (3, 4, 4)),
    'function': FunctionOperator(SHAPE, lambda x: x.cumsum(dim=2)[..., ::3]),
}


def each(ability=Ability.ADJOINT):
    """Every linear operator that can do something."""
    able = {name: made for name, made in LINEAR.items() if ability in made.abilities}
    return pytest.mark.parametrize('operator', able.values(), ids=able)


def inner(a, b):
    return (a * b).sum()


@each()
def test_the_adjoint_is_one(operator):
    x = images(shape=operator.shape)
    y = torch.randn_like(operator(x))
    assert inner(operator(x), y).item() == pytest.approx(inner(x, operator.adjoint(y)).item())


@each(Ability.INVERSE)
def test_the_pseudo_inverse_is_one(operator):
    x = images(shape=operator.shape)
    y = operator(x)
    back = operator.pseudo_inverse(y)
    torch.testing.assert_close(operator(back), y, rtol=0, atol=1e-6)
    # Of all images with this measurement it is the shortest: it lies in the range of the adjoint.
    lost = x - back
    assert inner(back, lost).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(operator.pseudo_inverse(y.float()).double(), back, atol=1e-4, rtol=0)


@each(Ability.SPECTRUM)
def test_singular_values_are_those_of_it(operator):
    x = images(shape=operator.shape)
    squared = operator.adjoint(operator(x))
    torch.testing.assert_close(operator.weigh(x, torch.square), squared, rtol=0, atol=1e-5)
    kept = operator.weigh(x, lambda s: (s > 0).double())
    torch.testing.assert_close(operator(kept), operator(x), rtol=0, atol=2e-3)


@each()
def test_no_measurement_exceeds_its_bound(operator):
    if math.isfinite(operator.bound):
        assert operator(images(shape=operator.shape).sign()).abs().max() <= operator.bound + 1e-9


def test_box_downsampling_takes_means():
    x = images()
    torch.testing.assert_close(LINEAR['downsampling'](x), F.avg_pool2d(x, 4))


def test_bicubic_downsampling_is_pils():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40)).astype(np.float32)
    small = Image.fromarray(pixels).resize((10, 8), Image.Resampling.BICUBIC)
    ours = Downsampling((1, 32, 40), 4, 'bicubic')(torch.from_numpy(pixels)[None, None])
    # Within the borders: PIL cuts its kernel off there, and here the image goes on mirrored.
    torch.testing.assert_close(
        ours[0, 0, 2:-2, 2:-2], torch.from_numpy(np.array(small))[2:-2, 2:-2], rtol=1e-5, atol=1e-3
    )


def test_gaussian_blur_is_a_convolution_with_mirrored_borders():
    width, x = 1.5, images(shape=(1, 8, 16))
    places = torch.arange(-8.0, 9.0).double()
    kernel = torch.exp(-((places / width) ** 2) / 2)
    kernel = kernel * (places.abs() <= 6) / kernel[places.abs() <= 6].sum()
    mirrored = torch.cat([x.flip(2), x, x.flip(2)], dim=2)
    mirrored = torch.cat([mirrored.flip(3), mirrored, mirrored.flip(3)], dim=3)
    blurred = F.conv2d(mirrored, kernel.view(1, 1, -1, 1), padding='same')
    blurred = F.conv2d(blurred, kernel.view(1, 1, 1, -1), padding='same')[:, :, 8:16, 16:32]
    torch.testing.assert_close(GaussianBlur((1, 8, 16), width)(x), blurred, rtol=0, atol=2e-4)


def test_a_kernel_is_convolved_and_goes_round_at_the_borders():
    x = images(shape=(1, 8, 16))
    padded = F.pad(x, (2, 2, 1, 1), mode='circular')
    wanted = F.conv2d(padded, KERNEL.double().flip(0, 1)[None, None])
    torch.testing.assert_close(KernelBlur((1, 8, 16), KERNEL)(x), wanted)


def test_motion_follows_its_angle():
    spot = torch.zeros(1, 1, 17, 17)
    spot[..., 8, 8] = 1
    level, steep = (MotionBlur((1, 17, 17), 7.0, angle)(spot)[0, 0] for angle in (0.0, 90.0))
    assert level[8, 5:12].min() > 0.08
    torch.testing.assert_close(steep, level.T, rtol=0, atol=1e-6)
    rising = MotionBlur((1, 17, 17), 7.0, 45.0)(spot)[0, 0]
    assert rising[6, 10] > 0.1 > rising[10, 10]


def test_grey_is_the_brightness():
    for channel, share in enumerate((0.299, 0.587, 0.114)):
        colour = torch.zeros(1, *SHAPE)
        colour[:, channel] = 1
        assert Greyscale(SHAPE)(colour).mean().item() == pytest.approx(share)


def test_what_is_lost_in_rounding_is_not_brought_back():
    y = torch.randn(1, *SHAPE).double()
    assert GaussianBlur(SHAPE, 3.0).pseudo_inverse(y).norm() < 1e3 * y.norm()


def test_a_spectrum_is_measured_around_frequency_0_first():
    mask = MaskedFourier((1, 4, 20), kept=0.25, middle=0.2).mask.flatten()
    assert mask.nonzero().flatten().tolist() == [0, 1, 2, 18, 19]


def test_hidden_pixels_do_not_count_whatever_y_holds_there():
    operator, x = LINEAR['box'], images()
    y = operator(x) + 7 * (1 - operator.mask)
    torch.testing.assert_close(operator.residual(x, y), torch.zeros_like(x))


def test_masks_come_from_pictures_too(tmp_path):
    drawn = np.zeros((8, 16), np.uint8)
    drawn[:, :4] = 255
    Image.fromarray(drawn).save(tmp_path / 'mask.png')
    mask = Inpainting(SHAPE, tmp_path / 'mask.png').mask
    assert mask.sum() == 32
    assert (mask[..., :4] == 1).all()


class TestJPEG:
    @pytest.mark.parametrize(('quality', 'channels'), [(10, 1), (30, 3), (80, 1)])
    def test_it_is_what_programs_do(self, quality, channels):
        """At full colour resolution, up to the rounding to bytes on both sides."""
        x = images(1, (channels, 16, 16))
        x = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4, mode='bilinear')
        pixels = ((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, 'JPEG', quality=quality, subsampling=0)
        theirs = np.array(Image.open(file)).reshape(16, 16, channels)
        seen = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
        ours = (JPEG((channels, 16, 16), quality)(seen)[0].permute(1, 2, 0) + 1) * 127.5
        assert (ours.clamp(0, 255) - torch.from_numpy(theirs)).abs().mean() < 0.5

    @pytest.mark.parametrize('channels', [1, 3])
    def test_the_projection_has_the_same_compressed_image_and_is_nearest(self, channels):
        operator = JPEG((channels, 16, 16), 20)
        truth, other = images(2, (channels, 16, 16)).split(1)
        y = operator(truth)
        projected = operator.project(other, y)
        torch.testing.assert_close(operator(projected), y)
        torch.testing.assert_close(operator.project(truth, y), truth, rtol=0, atol=1e-3)
        torch.testing.assert_close(operator.project(projected, y), projected)


class TestRows:
    def test_some_rows_of_an_operator_are_those_operators(self):
        masks, x = torch.rand(3, 1, 8, 16) > 0.5, images(3)
        operator = Inpainting(SHAPE, masks, sigma_y=[0.1, 0.2, 0.3])
        some = operator.rows([2, 0, 2])
        torch.testing.assert_close(some(x), x * masks[[2, 0, 2]])
        assert some.noise.flatten().tolist() == pytest.approx([0.3, 0.1, 0.3])

    def test_operators_of_one_class_make_a_batch(self):
        x, kernels = images(2), torch.rand(2, 3, 3)
        alone = [KernelBlur(SHAPE, kernel, 0.1) for kernel in kernels]
        joined = Measurement.joined([measure(x[i : i + 1], alone[i]) for i in range(2)])
        for i in range(2):
            torch.testing.assert_close(joined.operator(x)[i : i + 1], alone[i](x[i : i + 1]))
        assert len(joined) == 2


def test_a_measurements_noise_is_its_samples_own():
    operator, x = Downsampling(SHAPE, 2, sigma_y=0.5), images(2)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    both = measure(x, operator, generators).y
    alone = measure(x[1:], operator, [torch.Generator().manual_seed(4)]).y
    torch.testing.assert_close(both[1:], alone)
    many = measure(x[:1].expand(4000, -1, -1, -1), operator).y - operator(x[:1])
    assert many.std().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize('name', OPERATORS)
def test_every_operator_says_what_it_takes(name):
    kind = OPERATORS[name]
    numbers = {argument.name: argument.default for argument in kind.arguments}
    needed = dict(inpainting=dict(mask=torch.ones(16, 16)), **{'kernel-blur': dict(kernel=KERNEL)})
    built = build_operator(dict(type=name, **numbers, **needed.get(name, {})), (3, 16, 16))
    assert built(torch.zeros(1, 3, 16, 16)).abs().max() < 1
    for argument in kind.arguments:
        assert argument.low <= argument.default <= argument.high
        if argument.name != 'sigma_y':
            with pytest.raises(ValueError, match=f'{argument.name} of {kind.__name__} is from'):
                build_operator(dict(type=name, **{argument.name: argument.high + 1}), (3, 16, 16))


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ('sharpening', 'there is no operator .* there are inpainting, box'),
        (dict(type='downsampling', factor=3), 'images of 8x16 cannot be 3 times smaller'),
        (
            dict(type='downsampling', width=3),
            "unexpected keyword argument 'width'; it takes factor",
        ),
        (dict(type='downsampling', kernel='lanczos'), "kernel is box or bicubic, not 'lanczos'"),
        (
            dict(type='inpainting', mask=torch.ones(8, 8)),
            r'the mask has shape \(1, 1, 8, 8\); for images',
        ),
        (
            dict(type='inpainting', mask=torch.full((8, 16), 0.5)),
            'a mask is 1 where a pixel is seen',
        ),
        (dict(type='kernel-blur', kernel=torch.ones(9, 9)), r'kernel has shape \(1, 9, 9\)'),
        (dict(type='greyscale', weights=[1.0]), '1 weights were given for images of 3 channels'),
        (dict(type='greyscale', sigma_y=-1.0), 'sigma_y is 0 or more, not -1'),
        (dict(type='inpainting', mask='no-such.png'), 'there is no file no-such.png'),
    ],
)
def test_bad_operators_are_refused_in_a_line(config, message):
    with pytest.raises(ValueError, match=message) as error:
        build_operator(config, SHAPE)
    assert '\n' not in str(error.value)


def test_jpeg_takes_blocks_of_eight():
    with pytest.raises(ValueError, match=r'in multiples of 8 pixels, not \(3, 8, 12\)'):
        JPEG((3, 8, 12))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda y: y[:, :, :2], r'y has shape \(2, 3, 2, 8\); .* makes \(N, 3, 4, 8\)'),
        (lambda y: (y + 1) * 127.5, r'y has values from .* makes none beyond 1'),
        (lambda y: y / 0, 'y has values from'),
        (lambda y: y[:1].expand(3, -1, -1, -1), '2 rows of noise and y has 3 measurements'),
    ],
)
def test_bad_measurements_are_refused_in_a_line(change, message):
    operator = Downsampling(SHAPE, 2, sigma_y=[0.0, 0.1])
    y = change(operator(images()))
    with pytest.raises(ValueError, match=message):
        Measurement(y, operator).check(SHAPE)


def test_a_mask_that_hides_all_is_refused():
    mask = torch.ones(3, 1, 8, 16)
    mask[1] = 0
    operator = Inpainting(SHAPE, mask)
    with pytest.raises(ValueError, match=r'the mask hides all of the image \(samples \[1\]\)'):
        Measurement(operator(images(3)), operator).check(SHAPE)


def test_images_of_another_size_are_refused():
    operator = Downsampling(SHAPE, 2)
    with pytest.raises(ValueError, match=r'is for images of \(3, 8, 16\), and the model makes'):
        Measurement(operator(images()), operator).check((3, 32, 32))
