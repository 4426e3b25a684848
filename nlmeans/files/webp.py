"""WebP: 8-bit RGB and RGBA; the chunks by hand, the pixels through imageio."""

import struct
from collections.abc import Iterator

from nlmeans.errors import FileError
from nlmeans.files import exif, pillow
from nlmeans.files.picture import Metadata, Picture, from_samples

_ALPHA_FLAG = 0x10


def decode(data: bytes, notes: list[str]) -> Picture:
    """Decode a WebP file."""
    chunks = list(_chunks(data))
    beside = dict(chunks)
    if b"ANIM" in beside or b"ANMF" in beside:
        raise FileError("animated WebP is not supported; write its frames to single files")
    bare = b"".join(
        _chunk(
            kind, bytes((content[0] & _ALPHA_FLAG,)) + content[1:] if kind == b"VP8X" else content
        )
        for kind, content in chunks
        if kind in (b"VP8X", b"ALPH", b"VP8 ", b"VP8L") and content
    )
    pixels = pillow.decode(b"RIFF" + struct.pack("<I", 4 + len(bare)) + b"WEBP" + bare)
    exif_block = exif.strip_prefix(beside.get(b"EXIF", b""))
    return from_samples(
        pixels,
        channels=pixels.shape[-1],
        format="WEBP",
        metadata=Metadata(
            icc=beside.get(b"ICCP") or None,
            exif=exif_block or None,
            xmp=beside.get(b"XMP ") or None,
            dpi=exif.resolution(exif_block),
        ),
    )


def encode(picture: Picture) -> bytes:
    """Encode a picture as lossless WebP, colors under full transparency included."""
    samples = picture.samples()
    if picture.channel_axis is None:
        gray = samples if samples.ndim == 3 else samples[..., None]
        samples = gray[..., [0, 0, 0, 1][: 2 + gray.shape[-1]]]
    metadata = picture.metadata
    return pillow.encode(
        samples,
        ".webp",
        lossless=True,
        exact=True,
        icc_profile=metadata.icc,
        exif=metadata.exif,
        xmp=metadata.xmp,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    if end > len(data):
        raise FileError("truncated WebP file")
    at = 12
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise FileError("truncated WebP file")
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
