"""How close an image is to its reference."""

from typing import Any

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.validation import check_array, check_channel_axis, check_number


def mse(reference: Any, image: Any) -> float:
    """Mean squared error, in squared units of the images.

    Parameters
    ----------
    reference, image : array_like
        Images of the same shape, of any of the supported dtypes.

    Returns
    -------
    float
        Mean over all pixels and channels of the squared difference, computed in float64.

    Raises
    ------
    ParameterError
        If the shapes differ or an image is not usable.
    """
    x, y = _check_pair(reference, image)
    return float(np.mean((x.astype(np.float64) - y) ** 2))


def psnr(reference: Any, image: Any, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE).

    Parameters
    ----------
    reference, image : array_like
        Images of the same shape. No border is cropped and nothing is clipped.
    data_range : float, optional
        Distance from black to white, > 0. Default for integers: the range of the reference's
        dtype, which both images must then share. Floats carry no range, so it must be given.

    Returns
    -------
    float
        In decibels; inf for equal images.

    Raises
    ------
    ParameterError
        If the shapes differ, an image is not usable or the range is missing.
    """
    x, y = _check_pair(reference, image)
    peak = _data_range(x, y, data_range)
    error = mse(x, y)
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")


def ssim(
    reference: Any, image: Any, *, channel_axis: int | None = None, data_range: float | None = None
) -> float:
    """Structural similarity, with the settings of its authors.

    Parameters
    ----------
    reference, image : array_like
        Images of the same shape, at least 11 pixels along each axis of space.
    channel_axis : int, optional
        Axis that counts channels; their SSIM is averaged.
    data_range : float, optional
        As for `psnr`.

    Returns
    -------
    float
        At most 1, which equal images have.

    Raises
    ------
    ParameterError
        If the shapes differ, an image is not usable or too small, or the range is missing.

    References
    ----------
    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment", IEEE
    Transactions on Image Processing 13(4), 2004: Gaussian window of standard deviation 1.5 cut
    to 11 pixels, biased covariance. Computed by scikit-image.
    """
    x, y = _check_pair(reference, image)
    axis = check_channel_axis("reference", x, channel_axis)
    peak = _data_range(x, y, data_range)
    space = [size for k, size in enumerate(x.shape) if k != axis]
    if min(space) < 11:
        raise ParameterError(
            "image", "must be at least 11 pixels along each axis for SSIM", x.shape
        )
    from skimage.metrics import structural_similarity

    similarity: Any = structural_similarity
    return float(
        similarity(
            x.astype(np.float64),
            y.astype(np.float64),
            data_range=peak,
            channel_axis=axis,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _check_pair(reference: Any, image: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = check_array("reference", reference), check_array("image", image)
    if x.shape != y.shape:
        raise ParameterError("image", f"must have the reference's shape {x.shape}", y.shape)
    return x, y


def _data_range(x: np.ndarray, y: np.ndarray, given: float | None) -> float:
    if given is not None:
        return check_number("data_range", given, above=0)
    if x.dtype.kind == "f" or x.dtype != y.dtype:
        raise ParameterError(
            "data_range",
            f"must be given for images of dtype {x.dtype} and {y.dtype}: 255 for 8-bit gray "
            f"levels, 1 for images from 0 to 1",
        )
    limits = np.iinfo(x.dtype)
    return float(limits.max) - float(limits.min)
