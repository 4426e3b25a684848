"""Estimating the noise of an image."""

from typing import Any

import numpy as np

from nlmeans.validation import check_array, check_channel_axis


def estimate_sigma(image: Any, *, channel_axis: int | None = None) -> float:
    """Standard deviation of white Gaussian noise in an image.

    The median absolute value that a mask of second differences along the last two axes of space
    leaves, scaled: smooth parts and edges along an axis vanish, noise stays.

    Parameters
    ----------
    image : array_like
        Image of two to four spatial axes; at least 3 pixels along the last two.
    channel_axis : int, optional
        Axis that counts channels; their noise is taken to be of one level.

    Returns
    -------
    float
        In the units of the image; 0 where an image is too small or has no noise. Texture is
        taken for noise: on natural images without any, 1 to 2 gray levels of 255 are found.

    Raises
    ------
    ParameterError
        If the image is not usable.

    References
    ----------
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding
    64(2), 1996 (the mask); the median in place of the mean ignores the minority of pixels that
    lie on texture.
    """
    x = check_array("image", image)
    axis = check_channel_axis("image", x, channel_axis)
    space = np.moveaxis(x, axis, 0) if axis is not None else x
    if min(space.shape[-2:]) < 3:
        return 0.0
    # The mask [1 -2 1]' [1 -2 1] turns unit white noise into noise of standard deviation 6.
    second = np.diff(np.diff(space.astype(np.float64), 2, axis=-1), 2, axis=-2)
    # For a normal variable the median of |x| is 0.67449 standard deviations.
    return float(np.median(np.abs(second))) / (0.6744897501960817 * 6)
