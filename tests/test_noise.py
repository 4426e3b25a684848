"""Noise that is added has the statistics it claims, and the estimate finds them again."""

import math

import numpy as np
import pytest

from nlmeans import ParameterError, add_noise, estimate_sigma

SIZE = 512


def pure_noise(sigma, seed=1, shape=(SIZE, SIZE), level=0.0):
    return add_noise(np.full(shape, level), sigma, rng=seed)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 25.0])
def test_noise_is_white_gaussian_of_that_sigma(sigma):
    """Mean, deviation, tails and correlation of neighbors, each within 4 standard errors."""
    noise = pure_noise(sigma) / sigma
    error = 4 / SIZE
    assert abs(noise.mean()) < error
    assert abs(noise.std() - 1) < error / math.sqrt(2)
    for threshold, share in ((1, 0.31731), (2, 0.04550), (3, 0.00270)):
        assert abs((np.abs(noise) > threshold).mean() - share) < error * math.sqrt(share)
    assert abs((noise[1:] * noise[:-1]).mean()) < error
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < error


def test_same_seed_same_noise():
    first = pure_noise(5, seed=3)
    np.testing.assert_array_equal(pure_noise(5, seed=3), first)
    assert (pure_noise(5, seed=4) != first).any()
    assert (pure_noise(5, seed=None) != pure_noise(5, seed=None)).any()


def test_a_generator_goes_on(rng):
    """Two calls with one generator get different noise."""
    assert (pure_noise(5, seed=rng) != pure_noise(5, seed=rng)).any()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", ">u2"])
def test_integers_are_rounded_and_clipped(dtype):
    """Half of the noise in black is cut off, and none of it wraps around."""
    limits = np.iinfo(dtype)
    image = np.full((64, 64), limits.min, dtype)
    image[:, 32:] = limits.max
    noise = pure_noise(20, seed=2, shape=image.shape)
    expected = np.clip(np.rint(image + noise), limits.min, limits.max)
    result = add_noise(image, 20, rng=2)
    assert result.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(result, expected)
    assert 0.4 < (result == image).mean() < 0.6


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_neither_rounded_nor_clipped(dtype):
    result = add_noise(np.zeros((64, 64), dtype), 20, rng=2)
    expected = pure_noise(20, seed=2, shape=(64, 64)).astype(dtype)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, expected)
    assert result.min() < -40


def test_no_noise_is_the_image(camera):
    result = add_noise(camera, 0, rng=0)
    np.testing.assert_array_equal(result, camera)
    assert not np.shares_memory(result, camera)


@pytest.mark.parametrize("sigma", [-1, math.nan, math.inf, "5", None, True])
def test_bad_sigma_is_refused(sigma):
    with pytest.raises(ParameterError, match=r"^sigma must be a finite number, at least 0"):
        add_noise(np.zeros((4, 4)), sigma, rng=0)


@pytest.mark.parametrize("use", [lambda x: add_noise(x, 1, rng=0), estimate_sigma])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5), "must have at least two axes"),
        (np.zeros((0, 3)), "must not be empty"),
        (np.zeros((4, 4), bool), "must have a dtype"),
        (np.full((4, 4), math.nan), "must not hold NaN"),
    ],
)
def test_unusable_images_are_refused(use, image, message):
    with pytest.raises(ParameterError, match=rf"^image {message}"):
        use(image)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("sigma", [1e-6, 0.1, 5.0, 25.0, 1e6])
def test_estimate_on_pure_noise(sigma, seed):
    """Within 2 %."""
    assert estimate_sigma(pure_noise(sigma, seed)) == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize("sigma", [5.0, 15.0])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_estimate_on_a_ramp_under_noise(dtype, sigma):
    """Rounding to integers adds 1/12 to the variance, which is nothing here."""
    ramp = np.add.outer(np.arange(SIZE), np.arange(SIZE)) / 10 + 70
    noisy = add_noise(ramp.astype(dtype), sigma, rng=5)
    assert estimate_sigma(noisy) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((4, 300, 300), 0), ((300, 4, 300), 1), ((300, 300, 4), -1), ((5, 200, 300), None)],
)
def test_estimate_of_channels_and_volumes(shape, axis):
    """Channels and slices differ in level, which is no noise."""
    levels = 1000 * np.arange(shape[0 if axis is None else axis])
    levels = np.expand_dims(levels, [k for k in range(3) if k != (axis or 0) % 3])
    noisy = pure_noise(8, shape=shape) + levels
    assert estimate_sigma(noisy, channel_axis=axis) == pytest.approx(8, rel=0.02)


def test_estimate_written_out(rng):
    """The mask 1 -2 1 / -2 4 -2 / 1 -2 1 at each inner pixel; the median size over 6 z(3/4)."""
    image = rng.integers(0, 256, (6, 9)).astype(np.uint8)
    mask = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]
    sizes = []
    for y in range(4):
        for x in range(7):
            total = sum(mask[a][b] * int(image[y + a, x + b]) for a in range(3) for b in range(3))
            sizes.append(abs(total))
    sizes.sort()
    median = (sizes[13] + sizes[14]) / 2
    assert estimate_sigma(image) == pytest.approx(median / (6 * 0.6744897501960817), rel=1e-14)


@pytest.mark.parametrize(
    "image",
    [
        np.full((9, 9), 200, np.uint8),
        np.add.outer(3.0 * np.arange(20), 7.0 * np.arange(30)),
        np.broadcast_to(np.arange(40) % 7, (30, 40)).astype(np.uint8),
        np.broadcast_to(np.arange(30)[:, None] ** 2, (30, 40)).astype(np.uint16),
    ],
    ids=["constant", "ramp", "vertical stripes", "horizontal stripes"],
)
def test_estimate_of_what_has_no_noise_is_zero(image):
    assert estimate_sigma(image) == 0


def test_texture_of_a_minority_is_not_noise():
    """A quarter of the picture is a checkerboard; the mean would find hundreds."""
    image = pure_noise(3.0, level=100.0)
    image[:256, :256] += 80 * (np.indices((256, 256)).sum(0) % 2)
    assert estimate_sigma(image) == pytest.approx(3.0, rel=0.5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (50, 2), (1, 2, 2), (50, 2, 2)])
def test_estimate_of_an_image_too_small_is_zero(shape):
    assert estimate_sigma(pure_noise(5, shape=shape)) == 0


def test_estimate_of_colors_needs_to_be_told():
    with pytest.raises(ParameterError, match=r"^channel_axis must be given"):
        estimate_sigma(np.zeros((12, 12, 3)))
