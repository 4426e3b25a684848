"""What a model of noise is, and what all of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from nlmeans.dtypes import PIECE, working_dtype
from nlmeans.errors import ParameterError
from nlmeans.validation import check_number

LEAST, LARGEST = 1e-50, 1e50
"""Of sigma and gain: the square of a quotient of two of them is a float."""


class NoiseModel(Protocol):
    """What an observed image y is, given the clean image x, and how to denoise it.

    ``invert(denoiser(stabilize(y)))``, with a denoiser for white Gaussian noise of standard
    deviation 1, denoises y. All methods work on each number by itself, in O(1), and take arrays
    of any shape; they compute in float64 and return float64 for float64, else float32.
    """

    def noise_std(self, x: Any) -> np.ndarray:
        """Standard deviation of y where the clean image has the value x, in the units of x."""
        ...

    def stabilize(self, y: Any) -> np.ndarray:
        """Observed values to values with white noise of standard deviation 1, without unit.

        Raises ParameterError if y holds values that the model can not produce.
        """
        ...

    def invert(self, d: Any) -> np.ndarray:
        """Estimates d of E[stabilize(y) | x] to x, in the units of y, without bias.

        Below the smallest such mean, 0 where the model knows no negative x.
        """
        ...

    def draw(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Noisy values y of clean values x, in float64.

        Raises ParameterError if x holds values that the model does not allow.
        """
        ...


class Pointwise(ABC):
    """The methods of a `NoiseModel`, from functions of float64 numbers."""

    not_negative: ClassVar[str] = ""
    """What the noise is called to the user where the image can not be negative."""

    def noise_std(self, x: Any) -> np.ndarray:
        """Standard deviation of y where the clean image is x."""
        return in_pieces(lambda piece: self._std(np.maximum(piece, 0)), x)

    def stabilize(self, y: Any) -> np.ndarray:
        """Values with white noise of standard deviation 1."""
        self._check(np.asarray(y))
        return in_pieces(self._stabilized, y)

    def invert(self, d: Any) -> np.ndarray:
        """Exact unbiased inverse."""
        return in_pieces(self._inverted, d)

    def draw(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Noisy values of clean values x."""
        self._check(x)
        return self._drawn(x.astype(np.float64), generator)

    def _check(self, image: np.ndarray) -> None:
        if self.not_negative and image.dtype.kind != "u" and (image < 0).any():
            raise ParameterError(
                "image",
                f"must not hold negative values, which {self.not_negative} does not have",
                float(image.min()),
            )

    @abstractmethod
    def _std(self, x: np.ndarray) -> np.ndarray: ...
    @abstractmethod
    def _stabilized(self, y: np.ndarray) -> np.ndarray: ...
    @abstractmethod
    def _inverted(self, d: np.ndarray) -> np.ndarray: ...
    @abstractmethod
    def _drawn(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray: ...


def in_pieces(function: Callable[[np.ndarray], np.ndarray], values: Any) -> np.ndarray:
    """Apply a pointwise function of float64 to an array of any dtype, in its working dtype.

    In pieces that stay in the cache, so that no float64 copy of an image is held.
    """
    values = np.asarray(values)
    result = np.empty(values.shape, working_dtype(values.dtype))
    flat, out = values.reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, PIECE):
        piece = slice(start, start + PIECE)
        out[piece] = function(flat[piece].astype(np.float64))
    return result


def positive(name: str, value: Any) -> float:
    """A sigma or gain that can be divided by."""
    return check_number(name, value, above=0, least=LEAST, most=LARGEST)
