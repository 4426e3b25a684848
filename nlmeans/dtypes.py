"""The float dtype that an image is computed in, and the way back to its own."""

import numpy as np


def working_dtype(dtype: np.dtype) -> np.dtype:
    """Return float64 for float64 of any byte order, else float32, which holds 16 bits exactly."""
    double = dtype.kind == "f" and dtype.itemsize == 8
    return np.dtype(np.float64 if double else np.float32)


def from_float(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round and clip to an integer dtype; a float dtype is neither rounded to steps nor clipped.

    The result is in native byte order.
    """
    dtype = dtype.newbyteorder("=")
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
