"""The door of the library: what comes in, what goes out, what is refused and in which words."""

import copy
import math
import pickle
import reprlib
from fractions import Fraction

import numpy as np
import pytest

import nlmeans
import oracle
from nlmeans import METHODS, NLMeansError, ParameterError, denoise
from nlmeans.rules import PLAIN_DEFAULT, offset_rule
from nlmeans.validation import DTYPES, check_work, check_workers

SMALL = {"patch_radius": 1, "search_radius": 2}
"""Radii that keep a test, and the set of kernels to compile, small."""


def noisy(shape=(9, 8), scale=1.0):
    """Values from about 40 to 210 in float64: blocks of two levels under noise."""
    rng = np.random.default_rng(math.prod(shape))
    levels = 90 + 60 * (np.indices(shape).sum(0) // 3 % 2)
    return scale * np.rint(levels + rng.normal(0, 15, shape))


def from_oracle(image, **settings):
    """The oracle on a gray image, with the small radii unless given."""
    radii = {
        name: (settings.pop(name, SMALL[name]),) * image.ndim
        for name in ("patch_radius", "search_radius")
    }
    return oracle.nl_means(image[..., None].astype(np.float64), **radii, **settings)[..., 0]


# What comes in and what goes out


@pytest.mark.parametrize("name", DTYPES)
def test_dtype_in_is_dtype_out(name):
    """Integers are the rounded result for float32; no dtype is rescaled."""
    image = noisy().astype(name)
    result = denoise(image, h=30, **SMALL)
    assert result.dtype == image.dtype
    expected = from_oracle(image, h=30.0)
    step = {"f": 1e-3, "u": 0.5005, "i": 0.5005}[image.dtype.kind]
    tolerance = 0.063 if name == "float16" else step  # half a step from 128 on is 0.0625
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=0, atol=tolerance)
    assert np.abs(expected - image).max() > 5


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("uint8", [0, 255]),
        ("int16", [-32768, 32767]),
        ("uint16", [0, 65535]),
        ("float16", [-65504, 65504]),
    ],
)
def test_ends_of_the_range_neither_wrap_nor_overflow(name, values):
    image = np.array([values] * 2, name)
    np.testing.assert_array_equal(denoise(image, h=1, **SMALL), image)
    mixed = denoise(image, h=1e9, patch_radius=1, search_radius=1).astype(np.float64)
    low, high = np.array(values, np.float64)
    # Window of 3 in a reflected pair: the left pixel is met once and the right one twice.
    expected = [(low + 2 * high) / 3, (2 * low + high) / 3]
    np.testing.assert_allclose(mixed[0], expected, rtol=1e-3, atol=0.51)


def test_integers_are_rounded_not_cut():
    """0 and 1 in equal parts, weighted alike, with two thirds of ones in reach: 0.67 is 1."""
    image = np.array([[0, 1]] * 2, np.uint8)
    np.testing.assert_array_equal(denoise(image, h=1e6, patch_radius=1, search_radius=1), 1 - image)


@pytest.mark.parametrize("name", ["uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("h", [0, 30])
def test_byte_order_in_is_free_and_out_is_native(name, h):
    image = noisy().astype(name)
    swapped = image.astype(image.dtype.newbyteorder())
    result = denoise(swapped, h=h, **SMALL)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, denoise(image, h=h, **SMALL))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "every second": lambda x: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
    "reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "column of an RGB image": lambda x: np.stack([x, x + 1, x + 2], -1)[..., 0],
    "record field": lambda x: _record_field(x),
    "nested lists of floats": lambda x: x.astype(float).tolist(),
}


def _record_field(x):
    records = np.zeros(x.shape, [("pad", np.uint8), ("value", x.dtype)])
    records["value"] = x
    return records["value"]


@pytest.mark.parametrize("method", ["nlm", "median"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout, method):
    image = noisy()
    options = {"h": 30, **SMALL} if method == "nlm" else {}
    laid_out = LAYOUTS[layout](image)
    np.testing.assert_array_equal(
        denoise(laid_out, method=method, **options), denoise(image, method=method, **options)
    )


def test_broadcast_image_without_memory_of_its_own():
    """A zero stride: every row is the same memory."""
    image = np.broadcast_to(noisy((1, 8)), (5, 8))
    np.testing.assert_array_equal(
        denoise(image, h=30, **SMALL), denoise(image.copy(), h=30, **SMALL)
    )


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("nlm", {}),
        ("nlm", {"h": 0}),
        ("nlm", {"h": 0, "engine": "reference"}),
        ("nlm", {"h": 20, **SMALL}),
        ("opencv", {"h": 20}),
        ("mean", {"radius": 0}),
        ("median", {}),
        ("gaussian", {"std": 0}),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_image_is_read_only_to_us(dtype, method, options):
    """A read-only image is fine; a writable one is neither written to nor shared."""
    image = noisy((15, 14)).astype("uint8" if method == "opencv" else dtype)
    before = image.copy()
    result = denoise(image, method=method, **options)
    assert not np.shares_memory(result, image)
    assert result.flags.writeable
    np.testing.assert_array_equal(image, before)
    image.flags.writeable = False
    np.testing.assert_array_equal(denoise(image, method=method, **options), result)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "radius"),
    [
        *((shape, 3) for shape in ((1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (2, 2), (3, 5))),
        *((shape, 2) for shape in ((1, 1, 1), (2, 1, 2))),
        ((2, 1, 1, 2), 1),
    ],
)
def test_window_larger_than_the_image(shape, radius, dtype):
    image = noisy(shape).astype(dtype)
    result = denoise(image, h=40, patch_radius=1, search_radius=radius)
    expected = from_oracle(image, h=40.0, search_radius=radius)
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.5005 if dtype == np.uint8 else 1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("method", ["nlm", "gaussian"])
def test_channel_axis_in_any_place(axis, method):
    image = noisy((6, 7, 5))
    options = {"h": 30, **SMALL} if method == "nlm" else {}
    expected = denoise(image, method=method, channel_axis=-1, **options)
    moved = np.moveaxis(image, -1, axis)
    result = denoise(moved, method=method, channel_axis=axis, **options)
    np.testing.assert_array_equal(result, np.moveaxis(expected, -1, axis))


def test_channels_share_their_weights():
    """The distance is the mean over the channels; the oracle has it too."""
    image = noisy((5, 6, 3))
    expected = oracle.nl_means(image, h=30.0, patch_radius=(1, 1), search_radius=(2, 2))
    result = denoise(image, h=30, channel_axis=2, **SMALL)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)


def test_one_channel_is_a_gray_image():
    image = noisy()
    result = denoise(image[None], h=30, channel_axis=0, **SMALL)
    np.testing.assert_array_equal(result[0], denoise(image, h=30, **SMALL))


@pytest.mark.parametrize("last", [3, 4])
@pytest.mark.parametrize("method", METHODS)
def test_last_axis_that_looks_like_colors_is_refused(method, last):
    image = np.zeros((12, 12, last), np.uint8)
    with pytest.raises(ParameterError, match=r"^channel_axis must be given .*channel_axis=-1"):
        denoise(image, method=method)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 2, 5), (4, 3, 2), (8, 3), (8, 4)])
def test_other_axes_of_three_are_space(shape):
    image = noisy(shape)
    result = denoise(image, h=30, patch_radius=1, search_radius=1)
    expected = from_oracle(image, h=30.0, search_radius=1)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)


# Units


@pytest.mark.parametrize("exponent", [-66, -20, 10, 66])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"h": 30.0}, {"h": 20.0, "sigma": 10.0}])
def test_scaled_by_a_power_of_two_bit_for_bit(options, dtype, exponent):
    """From 1e-20 to 1e20 nothing overflows or vanishes, and no digit is lost."""
    image, factor = noisy().astype(dtype), 2.0**exponent
    scaled = {name: value * factor for name, value in options.items()}
    result = denoise(image * dtype(factor), **scaled, **SMALL)
    np.testing.assert_array_equal(result, denoise(image, **options, **SMALL) * dtype(factor))


@pytest.mark.parametrize("level", [1e6, -1e6])
def test_float64_on_a_huge_offset_keeps_its_small_contrast(level):
    image = noisy(scale=1e-3)
    result = denoise(image + level, h=0.03, **SMALL)
    np.testing.assert_allclose(result - level, from_oracle(image, h=0.03), rtol=0, atol=1e-6)


def test_estimate_follows_the_units():
    """Without h and sigma, everything scales with the image."""
    image = noisy((24, 24))
    result, info = denoise(image, return_info=True)
    scaled, scaled_info = denoise(image * 1024, return_info=True)
    assert scaled_info.estimated_sigma == pytest.approx(1024 * info.estimated_sigma, rel=1e-12)
    np.testing.assert_allclose(scaled, 1024 * result, rtol=1e-6)


# Settings


@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize(
    "options",
    [{"h": 0}, {"sigma": 0}, {"h": 0.0, "sigma": 25.0}, {"h": 0, "center": "zero"}],
    ids=str,
)
@pytest.mark.parametrize("name", DTYPES)
def test_nothing_to_do_returns_the_image_exactly(name, options, engine):
    image = noisy().astype(name)
    image[0, 0] = 1
    result = denoise(image, engine=engine, **options)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("h", [1e-3, 1e-20, 1e-36, 1e-40, 1e-100])
def test_vanishing_h_returns_the_image_exactly(h, dtype, engine):
    image = noisy().astype(dtype)
    np.testing.assert_array_equal(denoise(image, h=h, engine=engine, **SMALL), image)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        *({"h": h} for h in (1e30, 1e39, 1e100)),
        *({"h": h, "sigma": sigma} for h, sigma in ((1.0, 1e30), (1e-30, 1e3), (1.0, 1e100))),
    ],
    ids=str,
)
def test_boundless_h_or_sigma_is_the_mean_of_the_window(options, dtype, engine):
    image = noisy().astype(dtype)
    expected = oracle.box_filter(image[..., None], (2, 2), oracle.mean)[..., 0]
    result = denoise(image, center="one", engine=engine, **options, **SMALL)
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.5005 if dtype == np.uint8 else 1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("h", [1e-3, 0.3, 1.0, 1e3])
def test_values_near_the_end_of_a_float(dtype, h):
    """Finite pixels come out finite, and unchanged where h is nothing beside their contrast."""
    big = float(np.finfo(dtype).max) / 512
    image = (noisy() * big).astype(dtype)
    image += np.arange(72, dtype=dtype).reshape(9, 8) * dtype(big)
    np.testing.assert_array_equal(denoise(image, h=h, **SMALL), image)


@pytest.mark.parametrize("space", [(4, 7, 6), (3, 2, 4, 5)], ids=["2-D + time", "3-D + time"])
def test_a_clip_with_time_as_its_first_axis(space):
    """Patches lie in one frame, windows reach over frames; radii are given for each axis."""
    clip = noisy(space)
    patch, search = (0, *(1,) * (len(space) - 1)), (1, *(2,) * (len(space) - 1))
    result = denoise(clip, h=30.0, patch_radius=patch, search_radius=search)
    radii = {"patch_radius": patch, "search_radius": search}
    expected = oracle.nl_means(clip[..., None], h=30.0, **radii)[..., 0]
    assert np.abs(expected - clip).max() > 5
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)


def test_h_alone_selects_the_plain_form():
    """OpenCV's sizes, so that equal h mean equal results."""
    result, info = denoise(noisy((3, 4)), h=25, return_info=True)
    assert (PLAIN_DEFAULT.patch_radius, PLAIN_DEFAULT.search_radius) == (3, 10)
    assert info.method == "nlm"
    assert info.estimated_sigma is None
    assert info.settings == {
        "h": 25.0,
        "sigma": 0.0,
        "patch_radius": 3,
        "search_radius": 10,
        "patch_kernel": "flat",
        "center": "one",
        "preset": "fast",
        "engine": "numba",
        "device": None,
    }
    expected = from_oracle(noisy((3, 4)), h=25.0, patch_radius=3, search_radius=10)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("given", [{}, {"h": 12.0}, {"center": "one"}, {"search_radius": 3}])
def test_sigma_selects_the_offset_form(given):
    """What is not given comes from the rule; the result is the oracle's for those settings."""
    image, sigma = noisy((4, 5)), 15.0
    result, info = denoise(image, sigma=sigma, return_info=True, **given)
    rule = offset_rule(sigma, image[..., None], patchwise=True)
    settings = {
        "h": rule.h_over_sigma * sigma,
        "sigma": sigma,
        "patch_radius": rule.patch_radius,
        "search_radius": rule.search_radius,
        "patch_kernel": "flat",
        "center": "max",
        "preset": "balanced",
        "engine": "numba",
        "device": None,
        **given,
    }
    assert info.settings == settings
    assert info.estimated_sigma is None
    del settings["engine"], settings["device"], settings["preset"]
    expected = from_oracle(image, patchwise=True, **settings)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)


def luma_and_chroma(image):
    """What RGB patches are compared by, written out; D of white noise stays 2 sigma^2."""
    if image.shape[-1] != 3:
        return image
    r, g, b = np.moveaxis(image, -1, 0)
    luma, red_blue, green = (r + g + b) / 3**0.5, (r - b) / 2**0.5, (r - 2 * g + b) / 6**0.5
    scale = (3 / (1 + 0.4**2 + 0.4**2)) ** 0.5
    return scale * np.stack([luma, 0.4 * red_blue, 0.4 * green], -1)


@pytest.mark.parametrize("engine", ["numba", "reference"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_best_is_two_passes(channels, engine):
    """The oracle twice: the second time by what the first made of the patches, small and strict."""
    tilt = np.arange(7.0)
    image = np.stack([noisy((6, 7)) + 3 * k * tilt for k in range(channels)], -1)
    sigma, search = 15.0, (2, 2)
    run = {"sigma": sigma, "preset": "best", "search_radius": 2, "engine": engine}
    result = denoise(image, channel_axis=-1, patch_radius=2, **run)
    rule = offset_rule(sigma, image, patchwise=True)
    first = oracle.nl_means(
        image, guide=luma_and_chroma(image), h=rule.h_over_sigma * sigma, sigma=sigma,
        patch_radius=(2, 2), center="max", search_radius=search, patchwise=True,
    )  # fmt: skip
    radius, part = {1: ((1, 1), 0.25), 2: ((0, 0), 0.4), 3: ((0, 0), 0.45)}[channels]
    mixed, guide = first + 0.7 * (image - first), luma_and_chroma(first)
    expected = oracle.nl_means(
        mixed, guide=guide, h=part * sigma, patch_radius=radius, center="max",
        search_radius=search, patchwise=True,
    )  # fmt: skip
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)
    assert np.abs(expected - first).max() > 0.3
    flat = denoise(image, channel_axis=-1, patch_radius=(0, 2), **run)
    assert np.isfinite(flat).all()
    assert np.abs(flat - result).max() > 0.01


@pytest.mark.parametrize(
    ("preset", "least"), [("fast", 29.31), ("balanced", 29.66), ("best", 29.97)]
)
def test_presets_get_better(preset, least, camera):
    """A tenth of a dB below what was seen, for white noise of 25 on a part of a photograph."""
    clean = camera[100:356, 100:356].astype(np.float32)
    result = denoise(nlmeans.add_noise(clean, 25, rng=0), sigma=25, preset=preset)
    assert nlmeans.psnr(clean, result, data_range=255) > least


def test_best_needs_sigma():
    with pytest.raises(ParameterError, match=r"^preset must go with sigma, not h alone"):
        denoise(noisy(), h=10, preset="best")


def test_without_h_and_sigma_sigma_is_estimated():
    image = noisy((24, 25))
    result, info = denoise(image, return_info=True)
    assert info.estimated_sigma == nlmeans.estimate_sigma(image) > 5
    assert info.settings["sigma"] == info.estimated_sigma
    np.testing.assert_array_equal(result, denoise(image, sigma=info.estimated_sigma))


def test_info_can_be_given_back():
    """The settings of a run, passed as options, repeat it."""
    image = noisy((24, 25))
    result, info = denoise(image, return_info=True)
    repeated, again = denoise(image, method=info.method, return_info=True, **info.settings)
    assert again.settings == info.settings
    assert again.estimated_sigma is None
    np.testing.assert_array_equal(repeated, result)


def test_options_reach_the_method():
    """Each option changes the result, and to what the oracle says."""
    image = noisy((5, 6))
    base = {"h": 15.0, "sigma": 5.0, **SMALL}
    seen = [denoise(image, **base)]
    for change in (
        {"h": 40.0},
        {"sigma": 20.0},
        {"patch_radius": 0},
        {"search_radius": 1},
        {"patch_kernel": "gaussian"},
        {"center": "one"},
        {"center": "zero"},
    ):
        options = {"center": "max"} | base | change
        result = denoise(image, **options)
        expected = from_oracle(image, patchwise=True, **options)
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-3)
        assert all(np.abs(result - other).max() > 0.01 for other in seen)
        seen.append(result)


@pytest.mark.parametrize("radius", [(0, 1), [0, 1], np.array([0, 1]), (np.int64(0), np.uint8(1))])
def test_radius_per_axis(radius):
    image = noisy()
    expected = oracle.nl_means(image[..., None], h=30.0, patch_radius=(0, 1), search_radius=(0, 1))
    result = denoise(image, h=30, patch_radius=radius, search_radius=radius)
    np.testing.assert_allclose(result, expected[..., 0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("number", [np.float32(30), np.int8(30), Fraction(30)], ids=repr)
def test_any_real_number_is_a_number(number):
    np.testing.assert_array_equal(
        denoise(noisy(), h=number, **SMALL), denoise(noisy(), h=30.0, **SMALL)
    )


@pytest.mark.parametrize(
    ("sigma", "channels", "expected"),
    [
        (0.0, 1, (1, 10, 0.5)),
        (7.0, 1, (1, 10, 0.5)),
        (7.1, 1, (1, 10, 0.7)),
        (25.0, 1, (2, 10, 0.65)),
        (45.0, 1, (3, 10, 0.5)),
        (50.0, 1, (4, 10, 0.5)),
        (80.0, 1, (5, 10, 0.5)),
        (7.1, 2, (1, 10, 0.6)),
        (50.0, 4, (2, 10, 0.5)),
        (42.0, 3, (1, 10, 0.8)),
        (50.0, 3, (2, 10, 0.65)),
        (55.1, 2, (3, 10, 0.4)),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 1 / 255, 257.0])
def test_rule_for_a_photograph_of_usual_contrast(sigma, channels, expected, unit):
    """Two levels 50 above and below their mean, and as much more as the noise adds, in any unit."""
    spread = unit * math.hypot(50, sigma)
    checks = np.indices((8, 8)).sum(0) % 2
    image = np.repeat((128 * unit + spread * (2 * checks - 1))[..., None], channels, -1)
    assert offset_rule(unit * sigma * (1 - 1e-9), image) == expected


def test_rule_where_there_is_nothing_but_noise():
    """A constant image, or one with less contrast than the noise alone has, calls for the most."""
    assert offset_rule(5.0, np.full((8, 8, 1), 7.0)).patch_radius == 5
    assert offset_rule(0.0, np.full((8, 8, 1), 7.0)).patch_radius == 1


@pytest.mark.parametrize(("preset", "h"), [("fast", 7.0), ("balanced", 6.0)])
def test_volumes_have_a_rule_of_their_own(rng, preset, h):
    """3x3x3 patches and 11x11x11 windows, whatever sigma: those of images took 40 times as long."""
    volume = rng.normal(100, 10, (4, 5, 6))
    _, info = denoise(volume, sigma=10, preset=preset, return_info=True)
    found = [info.settings[name] for name in ("patch_radius", "search_radius", "h")]
    assert found == pytest.approx([1, 5, h])


def test_rule_of_a_large_image_is_that_of_a_sample():
    """Beyond a million pixels the contrast comes from every second, third, ... of them."""
    photo = np.random.default_rng(0).normal(128, math.hypot(50, 25), (1500, 1500, 1))
    assert offset_rule(25.0, photo.astype(np.float32)) == (2, 10, 0.65)


# Bad input

IMAGE = noisy()
NAN, INF = float("nan"), float("inf")


def _with(*values):
    """The image with some pixels replaced."""
    image = IMAGE.copy()
    image.ravel()[: len(values)] = values
    return image


BAD_NUMBERS = [-1, -0.001, NAN, INF, -INF, "10", "", True, 1j, [5], {}, 10**400]

BAD_OPTIONS = [
    *(("h", value, "must be a finite number, at least 0") for value in BAD_NUMBERS),
    *(
        ("sigma", value, "must be a finite number, at least 0")
        for value in BAD_NUMBERS
        if np.ndim(value) == 0
    ),
    ("sigma", [5], "must be one number, one for each channel, or a map of shape (9, 8)"),
    *(
        (name, value, "must be an integer, at least 0")
        for name in ("patch_radius", "search_radius")
        for value in (-1, 1.0, 2.5, "3", NAN, True, {}, (1, -1), (1, None), [0.5, 1])
    ),
    *(
        (name, value, "must be one integer or one for each of 2 axes")
        for name in ("patch_radius", "search_radius")
        for value in ((1,), (1, 1, 1), (), [])
    ),
    ("patch_radius", np.array(-1), "must be"),
    ("patch_radius", np.ones((2, 2), int), "must be"),
    ("h", np.ones((4, 4)), "must be a finite number, at least 0"),
    ("patch_radius", 51, "must be at most 50"),
    ("patch_radius", 10**200, "must be at most 50"),
    *(("search_radius", value, "is too large") for value in (10**7, 10**20, 10**200)),
    ("patch_kernel", "box", "must be one of flat, gaussian"),
    ("patch_kernel", 3, "must be one of flat, gaussian"),
    ("center", "none", "must be one of one, max, zero"),
    ("center", 1, "must be one of one, max, zero"),
    ("engine", "cuda", "must be one of numba, reference"),
    ("engine", ["numba"], "must be one of numba, reference"),
    ("method", "bm3d", "must be one of nlm, ridge, learned, learned-nlm, opencv, mean"),
    ("method", None, "must be one of nlm"),
    ("method", ["nlm"], "must be one of nlm"),
    *(
        ("workers", value, "must be an integer, at least 1")
        for value in (0, -2, 1.5, "2", NAN, True)
    ),
    *(("channel_axis", value, "must be an integer, at least -2") for value in ("x", 0.0, True, -3)),
    *(("channel_axis", value, "must be an axis of image") for value in (2, 10**30)),
    ("image", [[1.0, 2.0], [3.0]], "must"),
    ("image", None, "must have a dtype of uint8"),
    ("image", "picture.png", "must have a dtype of uint8"),
    ("image", b"\x00\x01", "must have a dtype of uint8"),
    *(
        ("image", np.ones((4, 4), dtype), "must have a dtype of uint8")
        for dtype in ("c8", "c16", "O", "?", "i1", "i4", "u4", "i8", "u8", "U3", "M8[s]", "m8[s]")
    ),
    ("image", np.ones((4, 4), [("r", "u1")]), "must have a dtype of uint8"),
    *(("image", np.ones(shape), "must have at least two axes") for shape in ((), (5,), (1,))),
    *(("image", np.ones(shape), "must not be empty") for shape in ((0, 5), (5, 0), (3, 0, 3))),
    ("image", np.ones((2,) * 5), "must have two to four axes"),
    *(
        ("image", _with(value), "must not hold NaN or infinite values")
        for value in (NAN, INF, -INF)
    ),
]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        pytest.param(*row, id=f"{row[0]}-{' '.join(reprlib.repr(row[1]).split())}")
        for row in BAD_OPTIONS
    ],
)
def test_bad_input_is_refused_by_name_and_rule(name, value, rule):
    arguments = {"image": IMAGE, "h": 10} | ({"h": None} if name == "sigma" else {})
    with pytest.raises(ParameterError) as caught:
        denoise(**(arguments | {name: value}))
    assert str(caught.value).startswith(f"{name} {rule}")
    assert caught.value.name == name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["c16", "O", "?", "i8", "f16"])
@pytest.mark.parametrize("method", METHODS)
def test_dtypes_refused_by_every_method(method, name):
    if name == "f16" and np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("long double is float64 here")
    with pytest.raises(ParameterError, match=r"^image must have a dtype of"):
        denoise(np.ones((12, 12), np.longdouble if name == "f16" else name), method=method)


@pytest.mark.parametrize(
    ("dtype", "hint"), [("?", "mask has no noise"), ("i8", "convert wider integers to float64")]
)
def test_refused_dtypes_come_with_a_way_out(dtype, hint):
    with pytest.raises(ParameterError, match=hint):
        denoise(np.ones((4, 4), dtype), h=1)


@pytest.mark.parametrize(
    ("values", "count"), [((NAN,), 1), ((INF, -INF, NAN), 3), ((NAN,) * 72, 72)]
)
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("h", [0, 10])
def test_pixels_that_are_no_numbers_are_counted(h, dtype, values, count):
    with pytest.raises(ParameterError, match=rf"\({count} found\)"):
        denoise(_with(*values).astype(dtype), h=h)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("nlm", {"radius": 1}),
        ("nlm", {"std": 1.0}),
        ("nlm", {"h_color": 3.0}),
        ("opencv", {"engine": "numba"}),
        ("opencv", {"patch_kernel": "flat"}),
        ("opencv", {"center": "one"}),
        ("opencv", {"std": 2.0}),
        ("mean", {"h": 10.0}),
        ("mean", {"sigma": 10.0}),
        ("median", {"std": 1.0}),
        ("median", {"search_radius": 1}),
        ("gaussian", {"radius": 1}),
        ("gaussian", {"patch_radius": 1}),
    ],
)
def test_options_of_other_methods_are_refused(method, options):
    (name,) = options
    with pytest.raises(ParameterError, match=rf"^{name} is not an option of method '{method}'"):
        denoise(IMAGE.astype(np.uint8), method=method, **options)


@pytest.mark.parametrize(
    ("method", "name", "value", "rule"),
    [
        *(("mean", "radius", v, "must be an integer, at least 0") for v in (-1, 1.5, "1")),
        *(("median", "radius", v, "must be an integer, at least 0") for v in (-1, True)),
        ("mean", "radius", 501, "must be at most 500"),
        ("median", "radius", 51, "must be at most 50"),
        *(
            (method, name, v, "must be a finite number, at least 0")
            for method, name in (("gaussian", "std"), ("opencv", "h"), ("opencv", "sigma"))
            for v in (-1, NAN, INF, "1")
        ),
        ("gaussian", "std", 501, "must be at most 500"),
        ("nlm", "h", 1e-101, "must be 0 or at least 1e-100"),
        ("nlm", "h", 1e101, "must be at most 1e+100"),
        ("nlm", "sigma", 1e101, "must be at most 1e+100"),
        ("opencv", "patch_radius", (1, 1), "must be an integer, at least 0"),
        ("opencv", "search_radius", -1, "must be an integer, at least 0"),
        ("opencv", "patch_radius", 51, "must be at most 50"),
        ("opencv", "search_radius", 10**9, "is too large"),
        ("opencv", "h_color", 5.0, "must not be given for a gray image"),
    ],
)
def test_bad_options_of_the_other_methods(method, name, value, rule):
    with pytest.raises(ParameterError) as caught:
        denoise(IMAGE.astype(np.uint8), method=method, **{name: value})
    assert str(caught.value).startswith(f"{name} {rule}")


def test_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="strength"):
        denoise(IMAGE, strength=3)


@pytest.mark.parametrize(
    ("space", "search", "patch", "message"),
    [
        ((4096, 4096), (1200, 1200), (3, 3), r"search_radius is too large: .* comparisons"),
        ((1, 40000), (10**6, 10), (3, 3), "search_radius is too large: .* GiB"),
        ((100, 100), (10, 10), (51, 0), "patch_radius must be at most 50"),
    ],
)
def test_work_that_would_take_hours_or_gigabytes(space, search, patch, message):
    with pytest.raises(ParameterError, match=message):
        check_work((*space, 1), search, patch)
    check_work((*space, 1), (10, 10), (3, 3))


def test_work_on_a_large_picture_is_not_refused():
    """A picture of 200 megapixels, which is large but in use, with a window of 21."""
    check_work((14000, 14000, 3), (10, 10), (3, 3))


def test_workers_default_to_the_processors(monkeypatch):
    import os

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert check_workers(None) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert check_workers(None) == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert check_workers(None) == 1


def test_parameter_error_is_a_value_error_and_survives_a_process():
    """Process pools pickle exceptions."""
    with pytest.raises(ValueError, match="h must be") as caught:
        denoise(IMAGE, h=-2)
    error = caught.value
    assert isinstance(error, ParameterError)
    assert isinstance(error, NLMeansError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is ParameterError
        assert str(twin) == str(error) == "h must be a finite number, at least 0 (got -2)"
        assert (twin.name, twin.rule, twin.got) == (error.name, error.rule, error.got)
    assert str(ParameterError("h", "must be given")) == "h must be given"
