"""What a denoising method has to offer."""

from typing import ClassVar, Literal, Protocol, Self

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.progress import Progress

Preset = Literal["fast", "balanced", "best"]
"""How much to spend, for the methods that leave the choice; each says what on."""


class Denoiser(Protocol):
    """A method with its options, a frozen dataclass.

    Its fields are the options that `nlmeans.denoise` and the command line take for it, all with
    a default; an option that is no field is refused there. An option of None is to be settled.
    """

    summary: ClassVar[str]
    """One line for tables and help."""
    dtypes: ClassVar[tuple[str, ...]]
    """Dtypes of images it takes."""

    @property
    def needs_sigma(self) -> bool:
        """Whether it has a `sigma` and needs to be told one before it can settle."""

    def settled(self, image: np.ndarray) -> Self:
        """Fill in every option that is None for an image (*space, C), and check that it fits.

        Raises
        ------
        ParameterError
            If an option does not fit the image, or the method does not take such images.
        """

    def halo(self, ndim: int) -> tuple[int, ...]:
        """How far from a position its result depends on the image, per axis of space."""

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise an image (*space, C), as settled; returns floats (*space, C)."""


def check_two_axes(method: str, image: np.ndarray) -> None:
    """Refuse images (*space, C) of other than two axes of space, for a method that has no more.

    Raises
    ------
    ParameterError
        If there are more or fewer.
    """
    if image.ndim != 3:
        raise ParameterError(
            "method",
            f"{method!r} takes images of two axes, not {image.ndim - 1}; 'nlm' takes any",
        )
