"""N(i), the positions a mean is taken over, and the one rule for what lies beyond the border.

Beyond its border an image goes on by reflection about the border pixel, which is not repeated
(``d c b | a b c d | c b a``), as often as needed; an axis of one pixel repeats it. Patches and
search windows both reach into that continuation, so every position has a full neighborhood.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.validation import check_integer


def per_axis(name: str, radius: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """One radius for each of `ndim` axes, from a scalar or a sequence of that length.

    Raises
    ------
    ParameterError
        If a radius is not an integer >= 0 or their number is wrong.
    """
    radii = (radius,) * ndim if isinstance(radius, int) or np.ndim(radius) == 0 else tuple(radius)
    if len(radii) != ndim:
        raise ParameterError(name, f"must be one integer or one for each of {ndim} axes", radius)
    return tuple(check_integer(name, one, least=0) for one in radii)


def reflected(size: int, margin: int) -> np.ndarray:
    """Positions 0 ... size - 1 that the positions -margin ... size + margin - 1 are copies of.

    Examples
    --------
    >>> reflected(4, 2).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (size - 1), 1)
    position = np.abs(np.arange(-margin, size + margin)) % period
    return np.minimum(position, period - position) if size > 1 else np.zeros_like(position)


def reflect(image: np.ndarray, margin: tuple[int, ...]) -> np.ndarray:
    """Continue the first axes of an image by `margin` positions on each side."""
    for axis, m in enumerate(margin):
        image = image.take(reflected(image.shape[axis], m), axis)
    return image


def crop(image: np.ndarray, margin: tuple[int, ...]) -> np.ndarray:
    """Undo `reflect`."""
    return image[tuple(slice(m, size - m) for m, size in zip(margin, image.shape, strict=False))]


class Neighborhood(Protocol):
    """N(i) for all i at once."""

    def margin(self, ndim: int) -> tuple[int, ...]:
        """How far beyond the border its members lie, per spatial axis."""

    def members(self, array: np.ndarray, space: tuple[int, ...]) -> Iterator[np.ndarray]:
        """For each member j of N(i): its values for all i, broadcastable to (*space, D).

        `array` has the shape (*space + 2 margin, D).
        """

    def is_center(self, space: tuple[int, ...]) -> np.ndarray:
        """Whether member j of N(i) is i itself, broadcastable to (members, *space)."""


@dataclass(frozen=True)
class Window:
    """The positions within a search window around i.

    Parameters
    ----------
    radius : int or tuple of int
        s of a window of 2 s + 1 positions, for all spatial axes or one per axis.

    Raises
    ------
    ParameterError
        If a radius is negative or not an integer.
    """

    radius: int | tuple[int, ...]

    def __post_init__(self) -> None:
        per_axis("search_radius", self.radius, np.size(self.radius))

    def margin(self, ndim: int) -> tuple[int, ...]:
        """The radius, per axis."""
        return per_axis("search_radius", self.radius, ndim)

    def members(self, array: np.ndarray, space: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Shifted views, in the order of the displacement."""
        for start in product(*(range(2 * s + 1) for s in self.margin(len(space)))):
            yield array[tuple(slice(a, a + size) for a, size in zip(start, space, strict=True))]

    def is_center(self, space: tuple[int, ...]) -> np.ndarray:
        """Return True for the middle one."""
        count = int(np.prod([2 * s + 1 for s in self.margin(len(space))]))
        return (np.arange(count) == count // 2).reshape(-1, *(1 for _ in space))


@dataclass(frozen=True)
class Everywhere:
    """All positions of the image: the neighborhood of the non-local block."""

    def margin(self, ndim: int) -> tuple[int, ...]:
        """Zero: no member lies beyond the border."""
        return (0,) * ndim

    def members(self, array: np.ndarray, space: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Every position's vector, the same for all i."""
        yield from array.reshape(-1, *(1 for _ in space), array.shape[-1])

    def is_center(self, space: tuple[int, ...]) -> np.ndarray:
        """Return True where member and position have the same number."""
        count = int(np.prod(space))
        return np.eye(count, dtype=bool).reshape(count, *space)
