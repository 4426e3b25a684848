"""PNG: the chunks by hand, the 8-bit pixels through imageio, the 16-bit ones around Pillow.

Pillow reads 16-bit color as 8-bit without a word, and OpenCV drops every
chunk but the pixels. So each decoder is given a file of bare pixels, and this
module carries the rest: profile, EXIF, XMP, resolution, text and the chunks
that tell how to read the colors. What describes the old pixels or the old file
(sBIT, hIST, tIME, ...) is left out.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from nlmeans.errors import FileError
from nlmeans.files import exif, pillow
from nlmeans.files.formats import check_size
from nlmeans.files.picture import Array, Metadata, Picture, from_samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # stored samples per pixel by color type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLOR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
# First row, first column, and their steps in each pass over the picture.
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)
_XMP = "XML:com.adobe.xmp"
_MAX_INFLATED = 2**26  # of a profile or a text, against deflated bombs
_INCH = 0.0254


def decode(data: bytes, notes: list[str]) -> Picture:
    """Decode a PNG file.

    A palette becomes RGB (gray, where all its colors are gray), pictures of
    1, 2 or 4 bits become 8-bit, a transparent color becomes alpha.
    """
    chunks = list(_chunks(data, notes))
    kinds = {kind for kind, _ in chunks}
    if chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise FileError("damaged PNG file (no header)")
    if b"acTL" in kinds:
        raise FileError("animated PNG is not supported; write its frames to single files")
    width, height, depth, color, *_ = header = struct.unpack(">IIBBBBB", chunks[0][1])
    check_size(height, width)
    if depth not in _DEPTHS.get(color, ()):
        raise FileError(f"damaged PNG file (color type {color} with {depth} bits)")
    metadata = _metadata(chunks, notes)
    if color == 3:
        samples = _palette(chunks, keep_color=metadata.icc is not None)
    elif depth == 16:
        samples = _decode16(chunks, header)
    else:
        samples = pillow.decode(_join(chunks, (b"IHDR", b"IDAT", b"IEND")))
    key = next((content for kind, content in chunks if kind == b"tRNS"), None)
    if key is not None and color in (0, 2):
        samples = _key_to_alpha(samples, key, depth)
    channels = 1 if samples.ndim == 2 else samples.shape[-1]
    return from_samples(samples, channels=channels, format="PNG", metadata=metadata)


def encode(picture: Picture) -> bytes:
    """Encode a picture as PNG: gray or RGB, 8 or 16 bits, with alpha or without."""
    samples = picture.samples()
    bare = _encode16(samples) if samples.dtype == np.uint16 else pillow.encode(samples, ".png")
    head = len(SIGNATURE) + 25  # IHDR is always first and 25 bytes long
    return bare[:head] + b"".join(_ancillary(picture.metadata)) + bare[head:]


def _chunks(data: bytes, notes: list[str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks up to IEND, each checked against its sum."""
    at = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise FileError("truncated PNG file")
        length, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if at > len(data):
            raise FileError("truncated PNG file")
        if zlib.crc32(kind + content) == struct.unpack_from(">I", data, at - 4)[0]:
            yield kind, content
        elif kind[:1].isupper() or kind == b"tRNS":
            raise FileError(f"damaged PNG file (wrong sum of {_name(kind)})")
        else:
            notes.append(f"damaged {_name(kind)} chunk")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _join(chunks: list[tuple[bytes, bytes]], kinds: tuple[bytes, ...]) -> bytes:
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks if chunk[0] in kinds)


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")


# Pixels ------------------------------------------------------------------------------------------


def _palette(chunks: list[tuple[bytes, bytes]], *, keep_color: bool) -> Array:
    colors = next((content for kind, content in chunks if kind == b"PLTE"), b"")
    if not colors or len(colors) % 3:
        raise FileError("damaged PNG file (no palette)")
    transparent = any(kind == b"tRNS" for kind, _ in chunks)
    samples = pillow.decode(
        _join(chunks, (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")),
        mode="RGBA" if transparent else "RGB",
    )
    # A profile of a palette describes RGB, so that the picture stays RGB with it.
    if keep_color or colors[0::3] != colors[1::3] or colors[1::3] != colors[2::3]:
        return samples
    return samples[..., 2:] if transparent else samples[..., 0]


def _key_to_alpha(samples: Array, key: bytes, depth: int) -> Array:
    """Join the alpha that a transparent color stands for."""
    color = samples if samples.ndim == 3 else samples[..., None]
    if len(key) != 2 * color.shape[-1]:
        raise FileError("damaged PNG file (transparent color)")
    stored = np.frombuffer(key, ">u2") & ((1 << depth) - 1)
    widened = stored * (255 // ((1 << depth) - 1)) if depth < 8 else stored
    opaque = (color != widened.astype(color.dtype)).any(axis=-1)
    alpha = opaque.astype(color.dtype) * np.iinfo(color.dtype).max
    return np.concatenate([color, alpha[..., None]], axis=-1)


def _decode16(chunks: list[tuple[bytes, bytes]], header: tuple[int, ...]) -> Array:
    # Through OpenCV itself: the imageio plug-in reads from named files only.
    import cv2

    _check_rows(b"".join(content for kind, content in chunks if kind == b"IDAT"), header)
    bare = np.frombuffer(_join(chunks, (b"IHDR", b"IDAT", b"IEND")), np.uint8)
    samples = cv2.imdecode(bare, cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise FileError("damaged PNG file")
    channels = _CHANNELS[header[3]]
    if channels == 2:  # gray with alpha arrives as B = G = R
        return np.asarray(samples[..., 2:])
    if channels == 1:
        return np.asarray(samples)
    return np.asarray(samples[..., [2, 1, 0, 3][:channels]])


def _check_rows(deflated: bytes, header: tuple[int, ...]) -> None:
    """Raise unless all rows are there; OpenCV may fill up and complains on stderr."""
    width, height, _, color, _, _, interlaced = header
    blocks = []  # rows, and bytes in each with the one for the filter
    for top, left, down, right in _ADAM7 if interlaced else _ONE_PASS:
        rows, columns = -((top - height) // down), -((left - width) // right)
        if rows > 0 and columns > 0:
            blocks.append((rows, 1 + 2 * _CHANNELS[color] * columns))
    size = sum(rows * stride for rows, stride in blocks)
    raw = np.frombuffer(zlib.decompressobj().decompress(deflated, size), np.uint8)
    if raw.size < size:
        raise FileError("truncated PNG file (rows are missing)")
    for rows, stride in blocks:
        if (raw[: rows * stride : stride] > 4).any():
            raise FileError("damaged PNG file (unknown filter)")
        raw = raw[rows * stride :]


def _encode16(samples: Array) -> bytes:
    """Encode 16-bit samples with OpenCV; gray with alpha, which it has not, becomes RGB."""
    import cv2

    if samples.ndim == 3:
        order = {2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples.shape[2]]
        samples = np.ascontiguousarray(samples[..., order])
    _, encoded = cv2.imencode(".png", samples)
    return encoded.tobytes()


# Metadata ----------------------------------------------------------------------------------------


def _metadata(chunks: list[tuple[bytes, bytes]], notes: list[str]) -> Metadata:
    found: dict[str, bytes] = {}
    text: list[tuple[str, str]] = []
    color: list[tuple[bytes, bytes]] = []
    dpi = None
    for kind, content in chunks:
        try:
            if kind in _COLOR_CHUNKS:
                color.append((kind, content))
            elif kind == b"eXIf":
                found["exif"] = exif.strip_prefix(content)
            elif kind == b"iCCP":
                found["icc"] = _inflate(content.split(b"\0", 1)[1][1:])
            elif kind == b"pHYs":
                x, y, unit = struct.unpack(">IIB", content)
                dpi = (x * _INCH, y * _INCH) if unit == 1 and x and y else None
                notes += ["shape of the pixels"] if unit == 0 and x != y else []
            elif kind in (b"tEXt", b"zTXt", b"iTXt"):
                text.append(_read_text(kind, content))
        except (struct.error, zlib.error, UnicodeDecodeError, IndexError, ValueError):
            notes.append(f"damaged {_name(kind)} chunk")
    xmp = dict(text).get(_XMP)
    return Metadata(
        icc=found.get("icc"),
        exif=found.get("exif"),
        xmp=xmp.encode() if xmp else None,
        dpi=dpi,
        text=tuple(pair for pair in text if pair[0] != _XMP),
        color_chunks=tuple(color),
    )


def _ancillary(metadata: Metadata) -> Iterator[bytes]:
    for kind, content in metadata.color_chunks:
        yield _chunk(kind, content)
    if metadata.icc:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))
    if metadata.dpi:
        x, y = (round(value / _INCH) for value in metadata.dpi)
        yield _chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
    if metadata.exif:
        yield _chunk(b"eXIf", metadata.exif)
    if metadata.xmp:
        yield _chunk(b"iTXt", _XMP.encode() + b"\0\0\0\0\0" + metadata.xmp)
    for key, value in metadata.text:
        keyword = key.encode("latin-1") + b"\0"
        try:
            yield _chunk(b"tEXt", keyword + value.encode("latin-1"))
        except UnicodeEncodeError:
            yield _chunk(b"iTXt", keyword + b"\0\0\0\0" + value.encode())


def _read_text(kind: bytes, content: bytes) -> tuple[str, str]:
    keyword, value = content.split(b"\0", 1)
    if kind == b"zTXt":
        value = _inflate(value[1:])
    elif kind == b"iTXt":
        compressed, (_, _, value) = value[0], value[2:].split(b"\0", 2)
        value = _inflate(value) if compressed else value
    return keyword.decode("latin-1"), value.decode("utf-8" if kind == b"iTXt" else "latin-1")


def _inflate(content: bytes) -> bytes:
    inflate = zlib.decompressobj()
    inflated = inflate.decompress(content, _MAX_INFLATED)
    if not inflate.eof:
        raise ValueError("incomplete or too large")
    return inflated
