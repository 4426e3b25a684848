"""Engines: each computes a `NonLocalMean` its own way, and all must agree.

An engine is a module with a `name`, `unsupported(operation)` and `average(operation, image)`.
They share the definition (formula, neighborhoods, border rule, checks), not the loop. To add
one, write the module and name it in `ENGINES`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Protocol, cast

import numpy as np

from nlmeans.neighborhood import Region
from nlmeans.operation import NonLocalMean
from nlmeans.validation import check_choice

ENGINES = {
    "numba": "nlmeans.engines.numba_engine",
    "reference": "nlmeans.engines.reference",
}


class Engine(Protocol):
    """What an engine module offers."""

    name: str

    def unsupported(self, operation: NonLocalMean) -> str | None:
        """Why the engine can not compute the operation; None if it can."""

    def average(
        self,
        operation: NonLocalMean,
        image: np.ndarray,
        *,
        region: Region | None = None,
        workers: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Compute y, (*space, C'), of an image (*space, C).

        With a region, one (start, stop) for each axis of space, compute y there alone, as part of
        the whole image.
        """


def get_engine(name: str) -> Engine:
    """Import an engine by its name; the imports are slow, so none happens before this."""
    check_choice("engine", name, ENGINES)
    # In a thread of its own, because Ctrl-C is raised in the main thread only: one that came while
    # LLVM was being loaded was swallowed by a finalizer, and LLVM's lock was never released.
    with ThreadPoolExecutor(1) as importer:
        return cast(Engine, importer.submit(import_module, ENGINES[name]).result())
