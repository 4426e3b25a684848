"""BMP: 8-bit gray and RGB, read through Pillow, written through imageio."""

import io

import numpy as np

from nlmeans.files import pillow
from nlmeans.files.formats import check_size
from nlmeans.files.picture import Metadata, Picture, from_samples


def decode(data: bytes, notes: list[str]) -> Picture:
    """Decode a BMP file; palettes and packed pixels become 8-bit gray or RGB."""
    # Not through imageio: its plug-in makes an array of the palette with every
    # read, and older releases fail on what Pillow reports for some BMP files.
    from PIL import Image

    with pillow.own_limit(), Image.open(io.BytesIO(data), formats=["BMP"]) as image:
        check_size(image.height, image.width)
        pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
        dpi = image.info.get("dpi")
    if data[14:18] == b"\x7c\0\0\0" and data[70:74] in (b"DEBM", b"KNIL"):
        notes.append("ICC profile")
    return from_samples(
        pixels * np.uint8(255) if pixels.dtype == bool else pixels,
        channels=1 if pixels.ndim == 2 else pixels.shape[-1],
        format="BMP",
        metadata=Metadata(dpi=dpi if dpi and all(dpi) else None),
    )


def encode(picture: Picture) -> bytes:
    """Encode a picture as BMP; of its metadata the resolution is written."""
    # Zero stands for "unknown"; without it Pillow would state 96.
    return pillow.encode(picture.samples(), ".bmp", dpi=picture.metadata.dpi or (0, 0))
