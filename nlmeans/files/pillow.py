"""The Pillow plug-in of imageio, for pixels only: metadata is read and written by the formats."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from nlmeans.files.formats import check_size
from nlmeans.files.picture import Array


def decode(data: bytes, mode: str | None = None) -> Array:
    """Decode the first picture of a file, converted to a mode of Pillow if one is given.

    The file must come without EXIF: the plug-in parses it with every read,
    and a damaged block would cost the pixels. Pictures of 1 bit hold 0 and 255.
    """
    import imageio.v3 as iio

    with own_limit(), iio.imopen(io.BytesIO(data), "r", plugin="pillow") as file:
        check_size(*file.properties(index=0).shape[:2])
        pixels = np.asarray(file.read(index=0, **({"mode": mode} if mode else {})))
    return pixels * np.uint8(255) if pixels.dtype == bool else pixels


def encode(samples: Array, extension: str, **options: Any) -> bytes:
    """Encode one picture."""
    import imageio.v3 as iio

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    encoded = iio.imwrite(
        "<bytes>", samples, extension=extension, plugin="pillow", is_batch=False, **given
    )
    return bytes(encoded)


@contextlib.contextmanager
def own_limit() -> Iterator[None]:
    """Lift the limit of Pillow, which stops short of a large scan; ours is in `check_size`."""
    from PIL import Image

    old = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = old
