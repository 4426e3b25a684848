"""Units: the command line speaks of 8-bit gray levels, the library of the image's own values."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlmeans import ParameterError
from nlmeans.validation import check_number

IN_LEVELS = ("h", "sigma", "h_color", "gain", "scales")
"""Options in 8-bit gray levels; sigma of speckle is a factor without a unit."""


def black_to_white(dtype: np.dtype[Any]) -> float:
    """How far white is from black: the range of an integer dtype, and 1 for floats."""
    if dtype.kind == "f":
        return 1.0
    limits = np.iinfo(dtype)
    return float(limits.max) - float(limits.min)


@dataclass(frozen=True)
class Levels:
    """The scale of an image.

    Parameters
    ----------
    scale : float
        One 8-bit gray level in the units of the image.
    """

    scale: float

    @classmethod
    def of(cls, dtype: np.dtype[Any], white: float | None) -> "Levels":
        """Scale of a dtype, or of a given distance from black to white."""
        if white is not None:
            return cls(check_number("white", white, above=0) / 255)
        return cls(black_to_white(dtype) / 255)

    def to_image(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options with those in 8-bit gray levels in the units of the image."""
        return self._times(options, self.scale)

    def to_levels(self, options: dict[str, Any]) -> dict[str, Any]:
        """Go the way back."""
        return self._times(options, 1 / self.scale)

    def _times(self, options: dict[str, Any], factor: float) -> dict[str, Any]:
        def converted(name: str, value: Any) -> Any:
            unitless = name == "sigma" and options.get("noise") == "speckle"
            if name not in IN_LEVELS or value is None or unitless:
                return value
            return tuple(v * factor for v in value) if isinstance(value, tuple) else value * factor

        return {name: converted(name, value) for name, value in options.items()}

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Let errors show the number that was typed, not the one that the library got."""
        try:
            yield
        except ParameterError as error:
            if error.name not in IN_LEVELS or not isinstance(error.got, int | float):
                raise
            got = error.got / self.scale
            # The detour through the scale and back costs the last digits.
            got = float(f"{got:.12g}") if math.isfinite(got) else got
            raise ParameterError(error.name, error.rule, got) from error
