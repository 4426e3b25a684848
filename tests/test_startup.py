"""What compiling kernels costs the user, and when: said once, kept, never stale."""

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nlmeans
from nlmeans.engines import get_engine, jit, numba_engine
from nlmeans_cli.main import main

SCRIPT = """
import logging, sys
import numpy as np
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
import nlmeans
image = np.array([[0, 1.0], [2.0, 3.0]], np.float32)
print(nlmeans.denoise(image, h=2.0, patch_radius=0, search_radius=1)[0, 0].item(), nlmeans.__file__)
"""


@pytest.fixture
def installed(tmp_path):
    """A copy of the package, and a function that runs SCRIPT with it."""
    site = tmp_path / "site"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(nlmeans.__file__).parent, site / "nlmeans", ignore=ignored)

    def run():
        changes = {"PYTHONPATH": str(site), "NLMEANS_CACHE_DIR": str(tmp_path / "cache")}
        environment = os.environ | changes | {"PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(
            command, env=environment, cwd=site, capture_output=True, text=True, timeout=120
        )
        assert not done.stderr
        *notices, last = done.stdout.splitlines()
        value, place = last.split(maxsplit=1)
        assert Path(place).is_relative_to(site)
        return notices, float(value)

    return site, run


def test_kernels_are_compiled_once_and_again_after_an_edit(installed):
    """The formula is edited in a file that holds no kernel; nothing is written beside the code."""
    site, run = installed
    files = sorted(site.rglob("*"))
    notices, first = run()
    assert len(notices) == 3
    assert all("compiling" in notice and "kept in" in notice for notice in notices)
    assert run() == ([], first)
    path = site / "nlmeans" / "affinity.py"
    text = path.read_text()
    assert text.count("* minus_inverse_h2") == 1
    path.write_text(text.replace("* minus_inverse_h2", "* (minus_inverse_h2 + minus_inverse_h2)"))
    notices, second = run()
    assert len(notices) == 3
    # h^2 is halved: at (0, 0) the window is (3 2 3, 1 0 1, 3 2 3), by reflection.
    for value, h2 in ((first, 4.0), (second, 2.0)):
        weights = [2.0 ** (-d * d / h2 * 1.4426950408889634) for d in (3, 2, 3, 1, 0, 1, 3, 2, 3)]
        mean = sum(w * d for w, d in zip(weights, (3, 2, 3, 1, 0, 1, 3, 2, 3), strict=True))
        assert value == pytest.approx(mean / sum(weights), rel=1e-5)
    assert sorted(site.rglob("*")) == files


def test_unused_kernels_are_removed(tmp_path, monkeypatch):
    """Folders of other sources, if a month old; what else lies there is left alone."""
    monkeypatch.setenv("NLMEANS_CACHE_DIR", str(tmp_path))
    old, young, other = (tmp_path / name for name in ("0" * 16, "1" * 16, "mine"))
    month_ago = time.time() - 31 * 86400
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "kernel.nbc").touch()
        if folder is not young:
            os.utime(folder, (month_ago, month_ago))
    current = jit.cache_folder()
    assert sorted(tmp_path.iterdir()) == sorted([current, young, other])
    os.utime(current, (month_ago, month_ago))
    assert jit.cache_folder() == current
    assert current.stat().st_mtime > month_ago + 86400


@pytest.fixture
def compiling(monkeypatch):
    """The engine logs as if it compiled two kernels."""
    average = numba_engine.average

    def logged(*args, **kwargs):
        for name in ("a", "b"):
            logging.getLogger("nlmeans").info("compiling %s, %s", name, "kept in /x")
        return average(*args, **kwargs)

    monkeypatch.setattr(numba_engine, "average", logged)


def run_denoise(tmp_path, *options):
    from PIL import Image

    Image.new("L", (4, 4)).save(tmp_path / "in.png")
    paths = [str(tmp_path / "in.png"), str(tmp_path / "out.png")]
    return main(["denoise", *paths, "--h", "5", *options])


def test_the_program_says_once_that_it_compiles(tmp_path, capsys, compiling):
    assert run_denoise(tmp_path) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["nlm: compiling for this machine, about 10 s; this happens once"]


def test_quiet_says_nothing(tmp_path, capsys, compiling):
    assert run_denoise(tmp_path, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_the_library_says_nothing_unless_asked(capsys, compiling, caplog):
    import numpy as np

    nlmeans.denoise(np.zeros((4, 4)), h=1.0)
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("nlmeans").handlers == []


def test_warmup_compiles_every_size_of_the_rules(monkeypatch, capsys):
    """Patch radii of the rules and the plain default, in both dtypes."""
    seen = set()

    def average(operation, image, **_):
        seen.add((operation.affinity.patch_radius, image.dtype.name))

    monkeypatch.setattr(numba_engine, "average", average)
    monkeypatch.setattr(numba_engine, "CACHE_FOLDER", Path("somewhere"))
    assert main(["warmup"]) == 0
    rules = nlmeans.rules
    used = {r.patch_radius for _, r in (*rules._OFFSET_GRAY, *rules._OFFSET_CHANNELS)}
    used.add(rules.PLAIN_DEFAULT.patch_radius)
    assert seen >= {(r, dtype) for r in used for dtype in ("float32", "float64")}
    assert capsys.readouterr().err == "nlm: kernels are in 'somewhere'\n"


def test_warmup_without_a_cache_fails(monkeypatch, capsys):
    get_engine("numba")
    monkeypatch.setattr(numba_engine, "average", lambda *args, **_: None)
    monkeypatch.setattr(numba_engine, "CACHE_FOLDER", None)
    assert main(["warmup"]) == 1
    assert "set NLMEANS_CACHE_DIR" in capsys.readouterr().err
