"""EXIF blocks: the orientation in them, and their way into and out of TIFF tags.

Everywhere but in TIFF the block travels as it is. In a TIFF file the same tags
are part of the file's own directory, so that they are copied one by one.
"""

import io
import struct
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from nlmeans.files.picture import Array, Picture

ORIENTATION = 274
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
EXIF_IFD, GPS_IFD = 34665, 34853
# Make, model, software, date, artist, host computer, copyright.
_STRINGS = (271, 272, 305, 306, 315, 316, 33432)


def strip_prefix(block: bytes) -> bytes:
    """Remove the "Exif" mark that JPEG puts before the block."""
    return block.removeprefix(b"Exif\0\0")


def orientation(block: bytes) -> int:
    """Return the orientation an EXIF block states."""
    value = _numbers(block).get(ORIENTATION, 1)
    return int(value) if 1 <= value <= 8 else 1


def resolution(block: bytes) -> tuple[float, float] | None:
    """Return the resolution an EXIF block states."""
    numbers = _numbers(block)
    scale = {2: 1.0, 3: 2.54}.get(int(numbers.get(_UNIT, 2)))
    x, y = numbers.get(_X_RESOLUTION), numbers.get(_Y_RESOLUTION)
    return (x * scale, y * scale) if scale and x and y else None


def _numbers(block: bytes) -> dict[int, float]:
    """Read the single numbers of the first directory as far as it is sound."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    found: dict[int, float] = {}
    if order is None:
        return found
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, entry)
            if kind == 3:  # SHORT
                found[tag] = value
            elif kind == 5:  # RATIONAL, stored elsewhere
                (at,) = struct.unpack_from(order + "I", block, entry + 8)
                over, under = struct.unpack_from(order + "II", block, at)
                found[tag] = over / under if under else 0.0
    except struct.error:  # points outside of the block
        pass
    return found


def upright(picture: Picture, value: int) -> Picture:
    """Apply an orientation to the pixels, to alpha and to the resolution."""
    y = 1 if picture.pages else 0

    def turn(array: Array) -> Array:
        if value >= 5:
            array = np.swapaxes(array, y, y + 1)
        if value in (3, 4, 7, 8):
            array = np.flip(array, y)
        if value in (2, 3, 6, 7):
            array = np.flip(array, y + 1)
        return np.ascontiguousarray(array)

    metadata = picture.metadata
    if value >= 5 and metadata.dpi:
        metadata = replace(metadata, dpi=metadata.dpi[::-1])
    return replace(
        picture,
        pixels=turn(picture.pixels),
        alpha=None if picture.alpha is None else turn(picture.alpha),
        metadata=metadata,
    )


def from_tiff(data: bytes) -> bytes | None:
    """Collect the EXIF tags of a TIFF file into a block of their own."""
    from PIL import Image

    source, block = Image.Exif(), Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about corrupt tags, which are left out
        source.load_from_fp(io.BytesIO(data))
        for tag in (*_STRINGS, ORIENTATION):
            if tag in source and source[tag] != 1:
                block[tag] = _exact(source[tag])
        for tag in (EXIF_IFD, GPS_IFD):
            if tag in source:
                block[tag] = _without_pointers(source.get_ifd(tag))
        return strip_prefix(block.tobytes()) if len(block) else None


def from_orientation(value: int) -> bytes | None:
    """Make a block that states an orientation and nothing else."""
    if not 2 <= value <= 8:
        return None
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, ORIENTATION, 3, 1, value, 0, 0)


def to_tiff(block: bytes) -> tuple[dict[int, bytes], dict[int, dict[int, Any]]]:
    """Split a block into what a TIFF file stores as tags and as directories."""
    from PIL import Image

    source = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source.load(block)
        strings = {tag: _latin(source[tag]) for tag in _STRINGS if tag in source}
        ifds = {tag: source.get_ifd(tag) for tag in (EXIF_IFD, GPS_IFD) if tag in source}
    return strings, {tag: _without_pointers(ifd) for tag, ifd in ifds.items() if ifd}


def directory(ifd: dict[int, Any], offset: int) -> bytes:
    """Encode a directory to be placed into a little-endian TIFF file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    encoded = ImageFileDirectory_v2(ifh=b"II*\0\x08\0\0\0")
    for tag, value in ifd.items():
        encoded[tag] = value
    return encoded.tobytes(offset)


def _without_pointers(ifd: dict[int, Any]) -> dict[int, Any]:
    interoperability = 40965  # an offset, which means nothing elsewhere
    return {tag: _exact(value) for tag, value in ifd.items() if tag != interoperability}


def _exact(value: Any) -> Any:
    # Pillow reads strings as Latin-1, yet writes a "?" for what is not ASCII.
    return _latin(value) if isinstance(value, str) and not value.isascii() else value


def _latin(value: object) -> bytes:
    return str(value).rstrip("\0").encode("latin-1", "replace")
