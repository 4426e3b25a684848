"""Image files: read into pixels, alpha and metadata, and written whole or not at all.

===========  ============================================  ==========================
Module       Work                                          Reads and writes
===========  ============================================  ==========================
`formats`    the table of what each format holds
`picture`    the types
`png`        chunks; 8 and 16 bits, gray or RGB, alpha     losslessly
`jpeg`       segments; 8 bits, gray or RGB                 quality 95, full chroma
`tiff`       directories; every depth, alpha, pages        losslessly, uncompressed
`webp`       chunks; 8 bits, RGB, alpha                    losslessly
`bmp`        8 bits, gray or RGB                           losslessly
`exif`       the orientation; EXIF in TIFF
`pillow`     the plug-in of imageio that four formats use
`atomic`     temporary file and rename
===========  ============================================  ==========================

Palettes are read as RGB (as gray, if all their colors are) and written so. Gray is
written as RGB to WebP and, with alpha and 16 bits, to PNG: no codec here has it.
Pixels stay as stored: an EXIF orientation is carried along, and applied only
where the target can not hold it.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

from nlmeans.errors import FileError, MetadataWarning, NLMeansError
from nlmeans.files import atomic, bmp, formats, jpeg, png, tiff, webp
from nlmeans.files.formats import FORMATS
from nlmeans.files.picture import Metadata, Picture

__all__ = ["FORMATS", "Metadata", "Picture", "check_target", "read", "write"]

_CODECS: dict[str, Any] = {"PNG": png, "JPEG": jpeg, "TIFF": tiff, "WEBP": webp, "BMP": bmp}
PathLike = str | os.PathLike[str]


def read(source: PathLike | BinaryIO) -> Picture:
    """Read an image file.

    Parameters
    ----------
    source : path or binary stream
        The file. Its format is told from its content, never from its name; a
        stream is read to its end and need not be seekable.

    Returns
    -------
    Picture
        Pixels in the depth of the file, alpha and metadata apart.

    Raises
    ------
    FileError
        The file is missing, unreadable, damaged, truncated or of a kind that
        is not supported.

    Warns
    -----
    MetadataWarning
        Part of the metadata is damaged or of a kind that is not carried.
    """
    notes: list[str] = []
    with _one_line(source):
        data = _content(source)
        format = formats.recognize(data)
        if format is None:
            raise FileError(f"not an image of a known format ({', '.join(FORMATS)})")
        with _any_failure(f"damaged or unsupported {format.name} file"):
            picture: Picture = _CODECS[format.name].decode(data, notes)
    if notes:
        text = f"{_name(source)}: not kept: {', '.join(dict.fromkeys(notes))}"
        warnings.warn(text, MetadataWarning, stacklevel=2)
    return picture


def write(target: PathLike | BinaryIO, picture: Picture, *, format: str | None = None) -> None:
    """Write an image file, whole or not at all.

    The content is put into a temporary file beside the target, which is then
    renamed over it. JPEG is written with quality 95 and without chroma
    subsampling, everything else losslessly; nothing is converted to fit.

    Parameters
    ----------
    target : path or binary stream
        Where to write; the extension tells the format.
    picture : Picture
        What to write.
    format : str, optional
        Name or extension of the format, for streams and to override the path.

    Raises
    ------
    FileError
        The format does not hold the picture, or the file can not be written.
    ParameterError
        `format` is unknown, or missing for a stream.

    Warns
    -----
    MetadataWarning
        The format does not hold all of the metadata; issued before writing.
    """
    check_target(target, picture, format=format)
    chosen = formats.choose(_path(target), format)
    picture, lost = formats.fit_metadata(chosen, picture)
    with _one_line(target), _any_failure(f"can not be written as {chosen.name}"):
        data = _CODECS[chosen.name].encode(picture)
    if lost:
        text = f"{_name(target)}: {chosen.name} does not hold {', '.join(lost)}; left behind"
        warnings.warn(text, MetadataWarning, stacklevel=2)
    with _one_line(target):
        path = _path(target)
        if path is not None:
            atomic.replace_file(path, data)
        else:
            _send(target, data)  # type: ignore[arg-type]


def check_target(
    target: PathLike | BinaryIO, picture: Picture, *, format: str | None = None
) -> None:
    """Raise what `write` would raise, before any work is done; touch nothing.

    Parameters
    ----------
    target, format
        As in `write`.
    picture : Picture
        The picture, or one of the same size and depth.

    Raises
    ------
    FileError
        The extension is unknown, the format does not hold the depth, alpha,
        pages or size, or the directory is missing or not writable.
    ParameterError
        `format` is unknown, or missing for a stream.
    """
    with _one_line(target):
        path = _path(target)
        formats.check_fit(formats.choose(path, format), picture)
        if path is not None:
            atomic.check_writable(path)


@contextlib.contextmanager
def _any_failure(reason: str) -> Iterator[None]:
    """Catch what malformed content provokes inside of four libraries: it has no common root."""
    try:
        yield
    except (NLMeansError, MetadataWarning, MemoryError):
        raise
    except Exception as error:
        raise FileError(f"{reason} ({_first_line(error)})") from error


@contextlib.contextmanager
def _one_line(place: PathLike | BinaryIO) -> Iterator[None]:
    """Turn every failure of files into one line that starts with the name."""
    try:
        yield
    except BrokenPipeError:  # the reader of a pipe has had enough: not ours to report
        raise
    except FileError as error:
        raise FileError(f"{_name(place)}: {error}") from error.__cause__
    except MemoryError as error:
        raise FileError(f"{_name(place)}: too large for the memory of this machine") from error
    except OSError as error:
        reason = error.strerror or _first_line(error)
        raise FileError(f"{_name(place)}: {reason[:1].lower()}{reason[1:]}") from error
    except ValueError as error:
        if isinstance(error, NLMeansError):
            raise
        raise FileError(f"{_name(place)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _path(place: PathLike | BinaryIO) -> str | None:
    return os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else None


def _name(place: PathLike | BinaryIO) -> str:
    path = _path(place)
    return repr(path if path is not None else str(getattr(place, "name", "stream")))


def _content(source: PathLike | BinaryIO) -> bytes:
    if isinstance(source, str | bytes | os.PathLike):
        with open(source, "rb") as file:
            data = file.read()
    else:
        data = source.read()
    if not data:
        raise FileError("is empty")
    return data


def _send(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # an unbuffered stream takes a part at a time
        rest = rest[stream.write(rest) :]
    stream.flush()
