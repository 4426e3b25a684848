"""Features of a position: what an affinity compares, and what a linear map makes of values.

An embedding maps an image (*space + 2 reach, C) to features (*space, D): what it needs from
around a position it takes from the margin, which the caller has filled by the border rule.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.neighborhood import per_axis
from nlmeans.validation import check_choice, check_number


class Embedding(Protocol):
    """A map from an image to one feature vector for each position."""

    def reach(self, ndim: int) -> tuple[int, ...]:
        """How far around a position it looks, per spatial axis."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Features (*space, D) of an image (*space + 2 reach, C)."""


@dataclass(frozen=True)
class Identity:
    """The channels of the position itself."""

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Zero: it looks nowhere else."""
        return (0,) * ndim

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the image."""
        return image


@dataclass(frozen=True)
class Linear:
    """A linear map of the channels, which a 1x1 convolution computes: W x.

    Parameters
    ----------
    matrix : ndarray, shape (D, C)
        W.

    Raises
    ------
    ParameterError
        If the matrix has not two axes.
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        if np.ndim(self.matrix) != 2:
            raise ParameterError("matrix", "must have two axes", np.shape(self.matrix))

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Zero: it looks nowhere else."""
        return (0,) * ndim

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """W x for every position."""
        return image @ np.asarray(self.matrix).T


@dataclass(frozen=True)
class Patch:
    """The patch around a position as one vector, scaled so that |P_i - P_j|^2 is the mean D.

    Parameters
    ----------
    radius : int or tuple of int
        r of a patch of 2 r + 1 positions, for all axes or one per axis.
    kernel : {"flat", "gaussian"}, optional
        Equal weights, or a Gaussian with a standard deviation of r / 2 along each axis.

    Raises
    ------
    ParameterError
        If the radius is negative or the kernel unknown.
    """

    radius: int | tuple[int, ...]
    kernel: Literal["flat", "gaussian"] = "flat"

    def __post_init__(self) -> None:
        per_axis("patch_radius", self.radius, np.size(self.radius))
        check_choice("patch_kernel", self.kernel, ("flat", "gaussian"))

    def reach(self, ndim: int) -> tuple[int, ...]:
        """The radius, per axis."""
        return per_axis("patch_radius", self.radius, ndim)

    def axis_weights(self, reach: tuple[int, ...]) -> list[np.ndarray]:
        """Weights of the positions along each axis, summing to 1; their product is the kernel."""
        weights = []
        for radius in reach:
            position = np.arange(-radius, radius + 1)
            # A radius of 0 has one position, so any width will do: 0/0 is kept out.
            width = radius / 2 if self.kernel == "gaussian" and radius else np.inf
            weight = np.exp(-(position**2) / (2 * width**2))
            weights.append(weight / weight.sum())
        return weights

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Patch vectors (*space, C n): every position's window, times the root of its weights."""
        ndim = image.ndim - 1
        weight = np.ones(())
        for along_axis in self.axis_weights(self.reach(ndim)):
            weight = np.multiply.outer(weight, along_axis)
        window = np.lib.stride_tricks.sliding_window_view(
            image, weight.shape, axis=tuple(range(ndim))
        )  # (*space, C, *patch)
        vectors = window * np.sqrt(weight / image.shape[-1])
        return vectors.reshape(*vectors.shape[:ndim], -1)


@dataclass(frozen=True)
class PatchQuery:
    """theta(P) = (2 P / h^2, 1): with `PatchKey`, NL-means as an embedded Gaussian.

    theta(P_i) . phi(P_j) = -|P_i - P_j|^2 / h^2 + |P_i|^2 / h^2, whose last term does not depend
    on j and cancels in the softmax.
    """

    h: float
    patch: Patch

    def __post_init__(self) -> None:
        check_number("h", self.h, least=1e-100, most=1e100)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """The patch radius, per axis."""
        return self.patch.reach(ndim)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(2 P / h^2, 1) for every position."""
        vectors = self.patch(image)
        return np.concatenate([2 * vectors / self.h**2, np.ones_like(vectors[..., :1])], -1)


class PatchKey(PatchQuery):
    """phi(P) = (P, -|P|^2 / h^2)."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(P, -|P|^2 / h^2) for every position."""
        vectors = self.patch(image)
        square = (vectors**2).sum(-1, keepdims=True)
        return np.concatenate([vectors, -square / self.h**2], -1)
