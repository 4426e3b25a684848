"""The rules that arguments must keep, each said once."""

import contextlib
import math
import numbers
import os
from collections.abc import Collection
from typing import Any

import numpy as np

from nlmeans.errors import ParameterError

DTYPES = ("uint8", "int16", "uint16", "float16", "float32", "float64")


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
) -> float:
    """A finite real number with least <= value <= most and above < value, as a float."""
    number = math.nan
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        with contextlib.suppress(OverflowError):  # an integer beyond all floats
            number = float(value)
    if math.isfinite(number) and number > most:
        raise ParameterError(name, f"must be at most {most:g}", value)
    if not (math.isfinite(number) and least <= number and above < number):
        rule = "must be a finite number"
        rule += f" above {above:g}" if above > -math.inf else ""
        rule += f", at least {least:g}" if least > -math.inf else ""
        raise ParameterError(name, rule, value)
    return number


def check_if_many(name: str, value: Any) -> None:
    """What is no single value must make an array of real numbers, of any shape."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ParameterError(name, "must have rows that are equally long", value) from None
    if array.ndim > 0 and array.dtype.kind not in "iuf":
        raise ParameterError(name, "must be real numbers", value)


def check_integer(name: str, value: Any, *, least: int, most: float = math.inf) -> int:
    """An integer with least <= value <= most."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))
    if not (integer and value >= least):
        raise ParameterError(name, f"must be an integer, at least {least}", value)
    if value > most:
        raise ParameterError(name, f"must be at most {most}", value)
    return int(value)


def check_workers(workers: Any) -> int:
    """Number of threads: as given, or for None one for each processor this process may use."""
    if workers is not None:
        return check_integer("workers", workers, least=1, most=4096)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """One of a few names."""
    if not isinstance(value, str) or value not in choices:
        raise ParameterError(name, f"must be one of {', '.join(choices)}", value)
    return value


def check_array(name: str, image: Any) -> np.ndarray:
    """A non-empty real numeric array with finite values; its byte order and strides are free."""
    try:
        array = np.asarray(image)
    except ValueError:
        raise ParameterError(name, "must be an array of numbers, its rows equally long") from None
    if array.dtype.newbyteorder("=").name not in DTYPES:
        hint = ""
        if array.dtype == bool:
            hint = "; a mask has no noise to average away, so convert it if you mean gray levels"
        elif array.dtype.kind in "iu":
            hint = "; convert wider integers to float64"
        raise ParameterError(
            name, f"must have a dtype of {', '.join(DTYPES)}{hint}", array.dtype.name
        )
    if array.ndim < 2:
        raise ParameterError(name, "must have at least two axes, rows and columns", array.shape)
    if array.size == 0:
        raise ParameterError(name, "must not be empty", array.shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = array.size - np.count_nonzero(np.isfinite(array))
        raise ParameterError(
            name,
            f"must not hold NaN or infinite values, which would spread into every average that "
            f"meets them ({count} found); replace them first, with numpy.nan_to_num for instance",
        )
    return array


def check_channel_axis(name: str, array: np.ndarray, channel_axis: int | None) -> int | None:
    """The channel axis as a non-negative number; None for an image without channels."""
    if channel_axis is None:
        if array.ndim >= 3 and array.shape[-1] in (3, 4):
            raise ParameterError(
                "channel_axis",
                f"must be given for {name} of shape {array.shape}: pass channel_axis=-1 if the "
                f"last axis counts colors; if it is a direction in space, move it elsewhere with "
                f"numpy.moveaxis",
            )
        space = array.ndim
    else:
        axis = check_integer("channel_axis", channel_axis, least=-array.ndim)
        if axis >= array.ndim:
            raise ParameterError(
                "channel_axis", f"must be an axis of {name} of shape {array.shape}", channel_axis
            )
        channel_axis = axis % array.ndim
        space = array.ndim - 1
    if not 2 <= space <= 4:
        raise ParameterError(name, "must have two to four axes besides the channels", array.shape)
    return channel_axis


MOST_COMPARISONS = 10**13
"""About three hours at 1e9 patch comparisons a second, half the speed of two cores."""

MOST_BYTES = 2**33
"""What a thread may hold, which is megabytes for the radii in use."""

MOST_PATCH = 101
"""Longest side of a patch; the cost of a comparison grows with it, and the largest in use is 21."""


def check_work(shape: tuple[int, ...], search: tuple[int, ...], patch: tuple[int, ...]) -> None:
    """Refuse radii that would take hours or fill the memory on an image (*space, C)."""
    *space, channels = shape
    if 2 * max(patch) + 1 > MOST_PATCH:
        raise ParameterError("patch_radius", f"must be at most {MOST_PATCH // 2}", max(patch))
    window = math.prod(2 * s + 1 for s in search)
    comparisons = math.prod(space) * window // 2
    if comparisons > MOST_COMPARISONS:
        raise ParameterError(
            "search_radius",
            f"is too large: {_round(window)} positions around each of {math.prod(space)} pixels "
            f"are {_round(comparisons)} patch comparisons, about "
            f"{_round(comparisons // (3600 * 10**9))} hours",
            search,
        )
    # A thread holds 16 blocks of at most 128 pixels a side, continued beyond their borders.
    sides = (min(n, 128) + 2 * (s + p) for n, s, p in zip(space, search, patch, strict=True))
    held = 16 * 4 * channels * math.prod(sides)
    if held > MOST_BYTES:
        raise ParameterError(
            "search_radius",
            f"is too large: the surroundings of the pixels take {_round(held // 2**30)} GiB",
            search,
        )


def _round(count: int) -> str:
    """A count of any size to three digits; an integer may be beyond all floats."""
    return f"{count:.3g}" if count < 10**300 else "over 1e+300"
