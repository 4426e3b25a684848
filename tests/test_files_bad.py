"""Bad files and bad targets: one clear line each, and nothing on disk changes."""

import io
import itertools
import os
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from nlmeans.errors import FileError, MetadataWarning, ParameterError
from nlmeans.files import FORMATS, Metadata, Picture, check_target, png, read, write

RNG = np.random.default_rng(11)
GRAY = Picture(RNG.integers(0, 256, (24, 32), dtype=np.uint8))
COLOR = Picture(RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8), -1)
DEEP = Picture(RNG.integers(0, 65536, (24, 32, 3), dtype=np.uint16), -1)


def encoded(picture, name):
    stream = io.BytesIO()
    write(stream, picture, format=name)
    return stream.getvalue()


def with_alpha(picture):
    return replace(picture, alpha=np.zeros(picture.plane_shape, picture.pixels.dtype))


def snapshot(folder):
    return {
        path: (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in Path(folder).rglob("*")
    }


def refusal(call, *arguments, **options):
    with pytest.raises(FileError) as caught:
        call(*arguments, **options)
    line = str(caught.value)
    assert line.startswith("'")
    assert "\n" not in line
    return line


# Reading -----------------------------------------------------------------------------------------


def test_paths_that_can_not_be_read(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image, whatever its name says")
    cases = {
        "missing.png": "no such file or directory",
        ".": "is a directory",
        "empty.png": "is empty",
        "text.png": "not an image of a known format (PNG, JPEG, TIFF, WEBP, BMP)",
        "text.png/inside.png": "not a directory",
        "x" * 300 + ".png": "file name too long",
    }
    for name, reason in cases.items():
        path = f"{tmp_path}/{name}"
        assert refusal(read, path) == f"{path!r}: {reason}"
    assert "embedded null" in refusal(read, f"{tmp_path}/a\0b.png")  # worded by Python


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable to root"
)
def test_unreadable_file(tmp_path):
    path = tmp_path / "x.png"
    write(path, GRAY)
    path.chmod(0)
    assert refusal(read, path) == f"{str(path)!r}: permission denied"


def test_failing_device():
    class Broken(io.RawIOBase):
        name = "<stdin>"

        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    assert refusal(read, Broken()) == "'<stdin>': input/output error"


SOURCES = {
    "png8": encoded(COLOR, "PNG"),
    "png16": encoded(DEEP, "PNG"),
    "jpeg": encoded(COLOR, "JPEG"),
    "tiff": encoded(COLOR, "TIFF"),
    "webp": encoded(COLOR, "WEBP"),
    "bmp": encoded(COLOR, "BMP"),
}


def _tiff(**options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, COLOR.pixels, photometric="rgb", metadata=None, **options)
    return stream.getvalue()


SOURCES["tiff-zlib"] = _tiff(compression="zlib", rowsperstrip=5)
SOURCES["tiff-tiled"] = _tiff(tile=(16, 16))
SOURCES["tiff-planes"] = encoded(
    replace(GRAY, pixels=np.stack([GRAY.pixels] * 3), pages=True), "TIFF"
)


@pytest.mark.parametrize("name", SOURCES)
def test_truncated_files_are_refused_and_never_half_a_picture(name, capfd, caplog):
    data = SOURCES[name]
    whole = read(io.BytesIO(data)).pixels
    for length in sorted({*range(1, 64), *np.linspace(64, len(data) - 1, 90).astype(int).tolist()}):
        try:
            got = read(io.BytesIO(data[:length])).pixels
        except FileError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both outcomes are looked at
        else:  # what is missing may be padding
            assert len(data) - length < 32
            np.testing.assert_array_equal(got, whole)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tag", ["StripOffsets", "StripByteCounts"])
def test_parts_left_out_of_a_tiff_are_not_taken_for_black(tag):
    data = bytearray(SOURCES["tiff-zlib"])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[0].tags[tag]
        size = {3: 2, 4: 4}[int(found.dtype)]  # SHORT or LONG
    at = found.valueoffset + 2 * size
    data[at : at + size] = bytes(size)  # tifffile would fill up with zeros
    assert "1 of 5 parts are missing" in refusal(read, io.BytesIO(data))


def test_truncated_webp_says_so():
    assert "truncated WebP file" in refusal(read, io.BytesIO(SOURCES["webp"][:-10]))
    bare = SOURCES["webp"][:4] + b"\xff\xff\xff\0" + SOURCES["webp"][8:]
    assert "truncated WebP file" in refusal(read, io.BytesIO(bare))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.filterwarnings("ignore::nlmeans.errors.MetadataWarning")
def test_damaged_files_raise_nothing_but_file_error(name, capfd, caplog):
    data = SOURCES[name]
    for _ in range(60):
        damaged = bytearray(data)
        for at in RNG.integers(0, min(len(data), 300), 2):
            damaged[at] = RNG.integers(0, 256)
        try:
            read(io.BytesIO(damaged))
        except FileError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def make_png(raw, depth, color, *extra, size=(4, 4)):
    header = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return png.SIGNATURE + b"".join(png._chunk(*part) for part in parts)


def pillow_file(mode, form, **options):
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, form, **options)
    return stream.getvalue()


def tiff_file(samples, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, **options)
    return stream.getvalue()


PAGES = tiff_file(np.zeros((3, 8, 8), np.uint8), photometric="minisblack", metadata=None)
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]}
UNSUPPORTED = {
    "16-bit PNG with rows missing": (
        make_png(b"\0" * 20, 16, 0),
        "truncated PNG file (rows are missing)",
    ),
    "16-bit PNG with an unknown filter": (make_png(b"\x07" * 36, 16, 0), "unknown filter"),
    "palette PNG without palette": (make_png(b"\0" * 20, 8, 3), "no palette"),
    "huge PNG": (make_png(b"", 8, 0, size=(2**20, 2**20)), "more than the limit of 1073741824"),
    "empty PNG": (make_png(b"", 8, 0, size=(0, 4)), "has no pixels"),
    "PNG of 5 bits": (make_png(b"\0" * 20, 5, 0), "color type 0 with 5 bits"),
    "animated PNG": (pillow_file("RGB", "PNG", **FRAMES), "animated PNG is not supported"),
    "animated WebP": (pillow_file("RGB", "WEBP", **FRAMES), "animated WebP is not supported"),
    "CMYK JPEG": (pillow_file("CMYK", "JPEG"), "CMYK is not supported; convert the picture to RGB"),
    "CMYK TIFF": (pillow_file("CMYK", "TIFF"), "SEPARATED TIFF is not supported; convert"),
    "LAB TIFF": (pillow_file("LAB", "TIFF"), "CIELAB TIFF is not supported; convert"),
    "TIFF of complex numbers": (
        tiff_file(np.zeros((8, 8), complex)),
        "complex128 samples are not supported",
    ),
    "TIFF of five channels": (
        tiff_file(np.zeros((8, 8, 5), np.uint8), photometric="rgb"),
        "5 channels per pixel are not supported",
    ),
    "TIFF volume": (
        tiff_file(np.zeros((16, 16, 16), np.uint8), volumetric=True, tile=(16, 16, 16)),
        "volumes are not supported",
    ),
    "GIF": (pillow_file("L", "GIF"), "not an image of a known format"),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_kinds_that_are_not_supported_say_so(kind):
    data, reason = UNSUPPORTED[kind]
    assert reason in refusal(read, io.BytesIO(data))


def test_pages_of_several_kinds():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(np.zeros((8, 8), np.uint8))
        file.write(np.zeros((8, 9), np.uint8))
    assert "pages differ in size or kind" in refusal(read, io.BytesIO(stream.getvalue()))


def test_chain_of_pages_that_ends_in_nothing_or_in_a_circle():
    with tifffile.TiffFile(io.BytesIO(PAGES)) as file:
        last = file.pages[-1].offset
    (count,) = struct.unpack_from("<H", PAGES, last)
    end = last + 2 + 12 * count
    for target, reason in ((len(PAGES) + 100, "a page is missing"), (8, "circle")):
        broken = PAGES[:end] + struct.pack("<I", target) + PAGES[end + 4 :]
        assert reason in refusal(read, io.BytesIO(broken))


def test_compression_without_its_package_names_the_package():
    data = pillow_file("RGB", "TIFF", compression="tiff_lzw")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        assert "LZW compression needs a package: pip install imagecodecs" in refusal(
            read, io.BytesIO(data)
        )
    else:
        assert not read(io.BytesIO(data)).pixels.any()


def test_large_scans_pass_the_limit_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name in FORMATS:
        assert read(io.BytesIO(encoded(COLOR, name))).pixels.shape == COLOR.pixels.shape
    assert Image.MAX_IMAGE_PIXELS == 10


# Targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [write, check_target])
def test_targets_that_can_not_be_written(call, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "no-entry").mkdir()
    before = snapshot(tmp_path)
    cases = {
        "x.xyz": "unknown extension '.xyz'; use .png, .jpg, .tif, .webp or .bmp",
        "x": "no extension; use .png, .jpg, .tif, .webp or .bmp",
        "folder.png": "is a directory",
        "gone/x.png": f"directory {str(tmp_path / 'gone')!r} does not exist",
        "file/x.png": "not a directory",
        "x" * 300 + ".png": "file name too long",
    }
    assert "embedded null" in refusal(call, f"{tmp_path}/a\0b.png", GRAY)  # worded by Python
    for name, reason in cases.items():
        path = f"{tmp_path}/{name}"
        line = refusal(call, path, GRAY)
        assert line.startswith(f"{path!r}: ")
        assert line.endswith(reason)
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("call", [write, check_target])
def test_pipes_and_devices_are_not_replaced(call, tmp_path):
    # A pipe stands for all of them: with the check gone, root would lose a real device here.
    os.mkfifo(tmp_path / "x.png")
    assert "is not a regular file" in refusal(call, tmp_path / "x.png", GRAY)
    assert stat.S_ISFIFO((tmp_path / "x.png").stat().st_mode)


@pytest.mark.parametrize("call", [write, check_target])
def test_unwritable_places(call, tmp_path, monkeypatch):
    # What access() says is replaced, since root may write everywhere.
    write(tmp_path / "old.png", GRAY)
    before = snapshot(tmp_path)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(tmp_path) and real(path, mode))
    assert refusal(call, tmp_path / "x.png", GRAY).endswith("is not writable")
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("old.png"))
    assert refusal(call, tmp_path / "old.png", GRAY).endswith("is write-protected")
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_place_that_refuses_new_files():
    assert "'/proc/self/x.png': " in refusal(write, "/proc/self/x.png", GRAY)


def misfits():
    pages = replace(GRAY, pixels=np.stack([GRAY.pixels] * 2), pages=True)
    floats = GRAY.with_pixels(GRAY.pixels.astype(np.float32))
    wide = Picture(np.zeros((1, 70000), np.uint8))
    return {
        "x.jpg": [
            (DEEP, "JPEG does not hold uint16 pixels; write to .png or .tif"),
            (with_alpha(DEEP), "JPEG does not hold uint16 pixels and alpha; write to .png or .tif"),
            (with_alpha(COLOR), "JPEG does not hold alpha; write to .png, .tif or .webp"),
            (wide, "JPEG does not hold 70000 x 1 pixels; write to .png, .tif or .bmp"),
        ],
        "x.png": [
            (floats, "PNG does not hold float32 pixels; write to .tif"),
            (pages, "PNG does not hold several pages; write to .tif"),
        ],
        "x.webp": [(wide, "WEBP does not hold 70000 x 1 pixels; write to .png, .tif or .bmp")],
        "x.bmp": [(with_alpha(GRAY), "BMP does not hold alpha; write to .png, .tif or .webp")],
        "x.tif": [
            (
                GRAY.with_pixels(GRAY.pixels * 1j),
                "TIFF does not hold complex128 pixels; no format here holds it",
            ),
            (
                with_alpha(COLOR).with_pixels(COLOR.pixels / 2),
                "pixels are float64 but alpha is uint8; a file holds one depth",
            ),
        ],
    }


@pytest.mark.parametrize("call", [write, check_target])
@pytest.mark.parametrize("name", misfits())
def test_what_a_format_can_not_hold_names_the_way_out(call, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"old")
    for what, reason in misfits()[name]:
        assert refusal(call, path, what) == f"{str(path)!r}: {reason}"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == b"old"


def test_format_argument(tmp_path):
    write(tmp_path / "x.png", GRAY, format="tif")
    assert read(tmp_path / "x.png").format == "TIFF"  # from the content
    with pytest.raises(ParameterError, match="format must be one of PNG, JPEG"):
        write(tmp_path / "y.png", GRAY, format="gif")
    with pytest.raises(ParameterError, match="format must be given to write to a stream"):
        write(io.BytesIO(), GRAY)


def test_check_target_touches_nothing_and_is_silent(tmp_path):
    check_target(tmp_path / "x.bmp", replace(GRAY, metadata=Metadata(icc=b"profile")))
    assert not list(tmp_path.iterdir())


# Writing: whole or not at all --------------------------------------------------------------------


def test_streams_that_can_not_seek_and_take_a_part_at_a_time():
    class Slow(io.RawIOBase):
        def __init__(self):
            self.got = b""

        def writable(self):
            return True

        def write(self, data):
            self.got += bytes(data[:100])
            return len(data[:100])

    slow = Slow()
    write(slow, COLOR, format="PNG")
    assert slow.got == encoded(COLOR, "PNG")
    source, target = os.pipe()
    with os.fdopen(source, "rb") as reader:
        with os.fdopen(target, "wb") as writer:
            write(writer, GRAY, format="PNG")
        np.testing.assert_array_equal(read(reader).pixels, GRAY.pixels)


def test_closed_pipe_is_left_to_the_caller():
    source, target = os.pipe()
    os.close(source)
    with os.fdopen(target, "wb", buffering=0) as writer, pytest.raises(BrokenPipeError):
        write(writer, GRAY, format="PNG")


@pytest.mark.parametrize("step", ["os.replace", "os.fsync", "os.chmod", "nlmeans.files.png.encode"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_failure_half_way_leaves_the_old_file_and_nothing_else(step, error, tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    write(path, GRAY)
    before = snapshot(tmp_path)
    reached = []

    def fail(*arguments, **options):
        reached.append(step)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises((FileError, KeyboardInterrupt)) as caught:
            write(path, COLOR)
    assert reached
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"{str(path)!r}: ")
        assert "no space left on device" in str(caught.value).lower()
    assert snapshot(tmp_path) == before


def test_content_that_breaks_an_encoder_is_one_line(tmp_path):
    what = replace(GRAY, metadata=Metadata(text=(("Comment", "x" * 70000),)))
    assert "can not be written as JPEG" in refusal(write, tmp_path / "x.jpg", what)
    assert not list(tmp_path.iterdir())


def test_metadata_warning_made_an_error_comes_before_the_file_changes(tmp_path):
    path = tmp_path / "x.bmp"
    write(path, GRAY)
    before = snapshot(tmp_path)
    with pytest.raises(MetadataWarning):
        write(path, replace(GRAY, metadata=Metadata(icc=b"profile")))
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.png"
    write(path, GRAY)
    old = path.read_bytes()
    script = """
        import os, signal, sys
        import numpy as np
        from nlmeans.files import Picture, write
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        write(sys.argv[1], Picture(np.zeros((500, 500), np.uint8)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == old
    (left,) = set(tmp_path.iterdir()) - {path}
    assert left.name.startswith(".nlmeans-")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o777])
def test_permission_bits(mode, tmp_path):
    path = tmp_path / "x.png"
    old = os.umask(0o027)
    try:
        write(path, GRAY)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # a new file obeys the umask
        path.chmod(mode)
        write(path, COLOR)
        assert stat.S_IMODE(path.stat().st_mode) == mode  # a replaced one keeps its bits
    finally:
        os.umask(old)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
def test_owner_is_kept(tmp_path):
    path = tmp_path / "x.png"
    write(path, GRAY)
    os.chown(path, 12345, 23456)
    write(path, COLOR)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_link_stays_a_link(tmp_path):
    write(tmp_path / "real.png", GRAY)
    (tmp_path / "link.png").symlink_to("real.png")
    write(tmp_path / "link.png", COLOR)
    assert (tmp_path / "link.png").is_symlink()
    assert read(tmp_path / "real.png").channel_axis == -1


def test_input_may_be_the_output(tmp_path):
    for name, what in itertools.product(FORMATS, (GRAY, COLOR)):
        path = tmp_path / f"x{FORMATS[name].extensions[0]}"
        write(path, what)
        write(path, read(path))
        assert read(path).pixels.shape[:2] == what.pixels.shape[:2]
