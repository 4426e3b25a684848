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


def test_gaussian_noise_is_one_draw_of_the_generator(camera):
    """Bit by bit what it has always been."""
    expected = camera + np.random.default_rng(9).normal(0.0, 12.5, camera.shape)
    result = add_noise(camera.astype(np.float64), 12.5, noise="gaussian", rng=9)
    np.testing.assert_array_equal(result, expected)


def moments(noisy):
    """Mean, standard deviation and skewness."""
    mean, std = noisy.mean(), noisy.std()
    return mean, std, (((noisy - mean) / std) ** 3).mean()


# The standard error of a mean of SIZE^2 numbers is std / 512; that of a skewness sqrt(6) / 512 for
# normal variables, up to ten times that for the others here.
@pytest.mark.parametrize(
    ("parameters", "level", "expected"),
    [
        ({"noise": "poisson", "gain": 2.0}, 6.0, (6, math.sqrt(12), 1 / math.sqrt(3))),
        ({"noise": "poisson", "gain": 0.5}, 200.0, (200, 10, 0.05)),
        ({"noise": "poisson-gaussian", "gain": 2.0, "sigma": 2.0}, 6.0, (6, 4, 24 / 64)),
        ({"noise": "poisson-gaussian", "gain": 2.0, "sigma": 0.0}, 6.0, (6, math.sqrt(12), 0.577)),
        # Of black, Rayleigh: sqrt(pi / 2), sqrt(2 - pi / 2), 2 sqrt(pi) (pi - 3) / (4 - pi)^1.5.
        ({"noise": "rician", "sigma": 3.0}, 0.0, (3.7599, 1.9654, 0.6311)),
        ({"noise": "rician", "sigma": 3.0}, 300.0, (300.015, 3, 0)),
        ({"noise": "speckle", "sigma": 0.4}, 50.0, (50, 20, 0.8)),
        ({"noise": "speckle", "sigma": 1.0}, 50.0, (50, 50, 2)),
    ],
)
def test_moments_of_the_other_models(parameters, level, expected):
    noisy = add_noise(np.full((SIZE, SIZE), level), rng=4, **parameters)
    mean, std, skewness = moments(noisy)
    assert mean == pytest.approx(expected[0], abs=4 * expected[1] / SIZE)
    assert std == pytest.approx(expected[1], rel=0.015)
    assert skewness == pytest.approx(expected[2], abs=0.03 + 0.03 * expected[2])
    neighbors = (noisy[1:] - mean) * (noisy[:-1] - mean)
    assert abs(neighbors.mean()) < 4 * std**2 / SIZE


def test_poisson_noise_is_of_whole_counts():
    """Multiples of the gain; no count has the probability exp(-x / gain)."""
    noisy = add_noise(np.full((SIZE, SIZE), 0.5), noise="poisson", gain=0.25, rng=1)
    np.testing.assert_array_equal(noisy % 0.25, 0)
    assert (noisy == 0).mean() == pytest.approx(math.exp(-2), abs=4 / SIZE * 0.35)


@pytest.mark.parametrize("name", ["gaussian", "rician", "speckle"])
@pytest.mark.parametrize("dtype", ["uint8", ">f8"])
def test_sigma_zero_is_the_image(name, dtype, camera):
    image = camera.astype(dtype)
    result = add_noise(image, 0, noise=name, rng=0)
    np.testing.assert_array_equal(result, image)
    assert not np.shares_memory(result, image)


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise": "poisson", "gain": 5.0},
        {"noise": "poisson-gaussian", "gain": 5.0, "sigma": 3.0},
        {"noise": "rician", "sigma": 9.0},
        {"noise": "speckle", "sigma": 0.5},
    ],
    ids=lambda parameters: parameters["noise"],
)
def test_other_models_keep_the_dtype_and_the_seed(parameters, camera):
    """Integers are the rounded and clipped floats."""
    exact = add_noise(camera.astype(np.float64), rng=3, **parameters)
    rounded = add_noise(camera, rng=3, **parameters)
    assert rounded.dtype == np.uint8
    np.testing.assert_array_equal(rounded, np.clip(np.rint(exact), 0, 255))
    single = add_noise(camera.astype(np.float32), rng=3, **parameters)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, exact.astype(np.float32))
    assert (add_noise(camera, rng=4, **parameters) != rounded).any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise": "salt"}, r"noise must be one of gaussian, poisson, "),
        ({"noise": "poisson"}, r"gain must be a finite number above 0"),
        ({"noise": "poisson", "gain": 1, "sigma": 1}, r"sigma is not a parameter of poisson noise"),
        ({"noise": "poisson", "sigma": 0}, r"sigma is not a parameter of poisson noise"),
        ({"noise": "poisson", "gain": 1e-30}, r"gain must leave at most 1e\+18 counts"),
        ({"noise": "poisson-gaussian", "gain": 1}, r"sigma must be a finite number, at least 0"),
        ({"noise": "poisson-gaussian", "sigma": 0}, r"gain must be a finite number above 0"),
        ({"sigma": 1, "gain": 1}, r"gain is not a parameter of gaussian noise"),
        ({"sigma": 0, "gain": 1}, r"gain is not a parameter of gaussian noise"),
        ({"noise": "speckle", "sigma": 2}, r"sigma must be at most 1 \(got 2"),
    ],
)
def test_bad_parameters_of_the_other_models(parameters, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        add_noise(np.ones((4, 4)), rng=0, **parameters)


@pytest.mark.parametrize("name", ["poisson", "poisson-gaussian", "rician", "speckle"])
def test_negative_images_have_gaussian_noise_only(name):
    parameters = {"gain": 1} if name == "poisson" else {"sigma": 1}
    if name == "poisson-gaussian":
        parameters["gain"] = 1
    with pytest.raises(ParameterError, match=r"^image must not hold negative values, .*-5"):
        add_noise(np.full((4, 4), -5.0), noise=name, rng=0, **parameters)


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
