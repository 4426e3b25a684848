"""MSE, PSNR and SSIM: numbers worked out by hand, and which range they are taken against."""

import math

import numpy as np
import pytest

import oracle
from nlmeans import ParameterError, mse, psnr, ssim

BLACK = np.zeros((2, 2), np.uint8)
STEPS = np.array([[1, 2], [3, 4]], np.uint8)


def test_mse_worked_on_paper():
    """(1 + 4 + 9 + 16) / 4."""
    assert mse(BLACK, STEPS) == mse(STEPS, BLACK) == 7.5
    assert type(mse(BLACK, STEPS)) is float


def test_psnr_worked_on_paper():
    """10 log10(255^2 / 7.5) = 39.38 dB; an error of a tenth of the range is 20 dB."""
    assert psnr(BLACK, STEPS) == pytest.approx(39.38019097, abs=1e-8)
    assert psnr(np.zeros((3, 3)), np.full((3, 3), 0.1), data_range=1) == pytest.approx(20)
    assert psnr(np.zeros((3, 3)), np.full((3, 3), 5.0), data_range=50) == pytest.approx(20)


@pytest.mark.parametrize(
    ("dtype", "peak"), [("uint8", 255), ("uint16", 65535), ("int16", 65535), (">u2", 65535)]
)
def test_integers_bring_their_range(dtype, peak):
    """Black against white is 0 dB, without wrapping around."""
    limits = np.iinfo(dtype)
    black, white = np.full((2, 3), limits.min, dtype), np.full((2, 3), limits.max, dtype)
    assert psnr(black, white) == psnr(white, black) == 0
    assert mse(black, white) == peak**2
    assert psnr(black, white, data_range=10 * peak) == pytest.approx(20)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("first", "second"),
    [("float32", "float32"), ("float64", "float64"), ("uint8", "float64"), ("uint8", "uint16")],
)
def test_range_must_be_given_where_the_dtypes_do_not_say_it(metric, first, second):
    x, y = np.zeros((12, 12), first), np.ones((12, 12), second)
    with pytest.raises(ParameterError, match=r"^data_range must be given .*255 for 8-bit"):
        metric(x, y)
    assert math.isfinite(metric(x, y, data_range=255))


def test_psnr_of_equal_images_is_infinite():
    assert psnr(STEPS, STEPS) == math.inf
    assert mse(STEPS, STEPS) == 0


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (4, 5, 2)])
def test_error_is_the_mean_over_everything(shape, rng):
    x, y = rng.uniform(0, 255, shape), rng.uniform(0, 255, shape).astype(np.float32)
    assert mse(x, y) == pytest.approx(oracle.mse(x, y), rel=1e-14)
    assert psnr(x, y, data_range=255) == pytest.approx(oracle.psnr(x, y, 255), rel=1e-14)


def test_ssim_of_a_single_window(rng):
    """11 x 11 pixels hold one window: Eq. (13) of the paper, written out for it."""
    x, y = rng.uniform(0, 255, (2, 11, 11))
    axis = [math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-5, 6)]
    weight = np.outer(axis, axis) / sum(axis) ** 2
    mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
    var_x = (weight * (x - mean_x) ** 2).sum()
    var_y = (weight * (y - mean_y) ** 2).sum()
    covariance = (weight * (x - mean_x) * (y - mean_y)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    expected /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    assert ssim(x, y, data_range=255) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("axis", [None, -1, 0])
def test_ssim_is_that_of_scikit_image(axis, camera, astronaut):
    from skimage.metrics import structural_similarity

    image = camera[:40, :50] if axis is None else np.moveaxis(astronaut[:40, :50], -1, axis)
    other = 255 - image // 2
    expected = structural_similarity(
        image,
        other,
        channel_axis=axis,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(image, other, channel_axis=axis) == pytest.approx(expected, rel=1e-12)
    assert ssim(image, image, channel_axis=axis) == 1


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
def test_shapes_must_agree(metric):
    """Nothing is broadcast."""
    with pytest.raises(ParameterError, match=r"^image must have the reference's shape \(12, 12\)"):
        metric(np.zeros((12, 12)), np.zeros((12, 1)))


@pytest.mark.parametrize("metric", [mse, psnr, ssim])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((12, 12), np.nan), "must not hold NaN"),
        (np.zeros((12, 12), complex), "must have a dtype"),
        (np.zeros((12, 12), bool), "must have a dtype"),
        (np.zeros(12), "must have at least two axes"),
        (np.zeros((0, 12)), "must not be empty"),
    ],
)
def test_unusable_images_are_refused(metric, bad, message):
    with pytest.raises(ParameterError, match=rf"^reference {message}"):
        metric(bad, np.zeros((12, 12)))
    with pytest.raises(ParameterError, match=rf"^image {message}"):
        metric(np.zeros((12, 12)), bad)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "255", True])
def test_bad_ranges_are_refused(metric, value):
    with pytest.raises(ParameterError, match=r"^data_range must be a finite number above 0"):
        metric(np.zeros((12, 12)), np.ones((12, 12)), data_range=value)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1)])
def test_ssim_needs_a_whole_window(shape):
    with pytest.raises(ParameterError, match=r"^image must be at least 11 pixels"):
        ssim(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_ssim_of_colors_needs_to_be_told():
    image = np.zeros((12, 12, 3), np.uint8)
    with pytest.raises(ParameterError, match=r"^channel_axis must be given"):
        ssim(image, image)
