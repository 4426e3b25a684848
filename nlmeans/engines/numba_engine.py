"""The fast engine for NL-means: compiled loops over bundles of blocks, bundles over threads."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import product
from pathlib import Path

import numpy as np

from nlmeans.affinity import SMALLEST_SUM, PatchGaussian
from nlmeans.dtypes import working_dtype
from nlmeans.embedding import Identity
from nlmeans.engines.jit import CACHE_FOLDER
from nlmeans.engines.kernels import (
    DONE,
    STEP,
    STOP,
    Patch,
    close_bundle,
    close_patches,
    fill_bundle,
    filter_bundle,
    set_inverse,
)
from nlmeans.engines.layout import AXES, Layout
from nlmeans.engines.unit import in_units, unit_near
from nlmeans.neighborhood import Region, Window, check_region, extent
from nlmeans.normalizer import Sum
from nlmeans.operation import NonLocalMean, check_supported
from nlmeans.validation import check_workers

name = "numba"

READABLE = ("uint8", "uint16", "int16")
"""Dtypes that the kernels read as they are: a float copy of 16 MP took 5 % of the time."""

POLL = 0.1
"""Seconds between two calls of `progress`."""


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None if it can."""
    if not isinstance(operation.affinity, PatchGaussian):
        return f"the affinity is {type(operation.affinity).__name__}, not PatchGaussian"
    if not isinstance(operation.neighborhood, Window):
        return "the neighborhood is not a Window"
    if not isinstance(operation.normalizer, Sum) or not isinstance(operation.values, Identity):
        return "the normalizer is not Sum or the values are not Identity"
    return None


def average(
    operation: NonLocalMean,
    image: np.ndarray,
    *,
    guide: np.ndarray | None = None,
    region: Region | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute y of a region of an image (*space, C), float64 for a float64 image, else float32.

    Holds the result, a copy of the image and of the guide if its memory is not contiguous or its
    dtype neither that of the result nor `READABLE`, and for each worker a bundle.
    """
    check_supported(name, unsupported(operation))
    affinity, window = operation.affinity, operation.neighborhood
    assert isinstance(affinity, PatchGaussian)  # `unsupported` said so
    assert isinstance(window, Window)
    dtype = working_dtype(image.dtype)
    *space, channels = image.shape
    region = check_region(region, space)
    lead = (1,) * (AXES - len(space))
    box = ((0, 1),) * len(lead) + region
    x = _readable(image, lead)
    compared = x if guide is None else _readable(guide, lead)
    search = (0,) * len(lead) + window.margin(len(space))
    reach = (0,) * len(lead) + affinity.reach(len(space))
    # A patch of one pixel averages pixels.
    spread = reach if operation.patchwise else (0,) * AXES
    unit = unit_near(affinity.h, float(compared.min()), float(compared.max()), dtype)
    center = {"one": 1.0, "zero": 0.0, "max": -1.0}[affinity.center]
    layout = Layout(x.shape, search, reach, box, spread)
    patch = _patch(in_units(affinity, unit), layout, reach, compared.shape[-1])
    y = np.empty((*extent(box), channels), dtype)

    room = threading.local()  # A fresh bundle each time took 3 % longer: its memory was new, too.

    def run(corners: np.ndarray, state: np.ndarray) -> None:
        if not hasattr(room, "bundle"):
            with_guide = None if guide is None else guide.shape[-1]
            room.bundle = layout.bundle(
                dtype, with_largest=center < 0 and not any(spread), guide_channels=with_guide
            )
            if any(spread):
                room.first = layout.first_sweep(room.bundle, with_largest=center < 0)
                room.bundle = layout.second_sweep(room.bundle)
        bundle = room.bundle
        inside = layout.inside(corners) if window.border == "exclude" else True
        fill_bundle(compared, corners, layout.tables, 1 / unit, bundle)
        if guide is not None:
            fill_bundle(x, corners, layout.tables, 1 / unit, bundle._replace(image=bundle.values))
        done = 0.0
        if any(spread):
            first = room.first._replace(inside=inside)
            first.denominator[:] = first.largest[:] = 0
            done = 0.3
            filter_bundle(first, patch, search, STEP, (0.0, done), state)
            first = first._replace(spread=spread)
            set_inverse(
                first, center, SMALLEST_SUM, corners, np.array(x.shape[:AXES]), bundle.inverse
            )
        for sums in (bundle.numerator, bundle.denominator, bundle.largest):
            sums[:] = 0
        bundle = bundle._replace(inside=inside)
        filter_bundle(bundle, patch, search, layout.step, (done, 1.0 - done), state)
        if any(spread):
            close_patches(bundle, unit, x, corners, np.array(box), np.array(x.shape[:AXES]), y)
        else:
            close_bundle(bundle, center, SMALLEST_SUM, unit, x, corners, np.array(box), y)

    _run_all(run, layout.bundles(), check_workers(workers), progress)
    return y.reshape(*extent(region), channels)


def warm_up(progress: Callable[[float], None] | None = None) -> Path | None:
    """Compile, or load, the kernels of flat patches of radius 1 to 5 for every dtype of an image.

    Those that `nlmeans.denoise` chooses from; others are compiled when they are first used. About
    five seconds for each where it was not done before.

    Returns
    -------
    folder : Path or None
        Where the kernels are kept; None if no folder can be written.
    """
    variants = [
        *product(map(np.dtype, ("float32", "float64")), range(1, 6)),
        *((np.dtype(name), 1) for name in READABLE),  # the radius is compiled apart
    ]
    for done, (dtype, radius) in enumerate(variants, 1):
        operation = NonLocalMean(PatchGaussian(1.0, patch_radius=radius), Window(1))
        average(operation, np.zeros((2, 2, 1), dtype), workers=1)
        if progress is not None:
            progress(done / len(variants))
    return CACHE_FOLDER


def _readable(image: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    """The image (a, b, y, x, c), in memory and dtype as the kernels can read it."""
    native = image.dtype.newbyteorder("=")
    dtype = native if native.name in READABLE else working_dtype(image.dtype)
    return np.ascontiguousarray(image, dtype).reshape(*lead, *image.shape)


def _patch(affinity: PatchGaussian, layout: Layout, reach: tuple[int, ...], channels: int) -> Patch:
    """Lay out patch and formula for the kernels: sums, not means, and powers of 2, not of e."""
    flat = affinity.patch_kernel == "flat"
    *planes, along_y, along_x = affinity.patch.axis_weights(reach)
    strides = layout.strides()[:3]
    offsets, weights = [], []
    for c, a, b in product(range(channels), *(range(2 * r + 1) for r in reach[:2])):
        offsets.append(int(np.dot((c, a - reach[0], b - reach[1]), strides)))
        weights.append(1.0 if flat else planes[0][a] * planes[1][b])
    n = channels * (math.prod(2 * r + 1 for r in reach) if flat else 1)
    return Patch(
        np.array(offsets, np.int64),
        np.ones(len(weights), np.bool_) if flat else np.array(weights, np.float32),
        (True,) * len(along_y) if flat else tuple(along_y.astype(np.float32)),
        (True,) * len(along_x) if flat else tuple(along_x.astype(np.float32)),
        (True,) * len(along_y),
        (True,) * len(along_x),
        np.float32(n * 2 * affinity.sigma**2),
        np.float32(-(2**23) * math.log2(math.e) / (n * affinity.h**2)),
        np.float32(2**23 * math.log2(affinity.cutoff)) if affinity.cutoff else True,
    )


def _run_all(
    run: Callable[[np.ndarray, np.ndarray], None],
    bundles: list[np.ndarray],
    workers: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Run every bundle; the kernels release the GIL. An error or Ctrl-C stops them soon."""
    states = np.zeros((len(bundles), 2))
    with ThreadPoolExecutor(workers) as pool:
        pending = {pool.submit(run, *task) for task in zip(bundles, states, strict=True)}
        try:
            while pending:
                finished, pending = wait(pending, POLL, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                if progress is not None:
                    progress(float(states[:, DONE].mean()) if pending else 1.0)
        except BaseException:
            states[:, STOP] = 1
            pool.shutdown(cancel_futures=True)
            raise
