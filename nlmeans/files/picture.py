"""What a file holds, once it is read: the pixels and all that travels beside them."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlmeans.errors import ParameterError

Array = NDArray[Any]


@dataclass(frozen=True)
class Metadata:
    """What travels beside the pixels; all of it is optional.

    Parameters
    ----------
    icc : bytes or None
        ICC color profile.
    exif : bytes or None
        EXIF block as stored, from its byte-order mark on. The pixels stay as
        stored, too: the orientation in this block still has to be applied to
        see the picture upright.
    xmp : bytes or None
        XMP packet.
    dpi : tuple of float or None
        Horizontal and vertical resolution in pixels per inch.
    text : tuple of (str, str)
        Keywords and values. "Comment" is the comment of a JPEG file,
        "Description" the description of a TIFF file; PNG holds any keyword.
    color_chunks : tuple of (bytes, bytes)
        Color chunks of a PNG file (gAMA, cHRM, sRGB, cICP, ...), verbatim.
    premultiplied : bool
        The colors are stored multiplied by alpha (TIFF only).
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()
    premultiplied: bool = False


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare by
class Picture:
    """The content of one image file.

    Parameters
    ----------
    pixels : ndarray
        (y, x), (y, x, color), (pages, y, x) or (pages, y, x, color), in the
        depth of the file and native byte order, without alpha.
    channel_axis : int or None
        -1 for color, None for gray.
    alpha : ndarray or None
        Alpha of the same depth, shaped as `pixels` less the channel axis.
    pages : bool
        The leading axis of `pixels` counts pages.
    format : str
        Name of the format it was read from, a key of `FORMATS`.
    metadata : Metadata
        What travels beside the pixels.
    """

    pixels: Array
    channel_axis: int | None = None
    alpha: Array | None = None
    pages: bool = False
    format: str = "PNG"
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        if self.channel_axis not in (None, -1):
            raise ParameterError("channel_axis", "must be -1 or None", self.channel_axis)
        ndim = 2 + self.pages + (self.channel_axis is not None)
        if self.pixels.ndim != ndim or self.pixels.size == 0:
            raise ParameterError("pixels", f"must have {ndim} axes, none empty", self.pixels.shape)
        if self.channel_axis is not None and self.pixels.shape[-1] != 3:
            raise ParameterError("pixels", "must have 3 color channels", self.pixels.shape)
        if self.alpha is not None and self.alpha.shape != self.plane_shape:
            raise ParameterError("alpha", f"must have the shape {self.plane_shape}")

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Shape of `pixels` without the channel axis."""
        shape: tuple[int, ...] = self.pixels.shape
        return shape if self.channel_axis is None else shape[:-1]

    def with_pixels(self, pixels: Array) -> "Picture":
        """Return the same picture with other pixels of the same shape.

        Parameters
        ----------
        pixels : ndarray
            The new pixels, shaped as the old ones.

        Returns
        -------
        Picture
            Alpha, format and metadata are shared with this picture.
        """
        if pixels.shape != self.pixels.shape:
            raise ParameterError("pixels", f"must have the shape {self.pixels.shape}", pixels.shape)
        return replace(self, pixels=pixels)

    def samples(self) -> Array:
        """Return the pixels with alpha joined as the last channel, as files store them.

        Returns
        -------
        ndarray
            `pixels` itself when there is no alpha.
        """
        if self.alpha is None:
            return np.ascontiguousarray(self.pixels)
        color = self.pixels if self.channel_axis is not None else self.pixels[..., None]
        return np.concatenate([color, self.alpha[..., None]], axis=-1)


def from_samples(
    samples: Array,
    *,
    channels: int,
    format: str,
    metadata: Metadata,
    pages: bool = False,
) -> Picture:
    """Split stored samples into color and alpha.

    Parameters
    ----------
    samples : ndarray
        (..., y, x) for one channel, (..., y, x, channels) for more.
    channels : int
        1 gray, 2 gray and alpha, 3 color, 4 color and alpha.
    format, metadata, pages
        As in `Picture`.

    Returns
    -------
    Picture
        The picture, in native byte order.
    """
    native = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    alpha = np.ascontiguousarray(native[..., -1]) if channels in (2, 4) else None
    pixels = {1: native, 2: native[..., :1], 3: native, 4: native[..., :3]}[channels]
    return Picture(
        pixels=np.ascontiguousarray(pixels[..., 0] if channels == 2 else pixels),
        channel_axis=-1 if channels > 2 else None,
        alpha=alpha,
        pages=pages,
        format=format,
        metadata=metadata,
    )
