"""Files keep depth, alpha and metadata; every claim is checked with a reader that is not ours."""

import io
import struct
import warnings
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from nlmeans.errors import FileError, MetadataWarning, ParameterError
from nlmeans.files import FORMATS, Metadata, Picture, formats, read, write

RNG = np.random.default_rng(7)
HEIGHT, WIDTH = 13, 17
CASES = [
    pytest.param(name, dtype, color, alpha, pages, id=f"{name}-{dtype}-{color}{alpha}{pages}")
    for name, form in FORMATS.items()
    for dtype in form.dtypes
    for color in (0, 1)
    for alpha in range(form.alpha + 1)
    for pages in range(form.pages + 1)
]


def noise(shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def picture(dtype="uint8", color=1, alpha=0, pages=0, metadata=Metadata(), height=HEIGHT):  # noqa: B008
    plane = ((4,) if pages else ()) + (height, WIDTH)
    return Picture(
        noise(plane + ((3,) if color else ()), dtype),
        channel_axis=-1 if color else None,
        alpha=noise(plane, dtype) if alpha else None,
        pages=bool(pages),
        metadata=metadata,
    )


def encoded(what, name):
    stream = io.BytesIO()
    write(stream, what, format=name)
    return stream.getvalue()


def decoded(data):
    return read(io.BytesIO(data))


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def make_png(raw, width, height, depth, color, *extra, interlaced=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def unfiltered(rows):
    """Return rows of samples as PNG stores them without a filter."""
    return b"".join(b"\0" + row.astype(rows.dtype.newbyteorder(">")).tobytes() for row in rows)


def parse_png(data):
    """Decode a PNG by the letter of its specification: the samples and the other chunks."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        content = data[at + 8 : at + 8 + length]
        assert (
            zlib.crc32(data[at + 4 : at + 8 + length])
            == struct.unpack_from(">I", data, at + 8 + length)[0]
        )
        chunks.append((data[at + 4 : at + 8], content))
        at += 12 + length
    width, height, depth, color, *_ = struct.unpack(">IIBBBBB", chunks[0][1])
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    step, stride = channels * depth // 8, width * channels * depth // 8
    raw = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    rows = [bytes(stride)]
    for start in range(0, len(raw), stride + 1):
        kind, line, above = raw[start], bytearray(raw[start + 1 : start + 1 + stride]), rows[-1]
        for i in range(stride):
            a, b, c = (line[i - step], above[i], above[i - step]) if i >= step else (0, above[i], 0)
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[kind]) % 256
        rows.append(bytes(line))
    samples = np.frombuffer(b"".join(rows[1:]), f">u{depth // 8}").reshape(height, width, channels)
    return samples[..., 0] if channels == 1 else samples, dict(chunks)


# Pixels out --------------------------------------------------------------------------------------


def read_elsewhere(data, name):
    """Read samples, alpha as the last channel, with a reader that is not ours."""
    if name == "PNG":
        return parse_png(data)[0]
    if name == "TIFF":
        return tifffile.imread(io.BytesIO(data))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == name
        return np.asarray(image)


def samples_of(what):
    if what.alpha is None:
        return what.pixels
    color = what.pixels if what.channel_axis else what.pixels[..., None]
    return np.concatenate([color, what.alpha[..., None]], axis=-1)


@pytest.mark.parametrize(("name", "dtype", "color", "alpha", "pages"), CASES)
def test_another_reader_finds_what_was_written(name, dtype, color, alpha, pages):
    what = picture(dtype, color, alpha, pages)
    if formats.widens_gray(FORMATS[name], what):
        widened = Picture(np.stack([what.pixels] * 3, -1), -1, what.alpha)
        expected = samples_of(widened)
    else:
        expected = samples_of(what)
    got = read_elsewhere(encoded(what, name), name)
    assert got.shape == expected.shape
    if name == "JPEG":
        return  # lossy: see test_jpeg_is_written_well
    assert got.dtype.newbyteorder("=") == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("name", "dtype", "color", "alpha", "pages"), CASES)
def test_what_was_written_is_read_the_same(name, dtype, color, alpha, pages):
    what = picture(dtype, color, alpha, pages)
    got = decoded(encoded(what, name))
    assert (got.format, got.pages, got.pixels.dtype) == (name, bool(pages), np.dtype(dtype))
    assert got.pixels.dtype.isnative
    widened = formats.widens_gray(FORMATS[name], what)
    assert got.channel_axis == (-1 if color or widened else None)
    if name == "JPEG":
        return
    expected = np.stack([what.pixels] * 3, -1) if widened else what.pixels
    np.testing.assert_array_equal(got.pixels, expected)
    assert (got.alpha is None) == (not alpha)
    if alpha:
        np.testing.assert_array_equal(got.alpha, what.alpha)


@pytest.mark.parametrize(("color", "alpha"), [(0, 0), (1, 0), (1, 1)])
def test_sixteen_bits_of_a_png_as_opencv_sees_them(color, alpha):
    what = picture("uint16", color, alpha)
    got = cv2.imdecode(np.frombuffer(encoded(what, "PNG"), np.uint8), cv2.IMREAD_UNCHANGED)
    expected = samples_of(what)
    if color:
        expected = expected[..., [2, 1, 0, 3][: expected.shape[-1]]]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("height", [1, 63, 64, 65, 129])
def test_16_bit_encoder_at_the_seams_of_its_blocks(height):
    what = picture("uint16", height=height)
    np.testing.assert_array_equal(parse_png(encoded(what, "PNG"))[0], what.pixels)


def test_jpeg_is_written_well():
    y, x = np.mgrid[:64, :64]
    pixels = np.stack([x * 4, 255 - x * 2, y * 3], -1).astype(np.uint8)
    data = encoded(Picture(pixels, -1), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert {component[1:3] for component in image.layer} == {(1, 1)}  # no subsampling
        assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 6
        reference = io.BytesIO()
        Image.fromarray(pixels).save(reference, "JPEG", quality=95)
        with Image.open(reference) as other:
            assert image.quantization == other.quantization


@pytest.mark.parametrize("color", [0, 1])
def test_narrow_stacks_are_pages_and_not_channels(color):
    pixels = noise((3, 4, 3) + ((3,) if color else ()), "uint16")
    data = encoded(Picture(pixels, -1 if color else None, pages=True), "TIFF")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert len(file.pages) == 3
        assert [page.samplesperpixel for page in file.pages] == [3 if color else 1] * 3
    np.testing.assert_array_equal(decoded(data).pixels, pixels)


# Pixels in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_of_opencv_keeps_its_bits(channels):
    samples = noise((HEIGHT, WIDTH, channels), "uint16")
    data = cv2.imencode(".png", samples)[1].tobytes()
    with Image.open(io.BytesIO(data)) as trap:
        assert channels == 1 or np.asarray(trap).dtype == np.uint8  # why Pillow is not used
    got = decoded(data)
    expected = samples[..., 0] if channels == 1 else samples[..., 2::-1]
    np.testing.assert_array_equal(got.pixels, expected)
    if channels == 4:
        np.testing.assert_array_equal(got.alpha, samples[..., 3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gray_with_alpha(dtype):
    samples = noise((HEIGHT, WIDTH, 2), dtype)
    got = decoded(make_png(unfiltered(samples), WIDTH, HEIGHT, 8 * samples.itemsize, 4))
    assert got.channel_axis is None
    np.testing.assert_array_equal(got.pixels, samples[..., 0])
    np.testing.assert_array_equal(got.alpha, samples[..., 1])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_spans_the_range(depth):
    values = np.arange(8) % 2**depth
    row = bytes(np.packbits(((values[:, None] >> np.arange(depth)[::-1]) & 1).astype(bool)))
    got = decoded(make_png(b"\0" + row, 8, 1, depth, 0, (b"tRNS", b"\0\1")))
    np.testing.assert_array_equal(got.pixels[0], values * (255 // (2**depth - 1)))
    np.testing.assert_array_equal(got.alpha[0], np.where(values == 1, 0, 255))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_color_becomes_alpha(dtype, channels):
    samples = noise((HEIGHT, WIDTH, channels), dtype)
    key = samples[5, 6].astype(">u2").tobytes()
    data = make_png(
        unfiltered(samples),
        WIDTH,
        HEIGHT,
        8 * samples.itemsize,
        0 if channels == 1 else 2,
        (b"tRNS", key),
    )
    got = decoded(data)
    expected = np.where((samples == samples[5, 6]).all(-1), 0, np.iinfo(dtype).max)
    np.testing.assert_array_equal(got.alpha, expected)
    assert got.alpha.dtype == dtype
    np.testing.assert_array_equal(got.pixels, samples[..., 0] if channels == 1 else samples)


def test_interlaced_16_bit_png():
    samples = noise((HEIGHT, WIDTH, 3), "uint16")
    steps = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    raw = b"".join(unfiltered(samples[y::down, x::right]) for y, x, down, right in steps)
    data = make_png(raw, WIDTH, HEIGHT, 16, 2, interlaced=1)
    np.testing.assert_array_equal(decoded(data).pixels, samples)
    short = make_png(raw[:-2], WIDTH, HEIGHT, 16, 2, interlaced=1)
    with pytest.raises(FileError, match="truncated"):
        decoded(short)


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF"])
def test_palette_becomes_rgb(name, tmp_path):
    image = Image.fromarray(noise((HEIGHT, WIDTH, 3), "uint8")).quantize(16)
    image.save(tmp_path / "p", format=name)
    got = read(tmp_path / "p")
    assert got.channel_axis == -1
    np.testing.assert_array_equal(got.pixels, np.asarray(image.convert("RGB")))
    assert got.alpha is None


def test_palette_with_transparency_and_palette_of_grays():
    indices = noise((HEIGHT, WIDTH), "uint8") % 4
    palette = bytes([0, 0, 0, 10, 20, 30, 200, 100, 0, 255, 255, 255])
    plain = make_png(
        unfiltered(indices), WIDTH, HEIGHT, 8, 3, (b"PLTE", palette), (b"tRNS", b"\x05\x80")
    )
    got = decoded(plain)
    np.testing.assert_array_equal(
        got.pixels, np.frombuffer(palette, np.uint8).reshape(4, 3)[indices]
    )
    np.testing.assert_array_equal(got.alpha, np.array([5, 128, 255, 255], np.uint8)[indices])
    grays = (b"PLTE", bytes(np.repeat([9, 80, 90, 255], 3).tolist()))
    gray = decoded(make_png(unfiltered(indices), WIDTH, HEIGHT, 8, 3, grays))
    assert gray.channel_axis is None
    np.testing.assert_array_equal(gray.pixels, np.array([9, 80, 90, 255], np.uint8)[indices])
    # A profile of a palette is one for RGB, which a gray PNG must not have.
    profile = (b"iCCP", b"x\0\0" + zlib.compress(PROFILE))
    assert (
        decoded(make_png(unfiltered(indices), WIDTH, HEIGHT, 8, 3, profile, grays)).channel_axis
        == -1
    )


@pytest.mark.parametrize(
    ("mode", "name"),
    [(mode, name) for mode in ("L", "RGB") for name in FORMATS]
    + [("1", name) for name in ("PNG", "BMP", "TIFF")],
)
def test_8_bit_files_of_pillow(mode, name, tmp_path):
    image = Image.fromarray(noise((HEIGHT, WIDTH, 3), "uint8")).convert(mode)
    image.save(tmp_path / "picture", format=name)
    with Image.open(tmp_path / "picture") as reference:
        expected = np.asarray(reference.convert("L") if mode == "1" else reference)
    got = read(tmp_path / "picture")
    assert (got.pixels.dtype, got.format) == (np.uint8, name)
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"planarconfig": "separate"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"bigtiff": True, "byteorder": ">"},
        {"rowsperstrip": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("pages", [1, 3])
def test_layouts_of_tiff(options, pages, tmp_path):
    separate = options.get("planarconfig") == "separate"
    samples = noise((pages, HEIGHT, WIDTH, 4), "uint16")
    stored = np.moveaxis(samples, -1, 1) if separate else samples
    tifffile.imwrite(tmp_path / "x", stored, photometric="rgb", metadata=None, **options)
    got = read(tmp_path / "x")
    np.testing.assert_array_equal(samples_of(got), samples if pages > 1 else samples[0])
    assert got.pages == (pages > 1)
    assert got.pixels.dtype.isnative


def test_white_as_zero_is_turned_around(tmp_path):
    samples = noise((HEIGHT, WIDTH), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", samples, photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "x.tif").pixels, 65535 - samples)


def test_stack_of_imagej_that_lists_one_page(tmp_path):
    samples = noise((5, HEIGHT, WIDTH), "uint16")
    tifffile.imwrite(tmp_path / "x.tif", samples, imagej=True, truncate=True)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert len(file.pages) == 1
    got = read(tmp_path / "x.tif")
    assert got.pages
    np.testing.assert_array_equal(got.pixels, samples)
    write(tmp_path / "y.tif", got)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), samples)


def test_premultiplied_alpha_stays_so_or_is_refused(tmp_path):
    samples = noise((HEIGHT, WIDTH, 4), "uint8")
    tifffile.imwrite(tmp_path / "x.tif", samples, photometric="rgb", extrasamples=["assocalpha"])
    got = read(tmp_path / "x.tif")
    write(tmp_path / "y.tif", got)
    with tifffile.TiffFile(tmp_path / "y.tif") as file:
        assert file.pages[0].extrasamples == (1,)
    with pytest.raises(FileError, match=r"premultiplied alpha; write to \.tif$"):
        write(tmp_path / "y.png", got)


def test_smaller_copies_are_left_out_with_a_warning(tmp_path):
    samples = noise((64, 64), "uint8")
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(samples, photometric="minisblack")
        file.write(samples[::2, ::2], photometric="minisblack", subfiletype=1)
    with pytest.warns(MetadataWarning, match="smaller copies"):
        got = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(got.pixels, samples)


# Metadata ----------------------------------------------------------------------------------------

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def make_exif(orientation=6):
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", orientation
    exif[34665] = {33434: 0.5, 36864: b"0230", 37380: -0.25, 37500: b"note\0\1"}
    exif[34853] = {1: "N", 2: (1.0, 2.0, 3.5)}
    return exif.tobytes().removeprefix(b"Exif\0\0")


FULL = Metadata(icc=PROFILE, exif=make_exif(), xmp=XMP, dpi=(300.0, 150.0))


@pytest.mark.parametrize(
    ("dtype", "source", "target"),
    [
        (dtype, source, target)
        for dtype, names in (
            ("uint8", ("PNG", "JPEG", "TIFF", "WEBP")),
            ("uint16", ("PNG", "TIFF")),
        )
        for source in names
        for target in names
    ],
)
def test_metadata_survives_from_format_to_format(dtype, source, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetadataWarning)  # WebP and the resolution
        data = encoded(decoded(encoded(picture(dtype, metadata=FULL), source)), target)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["icc_profile"] == PROFILE
        exif = image.getexif()
        assert (exif[271], exif[274]) == ("Maker", 6)
        camera = exif.get_ifd(34665)
        assert (camera[33434], camera[37380], camera[37500]) == (0.5, -0.25, b"note\0\1")
        assert exif.get_ifd(34853)[2] == (1.0, 2.0, 3.5)
        xmp = image.tag_v2[700] if target == "TIFF" else image.info["xmp"]
        assert xmp == XMP
        if FORMATS[source].dpi and FORMATS[target].dpi:
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.013)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_exif_travels_byte_by_byte(name):
    what = picture(metadata=Metadata(exif=make_exif()))
    assert decoded(encoded(what, name)).metadata.exif == make_exif()


def test_files_without_metadata_gain_none():
    for name in FORMATS:
        assert decoded(encoded(picture(), name)).metadata == Metadata()


def test_metadata_written_by_pillow_is_read(tmp_path):
    image = Image.fromarray(noise((HEIGHT, WIDTH, 3), "uint8"))
    options = {"exif": b"Exif\0\0" + make_exif(), "icc_profile": PROFILE, "dpi": (72, 72)}
    for name in ("JPEG", "PNG"):
        image.save(tmp_path / "x", format=name, **options)
        got = read(tmp_path / "x").metadata
        assert (got.exif, got.icc) == (make_exif(), PROFILE)
        assert got.dpi == pytest.approx((72, 72), abs=0.013)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_chunks_survive(dtype):
    extra = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", bytes(range(32))),
        (b"sRGB", b"\0"),
        (b"cICP", b"\1\2\0\1"),
        (b"tEXt", b"Author\0Ann"),
    ]
    samples = noise((HEIGHT, WIDTH, 3), dtype)
    data = make_png(unfiltered(samples), WIDTH, HEIGHT, 8 * samples.itemsize, 2, *extra)
    again = parse_png(encoded(decoded(data), "PNG"))[1]
    assert {kind: again[kind] for kind, _ in extra} == dict(extra)


def test_text_finds_its_place_in_every_format(tmp_path):
    text = (("Comment", "grüß"), ("Description", "雪"), ("Author", "Ann"))
    what = picture(metadata=Metadata(text=text))
    data = encoded(what, "PNG")
    with Image.open(io.BytesIO(data)) as image:
        assert {key: str(image.text[key]) for key, _ in text} == dict(text)
    assert decoded(data).metadata.text == text
    with pytest.warns(MetadataWarning, match=r"JPEG does not hold text \(Description, Author\)"):
        data = encoded(what, "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["comment"].decode() == "grüß"
    with pytest.warns(MetadataWarning, match=r"TIFF does not hold text \(Comment, Author\)"):
        data = encoded(what, "TIFF")
    assert decoded(data).metadata.text == (("Description", "雪"),)


def test_losses_are_told_in_one_warning(tmp_path):
    what = picture(metadata=replace(FULL, color_chunks=((b"cICP", b"\1\2\0\1"), (b"sRGB", b"\0"))))
    with pytest.warns(MetadataWarning) as caught:
        write(tmp_path / "x.bmp", what)
    (warning,) = caught
    expected = "BMP does not hold ICC profile, EXIF, XMP, color chunks (cICP); left behind"
    assert str(warning.message) == f"{str(tmp_path / 'x.bmp')!r}: {expected}"
    assert warning.filename == __file__


@pytest.mark.parametrize("dpi", [(1e6, 1e6), (300.0, 0.01)])
def test_resolution_out_of_range_is_lost_with_a_warning(dpi):
    with pytest.warns(MetadataWarning, match="JPEG does not hold resolution"):
        data = encoded(picture(metadata=Metadata(dpi=dpi)), "JPEG")
    assert decoded(data).metadata.dpi is None


def test_profile_for_gray_is_not_put_on_rgb():
    gray = bytearray(PROFILE)
    gray[16:20] = b"GRAY"
    with pytest.warns(MetadataWarning, match="ICC profile"):
        data = encoded(picture(color=0, metadata=Metadata(icc=bytes(gray))), "WEBP")
    assert decoded(data).metadata.icc is None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("color", [0, 1])
def test_orientation_is_applied_where_it_can_not_be_held(orientation, color):
    what = picture(color=color, metadata=Metadata(exif=make_exif(orientation), dpi=(300.0, 150.0)))
    with Image.open(io.BytesIO(encoded(what, "PNG"))) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    with pytest.warns(MetadataWarning, match="EXIF"):
        data = encoded(what, "BMP")
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), upright)
        expected = (300, 150) if orientation < 5 else (150, 300)
        assert image.info["dpi"] == pytest.approx(expected, abs=0.013)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_pixels_stay_as_stored_where_orientation_is_held(name):
    data = encoded(picture(metadata=Metadata(exif=make_exif(8))), name)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[274] == 8
    assert read_elsewhere(data, name).shape == (HEIGHT, WIDTH, 3)
    assert decoded(data).pixels.shape == (HEIGHT, WIDTH, 3)


def test_tiff_orientation_tag_reaches_other_formats(tmp_path):
    samples = noise((HEIGHT, WIDTH), "uint8")
    for big in (False, True):
        tag = (274, 3, 1, 3, False)
        tifffile.imwrite(tmp_path / "x.tif", samples, bigtiff=big, extratags=[tag])
        write(tmp_path / "x.png", read(tmp_path / "x.tif"))
        with Image.open(tmp_path / "x.png") as image:
            assert image.getexif()[274] == 3


def test_strings_of_exif_keep_their_bytes_through_tiff():
    artist = "Zoë".encode("latin-1")
    block = b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 315, 2, 4, artist + b"\0", 0)
    data = encoded(picture(metadata=Metadata(exif=block)), "TIFF")
    assert artist in decoded(encoded(decoded(data), "JPEG")).metadata.exif


def test_resolution_in_exif_counts_where_the_format_states_none():
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 118.0, 118.0, 3
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    data = encoded(picture(metadata=Metadata(exif=block)), "WEBP")
    assert decoded(data).metadata.dpi == pytest.approx((299.72, 299.72))
    encoded(decoded(data), "WEBP")  # no warning: EXIF says it


@pytest.mark.parametrize(
    "block", [b"", b"II", b"MM\0*\xff\xff\xff\xff", b"garbage" * 9, make_exif()[:60]]
)
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
def test_malformed_exif_costs_no_pixels(name, block):
    what = picture(metadata=Metadata(exif=block))
    got = decoded(encoded(what, name))
    assert got.pixels.shape == what.pixels.shape
    assert (got.metadata.exif or b"") == block
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetadataWarning)
        assert decoded(encoded(got, "TIFF")).pixels.shape == what.pixels.shape


def test_malformed_chunks_cost_no_pixels():
    samples = noise((HEIGHT, WIDTH), "uint8")
    bad = [
        (b"iCCP", b"no profile"),
        (b"pHYs", b"short"),
        (b"zTXt", b"key\0\0junk"),
        (b"tEXt", b"no end"),
    ]
    data = make_png(unfiltered(samples), WIDTH, HEIGHT, 8, 0, *bad)
    with pytest.warns(MetadataWarning, match="damaged iCCP chunk, damaged pHYs chunk"):
        got = decoded(data)
    np.testing.assert_array_equal(got.pixels, samples)
    broken = data.replace(chunk(*bad[1]), chunk(*bad[1])[:-1] + b"?")
    with pytest.warns(MetadataWarning, match="damaged"):
        np.testing.assert_array_equal(decoded(broken).pixels, samples)


def test_jpeg_with_a_second_picture_is_read_as_its_first(tmp_path):
    first, second = (Image.fromarray(noise((HEIGHT, WIDTH, 3), "uint8")) for _ in range(2))
    first.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "x.jpg") as image:
        expected = np.asarray(image)
    with pytest.warns(MetadataWarning, match="further pictures"):
        got = read(tmp_path / "x.jpg")
    assert got.format == "JPEG"
    np.testing.assert_array_equal(got.pixels, expected)


# The types ---------------------------------------------------------------------------------------


def test_with_pixels_keeps_the_rest():
    what = picture(alpha=1, metadata=FULL)
    other = what.with_pixels(np.zeros_like(what.pixels))
    assert other.alpha is what.alpha
    assert other.metadata is what.metadata
    assert not other.pixels.any()
    with pytest.raises(ParameterError, match="pixels must have the shape"):
        what.with_pixels(what.pixels[1:])


def test_pictures_of_no_sense_are_refused():
    plane = np.zeros((4, 4))
    for arguments in (
        {"pixels": plane, "channel_axis": -1},
        {"pixels": plane[0]},
        {"pixels": plane[:0]},
        {"pixels": plane, "channel_axis": 0},
        {"pixels": plane, "alpha": plane[1:]},
        {"pixels": plane[..., None], "channel_axis": -1},
    ):
        with pytest.raises(ParameterError):
            Picture(**arguments)
