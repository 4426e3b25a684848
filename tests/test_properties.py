"""What holds for every image and every setting.

Values are gray levels of 0 to 255 and h is at least 60, so that a rounding error of the weights,
which float32 carries, moves a result by less than `CLOSE` gray levels.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import oracle
import strategies
from nlmeans import add_noise, denoise, estimate_sigma, mse, psnr
from nlmeans.dtypes import from_float
from nlmeans.normalizer import Count, Sum

CLOSE = 5e-3

nlm = strategies.settings_of_nlm()

LOCAL = ["mean", "median", "gaussian"]


def assert_close(result, expected, scale=1.0):
    np.testing.assert_allclose(result, expected, rtol=0, atol=CLOSE * scale)


@given(npst.arrays(np.float64, (5, 2, 3), elements=st.floats(1e-30, 1)))
def test_weights_of_sum_add_up_to_one(f):
    weights = Sum().weights(f)
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-14)
    assert (weights >= 0).all()
    np.testing.assert_allclose(Count().weights(f).sum(0), f.mean(0), rtol=1e-14)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@given(strategies.images(("float64",)), nlm, st.integers(-1000, 1000))
def test_weights_sum_to_one(engine, image, settings, offset):
    """A second channel that is the first plus an offset keeps that offset."""
    channels = np.stack([image, image + offset])
    first, second = denoise(channels, channel_axis=0, engine=engine, **settings)
    np.testing.assert_allclose(second - first, offset, rtol=0, atol=1e-9)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@given(strategies.images(), nlm)
def test_output_stays_within_the_range_of_the_input(engine, image, settings):
    result = denoise(image, engine=engine, **settings)
    rounding = 1e-4 if image.dtype.kind == "f" else 0
    assert result.min() >= image.min() - rounding
    assert result.max() <= image.max() + rounding


@given(strategies.shapes(), st.sampled_from(strategies.DTYPES), strategies.GRAY_LEVELS, nlm)
def test_constants_are_fixed_points(shape, dtype, level, settings):
    image = np.full(shape, level, dtype)
    np.testing.assert_array_equal(denoise(image, **settings), image)


@given(strategies.float_images(), nlm, st.data())
def test_flips_commute(image, settings, data):
    axes = data.draw(st.sets(st.integers(0, image.ndim - 1)))
    flipped = denoise(np.flip(image, tuple(axes)), **settings)
    assert_close(flipped, np.flip(denoise(image, **settings), tuple(axes)))


@given(strategies.float_images(), nlm, st.data())
def test_transposes_commute(image, settings, data):
    """The last axis may now be 3 or 4 long, so an axis of one channel says that it is none."""
    axes = data.draw(st.permutations(range(image.ndim)))
    transposed = denoise(image.transpose(axes)[None], channel_axis=0, **settings)[0]
    assert_close(transposed, denoise(image, **settings).transpose(axes))


@given(strategies.float_images(), nlm, st.integers(-(2**12), 2**12))
def test_gray_shifts_commute(image, settings, shift):
    shifted = denoise(image + image.dtype.type(shift), **settings)
    assert_close(shifted - image.dtype.type(shift), denoise(image, **settings))


@given(strategies.float_images(), nlm, st.floats(1e-3, 1e3))
def test_scalings_commute_when_h_and_sigma_scale_too(image, settings, factor):
    scaled = settings | {name: settings[name] * factor for name in ("h", "sigma")}
    result = denoise(image * image.dtype.type(factor), **scaled)
    assert_close(result, factor * denoise(image, **settings), scale=factor)


@given(strategies.float_images(), nlm)
def test_inverting_black_and_white_commutes(image, settings):
    assert_close(denoise(255 - image, **settings), 255 - denoise(image, **settings))


@given(strategies.images(("uint8",)), nlm)
def test_uint8_times_257_is_uint16(image, settings):
    """The same picture in 16 bits, up to the rounding that 8 bits are too coarse for."""
    scaled = settings | {name: 257 * settings[name] for name in ("h", "sigma")}
    result = denoise(image.astype(np.uint16) * 257, **scaled).astype(np.float64)
    exact = 257 * denoise(image.astype(np.float64), **settings)
    np.testing.assert_allclose(result, exact, rtol=0, atol=0.5 + 257 * 1e-3)
    np.testing.assert_allclose(
        257 * denoise(image, **settings).astype(np.float64), result, rtol=0, atol=257 / 2 + 1
    )


vanishing = strategies.settings_of_nlm(h=st.one_of(st.just(0), st.floats(1e-30, 1e-3)))


@given(strategies.images(), vanishing)
def test_vanishing_h_returns_the_input(image, settings):
    """Without an offset, only equal patches are averaged, and they have equal centers."""
    np.testing.assert_array_equal(denoise(image, **settings | {"sigma": 0.0}), image)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@given(strategies.float_images(), nlm, st.data())
def test_order_of_channels_does_not_matter(engine, image, settings, data):
    channels = np.stack([image, image[::-1], 255 - image])
    order = data.draw(st.permutations(range(3)))
    result = denoise(channels, channel_axis=0, engine=engine, **settings)
    assert_close(denoise(channels[order], channel_axis=0, engine=engine, **settings), result[order])


@given(strategies.float_images(), nlm, st.integers(2, 4))
def test_equal_channels_are_a_gray_image(image, settings, count):
    """The distance is the mean over the channels, not the sum."""
    result = denoise(np.stack([image] * count), channel_axis=0, **settings)
    for channel in result:
        assert_close(channel, denoise(image, **settings))


@given(strategies.images(("uint8", "uint16", "int16")), nlm)
def test_integers_are_the_rounded_floats(image, settings):
    expected = np.rint(denoise(image.astype(np.float32), **settings))
    np.testing.assert_array_equal(denoise(image, **settings), expected)


@given(st.data(), nlm)
def test_layout_and_byte_order_do_not_matter(data, settings):
    image = data.draw(strategies.images())
    awkward = data.draw(strategies.awkward(image))
    before = awkward.copy()
    result = denoise(awkward, **settings)
    assert result.dtype == image.dtype
    assert result.shape == image.shape
    np.testing.assert_array_equal(result, denoise(image, **settings))
    np.testing.assert_array_equal(awkward, before)


@given(strategies.float_images(), nlm)
def test_engines_agree(image, settings):
    assert_close(denoise(image, **settings), denoise(image, engine="reference", **settings))


@given(strategies.float_images())
def test_window_as_wide_as_the_reflection_repeats(image):
    """With a boundless h it is the mean of the continued image, which repeats on both sides."""
    row = image.reshape(-1)[:5]
    period = max(2 * (len(row) - 1), 1)
    window = {"search_radius": (0, period), "patch_radius": 1}
    result = denoise(row[None], h=1e9, center="one", **window)[0]
    expected = oracle.box_filter(row[None, :, None], (0, period), oracle.mean)
    assert_close(result, expected[0, :, 0])


@pytest.mark.parametrize("method", LOCAL)
@given(strategies.float_images(), st.data())
def test_local_filters_commute_with_flips_and_transposes(method, image, data):
    flip = tuple(data.draw(st.sets(st.integers(0, image.ndim - 1))))
    axes = data.draw(st.permutations(range(image.ndim)))

    def turned(array):
        return np.flip(array, flip).transpose(axes)

    result = denoise(turned(image)[None], method=method, channel_axis=0)[0]
    assert_close(result, turned(denoise(image, method=method)))


@pytest.mark.parametrize("method", LOCAL)
@given(strategies.images(), st.integers(0, 4))
def test_local_filters_stay_within_the_range(method, image, size):
    options = {"std": size / 2} if method == "gaussian" else {"radius": size}
    result = denoise(image, method=method, **options)
    rounding = 1e-4 if image.dtype.kind == "f" else 0
    assert result.min() >= image.min() - rounding
    assert result.max() <= image.max() + rounding


@given(strategies.float_images(), st.integers(-20, 20))
def test_estimate_scales_with_the_image(image, exponent):
    factor = image.dtype.type(2.0**exponent)
    assert estimate_sigma(image * factor) == estimate_sigma(image) * float(factor)


@given(strategies.images(), st.integers(0, 2**32), st.floats(0, 50))
def test_noise_depends_on_the_seed_alone(image, seed, sigma):
    first = add_noise(image, sigma, rng=seed)
    assert first.dtype == image.dtype
    np.testing.assert_array_equal(first, add_noise(image, sigma, rng=np.random.default_rng(seed)))


@given(strategies.images(("uint8",)), st.data())
def test_errors_are_symmetric(image, data):
    other = data.draw(npst.arrays(np.uint8, image.shape, elements=strategies.GRAY_LEVELS))
    assert mse(image, other) == mse(other, image)
    assert psnr(image, other) == psnr(other, image)


@given(
    st.sampled_from(["uint8", "int16", "uint16"]),
    npst.arrays(np.float64, (7,), elements=st.floats(-1e6, 1e6)),
)
def test_from_float_takes_the_nearest_that_the_dtype_has(name, values):
    dtype = np.dtype(name)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    result = from_float(values, dtype)
    assert result.dtype == dtype
    for value, found in zip(values, result, strict=True):
        nearest = min(max(round(float(value)), low), high)  # halves to even, as NumPy does
        assert int(found) == nearest
