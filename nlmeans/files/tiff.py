"""TIFF: every depth, several pages; read through tifffile, written through imageio.

The reader works on tifffile's pages, because imageio's plug-in tells neither
where the data of a page lie (a truncated file must not pass) nor which sample
is alpha, and fails on a malformed tag.
"""

import contextlib
import io
import logging
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from nlmeans.errors import FileError, MetadataWarning
from nlmeans.files import exif
from nlmeans.files.formats import FLOATS, INTEGERS, check_size
from nlmeans.files.picture import Array, Metadata, Picture, from_samples

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_PREMULTIPLIED = 1
_DESCRIPTION, _XMP, _ICC = 270, 700, 34675
# Tags that are not carried, and what the user would miss with them.
_LOST = {
    33723: "IPTC",
    34377: "Photoshop data",
    33550: "GeoTIFF tags",
    34735: "GeoTIFF tags",
    42112: "GDAL tags",
    42113: "GDAL tags",
    50839: "ImageJ tags",
}


def decode(data: bytes, notes: list[str]) -> Picture:
    """Decode a TIFF file.

    A palette becomes RGB, 1-bit pictures become 8-bit, and where white is
    stored as zero the values are turned around.
    """
    import tifffile

    _check_directories(data)
    with _quiet(), tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = _full_pages(file, notes)
        first = pages[0]
        for page in pages:
            _check_page(page, data)
            if _kind(page) != _kind(first):
                raise FileError("pages differ in size or kind; split the file into one per kind")
        try:
            stack = _virtual_stack(file, pages, notes)
            if stack is None:
                stack = np.stack([_page_array(page) for page in pages])
        except (ValueError, ImportError) as error:
            if "imagecodecs" not in str(error):
                raise
            name = getattr(first.compression, "name", first.compression)
            raise FileError(
                f"{name} compression needs a package: pip install imagecodecs"
            ) from None
        samples, channels = _to_samples(stack, first, notes)
        metadata = _metadata(first, data, notes)
    several = len(samples) > 1
    return from_samples(
        samples if several else samples[0],
        channels=channels,
        format="TIFF",
        metadata=metadata,
        pages=several,
    )


def encode(picture: Picture) -> bytes:
    """Encode a picture as uncompressed little-endian TIFF, one directory per page."""
    import imageio.v3 as iio

    samples = picture.samples()
    metadata = picture.metadata
    big = samples.nbytes > 2**32 - 2**25  # tifffile's own bound for BigTIFF
    strings, ifds = _exif_parts(metadata.exif, big)
    tags: list[tuple[int, int, int, Any, bool]]
    tags = [(tag, 2, 0, value, True) for tag, value in strings.items()]
    if metadata.exif:
        tags.append((exif.ORIENTATION, 3, 1, exif.orientation(metadata.exif), False))
    if metadata.xmp:
        tags.append((_XMP, 1, len(metadata.xmp), metadata.xmp, True))
    description = dict(metadata.text).get("Description")
    extra = "assocalpha" if metadata.premultiplied else "unassalpha"
    single = picture.alpha is None and picture.channel_axis is None
    # Every choice below is stated, since imageio and tifffile would guess by shape.
    options: dict[str, Any] = {"plugin": "tifffile", "bigtiff": big, "byteorder": "<"}
    with iio.imopen("<bytes>", "w", extension=".tif", **options) as file:
        encoded = file.write(
            samples,
            photometric="minisblack" if picture.channel_axis is None else "rgb",
            planarconfig=None if single else "contig",
            extrasamples=None if picture.alpha is None else [extra],
            resolution=metadata.dpi,
            resolutionunit="INCH" if metadata.dpi else None,
            iccprofile=metadata.icc,
            description=description.encode() if description else None,
            software=False,
            metadata=None,
            extratags=tags,
        )
    return _append_directories(bytes(encoded), ifds)


def _exif_parts(
    block: bytes | None, big: bool
) -> tuple[dict[int, bytes], dict[int, dict[int, Any]]]:
    """Split EXIF into strings and directories that are certain to be written."""
    if not block:
        return {}, {}
    try:
        strings, ifds = exif.to_tiff(block)
        for ifd in ifds.values():
            exif.directory(ifd, 0)
    except Exception:  # a malformed block fails in any way
        text = "damaged EXIF is left behind, but for its orientation"
    else:
        if not (big and ifds):
            return strings, ifds
        text = "EXIF directories are left behind in a TIFF file of more than 4 GB"
    warnings.warn(text, MetadataWarning, stacklevel=4)
    return {}, {}


def _append_directories(encoded: bytes, ifds: dict[int, dict[int, Any]]) -> bytes:
    """Add the EXIF and GPS directories, which tifffile does not write.

    They go behind the file, and behind them a first page that points to them.
    """
    if not ifds:
        return encoded
    (start,) = struct.unpack_from("<I", encoded, 4)
    (count,) = struct.unpack_from("<H", encoded, start)
    end = start + 2 + 12 * count
    entries = [encoded[at : at + 12] for at in range(start + 2, end, 12)]
    extended = bytearray(encoded)
    for tag, ifd in ifds.items():
        extended += bytes(-len(extended) % 4)
        entries.append(struct.pack("<HHII", tag, 4, 1, len(extended)))
        extended += exif.directory(ifd, len(extended))
    extended += bytes(-len(extended) % 4)
    extended[4:8] = struct.pack("<I", len(extended))
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    extended += struct.pack("<H", len(entries)) + b"".join(entries) + encoded[end : end + 4]
    return bytes(extended)


# Directories and pages ---------------------------------------------------------------------------


def _check_directories(data: bytes) -> None:
    """Raise where the chain of pages breaks; tifffile would just read fewer pages."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    at_format, count_format, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    seen: set[int] = set()
    position = 8 if big else 4
    try:
        while at := int(struct.unpack_from(order + at_format, data, position)[0]):
            if at in seen:
                raise FileError("damaged TIFF file (pages go round in a circle)")
            seen.add(at)
            count = int(struct.unpack_from(order + count_format, data, at)[0])
            position = at + struct.calcsize(order + count_format) + count * entry
    except struct.error:
        raise FileError("truncated TIFF file (a page is missing)") from None
    if not seen:
        raise FileError("damaged TIFF file (no page)")


def _full_pages(file: Any, notes: list[str]) -> list[Any]:
    """Return the pages that are pictures, not smaller copies or masks of others."""
    pages = [page for page in file.pages if not int(page.subfiletype) & 0b101]
    if not pages:
        raise FileError("damaged TIFF file (no full-size page)")
    if len(pages) < len(file.pages) or any(page.subifds for page in pages):
        notes.append("smaller copies and masks")
    return pages


def _kind(page: Any) -> tuple[object, ...]:
    orientation = page.tags.valueof(exif.ORIENTATION)
    return page.shape, page.dtype, page.photometric, tuple(page.extrasamples), orientation


def _check_page(page: Any, data: bytes) -> None:
    check_size(page.imagelength, page.imagewidth)
    if page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE):
        name = getattr(page.photometric, "name", page.photometric)
        raise FileError(f"{name} TIFF is not supported; convert the picture to RGB or gray")
    if page.imagedepth > 1:
        raise FileError("TIFF volumes are not supported; store slices as pages")
    if page.dtype is None or (page.bitspersample != 8 * page.dtype.itemsize and page.dtype != bool):
        raise FileError(f"{page.bitspersample}-bit samples are not supported; use 8, 16 or 32 bits")
    if page.dtype != bool and page.dtype.name not in INTEGERS + FLOATS:
        raise FileError(f"{page.dtype} samples are not supported")
    # tifffile fills missing data with zeros.
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    expected = int(np.prod(page.chunked))
    inside = sum(1 for at, size in segments if at and size and at + size <= len(data))
    if inside < expected:
        raise FileError(
            f"truncated TIFF file ({expected - inside} of {expected} parts are missing)"
        )
    if page.compression == 1 and page.dtype != bool and sum(page.databytecounts) < page.nbytes:
        raise FileError("truncated TIFF file (parts are too short)")


def _virtual_stack(file: Any, pages: list[Any], notes: list[str]) -> Array | None:
    """Read the stacks of ImageJ, MetaMorph and tifffile that list only their first page."""
    if len(pages) > 1 or not (file.is_imagej or file.is_shaped or file.is_stk):
        return None
    try:
        series = file.series[0]
    except Exception:  # a malformed description fails in any way
        notes.append("damaged description of a stack")
        return None
    if int(np.prod(series.shape)) <= pages[0].size:
        return None
    return np.asarray(series.asarray(maxworkers=1)).reshape(-1, *pages[0].shape)


def _page_array(page: Any) -> Array:
    return np.asarray(page.asarray(maxworkers=1)).reshape(page.shape)


def _to_samples(stack: Array, page: Any, notes: list[str]) -> tuple[Array, int]:
    """Bring stored samples into the order (page, y, x, sample)."""
    if stack.dtype == bool:
        stack = stack * np.uint8(255)
    if page.samplesperpixel > 1 and page.axes.startswith("S"):  # one plane per sample
        stack = np.moveaxis(stack, 1, -1)
    base = 3 if page.photometric == _RGB else 1
    extra = page.samplesperpixel - base
    if extra not in (0, 1) or (extra and page.photometric == _PALETTE):
        raise FileError(f"{page.samplesperpixel} channels per pixel are not supported")
    if page.photometric == _PALETTE:
        return _apply_palette(stack, page), 3
    if page.photometric == _WHITE_IS_ZERO:
        if stack.dtype.kind != "u":
            raise FileError(f"{stack.dtype} samples with white as zero are not supported")
        color = stack if not extra else stack[..., :1]
        np.subtract(np.iinfo(stack.dtype).max, color, out=color)
    if extra and 0 in (page.extrasamples or (0,)):
        notes.append("an extra channel of no stated meaning is carried as alpha")
    return stack, base + extra


def _apply_palette(stack: Array, page: Any) -> Array:
    colors = np.asarray(page.colormap)
    if (colors % 257 == 0).all() or (colors % 256 == 0).all():  # both ways to widen 8 bits
        colors = (colors >> 8).astype(np.uint8)
    return np.moveaxis(colors[:, stack], 0, -1)


def _metadata(page: Any, data: bytes, notes: list[str]) -> Metadata:
    tags = page.tags
    notes += dict.fromkeys(name for tag, name in _LOST.items() if tag in tags)
    block = None
    try:
        if data[2:4] in (b"+\0", b"\0+"):
            block = exif.from_orientation(int(tags.valueof(exif.ORIENTATION, 1)))
            notes += ["EXIF"] if exif.EXIF_IFD in tags else []
        else:
            block = exif.from_tiff(data)
    except Exception:  # a malformed directory fails in any way
        notes.append("damaged EXIF")
    description = tags.valueof(_DESCRIPTION)
    if isinstance(description, bytes):
        description = description.decode("utf-8", "backslashreplace")
    if page.is_shaped:  # tifffile's own note of the shape
        description = None
    return Metadata(
        icc=_as_bytes(tags.valueof(_ICC)),
        exif=block,
        xmp=_as_bytes(tags.valueof(_XMP)),
        dpi=_dpi(tags),
        text=(("Description", description),) if description else (),
        premultiplied=_PREMULTIPLIED in page.extrasamples,
    )


def _as_bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        value = value.encode()
    return bytes(value) if isinstance(value, bytes | tuple) and value else None


def _dpi(tags: Any) -> tuple[float, float] | None:
    try:
        scale = {2: 1.0, 3: 2.54}[int(tags.valueof(296, 2))]
        (x, x_unit), (y, y_unit) = tags.valueof(282), tags.valueof(283)
        return (scale * x / x_unit, scale * y / y_unit) if x and y else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):  # absent or malformed
        return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile's log off the terminal: what matters in it is checked here."""
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled
