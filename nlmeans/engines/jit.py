"""Every Numba option of the project, and the primitives that Numba does not have.

A kernel file decorates with `kernel` (an entry point, cached on disk) or `inline` (a part of
one) and never calls `numba.njit` itself.
"""

import hashlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite.ir import PointerType
from numba.core import errors, event, types
from numba.extending import intrinsic, overload

# Reordering, reciprocals and contraction to FMA are welcome; nnan and ninf are not, because they
# let the compiler drop the comparisons that keep infinite distances at weight 0.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

KEEP_DAYS = 30
"""Kernels of other sources, of an older version say, that were not used for so long are removed."""

log = logging.getLogger("nlmeans")

config: Any = numba.config
JIT_DISABLED = bool(config.DISABLE_JIT)


def _cache_root() -> Path:
    """Folder for compiled kernels: NLMEANS_CACHE_DIR, or the platform's place for caches."""
    if chosen := os.environ.get("NLMEANS_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "nlmeans" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nlmeans"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nlmeans"


def _source_digest() -> str:
    """Digest of every source file that kernels are compiled from.

    Numba keys its cache on the one file a kernel stands in; the formula stands in another, and
    editing it left stale machine code in use. (The processor and Python are in Numba's own key.)
    """
    package = Path(__file__).resolve().parents[1]
    versions = f"{numba.__version__} {llvmlite.__version__} {np.__version__}"
    digest = hashlib.sha256(versions.encode())
    for path in (package / "affinity.py", *sorted((package / "engines").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Folder for the compiled kernels of just these sources; None where none can be written."""
    folder = _cache_root() / _source_digest()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            _remove_unused(folder.parent)
        os.utime(folder)
    except FileExistsError:  # another process was quicker
        pass
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _remove_unused(root: Path) -> None:
    """Remove the folders of other sources that were not used for KEEP_DAYS."""
    for old in root.iterdir():
        is_ours = old.is_dir() and len(old.name) == 16
        if is_ours and old.stat().st_mtime < time.time() - KEEP_DAYS * 86400:
            shutil.rmtree(old, ignore_errors=True)


CACHE_FOLDER = None if JIT_DISABLED else cache_folder()

_kernels: list[Any] = []


class _CompileLog(event.Listener):
    """Say in the log that a kernel is being compiled, which takes seconds."""

    def on_start(self, event: Any) -> None:
        """Log it, before it happens, if it is one of ours and not a part of one."""
        if any(event.data["dispatcher"] is kernel for kernel in _kernels):
            kept = f"kept in {CACHE_FOLDER}" if CACHE_FOLDER else "not kept: no folder for it"
            log.info("compiling %s, %s", event.data["dispatcher"].__name__, kept)

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


event.register("numba:compile", _CompileLog())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an entry point: releases the GIL, cached on disk, never `parallel=True`.

    Threads come from a pool over bundles instead: a cached `parallel=True` kernel took 0.6 s to
    load, and Numba's workqueue layer aborts the process when two threads call it at once.
    """
    compiled = numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy")(function)
    if CACHE_FOLDER is not None:
        # njit(cache=True) would derive the folder from the package's own, which may be
        # read-only, or from a global setting that is not ours to change.
        previous = config.CACHE_DIR
        config.CACHE_DIR = str(CACHE_FOLDER)
        try:
            compiled.enable_caching()
        finally:
            config.CACHE_DIR = previous
    _kernels.append(compiled)
    return compiled


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of a kernel: a small function on scalars or rows."""
    return numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy")(function)


def unroll(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function its compiled forms, chosen by the types and literals it is called with.

    For functions that call themselves on a part of a tuple. A loop over the tuple is unrolled by
    LLVM as well, but only up to a size: patches more than 7 pixels high were 30 times slower.
    Operations keep their order, so that the terms which several calls share are found.
    """
    return overload(function, prefer_literal=True, jit_options={"fastmath": FASTMATH - {"reassoc"}})


def literal(value: Any) -> int:
    """Value of a literal integer, of an int or of its type."""
    if isinstance(value, int):
        return value
    if not isinstance(value, types.IntegerLiteral):
        raise errors.RequireLiteralValue(f"not a literal: {value}")
    return value.literal_value


def is_true(kind: Any) -> bool:
    """Whether a type is that of True, which stands for a part of a formula that is left out."""
    return isinstance(kind, types.Boolean)


def is_flat(taps: Any) -> bool:
    """Whether the taps of a type of tuple are all True, that is, not weights."""
    return is_true(taps.dtype)


if JIT_DISABLED:

    def row_loop() -> None:
        """See below; nothing to do without a compiler."""

    always_inline = row_loop


else:

    @intrinsic
    def row_loop(typingctx: Any) -> Any:
        """Compile the calling function, a loop over a row, on its own, and trust its arrays.

        Not inlined, it vectorizes whatever surrounds it. Its arrays are promised not to overlap:
        without that it would start by comparing all pairs of rows, and not vectorize at all where
        those are too many.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.function.attributes.add("noinline")
            builder.function.attributes.alignstack = 64
            # The first two arguments are Numba's own, for the result and the error.
            for argument in builder.function.args[2:]:
                if isinstance(argument.type, PointerType):
                    argument.add_attribute("noalias")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def always_inline(typingctx: Any) -> Any:
        """Inline the calling function whatever its size."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.function.attributes.add("alwaysinline")
            return context.get_dummy_value()

        return types.void(), codegen
