"""JPEG: 8-bit gray and RGB; the segments by hand, the pixels through imageio."""

import struct

from nlmeans.errors import FileError
from nlmeans.files import exif, pillow
from nlmeans.files.formats import check_size
from nlmeans.files.picture import Metadata, Picture, from_samples

_QUALITY = 95
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
# Segments that only describe, and what the user would miss with them.
_LOST = {
    b"http://ns.adobe.com/xmp/extension/\0": "extended XMP",
    b"MPF\0": "further pictures in the file",
    b"Photoshop 3.0\0": "IPTC",
}
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # frame headers
_SOS, _COM, _APP0, _APP14 = 0xDA, 0xFE, 0xE0, 0xEE


def decode(data: bytes, notes: list[str]) -> Picture:
    """Decode a JPEG file."""
    segments, scan = _segments(data)
    for marker, content in segments:
        if marker in _SOF:
            _check_frame(content)
    pixels = pillow.decode(_bare(segments) + data[scan:])
    return from_samples(
        pixels,
        channels=1 if pixels.ndim == 2 else pixels.shape[-1],
        format="JPEG",
        metadata=_metadata(segments, notes),
    )


def encode(picture: Picture) -> bytes:
    """Encode a picture as JPEG of quality 95 without chroma subsampling."""
    metadata = picture.metadata
    comment = dict(metadata.text).get("Comment")
    return pillow.encode(
        picture.samples(),
        ".jpg",
        quality=_QUALITY,
        subsampling=0,
        icc_profile=metadata.icc,
        exif=_EXIF + metadata.exif if metadata.exif else None,
        xmp=metadata.xmp,
        dpi=metadata.dpi,
        comment=comment.encode() if comment else None,
    )


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return marker and content of each segment, and where the first scan starts."""
    found: list[tuple[int, bytes]] = []
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if at + 4 > len(data):
            raise FileError("truncated JPEG file")
        mark, marker, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or length < 2:
            raise FileError("damaged JPEG file (no segment where one should be)")
        if marker == _SOS:
            return found, at
        found.append((marker, data[at + 4 : at + 2 + length]))
        at += 2 + length


def _check_frame(content: bytes) -> None:
    depth, height, width, channels = struct.unpack_from(">BHHB", content)
    check_size(height, width)
    if depth != 8:
        raise FileError(f"{depth}-bit JPEG is not supported; convert it to .png or .tif")
    if channels == 4:
        raise FileError("CMYK is not supported; convert the picture to RGB")
    if channels not in (1, 3):
        raise FileError(f"damaged JPEG file ({channels} channels)")


def _bare(segments: list[tuple[int, bytes]]) -> bytes:
    """Return the head of the file without the segments that do not bear on the pixels."""
    return b"\xff\xd8" + b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
        if marker != _COM and (marker in (_APP0, _APP14) or not _APP0 <= marker <= 0xEF)
    )


def _metadata(segments: list[tuple[int, bytes]], notes: list[str]) -> Metadata:
    exif_block, xmp, dpi = b"", None, None
    profile: list[tuple[int, bytes]] = []
    text: list[tuple[str, str]] = []
    for marker, content in segments:
        if content.startswith(_EXIF) and marker == 0xE1:
            exif_block += content.removeprefix(_EXIF)
        elif content.startswith(_XMP) and marker == 0xE1:
            xmp = content.removeprefix(_XMP)
        elif content.startswith(_ICC) and marker == 0xE2 and len(content) > 14:
            profile.append((content[12], content[14:]))
        elif content.startswith(b"JFIF\0") and marker == _APP0 and len(content) >= 12:
            dpi = _density(content)
        elif marker == _COM:
            text.append(("Comment", content.rstrip(b"\0").decode("utf-8", "backslashreplace")))
        elif 0xE1 <= marker <= 0xEF:
            notes += [name for mark, name in _LOST.items() if content.startswith(mark)]
    return Metadata(
        icc=b"".join(part for _, part in sorted(profile)) or None,
        exif=exif_block or None,
        xmp=xmp,
        dpi=dpi or exif.resolution(exif_block),
        text=tuple(text),
    )


def _density(content: bytes) -> tuple[float, float] | None:
    unit, x, y = struct.unpack_from(">BHH", content, 7)
    scale = {1: 1.0, 2: 2.54}.get(unit)
    return (x * scale, y * scale) if scale and x and y else None
