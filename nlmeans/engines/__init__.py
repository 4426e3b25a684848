"""Engines: each computes a `NonLocalMean` its own way, and all must agree.

An engine is a module with a `name`, `unsupported(operation)` and `average(operation, image)`.
They share the definition (formula, neighborhoods, border rule, checks), not the loop. To add
one, write the module and name it in `ENGINES`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import Protocol, cast

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.groups import Groups
from nlmeans.neighborhood import Region
from nlmeans.operation import NonLocalMean
from nlmeans.validation import check_choice

ENGINES = {
    "numba": "nlmeans.engines.numba_engine",
    "reference": "nlmeans.engines.reference",
    "torch": "nlmeans.engines.torch_engine",
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
        guide: np.ndarray | None = None,
        region: Region | None = None,
        workers: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Compute y, (*space, C'), of an image (*space, C).

        With a guide (*space, C''), a first estimate say, f compares what that has at i and j.
        With a region, one (start, stop) for each axis of space, compute y there alone, as part of
        the whole image.
        """


GROUP_ENGINES = {
    "numba": "nlmeans.engines.numba_groups",
    "reference": "nlmeans.engines.reference_groups",
}


class GroupEngine(Protocol):
    """What a module offers that computes averages over `nlmeans.groups.Groups`."""

    def match(
        self,
        guide: np.ndarray,
        groups: Groups,
        *,
        workers: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Members of every group of an image (y, x), as displacements (references, k, 2)."""

    def group_mean(
        self,
        values: np.ndarray,
        features: np.ndarray | None,
        members: np.ndarray,
        groups: Groups,
        noise: np.ndarray,
        *,
        partial: bool = False,
        workers: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> np.ndarray:
        """Change (1 or 2, y, x) of an image (y, x); see `numba_groups.group_mean`."""


def get_engine(name: str) -> Engine:
    """Import an engine by its name; the imports are slow, so none happens before this."""
    return cast(Engine, _load(ENGINES[check_choice("engine", name, ENGINES)]))


def get_group_engine(name: str) -> GroupEngine:
    """The same of an engine for groups."""
    return cast(GroupEngine, _load(GROUP_ENGINES[check_choice("engine", name, GROUP_ENGINES)]))


def _load(module: str) -> ModuleType:
    """Import a module in a thread of its own."""
    # Because Ctrl-C is raised in the main thread only: one that came while
    # LLVM was being loaded was swallowed by a finalizer, and LLVM's lock was never released.
    with ThreadPoolExecutor(1) as importer:
        try:
            return importer.submit(import_module, module).result()
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ParameterError(
                "engine", "'torch' needs PyTorch, which pip install 'nlmeans[torch]' installs"
            ) from None
