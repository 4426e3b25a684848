"""Whatever is wrong: one clear line, an exit code, and nothing on disk that changes."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nlmeans
from nlmeans_cli.main import main
from test_cli import SMALL, load, nlm, noisy, save, snapshot

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and modes of POSIX")
NOT_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the table below refers to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NLM_TRACEBACK", raising=False)
    save("in.png", noisy())
    save("16.png", noisy().astype(np.uint16) * 257)
    save("float.tif", (noisy() / 255).astype(np.float32))
    save("nan.tif", np.full((24, 20), np.nan, np.float32))
    save("int32.tif", noisy().astype(np.int32))
    save("pages.tif", np.stack([noisy(), noisy()]))
    save("wide.png", noisy((20, 24)))
    Path("old.png").write_bytes(b"what was there before")
    Path("empty.png").touch()
    Path("text.png").write_text("no image at all")
    Path("cut.png").write_bytes(Path("in.png").read_bytes()[:200])
    Path("folder.png").mkdir()
    Path("sub").mkdir()
    save("sub/in.png", noisy())
    os.link("in.png", "hardlink.png")
    return tmp_path


OPTIONS = [  # every one a usage error that names the option as it is typed
    *[(("--h", v), "--h") for v in ("-1", "nan", "inf", "-inf", "text", "", "1,5", "1e308")],
    *[(("--sigma", v), "--sigma") for v in ("-0.1", "nan", "inf", "text")],
    *[(("--patch-radius", v), "--patch-radius") for v in ("-1", "1.5", "51", "x", "9" * 30)],
    *[(("--search-radius", v), "--search-radius") for v in ("-1", "nan", "1000000", "9" * 30)],
    (("--method", "opencv", "--h", "-1"), "--h"),
    (("--method", "opencv", "--sigma", "-1"), "--sigma"),
    (("--method", "opencv", "--h-color", "-1"), "--h-color"),
    (("--method", "mean", "--radius", "-1"), "--radius"),
    (("--method", "mean", "--radius", "501"), "--radius"),
    (("--method", "gaussian", "--std", "-1"), "--std"),
    (("--method", "gaussian", "--std", "nan"), "--std"),
    (("--method", "best"), "--method"),
    (("--method", "mean", "--h", "3"), "--h"),
    (("--radius", "2"), "--radius"),
    (("--center", "two"), "--center"),
    (("--patch-kernel", "round"), "--patch-kernel"),
    (("--engine", "steam"), "--engine"),
    (("--workers", "0"), "--workers"),
    (("--workers", "two"), "--workers"),
    (("--white", "0"), "--white"),
    (("--white", "nan"), "--white"),
    (("--format", "gif"), "--format"),
    (("--frobnicate",), "--frobnicate"),
    (("-5",), "-5"),
]

FAILURES = [  # (a part of the line, arguments), exit code 1
    ("'missing.png': no such file", "denoise missing.png old.png"),
    ("'empty.png': is empty", "denoise empty.png old.png"),
    ("'cut.png': truncated", "denoise cut.png old.png"),
    ("'text.png': not an image", "denoise text.png old.png"),
    ("'folder.png': is a directory", "denoise folder.png old.png"),
    ("'nan.tif' must not hold NaN", "denoise nan.tif out.tif"),
    ("'int32.tif' must have a dtype", "denoise int32.tif out.tif"),
    ("'folder.png': is a directory", "denoise in.png folder.png"),
    ("unknown extension '.xyz'", "denoise in.png out.xyz"),
    ("no extension", "denoise in.png out"),
    ("directory", "denoise in.png nowhere/out.png"),
    ("not a directory", "denoise in.png old.png/out.png"),
    ("'old.png': PNG does not hold float32", "denoise float.tif old.png"),
    ("'old.png': PNG does not hold several pages", "denoise pages.tif old.png"),
    ("'<stdin>': is empty", "denoise - old.png"),
    ("no such file", "denoise in.png -o nowhere/deep"),
    ("for method 'opencv'", "denoise 16.png old.png --method opencv"),
    ("'missing.png': no such file", "evaluate missing.png in.png"),
    ("'missing.png': no such file", "evaluate in.png missing.png"),
    ("'wide.png' must have the reference's shape", "evaluate in.png wide.png"),
    ("'nan.tif' must not hold NaN", "evaluate nan.tif float.tif"),
    ("'text.png': not an image", "noise text.png old.png --sigma 1"),
    ("'empty.png': is empty", "compare empty.png"),
    ("'in.png' must have the reference's shape", "compare in.png --reference wide.png"),
    ("'cut.png': truncated", "info cut.png"),
]

USAGE = [  # the same, exit code 2
    ("--format must be given", "denoise in.png -"),
    ("both are printed", "denoise in.png - --format png --json"),
    ("it has no name", "denoise - -o sub --format png"),
    ("missing argument", "denoise"),
    ("one OUT", "denoise in.png"),
    ("-o DIR", "denoise in.png wide.png out.png"),
    ("both become 'in.png'", "denoise in.png sub/in.png -o new"),
    ("both become 'in.tif'", "denoise in.png sub/in.png -o new --format tiff"),
    ("'old.png' is a file", "denoise in.png -o old.png"),
    ("'in.png' is an input", "denoise in.png in.png"),
    ("'hardlink.png' is an input", "denoise in.png hardlink.png"),
    ("sub/../in.png' is an input", "denoise in.png sub/../in.png"),
    ("is an input", "denoise wide.png sub/in.png -o sub"),
    ("no such command", "denoize in.png out.png"),
    ("--white must be given", "evaluate in.png 16.png"),
    ("--white must be a finite number", "evaluate in.png in.png --white -1"),
    ("only once", "evaluate - -"),
    ("missing argument", "evaluate in.png"),
    ("missing option '--sigma'", "noise in.png old.png"),
    ("(got -3.0)", "noise 16.png old.png --sigma -3"),
    ("(got nan)", "noise in.png old.png --sigma nan"),
    ("'--seed'", "noise in.png old.png --sigma 3 --seed -1"),
    ("'in.png' is an input", "noise in.png in.png --sigma 3"),
    ("(got -1.0)", "compare 16.png --h -1"),
    ("'--method'", "compare in.png --method best"),
    ("missing argument", "info"),
]


def check_refused(done, code, part, before, folder):
    assert "Traceback" not in done.stderr.decode()
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("nlm: error: ")
    assert "internal error" not in line
    assert part.lower() in line.lower()
    assert done.returncode == code
    assert done.stdout == b""
    assert snapshot(folder) == before


def here(*args):
    """What the program would do, without starting it: that takes a third of a second each time."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(args)
    printed = out.getvalue().encode(), err.getvalue().encode()
    return subprocess.CompletedProcess(args, code, *printed)


@pytest.mark.parametrize(("part", "line"), FAILURES, ids=[line for _, line in FAILURES])
def test_failures(folder, part, line):
    before = snapshot(folder)
    check_refused(nlm(*line.split()), 1, part, before, folder)


@pytest.mark.parametrize(("part", "line"), USAGE, ids=[line for _, line in USAGE])
def test_usage(folder, part, line):
    before = snapshot(folder)
    check_refused(here(*line.split()), 2, part, before, folder)


@pytest.mark.parametrize(("args", "flag"), OPTIONS, ids=[" ".join(args) for args, _ in OPTIONS])
def test_options(folder, args, flag):
    before = snapshot(folder)
    done = here("denoise", "in.png", "old.png", *args)
    check_refused(done, 2, flag, before, folder)
    assert b"nlm denoise --help" in done.stderr


@pytest.mark.parametrize(
    "args",
    [line.split() for _, line in USAGE[::6]]
    + [["denoise", "in.png", "old.png", *args] for args, _ in OPTIONS[::9]],
    ids=" ".join,
)
def test_usage_of_the_program(folder, args):
    before = snapshot(folder)
    check_refused(nlm(*args), 2, "--help", before, folder)


def test_the_target_is_checked_before_the_work(folder, monkeypatch):
    monkeypatch.setattr(nlmeans, "denoise", lambda *args, **options: pytest.fail("began to work"))
    before = snapshot(folder)
    check_refused(here("denoise", "in.png", "out.xyz"), 1, "'.xyz'", before, folder)
    check_refused(here("denoise", "float.tif", "out.png"), 1, "float32", before, folder)


@NOT_ROOT
@pytest.mark.parametrize(
    ("path", "mode", "line"),
    [
        ("in.png", 0o000, "denoise in.png out.png"),
        ("old.png", 0o444, "denoise in.png old.png"),
        ("sub", 0o555, "denoise in.png sub/out.png"),
        ("sub", 0o000, "info sub/in.png"),
    ],
)
def test_forbidden(folder, path, mode, line):
    before = snapshot(folder)
    os.chmod(path, mode)
    done = nlm(*line.split())
    os.chmod(path, 0o755)
    check_refused(done, 1, "", before, folder)


@POSIX
def test_an_input_is_known_behind_links_and_redirections(folder):
    os.symlink("in.png", "link.png")
    os.symlink("sub", "linked")
    before = snapshot(folder)
    for line in ("in.png link.png", "link.png in.png", "sub/in.png linked/in.png"):
        done = nlm("denoise", *line.split(), *SMALL)
        check_refused(done, 2, "--force", before, folder)
    with open("in.png", "rb") as file, nlm(
        "denoise", "-", "in.png", *SMALL, start=True, stdin=file, stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        assert b"--force" in process.stderr.read()
    assert process.returncode == 2
    assert snapshot(folder) == before


@POSIX
def test_force_replaces_what_a_link_points_to(folder):
    os.symlink("in.png", "link.png")
    done = nlm("denoise", "in.png", "link.png", "--h", "12", "--force", *SMALL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path("link.png").is_symlink()
    expected = nlmeans.denoise(noisy(), h=12, patch_radius=1, search_radius=2)
    np.testing.assert_array_equal(load("in.png"), expected)


@POSIX
def test_interrupt(folder):
    save("large.png", noisy((1280, 300)))
    before = snapshot(folder)
    # One worker and a radius that takes some seconds; the program stops within a step of it.
    args = ("--h", "5", "--patch-radius", "1", "--search-radius", "100", "--workers", "1")
    with nlm(
        "denoise", "large.png", "in.png", "-o", "new", *args,
        start=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell that runs the tests in the background lets them ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not Path("new").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.7)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, b"")
    assert err.strip() == b"nlm: interrupted"
    assert snapshot(folder) == before


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), MemoryError(), OSError(28, "Full")])
def test_the_unforeseen_is_one_line_too(folder, capsys, monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(nlmeans, "estimate_noise", fail)
    monkeypatch.setattr(nlmeans, "denoise", fail)
    for args in (["info", "in.png"], ["denoise", "in.png", "out.png"], ["compare", "in.png"]):
        assert main(args) == 1
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("nlm: error: ")
        assert ("internal error: RuntimeError: two lines" in line) == isinstance(
            error, RuntimeError
        )
    monkeypatch.setenv("NLM_TRACEBACK", "1")
    assert main(["info", "in.png"]) == 1
    assert "Traceback" in capsys.readouterr().err


@POSIX
def test_a_full_disk_behind_stdout(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    for line in ("info in.png", "denoise in.png - --format png --method mean"):
        with open("/dev/full", "wb") as full, nlm(
            *line.split(), start=True, stdout=full, stderr=subprocess.PIPE
        ) as process:  # fmt: skip
            (error,) = process.stderr.read().decode().splitlines()
        assert error.startswith("nlm: error: ")
        assert process.returncode == 1


def test_names_that_break_lines(folder, capsys):
    save("a\nb.tif", noisy())
    assert main(["info", "a\nb.tif"]) == 0
    assert "a\\nb.tif" in capsys.readouterr().out
    assert main(["denoise", "c\nd.png", "out.png"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
