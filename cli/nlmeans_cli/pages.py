"""Pictures of several pages: each page is an image of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import nlmeans
from nlmeans import DenoiseInfo, NoiseEstimate
from nlmeans.files import Picture
from nlmeans.pipeline import check, check_tune
from nlmeans.validation import check_workers
from nlmeans_cli.progress import Callback, part
from nlmeans_cli.units import Levels

Array = np.ndarray[Any, np.dtype[Any]]


def check_options(
    method: str, options: dict[str, Any], *, white: float | None, workers: int | None
) -> None:
    """Refuse options, in 8-bit gray levels, that are wrong for any image; no file is touched."""
    Levels.of(np.dtype(np.uint8), white)
    check_workers(workers)
    rest = dict(options)
    noise = {name: rest.pop(name, None) for name in ("noise", "sigma", "gain", "scales")}
    rest.pop("chroma", None)  # depends on the channels
    check_tune(rest.pop("tune", False), method, rest)
    check(method, rest, **noise)


def pages_of(picture: Picture) -> list[Array]:
    """Pages of a picture; one, if it has no axis of pages."""
    return list(picture.pixels) if picture.pages else [picture.pixels]


def with_pages(picture: Picture, pages: Sequence[Array]) -> Picture:
    """Put the pages back."""
    return picture.with_pixels(np.stack(pages) if picture.pages else pages[0])


def denoise_pages(
    picture: Picture,
    method: str,
    options: dict[str, Any],
    *,
    workers: int | None,
    progress: Callback,
) -> tuple[Picture, list[DenoiseInfo]]:
    """Denoise each page, with options in the units of the image."""
    pages, infos = [], []
    sources = pages_of(picture)
    for index, page in enumerate(sources):
        result, info = nlmeans.denoise(
            page,
            method=method,
            channel_axis=picture.channel_axis,
            workers=workers,
            progress=part(progress, index, len(sources)),
            return_info=True,
            **options,
        )
        pages.append(result)
        infos.append(info)
    return with_pages(picture, pages), infos


def estimate_pages(picture: Picture) -> list[NoiseEstimate]:
    """Estimate the noise of each page, in the units of the image."""
    axis = picture.channel_axis
    return [nlmeans.estimate_noise(page, channel_axis=axis) for page in pages_of(picture)]
