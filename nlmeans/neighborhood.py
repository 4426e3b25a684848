"""N(i), the positions a mean is taken over, and the one rule for what lies beyond the border.

Beyond its border an image goes on by reflection about the border pixel, which is not repeated
(``d c b | a b c d | c b a``), as often as needed; an axis of one pixel repeats it. Patches reach
into that continuation, and so do search windows unless they leave out what lies beyond the border.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, Protocol, get_args

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.validation import check_choice, check_integer

Border = Literal["reflect", "exclude"]

Region = tuple[tuple[int, int], ...]
"""Start and stop of a box of positions, one pair for each axis of space."""


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


def check_region(region: Sequence[Sequence[int]] | None, space: Sequence[int]) -> Region:
    """A region of an image, checked; the whole image for None.

    Raises
    ------
    ParameterError
        If it is not one pair 0 <= start < stop <= size for each axis.

    Examples
    --------
    >>> check_region(None, (4, 5))
    ((0, 4), (0, 5))
    """
    if region is None:
        return tuple((0, size) for size in space)
    if [np.size(pair) for pair in region] != [2] * len(space):
        raise ParameterError("region", f"must be {len(space)} pairs of start and stop", region)
    pairs = tuple(
        (check_integer("region", a, least=0), check_integer("region", b, least=1))
        for a, b in region
    )
    if any(a >= b or b > size for (a, b), size in zip(pairs, space, strict=True)):
        raise ParameterError("region", f"must lie in the image of {tuple(space)}", region)
    return pairs


def extent(region: Region) -> tuple[int, ...]:
    """Shape of a region."""
    return tuple(stop - start for start, stop in region)


class Neighborhood(Protocol):
    """N(i) for all i of a region of the image at once."""

    def margin(self, ndim: int) -> tuple[int, ...]:
        """How far beyond the border its members lie, per spatial axis."""

    def members(self, array: np.ndarray, region: Region) -> Iterator[np.ndarray]:
        """For each member j of N(i): its values for all i, broadcastable to (*extent, D).

        `array` has the shape (*space + 2 margin, D), for the whole image.
        """

    def is_member(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """Whether j is one for this i after all, broadcastable to (members, *extent)."""

    def is_center(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """Whether member j of N(i) is i itself, broadcastable to (members, *extent)."""


@dataclass(frozen=True)
class Window:
    """The positions within a search window around i.

    Parameters
    ----------
    radius : int or tuple of int
        s of a window of 2 s + 1 positions, for all spatial axes or one per axis.
    border : {"reflect", "exclude"}, optional
        What of a window lies beyond the border of the image: positions of its continuation, or
        nothing. Patches reach into the continuation either way.

    Raises
    ------
    ParameterError
        If a radius is negative or not an integer, or the border unknown.
    """

    radius: int | tuple[int, ...]
    border: Border = "reflect"

    def __post_init__(self) -> None:
        per_axis("search_radius", self.radius, np.size(self.radius))
        check_choice("border", self.border, get_args(Border))

    def margin(self, ndim: int) -> tuple[int, ...]:
        """The radius, per axis."""
        return per_axis("search_radius", self.radius, ndim)

    def members(self, array: np.ndarray, region: Region) -> Iterator[np.ndarray]:
        """Shifted views, in the order of the displacement."""
        for shift in product(*(range(2 * s + 1) for s in self.margin(len(region)))):
            yield array[tuple(slice(a + k, b + k) for k, (a, b) in zip(shift, region, strict=True))]

    def is_member(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """With "exclude", whether i plus the displacement lies in the image."""
        result = np.ones((1,) * (len(space) + 1), bool)
        if self.border == "exclude":
            margin = self.margin(len(space))
            inside = np.zeros(np.add(space, np.multiply(2, margin)), bool)
            crop(inside, margin)[...] = True
            result = np.stack(list(self.members(inside, region)))
        return result

    def is_center(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """Return True for the middle one."""
        count = int(np.prod([2 * s + 1 for s in self.margin(len(space))]))
        return (np.arange(count) == count // 2).reshape(-1, *(1 for _ in space))


@dataclass(frozen=True)
class Everywhere:
    """All positions of the image: the neighborhood of the non-local block."""

    def margin(self, ndim: int) -> tuple[int, ...]:
        """Zero: no member lies beyond the border."""
        return (0,) * ndim

    def members(self, array: np.ndarray, region: Region) -> Iterator[np.ndarray]:
        """Every position's vector, the same for all i."""
        yield from array.reshape(-1, *(1 for _ in region), array.shape[-1])

    def is_member(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """Return True."""
        return np.ones((1,) * (len(space) + 1), bool)

    def is_center(self, space: tuple[int, ...], region: Region) -> np.ndarray:
        """Return True where member and position have the same number."""
        count = int(np.prod(space))
        box = tuple(slice(start, stop) for start, stop in region)
        return np.eye(count, dtype=bool).reshape(count, *space)[:, *box]
