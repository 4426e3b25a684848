"""One table of what each format holds; every check of a target derives from it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from nlmeans.errors import FileError, ParameterError
from nlmeans.files import exif
from nlmeans.files.picture import Metadata, Picture

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
FLOATS = ("float16", "float32", "float64")
# Small enough for every reader below (OpenCV stops here), large enough for a survey telescope.
MAX_PIXELS = 2**30


@dataclass(frozen=True)
class Format:
    """What one file format, as written here, can hold.

    Parameters
    ----------
    name : str
        Name of the format.
    extensions : tuple of str
        Its file extensions, the usual one first.
    dtypes : tuple of str
        Depths.
    side : int
        Largest width and height.
    alpha, pages, gray, icc : bool
        Whether it holds an alpha channel, several pages, gray pictures as
        gray, an ICC profile.
    dpi : int
        Largest resolution, 0 for none.
    exif, xmp : int
        Largest EXIF block and XMP packet in bytes, 0 for none.
    text : tuple of str
        Keywords of text it holds; "*" for any.
    premultiplied, color_chunks : bool
        Whether it holds these two of `Metadata`.
    """

    name: str
    extensions: tuple[str, ...]
    dtypes: tuple[str, ...]
    side: int
    alpha: bool
    pages: bool
    gray: bool
    icc: bool
    dpi: int
    exif: int
    xmp: int
    text: tuple[str, ...]
    premultiplied: bool = False
    color_chunks: bool = False


_EIGHT = ("uint8",)
_SIXTEEN = ("uint8", "uint16")
_ANY = 2**31 - 1
# fmt: off
_TABLE = (
    Format("PNG",  (".png",),                 _SIXTEEN,          side=_ANY,
           alpha=True,  pages=False, gray=True,  icc=True,  dpi=10**7,
           exif=_ANY,   xmp=_ANY,    text=("*",), color_chunks=True),
    Format("JPEG", (".jpg", ".jpeg", ".jpe"), _EIGHT,            side=65500,
           alpha=False, pages=False, gray=True,  icc=True,  dpi=65535,
           exif=65527,  xmp=65504,   text=("Comment",)),
    Format("TIFF", (".tif", ".tiff"),         INTEGERS + FLOATS, side=_ANY,
           alpha=True,  pages=True,  gray=True,  icc=True,  dpi=10**7,
           exif=_ANY,   xmp=_ANY,    text=("Description",), premultiplied=True),
    Format("WEBP", (".webp",),                _EIGHT,            side=16383,
           alpha=True,  pages=False, gray=False, icc=True,  dpi=0,
           exif=_ANY,   xmp=_ANY,    text=()),
    Format("BMP",  (".bmp",),                 _EIGHT,            side=_ANY,
           alpha=False, pages=False, gray=True,  icc=False, dpi=10**7,
           exif=0,      xmp=0,       text=()),
)
# fmt: on
FORMATS = {format.name: format for format in _TABLE}
_BY_EXTENSION = {extension: format for format in _TABLE for extension in format.extensions}


def recognize(data: bytes) -> Format | None:
    """Tell the format of a file from its first bytes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return FORMATS["PNG"]
    if data.startswith(b"\xff\xd8\xff"):
        return FORMATS["JPEG"]
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return FORMATS["TIFF"]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return FORMATS["WEBP"]
    if data.startswith(b"BM"):
        return FORMATS["BMP"]
    return None


def choose(path: str | None, format: str | None) -> Format:
    """Choose the format to write."""
    if format is not None:
        key = format.upper().lstrip(".")
        chosen = FORMATS.get(key) or _BY_EXTENSION.get(f".{key.lower()}")
        if chosen is None:
            raise ParameterError("format", f"must be one of {', '.join(FORMATS)}", format)
        return chosen
    if path is None:
        raise ParameterError("format", "must be given to write to a stream")
    extension = os.path.splitext(path)[1]
    if extension.lower() not in _BY_EXTENSION:
        problem = f"unknown extension {extension!r}" if extension else "no extension"
        raise FileError(f"{problem}; use {_or(f.extensions[0] for f in _TABLE)}")
    return _BY_EXTENSION[extension.lower()]


def check_fit(format: Format, picture: Picture) -> None:
    """Raise unless the format holds the pixels as they are."""
    if picture.alpha is not None and picture.alpha.dtype != picture.pixels.dtype:
        raise FileError(
            f"pixels are {picture.pixels.dtype} but alpha is {picture.alpha.dtype};"
            " a file holds one depth"
        )
    if not _misfits(format, picture):
        return
    others = [f.extensions[0] for f in _TABLE if not _misfits(f, picture)]
    way_out = f"write to {_or(others)}" if others else "no format here holds it"
    reason = " and ".join(_misfits(format, picture))
    raise FileError(f"{format.name} does not hold {reason}; {way_out}")


def _misfits(format: Format, picture: Picture) -> list[str]:
    height, width = picture.plane_shape[-2:]
    found = []
    if np.dtype(picture.pixels.dtype).name not in format.dtypes:
        found.append(f"{picture.pixels.dtype} pixels")
    if picture.alpha is not None and not format.alpha:
        found.append("alpha")
    elif picture.metadata.premultiplied and not format.premultiplied:
        found.append("premultiplied alpha")
    if picture.pages and not format.pages:
        found.append("several pages")
    if max(height, width) > format.side:
        found.append(f"{width} x {height} pixels")
    return found


def widens_gray(format: Format, picture: Picture) -> bool:
    """Tell whether a gray picture is written as RGB, all its values kept."""
    # OpenCV, which writes PNG of 16 bits, has no gray with alpha.
    deep_alpha = format.name == "PNG" and picture.alpha is not None and picture.pixels.itemsize == 2
    return picture.channel_axis is None and (not format.gray or deep_alpha)


def fit_metadata(format: Format, picture: Picture) -> tuple[Picture, list[str]]:
    """Reduce the metadata to what the format holds.

    A picture whose orientation can not be stored is turned upright instead.
    """
    old = picture.metadata
    kept = old
    lost: list[str] = []
    if old.icc and (not format.icc or (widens_gray(format, picture) and old.icc[16:20] == b"GRAY")):
        kept, lost = replace(kept, icc=None), [*lost, "ICC profile"]
    if old.exif and len(old.exif) > format.exif:
        picture = exif.upright(picture, exif.orientation(old.exif))
        kept, lost = replace(kept, exif=None), [*lost, "EXIF"]
        if picture.metadata.dpi != old.dpi:  # turned along with the pixels
            kept = replace(kept, dpi=picture.metadata.dpi)
    if old.xmp and len(old.xmp) > format.xmp:
        kept, lost = replace(kept, xmp=None), [*lost, "XMP"]
    if old.dpi and not all(1 <= value <= format.dpi for value in old.dpi):
        stated = exif.resolution(kept.exif or b"") or (0, 0)
        told = np.allclose(stated, old.dpi, rtol=1e-3)
        kept, lost = replace(kept, dpi=None), lost if told else [*lost, "resolution"]
    text = tuple(pair for pair in old.text if "*" in format.text or pair[0] in format.text)
    if text != old.text:
        names = dict.fromkeys(key for key, _ in old.text if key not in dict(text))
        kept, lost = replace(kept, text=text), [*lost, f"text ({', '.join(names)})"]
    if not format.color_chunks:
        lost += _color_loss(old)
    return replace(picture, metadata=kept), lost


def _color_loss(metadata: Metadata) -> list[str]:
    names = {kind.decode("ascii") for kind, _ in metadata.color_chunks}
    # sRGB is what a picture without any statement is taken for, and an ICC
    # profile or sRGB overrides gAMA and cHRM: those are lost without harm.
    names -= {"sRGB"} | ({"gAMA", "cHRM"} if metadata.icc or "sRGB" in names else set())
    return [f"color chunks ({', '.join(sorted(names))})"] if names else []


def check_size(height: int, width: int) -> None:
    """Raise for a picture too large to decode."""
    if height <= 0 or width <= 0:
        raise FileError("the picture has no pixels")
    if height * width > MAX_PIXELS:
        raise FileError(f"{width} x {height} pixels are more than the limit of {MAX_PIXELS}")


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
