"""What is estimated of noise: its level, its color, what it depends on."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom
from skimage import data

from nlmeans import ParameterError
from nlmeans.noise import NoiseEstimate, add_noise, estimate_noise, estimate_sigma
from nlmeans.noise import estimate_sigma_map as sigma_map

ESTIMATES = [estimate_noise, estimate_sigma, sigma_map]


@pytest.fixture(scope="module")
def scene():
    """Slopes, soft and hard edges and a textured corner, levels 40 to 210."""
    y, x = np.mgrid[:320, :400] / 400
    image = 60 + 90 * x + 40 * np.sin(5 * y)
    image[((x - 0.3) ** 2 + (y - 0.3) ** 2) < 0.03] += 25
    image[200:260, 250:] -= 45
    image[250:, :120] += 15 * np.sin(np.arange(120) * 1.3) * np.sin(np.arange(70)[:, None] * 1.7)
    return image


def noisy(image, sigma, seed=0):
    return image + np.random.default_rng(seed).normal(0, 1, image.shape) * sigma


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0, 25.0, 50.0])
def test_sigma_of_a_scene(scene, sigma):
    """On average over seeds within 1 %, and each within four of its standard errors or 2 %."""
    found = [estimate_noise(noisy(scene, sigma, seed)) for seed in range(5)]
    assert np.mean([f.sigma for f in found]) == pytest.approx(sigma, rel=0.01)
    for f in found:
        assert abs(f.sigma - sigma) < max(4 * f.standard_error, 0.02 * sigma)
        assert f.white
        assert f.strength == f.sigma
        assert f.scales == (f.sigma, f.sigma / 2, f.sigma / 4)
        assert not f.signal_dependent


@pytest.mark.parametrize("name", ["camera", "coins", "moon", "brick", "page"])
@pytest.mark.parametrize("sigma", [10.0, 25.0])
def test_sigma_of_photographs(name, sigma):
    """These have a little noise of their own: within 0.4 and 5 %."""
    found = estimate_noise(noisy(getattr(data, name)().astype(float), sigma))
    assert found.sigma == pytest.approx(sigma, abs=0.4 + 0.05 * sigma)
    assert found.white


@pytest.mark.parametrize("sigma", [5.0, 25.0, 50.0])
def test_colors_tell_sigma_apart_from_texture(astronaut, sigma):
    found = estimate_noise(noisy(astronaut.astype(float), sigma), channel_axis=-1)
    assert found.sigma == pytest.approx(sigma, rel=0.02)
    assert found.sigma_channels == pytest.approx([sigma] * 3, rel=0.04)
    assert found.levels[1:] == pytest.approx([sigma / 2, sigma / 4], rel=0.15)


def test_each_channel_has_its_level(astronaut):
    """And the joint variance is their mean."""
    levels = np.array([6.0, 12.0, 18.0])
    found = estimate_noise(noisy(astronaut.astype(float), levels), channel_axis=-1)
    assert found.sigma_channels == pytest.approx(levels, rel=0.07)
    assert found.sigma == pytest.approx(math.sqrt(np.mean(levels**2)), rel=0.03)
    assert np.mean(np.square(found.sigma_channels)) == pytest.approx(found.sigma**2)


def test_gray_stored_as_color_has_the_sigma_of_gray(scene):
    """Noise that is the same in all channels has no chroma."""
    gray = noisy(scene, 8.0)
    color = np.stack([gray] * 3, axis=-1)
    assert estimate_sigma(color, channel_axis=-1) == pytest.approx(estimate_sigma(gray), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_channels(scene, count):
    image = noisy(np.stack([scene + 30 * k for k in range(count)]), 7.0)
    found = estimate_noise(image, channel_axis=0)
    assert len(found.sigma_channels) == count
    assert found.sigma == pytest.approx(7, rel=0.02)


@pytest.mark.parametrize("factor", [1e-3, 1000.0, 2.0**40])
def test_units_do_not_matter(scene, factor):
    image = noisy(scene, np.sqrt(scene))
    one, many = estimate_noise(image), estimate_noise(image * factor)
    for name in ("sigma", "strength", "standard_error", "levels", "gain", "sigma_channels"):
        assert getattr(many, name) == pytest.approx(np.multiply(getattr(one, name), factor))
    assert many.offset_variance == pytest.approx(one.offset_variance * factor**2)
    assert many.variation == pytest.approx(one.variation)
    assert (many.white, many.signal_dependent) == (one.white, one.signal_dependent)
    np.testing.assert_allclose(sigma_map(image * factor), sigma_map(image) * factor)


def test_an_offset_does_not_matter(scene):
    image = noisy(scene, 5.0)
    assert estimate_sigma(image - 1e5) == pytest.approx(estimate_sigma(image))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32"])
def test_dtypes(scene, dtype):
    image = noisy(scene, 6.0)
    assert estimate_sigma(image.clip(0, 255).astype(dtype)) == pytest.approx(6, rel=0.02)


@pytest.mark.parametrize("sigma", [5.0, 15.0, 25.0, 50.0])
def test_clipped_noise(scene, sigma):
    """Black and white bars in a scene: their noise is halved, and no sign of a lower level."""
    image = scene.copy()
    image[:, :80], image[:, 350:] = 0, 255
    clipped = np.clip(np.rint(noisy(image, sigma)), 0, 255).astype(np.uint8)
    assert estimate_sigma(clipped) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [6.0, 80.0])
def test_a_mask_is_no_noise(scene, sigma):
    """Three quarters of an image are exactly 0, which strong noise is on both sides of."""
    image = noisy(scene, sigma)
    y, x = np.mgrid[:320, :400]
    image[(y - 160) ** 2 + (x - 200) ** 2 > 100**2] = 0
    assert estimate_sigma(image) == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 10.0), (1.0, 0.0), (3.0, 40.0)])
def test_signal_dependent_noise(scene, gain, offset):
    """Gain within 10 % on average over seeds, and the line within 10 % over the levels."""
    found = [
        estimate_noise(noisy(scene, np.sqrt(gain * scene + offset), seed)) for seed in range(4)
    ]
    assert np.mean([f.gain for f in found]) == pytest.approx(gain, rel=0.1)
    level = np.array([60.0, 120.0, 180.0])
    for f in found:
        assert f.signal_dependent
        variance = f.gain * level + f.offset_variance
        np.testing.assert_allclose(variance, gain * level + offset, rtol=0.1)
        total = math.sqrt(np.mean(gain * scene + offset))
        assert f.strength == pytest.approx(total, rel=0.05)


def correlated(kind, shape, sigma):
    """Noise of standard deviation sigma, as cameras and resizing leave it."""
    white = np.random.default_rng(7).normal(0, 1, shape)
    if kind == "smoothed":
        noise = gaussian_filter(white, 0.9)
    else:
        noise = zoom(white[: -(-shape[0] // 2) + 1, : -(-shape[1] // 2) + 1], 2, order=1)
        noise = noise[: shape[0], : shape[1]]
    return sigma * noise / noise.std()


@pytest.mark.parametrize("kind", ["smoothed", "enlarged"])
@pytest.mark.parametrize("sigma", [3.0, 6.0])
def test_correlated_noise(scene, kind, sigma):
    """White estimates miss most of it; the strength is within a third of the truth."""
    noise = correlated(kind, scene.shape, sigma)
    found = estimate_noise(scene + noise)
    assert not found.white
    assert found.sigma < sigma / 2
    assert found.strength == pytest.approx(sigma, rel=0.34)
    assert found.levels[1] > 0.7 * found.levels[0]
    halved = noise[::2, ::2] + noise[1::2, ::2] + noise[::2, 1::2] + noise[1::2, 1::2]
    assert found.scales[0] == found.strength
    assert found.scales[1] / found.scales[0] == pytest.approx(halved.std() / 4 / sigma, rel=0.1)


def test_correlated_noise_alone():
    noise = correlated("smoothed", (256, 256), 5.0)
    found = estimate_noise(100 + noise)
    assert not found.white
    assert found.strength == pytest.approx(5, rel=0.34)


@pytest.mark.parametrize("name", ["camera", "coins", "moon", "astronaut", "coffee", "chelsea"])
def test_clean_photographs_are_not_noisy(name):
    image = getattr(data, name)()
    found = estimate_noise(image, channel_axis=-1 if image.ndim == 3 else None)
    assert found.strength < 3


def test_map_of_noise_that_varies(scene):
    """From 4 on the left to 16 on the right, within 15 % nearly everywhere."""
    truth = np.broadcast_to(np.linspace(4, 16, scene.shape[1]), scene.shape)
    image = noisy(scene, truth)
    found = sigma_map(image)
    assert found.shape == image.shape
    # Beyond the centers of the outermost cells, some 25 pixels, the map is constant.
    inner = (slice(None), slice(25, -25))
    assert np.quantile(np.abs(found / truth - 1)[inner], 0.95) < 0.15
    assert estimate_noise(image).variation > 2.5
    assert estimate_noise(noisy(scene, 8.0)).variation < 1.3


def test_map_of_uniform_noise_over_channels_and_volumes(scene):
    color = noisy(np.stack([scene] * 3), 9.0)
    found = sigma_map(color, channel_axis=0)
    assert found.shape == scene.shape
    np.testing.assert_allclose(found, 9, rtol=0.1)
    volume = noisy(np.stack([scene[:100, :90]] * 20, axis=1), 9.0)
    assert sigma_map(volume).shape == volume.shape
    assert np.median(sigma_map(volume)) == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize("shape", [(40, 60, 50), (60, 5, 60), (3, 2, 60, 60), (64, 64, 12, 5)])
def test_volumes(shape):
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij", sparse=True)
    smooth = 100 + sum(5 * np.sin(0.1 * axis + k) for k, axis in enumerate(grid))
    assert estimate_sigma(noisy(smooth, 4.0)) == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("estimate", [estimate_sigma, lambda x: estimate_noise(x).strength])
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((50, 50)),
        np.full((50, 50), 77, np.uint8),
        np.kron(np.array([[10.0, 200.0], [120.0, 60.0]]), np.ones((40, 40))),
        np.kron(np.indices((6, 6)).sum(0) % 2, np.full((20, 20), 255)).astype(np.uint8),
        np.add.outer(0.3 * np.arange(90.0), np.arange(80.0)),
        np.zeros((2, 50)),
    ],
    ids=["zeros", "constant", "patches", "binary", "ramp", "too small"],
)
def test_no_noise(estimate, image):
    assert estimate(image) == 0
    assert not sigma_map(image).any()


@pytest.mark.parametrize("shape", [(3, 3), (5, 40), (8, 8), (9, 31), (16, 16), (23, 24), (33, 17)])
def test_small_images(shape):
    found = [estimate_noise(noisy(np.full(shape, 50.0), 5.0, seed)) for seed in range(8)]
    assert all(isinstance(f, NoiseEstimate) for f in found)
    assert 2.5 < np.median([f.sigma for f in found]) < 7.5
    assert sigma_map(noisy(np.full(shape, 50.0), 5.0)).shape == shape


def test_large_images_are_sampled():
    image = add_noise(np.full((1500, 2000), 100.0), 5, rng=0)
    found = estimate_noise(image)
    assert found.sigma == pytest.approx(5, rel=0.02)
    assert found.blocks <= 20_000


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_errors(estimate):
    with pytest.raises(ParameterError, match=r"^channel_axis must be given"):
        estimate(np.zeros((20, 20, 3)))
    with pytest.raises(ParameterError, match=r"^channel_axis must be an axis"):
        estimate(np.zeros((20, 20, 3)), channel_axis=3)
    with pytest.raises(ParameterError, match=r"^image must not hold NaN"):
        estimate(np.full((20, 20), math.nan))
    with pytest.raises(ParameterError, match=r"^image must have at least two axes"):
        estimate(np.zeros(20))
