"""Going back from floats to the dtype an image came in."""

import numpy as np


def from_float(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round and clip to an integer dtype; a float dtype is neither rounded to steps nor clipped.

    The result is in native byte order.
    """
    dtype = dtype.newbyteorder("=")
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
