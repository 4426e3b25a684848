"""The four NL-means functions of OpenCV on the engine, with OpenCV's meaning of every parameter.

OpenCV takes f from a table of integers. With n pixels in a patch, C channels, K members in the
window, S the sum of the squared differences and 2^b the first power of two not below n,

    f = round(M exp(-(S >> b) 2^b / (n C h^2))),  M = (2^31 - 1) // (255 K),  0 if below M / 1000.

So the mean difference D is rounded down to a multiple of 2^b / (n C), 1.3 for 7x7 gray pixels, and
f ends at about 0.001. The engine computes f as it is. What the shift takes off D on average,
(2^b - 1) / (2 n C), goes into its offset 2 sigma^2, and the end of the table into its cutoff. With
both, 99.9 % of the pixels of a gray image with noise of sigma 20 are equal at h = 20 and the others
one level apart; the plain formula, `nlmeans.denoise(image, h=20)`, leaves 95.6 % equal and 99.4 %
within one level (`benchmarks/compat.py`).

In color, L and (a, b) of an 8-bit Lab image are filtered apart, where one level more or less
becomes up to five in BGR: there 99.2 % or more of the values are equal.
"""

import math
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from nlmeans.affinity import PatchGaussian
from nlmeans.engines import get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Window
from nlmeans.operation import NonLocalMean
from nlmeans.validation import check_integer, check_number, check_work

NORM_L1 = 2
NORM_L2 = 4
"""Values of `normType`, as in cv2."""


@overload
def fastNlMeansDenoising(
    src: np.ndarray,
    dst: np.ndarray | None = None,
    h: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> np.ndarray: ...
@overload
def fastNlMeansDenoising(
    src: np.ndarray,
    h: Sequence[float],
    dst: np.ndarray | None = None,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
) -> np.ndarray: ...
def fastNlMeansDenoising(src: Any, *args: Any, **options: Any) -> np.ndarray:
    """Denoise as `cv2.fastNlMeansDenoising` does, in either of its two forms.

    Parameters
    ----------
    src : ndarray
        uint8, (y, x) or (y, x, channels) with up to four channels, which share one distance.
    dst : ndarray, optional
        If of the shape and dtype of the result, it is written to and returned; else it is left
        as it is.
    h : float or list of float, optional
        Filter strength; a list of one for each channel, which then are the results of so many
        runs. A list may come before `dst`, by which OpenCV knows its second form.
    templateWindowSize, searchWindowSize : int, optional
        Pixels along a side of a patch and of the search window; an even number counts as the next
        odd one, 0 as 1.
    normType : int, optional
        Second form only: NORM_L2. NORM_L1, OpenCV's norm for uint16, is refused.

    Returns
    -------
    dst : ndarray
        (y, x) for one channel.

    Raises
    ------
    ParameterError
        If an argument breaks its rule. Negative, NaN and infinite h, which OpenCV takes, do, and a
        number in the place of `dst`, where OpenCV ignores it.
    """
    dst, h, template, search = _settings(args, options)
    image = _check_image("src", src)
    target = _check_dst(dst, image.shape)
    return _deliver(_filtered(image[np.newaxis], h, template, search), target)


def fastNlMeansDenoisingColored(
    src: np.ndarray,
    dst: np.ndarray | None = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> np.ndarray:
    """Denoise as `cv2.fastNlMeansDenoisingColored` does.

    Parameters
    ----------
    src : ndarray, shape (y, x, 3) or (y, x, 4)
        uint8, BGR, taken for linear light and converted to 8-bit Lab. A fourth channel comes back
        as 255.
    dst : ndarray, optional
        As for `fastNlMeansDenoising`.
    h, hColor : float, optional
        Filter strength for L, and for (a, b) together, in their 8-bit levels.
    templateWindowSize, searchWindowSize : int, optional
        As for `fastNlMeansDenoising`.

    Returns
    -------
    dst : ndarray
        Of the shape of `src`.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    image = _check_image("src", src, channels=(3, 4))
    target = _check_dst(dst, image.shape)
    y = _filtered_in_lab(image[np.newaxis], h, hColor, templateWindowSize, searchWindowSize)
    return _deliver(y, target)


@overload
def fastNlMeansDenoisingMulti(
    srcImgs: Sequence[np.ndarray],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: np.ndarray | None = None,
    h: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> np.ndarray: ...
@overload
def fastNlMeansDenoisingMulti(
    srcImgs: Sequence[np.ndarray],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    h: Sequence[float],
    dst: np.ndarray | None = None,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
) -> np.ndarray: ...
def fastNlMeansDenoisingMulti(
    srcImgs: Any, imgToDenoiseIndex: int, temporalWindowSize: int, *args: Any, **options: Any
) -> np.ndarray:
    """Denoise a frame as `cv2.fastNlMeansDenoisingMulti` does, in either of its two forms.

    Parameters
    ----------
    srcImgs : sequence of ndarray
        Frames of one shape, each as for `fastNlMeansDenoising`.
    imgToDenoiseIndex : int
        Number of the frame to denoise.
    temporalWindowSize : int
        Number of frames in the search window, odd; all of them must exist. Patches stay within
        their frame.
    dst, h, templateWindowSize, searchWindowSize, normType
        As for `fastNlMeansDenoising`, but the sizes must be odd.

    Returns
    -------
    dst : ndarray
        (y, x) for one channel.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    dst, h, template, search = _settings(args, options)
    clip = _check_clip(srcImgs, imgToDenoiseIndex, temporalWindowSize, template, search)
    target = _check_dst(dst, clip.shape[1:])
    return _deliver(_filtered(clip, h, template, search), target)


def fastNlMeansDenoisingColoredMulti(
    srcImgs: Sequence[np.ndarray],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: np.ndarray | None = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> np.ndarray:
    """Denoise a frame as `cv2.fastNlMeansDenoisingColoredMulti` does.

    Parameters
    ----------
    srcImgs : sequence of ndarray, shape (y, x, 3)
        uint8, BGR.
    imgToDenoiseIndex, temporalWindowSize : int
        As for `fastNlMeansDenoisingMulti`.
    dst, h, hColor
        As for `fastNlMeansDenoisingColored`.
    templateWindowSize, searchWindowSize : int, optional
        As for `fastNlMeansDenoisingMulti`.

    Returns
    -------
    dst : ndarray, shape (y, x, 3)

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    template, search = templateWindowSize, searchWindowSize
    clip = _check_clip(
        srcImgs, imgToDenoiseIndex, temporalWindowSize, template, search, channels=(3,)
    )
    target = _check_dst(dst, clip.shape[1:])
    return _deliver(_filtered_in_lab(clip, h, hColor, template, search), target)


def _settings(args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """(dst, h, template, search) of either form: a list that comes first is h."""
    in_front = bool(args) and isinstance(args[0], list)
    by_name = isinstance(options.get("h"), (list, tuple, np.ndarray)) or "normType" in options
    return (_second_form if in_front or by_name else _first_form)(*args, **options)


def _first_form(
    dst: Any = None, h: Any = 3, templateWindowSize: Any = 7, searchWindowSize: Any = 21
) -> tuple[Any, Any, Any, Any]:
    return dst, check_number("h", h), templateWindowSize, searchWindowSize


def _second_form(
    h: Any,
    dst: Any = None,
    templateWindowSize: Any = 7,
    searchWindowSize: Any = 21,
    normType: Any = NORM_L2,
) -> tuple[Any, Any, Any, Any]:
    if normType != NORM_L2:
        raise ParameterError(
            "normType", f"must be NORM_L2 ({NORM_L2}): differences are squared here", normType
        )
    return dst, h, templateWindowSize, searchWindowSize


def _check_image(name: str, image: Any, channels: tuple[int, ...] = (1, 2, 3, 4)) -> np.ndarray:
    """A uint8 image as (y, x, channels)."""
    if not isinstance(image, np.ndarray):
        raise ParameterError(name, "must be a NumPy array", type(image).__name__)
    if image.dtype != np.uint8:
        raise ParameterError(
            name, "must be uint8, as OpenCV has it for NORM_L2; nlmeans.denoise takes more",
            image.dtype.name,
        )  # fmt: skip
    result = image[..., np.newaxis] if image.ndim == 2 else image
    if result.ndim != 3 or result.shape[-1] not in channels or result.size == 0:
        counts = ", ".join(map(str, channels))
        raise ParameterError(
            name, f"must not be empty and have rows, columns and channels ({counts})", image.shape
        )
    return result


def _check_clip(
    frames: Any, index: Any, temporal: Any, template: Any, search: Any, **rules: Any
) -> np.ndarray:
    """The frames of the temporal window as (frame, y, x, channels), the one in question midmost."""
    for name, size in (
        ("temporalWindowSize", temporal),
        ("templateWindowSize", template),
        ("searchWindowSize", search),
    ):
        if check_integer(name, size, least=1) % 2 == 0:
            raise ParameterError(name, "must be odd", size)
    images = [_check_image("srcImgs", frame, **rules) for frame in frames]
    if len({image.shape for image in images}) > 1:
        raise ParameterError("srcImgs", "must all have the same shape")
    first, last = temporal // 2, len(images) - 1 - temporal // 2
    if first > last:
        raise ParameterError(
            "srcImgs", f"must be at least temporalWindowSize = {temporal} frames", len(images)
        )
    start = check_integer("imgToDenoiseIndex", index, least=first, most=last) - first
    return np.stack(images[start : start + temporal])


def _check_dst(dst: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array to write a result (y, x, channels) to, if `dst` is one for it."""
    if dst is None:
        return None
    if not isinstance(dst, np.ndarray):
        raise ParameterError("dst", "must be an array or None; h, if a number, comes after it", dst)
    fits = dst.shape == shape or (shape[-1] == 1 and dst.shape == shape[:-1])
    if dst.dtype != np.uint8 or not fits:
        return None
    if not dst.flags.writeable:
        raise ParameterError("dst", "must not be read-only")
    return dst


def _deliver(result: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """Put a result (y, x, channels) where it belongs; OpenCV returns one channel without axis."""
    if target is None:
        return result[..., 0] if result.shape[-1] == 1 else result
    target[...] = result.reshape(target.shape)
    return target


def _filtered_in_lab(clip: np.ndarray, h: Any, h_color: Any, template: Any, search: Any) -> Any:
    """`_filtered` in OpenCV's Lab of linear BGR: L by itself, (a, b) by themselves."""
    import cv2

    check_number("h", h)
    check_number("hColor", h_color, least=0)
    lab = np.stack([cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_LBGR2Lab) for x in clip])
    lightness = _filtered(lab[..., :1], h, template, search)
    color = _filtered(lab[..., 1:], h_color, template, search)
    y = np.concatenate([lightness, color], -1)
    return cv2.cvtColor(y, cv2.COLOR_Lab2LBGR, dstCn=clip.shape[-1])


def _filtered(clip: np.ndarray, h: Any, template: Any, search: Any) -> np.ndarray:
    """The middle frame (y, x, channels) of a clip (frame, y, x, channels), denoised."""
    frames, rows, columns, channels = clip.shape
    r = check_integer("templateWindowSize", template, least=0) // 2
    s = check_integer("searchWindowSize", search, least=0) // 2
    patch_radius, search_radius = (0, r, r), (frames // 2, s, s)
    check_work(clip.shape, search_radius, patch_radius)
    strengths = np.atleast_1d(np.asarray(h, object)).ravel()
    if len(strengths) not in (1, channels):
        raise ParameterError("h", f"must be one number or one for each of {channels} channels", h)
    engine = get_engine("numba")
    region = ((frames // 2, frames // 2 + 1), (0, rows), (0, columns))
    results = []
    for strength in strengths:
        strength = check_number("h", strength, least=0, most=1e100)
        affinity = _affinity(strength, patch_radius, channels, frames * (2 * s + 1) ** 2)
        operation = NonLocalMean(affinity, Window(search_radius))
        results.append(engine.average(operation, clip, region=region)[0])
    if len(results) > 1:
        results = [np.stack([y[..., c] for c, y in enumerate(results)], -1)]
    # OpenCV rounds a half up, of which few and equal weights leave many.
    return np.floor(results[0] + 0.5).astype(np.uint8)


def _affinity(
    h: float, patch_radius: tuple[int, ...], channels: int, members: int
) -> PatchGaussian:
    """The affinity whose f comes nearest to OpenCV's table, of which the module's text tells."""
    n = math.prod(2 * r + 1 for r in patch_radius)
    shifted = 1 << (n - 1).bit_length()
    one = (2**31 - 1) // (255 * members)
    if one == 0:
        raise ParameterError(
            "searchWindowSize", "is too large for OpenCV's weights, which end at 0"
        )
    cutoff = (math.ceil(one / 1000) - 0.5) / one  # the half is for the rounding to integers
    rounded_off = (shifted - 1) / 2
    if h**2 * -math.log(cutoff) < shifted / (n * channels):
        # Only the first entry of the table is above 0: any h will do for which f is 1 or 0.
        h, rounded_off = 1e-3, shifted - 0.5
    sigma = math.sqrt(rounded_off / (n * channels) / 2)
    return PatchGaussian(h, sigma, patch_radius, cutoff=cutoff)
