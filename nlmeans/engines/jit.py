"""Every Numba option of the project, and the two primitives Numba does not have.

A kernel file decorates with `kernel` (an entry point, cached on disk) or `inline` (a part of
one) and never calls `numba.njit` itself.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

# Reordering, reciprocals and contraction to FMA are welcome; nnan and ninf are not, because they
# let the compiler drop the comparisons that keep infinite distances at weight 0.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

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
    editing it left stale machine code in use.
    """
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__}".encode())
    for path in (package / "affinity.py", *sorted((package / "engines").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Folder for the compiled kernels of just these sources; None where none can be written."""
    folder = _cache_root() / _source_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


CACHE_FOLDER = None if JIT_DISABLED else cache_folder()


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile an entry point: releases the GIL, cached on disk, never `parallel=True`.

    Threads come from a pool over tiles instead: a cached `parallel=True` kernel took 0.6 s to
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
    return compiled


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of a kernel: a small function on scalars or rows."""
    return numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy")(function)


if JIT_DISABLED:

    def float32_from_bits(bits: Any) -> Any:
        """Reinterpret an int32 as a float32."""
        return np.int32(bits).view(np.float32)

else:

    @intrinsic
    def float32_from_bits(typingctx: Any, bits: Any) -> Any:
        """Reinterpret an int32 as a float32: one bitcast, so that loops around it vectorize."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], context.get_value_type(types.float32))

        return types.float32(types.int32), codegen


def weigh(weight, value):
    """weight * value; compiled for a weight of type bool, which stands for 1, just the value.

    Functions passed as arguments would do the same, but kernels that take one are compiled
    anew in every process.
    """
    return weight * value


@overload(weigh, jit_options={"fastmath": FASTMATH})
def _weigh(weight, value):
    if isinstance(weight, types.Boolean):
        return lambda weight, value: value
    return lambda weight, value: weight * value


@inline
def relu(value):
    """max(value, 0) in float32."""
    return max(value, np.float32(0.0))


@inline
def exp2(exponent):
    """2**exponent for float32 exponents <= 0, to a relative 3e-7; exactly 1 at 0, 0 below -126.

    Branch-free, so that a loop over it vectorizes: 0.3 ns a value where `np.exp`, a call for
    each value, takes 4.2. Split x = n + f with n an integer and f in [-0.5, 0.5]; 2**n is its
    exponent bits, 2**f a polynomial of degree 5 fitted for the least relative error, 1e-7.
    """
    clamped = max(exponent, np.float32(-126.0))
    whole = np.int32(clamped - np.float32(0.5))  # truncation rounds a value <= 0 to the nearest
    f = clamped - np.float32(whole)
    series = np.float32(0.0013264726)
    series = series * f + np.float32(0.009671513)
    series = series * f + np.float32(0.055507336)
    series = series * f + np.float32(0.24022242)
    series = series * f + np.float32(0.693147)
    series = series * f + np.float32(1.0)
    power = series * float32_from_bits((whole + np.int32(127)) << np.int32(23))
    return power if exponent >= np.float32(-126.0) else np.float32(0.0)
