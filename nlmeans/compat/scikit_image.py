"""`skimage.restoration.denoise_nl_means` on the engine, with the meaning of scikit-image 0.26.

With n pixels in a patch of side s, its two modes have f = exp(-E), E = max(D - 2 sigma^2, 0) / h^2,
and differ in more than speed:

- Slow: D is weighted by a Gaussian of standard deviation (s - 1) / 4, the window ends at the border
  of the image. Before each row of a patch but the first, f is 0 if E of the rows so far is above 5.
  The engine does not know of rows: here f is 0 where the whole E is above 5 / (1 - w), w being the
  weight of the last row, so that the rows before it have 5 on average.
- Fast: D is the sum over patches of s - 1 pixels a side, divided by n; the window goes on in the
  reflected image; f is 0 for E above 5. Here patches have all n pixels and D is the mean, so h is
  multiplied by (s / (s - 1))^(d/2) in d dimensions to filter as strongly.

exp itself is taken to 3 % by scikit-image. On the sample images slow mode is 0.02 to 0.07 gray
levels of 255 away on average and fast mode 0.4 to 0.8 for patch_size=7, 1.5 to 2.1 for 3
(`benchmarks/compat.py`).
"""

import math
from typing import Any

import numpy as np

from nlmeans.affinity import PatchGaussian
from nlmeans.embedding import Patch
from nlmeans.engines import get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Window
from nlmeans.operation import NonLocalMean
from nlmeans.validation import check_array, check_integer, check_number, check_work

MOST = 5.0
"""The largest exponent that counts."""


class UnsupportedImageError(ParameterError, NotImplementedError):
    """What scikit-image raises NotImplementedError for."""


def denoise_nl_means(
    image: np.ndarray,
    patch_size: int = 7,
    patch_distance: int = 11,
    h: float = 0.1,
    fast_mode: bool = True,
    sigma: float = 0.0,
    *,
    preserve_range: bool = False,
    channel_axis: int | None = None,
) -> np.ndarray:
    """Denoise as `skimage.restoration.denoise_nl_means` does.

    Parameters
    ----------
    image : ndarray
        Of two to four axes besides the channels; in slow mode of two, or of three without channels.
    patch_size : int, optional
        Pixels along each axis of a patch, from 2 on; an even number counts as the next odd one.
    patch_distance : int, optional
        Radius of the search window.
    h : float, optional
        Filter strength, above 0, in units of the converted image.
    fast_mode : bool, optional
        Which of the two algorithms.
    sigma : float, optional
        Standard deviation of the noise, in the units of h.
    preserve_range : bool, optional
        Keep the values of integers, which are else scaled to [0, 1] or [-1, 1] as
        `skimage.util.img_as_float` does.
    channel_axis : int, optional
        Axis that counts channels; None for an image without.

    Returns
    -------
    denoised : ndarray
        Of the shape of the image, also where an axis has length 1, which scikit-image drops;
        float32 for float16 and float32, else float64.

    Raises
    ------
    ParameterError
        If an argument breaks its rule. It is a ValueError, and for a number of axes that
        scikit-image does not implement a NotImplementedError, too.

    Notes
    -----
    A patch_size of 1 is refused: scikit-image takes a mean over the window then, because its fast
    mode compares no pixels and its slow mode divides 0 by 0. So are h = 0, negative h and sigma,
    NaN and infinite pixels.
    """
    radius = check_integer("patch_size", patch_size, least=2) // 2
    distance = check_integer("patch_distance", patch_distance, least=0)
    check_number("h", h, above=0)
    x = _channels_last(image, channel_axis)
    ndim = x.ndim - 1
    if not fast_mode and ndim > (2 if channel_axis is not None else 3):
        raise UnsupportedImageError("fast_mode", "must be True for this number of axes", ndim)
    x = check_array("image", _as_float(x, preserve_range))
    check_work(x.shape, (distance,) * ndim, (radius,) * ndim)
    if fast_mode:
        stronger = h * (1 + 1 / (2 * radius)) ** (ndim / 2)
        affinity = PatchGaussian(stronger, sigma, radius, cutoff=math.exp(-MOST))
        window = Window(distance)
    else:
        last_row = Patch(radius, "gaussian").axis_weights((radius,))[0][-1]
        cutoff = math.exp(-MOST / (1 - last_row))
        affinity = PatchGaussian(h, sigma, radius, "gaussian", cutoff=cutoff)
        window = Window(distance, "exclude")
    y = get_engine("numba").average(NonLocalMean(affinity, window), x)
    return y[..., 0] if channel_axis is None else np.moveaxis(y, -1, channel_axis)


def _channels_last(image: Any, channel_axis: int | None) -> np.ndarray:
    """The image with one axis of channels, the last, and two to four axes of space."""
    array = np.asarray(image)
    if channel_axis is not None:
        axis = check_integer("channel_axis", channel_axis, least=-array.ndim)
        if axis >= array.ndim:
            raise ParameterError("channel_axis", f"must be an axis of {array.shape}", channel_axis)
        array = np.moveaxis(array, axis, -1)
    else:
        array = array[..., np.newaxis]
    if not 2 <= array.ndim - 1 <= 4:
        raise UnsupportedImageError(
            "image", "must have two to four axes besides the channels", np.shape(image)
        )
    return array


def _as_float(image: np.ndarray, preserve_range: bool) -> np.ndarray:
    """Convert to float32 or float64 as scikit-image does."""
    from skimage.util import img_as_float

    if image.dtype == np.float16:
        return image.astype(np.float32)
    if not preserve_range:
        return img_as_float(image)  # type: ignore[no-untyped-call]
    return image if image.dtype.kind == "f" else image.astype(np.float64)
