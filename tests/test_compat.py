"""The drop-in functions against the tools they stand in for, call by call."""

import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
from skimage import restoration

from nlmeans import ParameterError, compat

# --- OpenCV ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """OpenCV's threads are global."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def noisy(image, sigma=20, seed=7):
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def gray(camera):
    return noisy(camera[90:140, 200:248])


@pytest.fixture(scope="module")
def bgr(astronaut):
    return noisy(astronaut[100:140, 205:249, ::-1])


@pytest.fixture(scope="module")
def bgra(bgr, gray):
    return np.dstack([bgr, gray[:40, :44]])


@pytest.fixture(scope="module")
def clip(camera):
    """Five frames that move."""
    return [noisy(camera[90 + k : 120 + k, 200 - k : 232 - k], seed=k) for k in range(5)]


@pytest.fixture(scope="module")
def color_clip(astronaut):
    return [noisy(astronaut[100 + k : 124 + k, 205:235, ::-1], seed=k) for k in range(3)]


def both(name, *args, **options):
    """Result of ours and of OpenCV's function, of the same kind."""
    ours = getattr(compat, name)(*args, **options)
    theirs = getattr(cv2, name)(*args, **options)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    return ours, theirs


def assert_close(ours, theirs, equal, most=1):
    """At least a share of equal values, none more than `most` levels apart."""
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.max() <= most
    assert (apart == 0).mean() >= equal


def table(h, n, channels, members):
    """OpenCV's f of S >> b, as the text of nlmeans.compat.opencv has it, and b."""
    b = math.ceil(math.log2(n))
    one = (2**31 - 1) // (255 * members)
    distance = np.arange(255**2 * channels * n // 2**b + 1) * 2**b / n
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.exp(-distance / (float(h) ** 2 * channels))
    f[0] = 1
    entries = np.rint(one * f).astype(np.int64)
    return np.where(entries < one / 1000, 0, entries), b


def by_table(clip, index, temporal, strengths, template, search):
    """OpenCV's integers: clip (frame, y, x, channel), one h for all channels or for each."""
    r, s, t = template // 2, search // 2, temporal // 2
    _, height, width, channels = clip.shape
    frames = np.pad(
        clip[index - t : index + t + 1].astype(np.int64),
        ((0, 0), (r + s, r + s), (r + s, r + s), (0, 0)),
        mode="reflect",
    )
    members, n = temporal * (2 * s + 1) ** 2, (2 * r + 1) ** 2
    tables = [table(h, n, channels, members) for h in strengths]
    here = frames[t, s : s + height + 2 * r, s : s + width + 2 * r]
    numerator = np.zeros((height, width, channels), np.int64)
    denominator = np.zeros((height, width, len(strengths)), np.int64)
    for frame in frames:
        for dy, dx in np.ndindex(2 * s + 1, 2 * s + 1):
            there = frame[dy : dy + height + 2 * r, dx : dx + width + 2 * r]
            squares = ((here - there) ** 2).sum(-1)
            patches = np.lib.stride_tricks.sliding_window_view(squares, (2 * r + 1, 2 * r + 1))
            f = np.stack([entries[patches.sum((2, 3)) >> b] for entries, b in tables], -1)
            numerator += f * there[r : r + height, r : r + width]
            denominator += f
    return (numerator + denominator // 2) // denominator


@pytest.mark.parametrize(("template", "search"), [(7, 21), (3, 5), (1, 9)])
@pytest.mark.parametrize("h", [0, 1, 3, 20])
def test_what_opencv_is_said_to_do(h, template, search, camera):
    """The text of nlmeans.compat.opencv, in integers, is OpenCV bit for bit."""
    for image in (camera[90:112, 200:224], noisy(camera[90:112, 200:224])):
        expected = by_table(image[np.newaxis, ..., np.newaxis], 0, 1, [h], template, search)
        found = cv2.fastNlMeansDenoising(image, None, h, template, search)
        np.testing.assert_array_equal(found, expected[..., 0])


def test_what_opencv_is_said_to_do_with_channels_and_frames(color_clip):
    found = cv2.fastNlMeansDenoisingMulti(color_clip, 1, 3, [20.0, 30.0, 40.0], None, 5, 7)
    expected = by_table(np.stack(color_clip), 1, 3, [20, 30, 40], 5, 7)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("h", [0, 0.3, 1, 3, 10, 20, 50])
@pytest.mark.parametrize("noise", [0, 20])
def test_gray(h, noise, camera):
    image = noisy(camera[90:140, 200:248], noise)
    ours, theirs = both("fastNlMeansDenoising", image, None, h)
    assert_close(ours, theirs, equal=1 if h < 0.4 else 0.99)


@pytest.mark.parametrize("h", [0, 0.1])
@pytest.mark.parametrize(("level", "kept"), [(3, False), (4, True)])
def test_patches_that_count_as_equal(level, kept, h):
    """A pixel of 4 makes S = 16 in patches of 9, shifted by 4 bits; of 3, S = 9, which is 0."""
    image = np.zeros((15, 15), np.uint8)
    image[7, 7] = level
    ours, theirs = both("fastNlMeansDenoising", image, None, h, 3, 9)
    assert theirs[7, 7] == (level if kept else 0)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("f", "counts"), [(0.00101, False), (0.00103, True)])
def test_smallest_weight(f, counts):
    """Of M f = 19096 f, 19.3 is rounded to 19 and then to 0, and 19.7 to 20: one for 440 others."""
    image = np.zeros((21, 21), np.uint8)
    image[10, 10] = 100
    ours, theirs = both("fastNlMeansDenoising", image, None, 100 / math.sqrt(-math.log(f)), 1)
    assert (theirs[10, 10] < 100) == counts
    assert_close(ours, theirs, equal=0.99)


@pytest.mark.parametrize(
    ("template", "search"), [(3, 21), (6, 20), (5, 11), (1, 9), (0, 9), (9, 27), (7, 1), (7, 0)]
)
def test_sizes_of_windows(template, search, gray):
    ours, theirs = both("fastNlMeansDenoising", gray, None, 15, template, search)
    assert_close(ours, theirs, equal=0.99)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (3, 5)])
def test_small_images(shape, gray):
    """Borders are reflected as often as the windows reach beyond them."""
    ours, theirs = both("fastNlMeansDenoising", gray[: shape[0], : shape[1]], None, 40)
    assert_close(ours, theirs, equal=0.8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_share_a_distance(channels, bgra):
    ours, theirs = both("fastNlMeansDenoising", bgra[..., :channels], None, 20)
    assert_close(ours, theirs, equal=0.99)


def test_h_of_each_channel(bgr):
    """As many runs: each channel is what its h would have made of it."""
    ours, theirs = both("fastNlMeansDenoising", bgr, [10.0, 20.0, 40.0])
    assert_close(ours, theirs, equal=0.99)
    for c, h in enumerate((10.0, 20.0, 40.0)):
        alone = compat.fastNlMeansDenoising(bgr, None, h)
        np.testing.assert_array_equal(ours[..., c], alone[..., c])


FORMS = {
    "defaults": ((), {}),
    "first form": ((None, 25.0, 5, 11), {}),
    "by name": ((), {"searchWindowSize": 11, "h": 25, "templateWindowSize": 5, "dst": None}),
    "second form": (([25.0], None, 5, 11, cv2.NORM_L2), {}),
    "list of integers": (([25],), {}),
    "second form by name": ((), {"h": (25.0,), "normType": cv2.NORM_L2}),
    "array by name": ((), {"h": np.array([25.0]), "searchWindowSize": 11}),
    "list, then dst by name": (([25.0],), {"dst": None, "templateWindowSize": 5}),
}


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_of_a_call(form, gray, clip):
    args, options = FORMS[form]
    ours, theirs = both("fastNlMeansDenoising", gray, *args, **options)
    assert_close(ours, theirs, equal=0.99)
    assert (theirs != gray).any() or form == "defaults"
    ours, theirs = both("fastNlMeansDenoisingMulti", clip, 2, 3, *args, **options)
    assert_close(ours, theirs, equal=0.99)


@pytest.mark.parametrize(("h", "h_color"), [(3, 3), (20, 10), (10, 20)])
@pytest.mark.parametrize("channels", [3, 4])
def test_colored(channels, h, h_color, bgra):
    """A level of Lab may be several of BGR."""
    image = bgra[..., :channels]
    ours, theirs = both("fastNlMeansDenoisingColored", image, None, h, h_color)
    assert_close(ours, theirs, equal=0.985, most=8)
    assert (np.abs(ours.astype(int) - theirs) <= 2).mean() >= 0.995


def test_colored_by_name(bgr):
    options = {"hColor": 15, "templateWindowSize": 4, "searchWindowSize": 10, "h": 25}
    ours, theirs = both("fastNlMeansDenoisingColored", bgr, **options)
    assert_close(ours, theirs, equal=0.985, most=8)


@pytest.mark.parametrize(("index", "frames"), [(0, 1), (1, 3), (2, 3), (3, 3), (2, 5)])
def test_multi(index, frames, clip):
    ours, theirs = both("fastNlMeansDenoisingMulti", clip, index, frames, None, 20, 5, 9)
    assert_close(ours, theirs, equal=0.99)


def test_multi_takes_an_array_and_channels(color_clip):
    args = (np.stack(color_clip), 1, 3, [20.0, 10.0, 30.0], None, 5, 9)
    ours, theirs = both("fastNlMeansDenoisingMulti", *args)
    assert_close(ours, theirs, equal=0.99)


def test_colored_multi(color_clip):
    args = (color_clip, 1, 3, None, 20, 10, 5, 9)
    ours, theirs = both("fastNlMeansDenoisingColoredMulti", *args)
    assert_close(ours, theirs, equal=0.985, most=8)


DST = {
    "fits": lambda: np.zeros((30, 32), np.uint8),
    "with an axis of channels": lambda: np.zeros((30, 32, 1), np.uint8),
    "part of a larger one": lambda: np.zeros((40, 50), np.uint8)[:30, :32],
    "other shape": lambda: np.zeros((3, 3), np.uint8),
    "other dtype": lambda: np.zeros((30, 32), np.float32),
}


@pytest.mark.parametrize("kind", DST)
@pytest.mark.parametrize("name", ["fastNlMeansDenoising", "fastNlMeansDenoisingMulti"])
def test_dst(name, kind, clip):
    """Written to and returned if it fits, else left alone."""
    args = (clip[2],) if name == "fastNlMeansDenoising" else (clip, 2, 3)
    ours, theirs = DST[kind](), DST[kind]()
    returned = getattr(compat, name)(*args, ours, 20)
    assert (returned is ours) == (getattr(cv2, name)(*args, theirs, 20) is theirs)
    assert_close(ours, theirs, equal=0.99)
    assert returned.any()
    np.testing.assert_array_equal(getattr(compat, name)(*args, [20.0], DST[kind]()), returned)


@pytest.mark.parametrize(
    "name", ["fastNlMeansDenoisingColored", "fastNlMeansDenoisingColoredMulti"]
)
def test_dst_in_color(name, color_clip):
    args = (color_clip[1],) if name == "fastNlMeansDenoisingColored" else (color_clip, 1, 3)
    dst = np.zeros_like(color_clip[1])
    assert getattr(compat, name)(*args, dst, 20, 20) is dst
    np.testing.assert_array_equal(dst, getattr(compat, name)(*args, None, 20, 20))


def test_dst_may_be_the_source(gray):
    image = gray.copy()
    expected = compat.fastNlMeansDenoising(gray, None, 20)
    assert compat.fastNlMeansDenoising(image, image, 20) is image
    np.testing.assert_array_equal(image, expected)


def test_source_in_any_memory_layout(gray):
    image = np.asfortranarray(gray)[::-1, ::2]
    image.flags.writeable = False
    ours, theirs = both("fastNlMeansDenoising", image, None, 20)
    assert_close(ours, theirs, equal=0.99)


G = np.zeros((9, 8), np.uint8)
C = np.zeros((9, 8, 3), np.uint8)

REFUSED_BY_OPENCV = [
    ("", (G.tolist(),), "src must be a NumPy array"),
    ("", (G.astype(np.uint16),), r"src must be uint8.*\(got 'uint16'\)"),
    ("", (G.astype(np.float32),), r"src must be uint8.*\(got 'float32'\)"),
    ("", (np.zeros((9, 8, 5), np.uint8),), r"src .* channels \(1, 2, 3, 4\)"),
    ("", (np.zeros((0, 8), np.uint8),), "src must not be empty"),
    ("", (G, None, [10.0]), "h must be a finite number"),
    ("", (C, [1.0, 2.0]), "h must be one number or one for each of 3 channels"),
    ("", (C, []), "h must be one number or one for each of 3 channels"),
    ("", (G, None, 3, 7.0), "templateWindowSize must be an integer"),
    ("", (G, None, 3, 7, True), "searchWindowSize must be an integer"),
    ("", (G, [3.0], None, 7, 21, cv2.NORM_INF), r"normType must be NORM_L2 \(4\)"),
    ("Colored", (G,), r"src .* channels \(3, 4\)"),
    ("Colored", (C.astype(np.uint16),), "src must be uint8"),
    ("Colored", (C, None, [10.0]), "h must be a finite number"),
    ("Multi", ([], 0, 1), "srcImgs must be at least temporalWindowSize = 1 frames"),
    ("Multi", ([G, G], 1, 3), "srcImgs must be at least temporalWindowSize = 3 frames"),
    ("Multi", ([G] * 3, 1, 2), r"temporalWindowSize must be odd \(got 2\)"),
    ("Multi", ([G] * 3, 1, 3, None, 3, 6), r"templateWindowSize must be odd \(got 6\)"),
    ("Multi", ([G] * 3, 1, 3, None, 3, 7, 20), r"searchWindowSize must be odd \(got 20\)"),
    ("Multi", ([G] * 3, 0, 3), "imgToDenoiseIndex must be an integer, at least 1"),
    ("Multi", ([G] * 3, 2, 3), "imgToDenoiseIndex must be at most 1"),
    ("Multi", ([G] * 3, -1, 1), "imgToDenoiseIndex must be an integer, at least 0"),
    ("Multi", ([G] * 3, 1.0, 3), "imgToDenoiseIndex must be an integer"),
    ("Multi", ([G, G, G[:5]], 0, 1), "srcImgs must all have the same shape"),
    ("Multi", ([G.astype(np.uint16)] * 3, 1, 3), "srcImgs must be uint8"),
    ("ColoredMulti", ([G] * 3, 1, 3), r"srcImgs .* channels \(3\)"),
    ("ColoredMulti", ([C] * 3, 1, 3, None, 3, 3, 6), "templateWindowSize must be odd"),
    ("ColoredMulti", ([C] * 3, 1, 5), "srcImgs must be at least temporalWindowSize = 5"),
]

REFUSED_HERE = [
    ("", (G, 10.0), r"dst must be an array or None; h, if a number, comes after it \(got 10.0\)"),
    ("", (G, (10.0,)), "dst must be an array or None"),
    ("", (G, None, -10), "h must be a finite number, at least 0"),
    ("", (G, None, math.nan), "h must be a finite number"),
    ("", (G, None, 1e200), r"h must be at most 1e\+100"),
    ("", (C, [3.0, math.inf, 3.0]), "h must be a finite number"),
    ("", (G, None, 3, -1), "templateWindowSize must be an integer, at least 0"),
    ("", (G, [3.0], None, 7, 21, cv2.NORM_L1), r"normType must be NORM_L2 \(4\)"),
    ("", (G.astype(np.uint16), [3.0], None, 7, 21, cv2.NORM_L1), "normType must be NORM_L2"),
    ("Colored", (C, None, 3, -3), "hColor must be a finite number, at least 0"),
    ("Multi", ([G] * 3, 1, -1), "temporalWindowSize must be an integer, at least 1"),
]


@pytest.mark.parametrize(("suffix", "args", "message"), REFUSED_BY_OPENCV)
def test_what_opencv_refuses(suffix, args, message):
    name = f"fastNlMeansDenoising{suffix}"
    with pytest.raises(cv2.error):
        getattr(cv2, name)(*args)
    with pytest.raises(ParameterError, match=f"^{message}"):
        getattr(compat, name)(*args)


@pytest.mark.parametrize(("suffix", "args", "message"), REFUSED_HERE)
def test_what_opencv_takes_and_we_do_not(suffix, args, message):
    name = f"fastNlMeansDenoising{suffix}"
    getattr(cv2, name)(*args)
    with pytest.raises(ParameterError, match=f"^{message}"):
        getattr(compat, name)(*args)


def test_read_only_dst():
    dst = np.zeros_like(G)
    dst.flags.writeable = False
    with pytest.raises(ParameterError, match=r"^dst must not be read-only"):
        compat.fastNlMeansDenoising(G, dst)


def test_window_that_leaves_no_weight():
    """(2^31 - 1) // (255 * 2903^2) is 0, where OpenCV divides by zero."""
    with pytest.raises(ParameterError, match=r"^searchWindowSize is too large for OpenCV"):
        compat.fastNlMeansDenoising(G, None, 3, 7, 2903)


@pytest.mark.parametrize("options", [{"foo": 3}, {"h": 3, "normtype": 4}])
def test_unknown_option(options):
    with pytest.raises(TypeError, match="unexpected keyword"):
        compat.fastNlMeansDenoising(G, **options)


# --- scikit-image ---------------------------------------------------------------------------------


def pair(image, **options):
    """Result of ours and of scikit-image's function, of one dtype and shape."""
    ours = compat.denoise_nl_means(image, **options)
    theirs = restoration.denoise_nl_means(image, **options)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    return ours, theirs


STRENGTHS = [(0.04, 0.0), (0.1, 0.0), (0.06, 0.08)]


@pytest.mark.parametrize(("h", "sigma"), STRENGTHS)
@pytest.mark.parametrize(("patch_size", "patch_distance"), [(7, 6), (5, 4), (4, 5), (3, 3)])
@pytest.mark.parametrize("channel_axis", [None, -1])
def test_slow_mode(channel_axis, patch_size, patch_distance, h, sigma, gray, bgr):
    image = gray if channel_axis is None else bgr
    ours, theirs = pair(
        image,
        patch_size=patch_size,
        patch_distance=patch_distance,
        h=h,
        sigma=sigma,
        fast_mode=False,
        channel_axis=channel_axis,
    )
    apart = np.abs(ours - theirs)
    assert apart.mean() < 4e-4
    assert (apart < 1e-3).mean() > 0.9
    assert apart.max() < 0.03


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_slow_mode_in_a_volume(sigma):
    checks = np.indices((6, 9, 10)).sum(0) // 4 % 2 / 2
    image = checks + np.random.default_rng(0).normal(0, 0.05, checks.shape)
    ours, theirs = pair(image, patch_size=3, patch_distance=3, h=0.08, fast_mode=False, sigma=sigma)
    assert np.abs(theirs - image).mean() > 0.01
    assert np.abs(ours - theirs).mean() < 4e-4


@pytest.mark.parametrize(("h", "sigma"), [(0.1, 0.0), (0.1, 0.08)])
@pytest.mark.parametrize("patch_size", [3, 5, 7])
@pytest.mark.parametrize("channel_axis", [None, -1])
def test_fast_mode_filters_as_strongly(channel_axis, patch_size, h, sigma, gray, bgr):
    """Patches one pixel wider leave single pixels apart, but not the strength."""
    image = gray if channel_axis is None else bgr
    ours, theirs = pair(image, patch_size=patch_size, h=h, sigma=sigma, channel_axis=channel_axis)
    removed = [np.abs(y - image / 255).mean() for y in (ours, theirs)]
    assert removed[0] == pytest.approx(removed[1], rel=0.1)
    assert np.abs(ours - theirs).mean() < 0.012


def stripes(shape):
    """Rows of 0 and 0.2 in turn, which reflection continues."""
    return np.broadcast_to(0.2 * (np.arange(shape[0]) % 2).reshape(-1, *[1] * (len(shape) - 1)),
                           shape).copy()  # fmt: skip


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("sigma", [0.0, 0.05])
@pytest.mark.parametrize(("patch_size", "shape"), [(3, (8, 9)), (6, (9, 8)), (3, (5, 4, 4))])
def test_stripes_worked_on_paper(patch_size, shape, sigma, fast_mode):
    """All pixels of two patches differ by 0 or all by 0.2, whatever their weights.

    So E = max(0.04 - 2 sigma^2, 0) / h^2 in slow mode, and in fast mode (s - 1)^d / s^d of it. In a
    window of radius 2, three rows are like that of the pixel and two are unlike it, but in slow
    mode only those inside the image count. scikit-image's exp is off by up to 4 %.
    """
    h, s = 0.15, patch_size + 1 - patch_size % 2
    options = {"patch_size": patch_size, "patch_distance": 2, "h": h, "sigma": sigma}
    ours, theirs = pair(stripes(shape), fast_mode=fast_mode, **options)
    exponent = (0.04 - 2 * sigma**2) / h**2 * (((s - 1) / s) ** len(shape) if fast_mode else 1)
    f = math.exp(-exponent)
    rows = []
    for i in range(shape[0]):
        window = [j for j in range(i - 2, i + 3) if fast_mode or 0 <= j < shape[0]]
        unlike = sum((j - i) % 2 for j in window)
        share = unlike * f / (len(window) - unlike + unlike * f)
        rows.append(0.2 * (share if i % 2 == 0 else 1 - share))
    expected = np.broadcast_to(np.reshape(rows, (-1, *[1] * (len(shape) - 1))), shape)
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    np.testing.assert_allclose(theirs, expected, atol=2e-3)


@pytest.mark.parametrize(("fast_mode", "kept", "used"), [(True, 5.05, 4.95), (False, 5.7, 5.5)])
def test_largest_exponent(fast_mode, kept, used):
    """Beyond 5, f is 0; in slow mode for 1 - w of the exponent, w = e^-2 / (1 + 2 e^-2) = 0.107."""
    image = stripes((8, 8))
    for exponent, unchanged in ((kept, True), (used, False)):
        h = 0.2 / math.sqrt(exponent) * (2 / 3 if fast_mode else 1)
        ours, theirs = pair(image, patch_size=3, patch_distance=2, h=h, fast_mode=fast_mode)
        assert (np.abs(theirs - image).max() < 1e-9) == unchanged
        assert (np.abs(ours - image).max() < 1e-9) == unchanged


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("preserve_range", [True, False])
@pytest.mark.parametrize(
    "dtype",
    ["uint8", "uint16", ">u2", "int8", "int16", "int64", "uint32", "bool",
     "float16", "float32", "float64"],
)  # fmt: skip
def test_dtype_and_scale(dtype, preserve_range, fast_mode, camera):
    image = (camera[90:106, 200:218] // 2).astype(dtype)
    kept = preserve_range and image.dtype.kind in "iu"
    h = 0.5 * (np.iinfo(dtype).max if kept else 1)
    ours, theirs = pair(
        image, patch_size=3, patch_distance=2, h=h, fast_mode=fast_mode,
        preserve_range=preserve_range,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((7, 8), {}),
        ((7, 8, 3), {"channel_axis": -1}),
        ((7, 8, 2), {"channel_axis": 2}),
        ((3, 7, 8), {"channel_axis": 0}),
        ((7, 3, 8), {"channel_axis": -2}),
        ((7, 8, 3), {}),
        ((5, 6, 7), {"fast_mode": False}),
        ((5, 6, 7, 2), {"channel_axis": -1}),
        ((3, 4, 3, 5), {}),
        ((2, 3, 4, 3, 5), {"channel_axis": 0}),
        ((7, 8, 5), {"channel_axis": -1, "fast_mode": False}),
    ],
)
def test_axes(shape, options):
    """Channels are compared jointly, and space has as many axes as there are others."""
    rng = np.random.default_rng(math.prod(shape))
    image = rng.uniform(0, 1, shape).astype(np.float32)
    ours, theirs = pair(image, patch_size=3, patch_distance=2, h=5.0, **options)
    assert np.abs(theirs - image).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((9,), {}),
        ((9, 3), {"channel_axis": -1}),
        ((2, 2, 2, 2, 2), {}),
        ((2, 2, 2, 2, 2, 2), {"channel_axis": 0}),
        ((4, 4, 4, 2), {"channel_axis": -1, "fast_mode": False}),
        ((4, 4, 4, 4), {"fast_mode": False}),
    ],
)
def test_axes_that_are_not_implemented(shape, options):
    for function in (restoration.denoise_nl_means, compat.denoise_nl_means):
        with pytest.raises(NotImplementedError):
            function(np.zeros(shape), 3, 2, **options)


@pytest.mark.parametrize("fast_mode", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_h_changes_nothing(dtype, fast_mode):
    """Two gray levels 0.2 apart under a pattern of 0.03: no two patches are alike for h = 0.01."""
    image = stripes((30, 30)).astype(dtype) + 0.03 * np.add.outer(
        np.arange(30) % 3, np.arange(30) % 5
    ).astype(dtype)
    assert compat.denoise_nl_means(image, 3, 3, 0.001, fast_mode).dtype == dtype
    np.testing.assert_allclose(
        compat.denoise_nl_means(image, 3, 3, 0.001, fast_mode), image, atol=1e-6
    )


@pytest.mark.parametrize("fast_mode", [True, False])
def test_positions_of_arguments(fast_mode, gray):
    image = gray[:20, :20]
    options = {"patch_size": 5, "patch_distance": 3, "h": 0.1, "sigma": 0.05}
    expected = compat.denoise_nl_means(image, fast_mode=fast_mode, **options)
    found = compat.denoise_nl_means(image, 5, 3, 0.1, fast_mode, 0.05)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("fast_mode", [True, False])
def test_even_patch_size_is_the_next_odd_one(fast_mode, gray):
    image = gray[:20, :20]
    ours = [compat.denoise_nl_means(image, s, 3, 0.1, fast_mode) for s in (4, 5)]
    np.testing.assert_array_equal(*ours)


@pytest.mark.parametrize(
    ("shape", "channel_axis"), [((1, 9), None), ((9, 8, 1), -1), ((1, 9, 8), 0)]
)
def test_axes_of_length_one_are_kept(shape, channel_axis):
    """scikit-image drops them, and then puts the channels elsewhere."""
    image = np.random.default_rng(0).uniform(0, 1, shape)
    ours = compat.denoise_nl_means(image, 3, 2, channel_axis=channel_axis)
    theirs = restoration.denoise_nl_means(image, 3, 2, channel_axis=channel_axis)
    assert ours.shape == shape != theirs.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 1}, "patch_size must be an integer, at least 2"),
        ({"patch_size": 3.0}, "patch_size must be an integer"),
        ({"patch_distance": -1}, "patch_distance must be an integer, at least 0"),
        ({"h": 0}, "h must be a finite number above 0"),
        ({"sigma": -0.1}, "sigma must be a finite number, at least 0"),
        ({"channel_axis": 2}, r"channel_axis must be an axis of \(9, 8\)"),
        ({"patch_distance": 10**6}, "search_radius is too large"),
    ],
)
@pytest.mark.parametrize("fast_mode", [True, False])
def test_bad_arguments(options, message, fast_mode):
    with pytest.raises(ParameterError, match=f"^{message}"):
        compat.denoise_nl_means(np.zeros((9, 8)), fast_mode=fast_mode, **options)


def test_nan_is_refused():
    image = np.zeros((9, 8))
    image[3, 3] = np.nan
    with pytest.raises(ParameterError, match=r"^image must not hold NaN"):
        compat.denoise_nl_means(image)


# --- both -----------------------------------------------------------------------------------------


def test_import_costs_no_other_tool():
    heavy = "[name for name in ('cv2', 'skimage', 'numba') if name in sys.modules]"
    code = f"import sys, nlmeans.compat; print({heavy})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
