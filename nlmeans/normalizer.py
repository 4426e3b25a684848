"""C_i, what the weighted sum is divided by."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np


class Normalizer(Protocol):
    """Turns the values of f over N(i) into weights."""

    homogeneous: ClassVar[bool]
    """Whether a common factor of f cancels."""

    def weights(self, affinity: np.ndarray) -> np.ndarray:
        """f / C of f, shape (members, *space)."""


@dataclass(frozen=True)
class Sum:
    """C_i = sum over j of f(x_i, x_j); for an exponential f this is a softmax."""

    homogeneous: ClassVar[bool] = True

    def weights(self, affinity: np.ndarray) -> np.ndarray:
        """Divide by the sum over the members."""
        return affinity / affinity.sum(0)


@dataclass(frozen=True)
class Count:
    """C_i = N, the number of members, for an f that may be negative or zero throughout."""

    homogeneous: ClassVar[bool] = False

    def weights(self, affinity: np.ndarray) -> np.ndarray:
        """Divide by the number of members."""
        return affinity / len(affinity)
