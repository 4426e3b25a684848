"""Every method of the registry keeps the same promises, and is what its name says."""

from dataclasses import fields
from functools import partial

import cv2
import numpy as np
import pytest

import oracle
from nlmeans import METHODS, ParameterError, denoise
from nlmeans.rules import OPENCV_COLORED_H_OVER_SIGMA, OPENCV_H_OVER_SIGMA
from nlmeans.validation import DTYPES

OPTIONS = {
    "nlm": {"h": 30.0, "patch_radius": 1, "search_radius": 2},
    "ridge": {"sigma": 30.0, "search_radius": 2},
    "learned": {"sigma": 30.0},
    "learned-nlm": {"sigma": 30.0},
    "opencv": {"h": 30.0, "patch_radius": 1, "search_radius": 2},
    "mean": {"radius": 2},
    "median": {"radius": 1},
    "gaussian": {"std": 0.8},
}
"""Options for which every method does something; a new method needs a row here."""

CASES = [(method, dtype) for method in METHODS for dtype in METHODS[method].dtypes]
LOCAL = ["mean", "median", "gaussian"]


@pytest.fixture
def image(rng):
    """Noise of 8 bits, which no method leaves alone."""
    return rng.integers(0, 256, (16, 15), np.uint8)


def test_options_cover_the_registry():
    assert OPTIONS.keys() == METHODS.keys()


@pytest.mark.parametrize(("method", "dtype"), CASES)
def test_dtype_and_shape_are_kept(method, dtype, image):
    result = denoise(image.astype(dtype), method=method, **OPTIONS[method])
    assert result.dtype == dtype
    assert result.shape == image.shape
    assert np.abs(result.astype(np.float64) - image).max() > 1


@pytest.mark.parametrize("level", [0, 1, 7, 255])
@pytest.mark.parametrize(("method", "dtype"), CASES)
def test_constant_images_are_fixed_points(method, dtype, level):
    image = np.full((14, 13), level, dtype)
    result = denoise(image, method=method, **OPTIONS[method])
    np.testing.assert_allclose(result, image, rtol=1e-14 if dtype == "float64" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_constant_images_are_fixed_points_without_any_option(method):
    """An estimated sigma of 0 is nothing to stumble over."""
    image = np.full((14, 13), 7, np.uint8)
    np.testing.assert_array_equal(denoise(image, method=method), image)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2)])
@pytest.mark.parametrize("method", METHODS)
def test_tiny_images(method, shape):
    """Reflection goes on where the image is smaller than what the method looks at."""
    image = np.full(shape, 90, np.uint8)
    np.testing.assert_array_equal(denoise(image, method=method, **OPTIONS[method]), image)


@pytest.mark.parametrize("method", METHODS)
def test_progress_rises_to_one(method, image):
    rgb = np.stack([image, 255 - image, image], -1)
    for options in ({"image": image}, {"image": rgb, "channel_axis": -1}):
        seen = []
        denoise(**options, method=method, progress=seen.append, **OPTIONS[method])
        assert seen[-1:] == [1.0]
        assert seen == sorted(seen)


@pytest.mark.parametrize("options", [{"h": 0}, {"h": 5, "engine": "reference"}], ids=str)
def test_progress_is_reported_whatever_computes_it(options, image):
    """A progress bar must not stay at 0 when nothing is to be done or another engine does it."""
    seen = []
    denoise(image, patch_radius=1, search_radius=1, progress=seen.append, **options)
    assert seen[-1:] == [1.0]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_number_of_workers_does_not_change_the_result(method, workers, image):
    run = partial(denoise, image, method=method, **OPTIONS[method])
    np.testing.assert_array_equal(run(workers=workers), run())


@pytest.mark.parametrize("method", METHODS)
def test_halo_is_how_far_a_pixel_depends_on_the_image(method):
    """Nothing beyond the halo of the middle pixel changes it; the columns at its edge do.

    Whether a pixel at the edge of ridge's, which is a chain of four windows, matters depends on
    which patches are similar. What the trained network sees from 70 pixels on is less than float32
    tells apart (`test_learned_training` has its whole reach, for weights by lot).
    """
    middle = {"ridge": 50, "learned": 170}.get(method, 20)
    distance = np.abs(np.arange(2 * middle + 1) - middle)
    # Of the trained networks, that for RGB sees farthest.
    shape = (9, len(distance), 3 if method == "learned" else 1)
    picture = np.random.default_rng(5).integers(60, 120, shape, np.uint8)
    denoiser = METHODS[method](**OPTIONS[method]).settled(picture)
    reach = denoiser.halo(2)[1]
    assert 1 <= reach < middle - 1

    def result(columns, rise):
        changed = picture.copy()
        changed[:, columns] += np.uint8(rise)
        return float(denoiser(changed)[4, middle, 0])

    before = result(distance < 0, 0)
    for rise in (20, 60, 130):
        assert result(distance > reach, rise) == before
    chained = {"ridge": reach // 2, "learned": reach // 3}
    edge = distance >= chained[method] if method in chained else distance == reach
    assert any(result(edge, rise) != before for rise in (20, 60, 130))


# The local filters


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("mean", {}, lambda x: oracle.box_filter(x, (1, 1), oracle.mean)),
        ("mean", {"radius": 0}, lambda x: x),
        ("mean", {"radius": 3}, lambda x: oracle.box_filter(x, (3, 3), oracle.mean)),
        ("median", {}, lambda x: oracle.box_filter(x, (1, 1), oracle.median)),
        ("median", {"radius": 3}, lambda x: oracle.box_filter(x, (3, 3), oracle.median)),
        ("gaussian", {}, lambda x: oracle.gaussian_filter(x, 1.0)),
        ("gaussian", {"std": 0.0}, lambda x: x),
        ("gaussian", {"std": 1.7}, lambda x: oracle.gaussian_filter(x, 1.7)),
    ],
)
def test_local_filters_match_the_oracle(method, options, expected, dtype, image):
    """Sizes, the border rule and the cut at 4 std; the image is smaller than some windows."""
    image = image[:6, :5].astype(dtype)
    result = denoise(image, method=method, **options).astype(np.float64)
    tolerance = {"float16": 0.063, "float32": 1e-4, "float64": 1e-11}.get(dtype, 0.5005)
    np.testing.assert_allclose(
        result, expected(image[..., None].astype(np.float64))[..., 0], rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("method", LOCAL)
def test_local_filters_of_volumes_and_channels(method, rng):
    volume = rng.uniform(0, 255, (3, 4, 5, 2))
    result = denoise(volume, method=method, channel_axis=-1, **OPTIONS[method])
    expected = {
        "mean": lambda: oracle.box_filter(volume, (2, 2, 2), oracle.mean),
        "median": lambda: oracle.box_filter(volume, (1, 1, 1), oracle.median),
        "gaussian": lambda: oracle.gaussian_filter(volume, 0.8),
    }[method]()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("method", LOCAL)
def test_local_filters_keep_a_small_contrast_on_a_huge_offset(method, order, rng):
    image = rng.uniform(0, 1e-3, (6, 5))
    run = partial(denoise, method=method, **OPTIONS[method])
    shifted = run((image + 1e6).astype(f"{order}f8"))
    np.testing.assert_allclose(shifted - 1e6, run(image), rtol=0, atol=1e-8)


# OpenCV


@pytest.mark.parametrize(
    ("options", "direct"),
    [
        ({"h": 12.5}, (12.5, 7, 21)),
        ({"sigma": 20.0}, (20.0 * OPENCV_H_OVER_SIGMA, 7, 21)),
        ({"h": 9, "sigma": 20.0}, (9.0, 7, 21)),
        ({"h": 30, "patch_radius": 1, "search_radius": 4}, (30.0, 3, 9)),
        ({"h": 30, "patch_radius": 0, "search_radius": 0}, (30.0, 1, 1)),
    ],
)
@pytest.mark.parametrize("layout", ["as is", "not contiguous"])
def test_opencv_on_gray_is_opencv(layout, options, direct, camera):
    crop = camera[80:120, 180:230]
    expected = cv2.fastNlMeansDenoising(np.ascontiguousarray(crop), None, *direct)
    image = crop if layout == "not contiguous" else np.ascontiguousarray(crop)
    np.testing.assert_array_equal(denoise(image, method="opencv", **options), expected)


@pytest.mark.parametrize(
    ("options", "direct"),
    [
        ({"h": 12.5}, (12.5, 12.5, 7, 21)),
        ({"h": 6, "h_color": 15}, (6, 15, 7, 21)),
        ({"sigma": 20.0}, (*(20.0 * ratio for ratio in OPENCV_COLORED_H_OVER_SIGMA), 7, 21)),
        ({"h": 20, "patch_radius": 2, "search_radius": 3}, (20, 20, 5, 7)),
    ],
)
@pytest.mark.parametrize("axis", [-1, 0])
def test_opencv_on_rgb_is_opencv_on_bgr(axis, options, direct, astronaut):
    crop = astronaut[100:140, 200:230]
    bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    expected = cv2.cvtColor(cv2.fastNlMeansDenoisingColored(bgr, None, *direct), cv2.COLOR_BGR2RGB)
    image = np.moveaxis(crop, -1, axis)
    result = denoise(image, method="opencv", channel_axis=axis, **options)
    np.testing.assert_array_equal(np.moveaxis(result, axis, -1), expected)


def test_opencv_records_what_it_was_given(image):
    _, info = denoise(image, method="opencv", sigma=20, return_info=True)
    assert info.settings == {
        "h": 20.0 * OPENCV_H_OVER_SIGMA,
        "sigma": 20,
        "h_color": None,
        "patch_radius": 3,
        "search_radius": 10,
    }
    rgb = np.stack([image] * 3, -1)
    _, info = denoise(rgb, method="opencv", h=5, channel_axis=2, return_info=True)
    assert info.settings["h_color"] == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_opencv_gets_its_number_of_threads_back(workers, image):
    before = cv2.getNumThreads()
    denoise(image, method="opencv", h=5, workers=workers)
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize(
    ("shape", "dtype", "axis", "message"),
    [
        ((14, 14), np.uint16, None, r"^image must have a dtype of uint8 for method 'opencv'"),
        ((14, 14), np.float32, None, r"^image must have a dtype of uint8 for method 'opencv'"),
        ((14, 14, 2), np.uint8, -1, r"^method 'opencv' .*not 2 channels on 2 axes; 'nlm'"),
        ((14, 14, 4), np.uint8, -1, r"^method 'opencv' .*not 4 channels on 2 axes; 'nlm'"),
        ((14, 14, 5), np.uint8, None, r"^method 'opencv' .*not 1 channels on 3 axes; 'nlm'"),
        ((5, 14, 14, 3), np.uint8, -1, r"^method 'opencv' .*not 3 channels on 3 axes; 'nlm'"),
    ],
)
def test_opencv_says_its_limits(shape, dtype, axis, message):
    with pytest.raises(ParameterError, match=message):
        denoise(np.zeros(shape, dtype), method="opencv", h=5, channel_axis=axis)


# The registry


@pytest.mark.parametrize("method", METHODS)
def test_methods_describe_themselves(method):
    """Made without options, with a line for tables; each option is one of `denoise`."""
    import inspect

    chosen = METHODS[method]
    denoiser = chosen()
    assert 10 < len(chosen.summary) < 80
    assert "\n" not in chosen.summary
    assert set(chosen.dtypes) <= set(DTYPES)
    options = {field.name for field in fields(denoiser) if field.init}
    assert options <= set(inspect.signature(denoise).parameters)
    assert denoiser.needs_sigma == ("sigma" in options)
