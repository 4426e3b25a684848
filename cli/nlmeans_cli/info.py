"""`nlm info`."""

import os
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from nlmeans import NoiseEstimate, ParameterError
from nlmeans.files import Picture
from nlmeans.validation import check_number
from nlmeans_cli import errors, inout, options, report
from nlmeans_cli.pages import estimate_pages
from nlmeans_cli.units import Levels


@click.command(
    cls=errors.Command,
    epilog=options.examples("nlm info noisy.png", "nlm info scans/*.tif --json"),
)
@click.argument("paths", nargs=-1, required=True, type=options.PATH, metavar="IN...")
@options.white
@options.as_json
def info(paths: tuple[str, ...], white: float | None, as_json: bool) -> int:
    """Tell what image files hold, and how noisy they are.

    The noise of each page is estimated: its standard deviation in 8-bit gray levels and in the
    units of the file, what is left of it at half and quarter size if it is correlated between
    pixels, and how its variance grows with the level if it does. What is told is what
    'nlm denoise' goes by.
    """
    inout.check_paths(paths, (), force=False, format=None)
    if white is not None:
        check_number("white", white, above=0)
    batch = errors.Batch()
    printed = False
    for path in paths:
        record = batch.add({"file": path}, partial(_describe, path, white))
        if not as_json and "error" not in record:
            _print(record, after_another=printed)
            printed = True
    if as_json:
        report.out_json(batch.records)
    return batch.exit_code()


def _describe(path: str, white: float | None) -> dict[str, Any]:
    picture = inout.read(path)
    pixels = picture.pixels
    *_, height, width = picture.plane_shape
    record: dict[str, Any] = {
        "bytes": None if path == inout.PIPE else os.path.getsize(path),
        "format": picture.format,
        "width": width,
        "height": height,
        "pages": len(pixels) if picture.pages else 1,
        "channels": 1 if picture.channel_axis is None else pixels.shape[-1],
        "alpha": picture.alpha is not None,
        "dtype": str(pixels.dtype),
        "smallest": pixels.min().item(),
        "largest": pixels.max().item(),
        "metadata": _metadata(picture),
    }
    try:
        native = estimate_pages(picture)
    except ParameterError as error:  # a depth or values that can not be denoised
        return record | {"sigma": None, "sigma_native": None, "noise": None, "reason": str(error)}
    scale = Levels.of(pixels.dtype, white).scale
    return record | {
        "sigma": [page.strength / scale for page in native],
        "sigma_native": [page.strength for page in native],
        "noise": [_in_levels(page, scale) for page in native],
    }


def _in_levels(noise: NoiseEstimate, scale: float) -> dict[str, Any]:
    """An estimate in 8-bit gray levels."""
    power = {"white": 0, "signal_dependent": 0, "blocks": 0, "variation": 0, "offset_variance": 2}

    def converted(value: Any, factor: float) -> Any:
        if isinstance(value, tuple):
            return tuple(converted(one, factor) for one in value)
        return value / factor if factor != 1 else value

    return {k: converted(value, scale ** power.get(k, 1)) for k, value in asdict(noise).items()}


def _metadata(picture: Picture) -> dict[str, Any]:
    """What travels along, by size where it is a block of bytes."""
    metadata = picture.metadata
    found: dict[str, Any] = {
        "ICC": metadata.icc and len(metadata.icc),
        "EXIF": metadata.exif and len(metadata.exif),
        "XMP": metadata.xmp and len(metadata.xmp),
        "DPI": metadata.dpi,
        "text": [key for key, _ in metadata.text],
        "color chunks": [kind.decode("ascii", "replace") for kind, _ in metadata.color_chunks],
    }
    return {name: value for name, value in found.items() if value}


def _print(record: dict[str, Any], *, after_another: bool) -> None:
    color = {1: "gray", 3: "RGB"}[record["channels"]] + (" with alpha" if record["alpha"] else "")
    size = f"{record['width']} x {record['height']}"
    if record["pages"] > 1:
        size += f", {record['pages']} pages"
    size_on_disk = "" if record["bytes"] is None else f", {record['bytes']} bytes"
    kept = [
        f"{name} ({', '.join(map(str, value))})"
        if isinstance(value, list)
        else f"{name} ({value[0]:g} x {value[1]:g})"
        if isinstance(value, tuple)
        else f"{name} ({value} bytes)"
        for name, value in record["metadata"].items()
    ]
    if record["sigma"] is None:
        noise = f"not estimated: {record['reason']}"
    else:
        noise = f"{_range(record['sigma'])} of 255, {_range(record['sigma_native'])} in the file"
        kinds = dict.fromkeys(map(_kind, record["noise"]))
        noise += "; " + "; ".join(kinds) if len(kinds) == 1 else "; pages differ"
    if after_another:
        report.out("")
    for name, value in {
        "file": record["file"],
        "format": record["format"] + size_on_disk,
        "size": size,
        "color": color,
        "depth": record["dtype"],
        "values": f"{record['smallest']:g} to {record['largest']:g}",
        "metadata": ", ".join(kept) or "none",
        "noise": noise,
    }.items():
        report.out(f"{name:9} {report.printable(value)}")


def _kind(noise: dict[str, Any]) -> str:
    """What `denoise` makes of an estimate, in 8-bit gray levels."""
    if not noise["white"]:
        half = ", ".join(f"{level:.3g}" for level in noise["scales"])
        return f"correlated between pixels, {half} at scales 1, 2, 4"
    if noise["signal_dependent"]:
        gain, offset = noise["gain"], noise["offset_variance"]
        return f"variance {gain:.3g} * level + {offset:.3g}"
    return "white" if noise["sigma"] else "none found"


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"
