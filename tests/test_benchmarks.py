"""What reports speed: turns, ratios and tables, on times that are made up."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nlmeans.timing import Summary, interleaved, summarize
from nlmeans_cli.main import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def render():
    """benchmarks/render.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("render", ROOT / "benchmarks" / "render.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contenders_take_turns_after_an_untimed_run():
    now, order, fractions = [0.0], [], []

    def contender(name, *seconds):
        times = iter(seconds)

        def run():
            order.append(name)
            now[0] += next(times)

        return run

    runs = {"a": contender("a", 50, 1, 2, 4), "b": contender("b", 70, 3, 3, 3)}
    seconds = interleaved(runs, 3, clock=lambda: now[0], progress=fractions.append)
    assert "".join(order) == "abababab"
    assert seconds == {"a": [1, 2, 4], "b": [3, 3, 3]}
    assert fractions == [k / 8 for k in range(1, 9)]


def test_ratios_are_taken_round_by_round():
    """Of the medians it would be 3 / 2; c has fewer rounds."""
    found = summarize({"a": [1, 2, 4], "b": [3, 3, 3], "c": [2, 8]}, "a")
    assert found["a"] == Summary(2, 1, 1, 1, 1)
    assert found["b"] == Summary(3, 3, 1.5, 0.75, 3)
    assert found["c"] == Summary(5, 2, 3, 2, 4)


def case(kind, megapixels, threads, ours, **others):
    seconds = {"nlmeans": ours} | {name.replace("_", "-"): t for name, t in others.items()}
    head = {"kind": kind, "dtype": "uint8", "megapixels": megapixels, "threads": threads}
    return head | {"seconds": seconds}


RESULTS = {
    "machine": {
        "processor": "Z80", "processors": 2, "python": "3.11", "versions": {"numpy": "2.0"},
        "date": "2026-01-02",
    },
    "cases": [
        case("gray", 1, 1, [0.5, 0.25, 0.25], OpenCV=[1, 1, 2], scikit_image=[10]),
        case("gray", 1, 2, [0.125, 0.125, 0.5], OpenCV=[0.5, 1, 1]),
        case("gray", 4, 1, [1.5], OpenCV=[3]),
    ],
    "roofline": {"fraction": 0.375},
    "volume": {
        "shape": [10, 100, 100], "crop": [10, 10, 10], "settings": {"nlmeans": "by rule", "b": "h"},
        "seconds": {"nlmeans": [0.001], "b": [0.01]}, "seconds_whole": [0.05],
        "psnr": {"nlmeans": 30, "b": 29.5}, "psnr_whole": {"nlmeans": 31},
    },
}  # fmt: skip

TEXT = """\
Z80, 2 processors, Python 3.11, numpy 2.0; 2026-01-02. Medians; ratios round by round.

| image | MP | threads | nlmeans, s | MP/s | OpenCV, s (times ours) | scikit-image, s (times ours) |
| --- | --- | --- | --- | --- | --- | --- |
| gray uint8 | 1 | 1 | 0.250 | 4.2 | 1.00 (**4.0**) | 10.00 (**20.0**) |
| gray uint8 | 1 | 2 | 0.125 | 8.4 | 1.00 (**4.0**) |  |
| gray uint8 | 4 | 1 | 1.500 | 2.8 | 3.00 (**2.0**) |  |

2 threads are 2.00 to 2.00 times as fast as one, from 1 MP on.
A megapixel of a larger picture takes 1.50 to 1.50 times as long as one alone.
The arithmetic alone, at the rate at which this processor was found to add and multiply, is \
38 % of the time of 1 MP gray.

| volume | settings | Mvoxel/s | times ours | PSNR, dB |
| --- | --- | --- | --- | --- |
| nlmeans, 10 x 10 x 10 | by rule | 1 | 1.0 | 30.00 |
| b, 10 x 10 x 10 | h | 0.1 | 10.0 | 29.50 |
| nlmeans, 10 x 100 x 100 | by rule | 2 |  | 31.00 |
"""


def test_tables_of_made_up_times(render):
    assert render.markdown(RESULTS) == TEXT


def test_only_what_is_between_the_marks_is_replaced(render):
    readme = f"a\n{render.BEGIN}\nold\n{render.END}\nb\n"
    assert render.placed(readme, "new\n") == f"a\n{render.BEGIN}\nnew\n{render.END}\nb\n"
    with pytest.raises(ValueError, match="once each"):
        render.placed("a", "new\n")


def test_readme_has_the_figures_that_were_measured(render):
    results = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert render.placed(readme, render.markdown(results)) == readme


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    eight = np.random.default_rng(0).integers(0, 256, (12, 10)).astype(np.uint8)
    Image.fromarray(eight).save("eight.png")
    Image.fromarray(eight.astype(np.uint16) * 257).save("sixteen.png")
    return tmp_path


def test_benchmark_of_a_picture(folder, capsys):
    assert main(["benchmark", "eight.png", "--h", "10", "--rounds", "3", "--json", "-q"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["megapixels"], record["h"], record["sigma"]) == (120e-6, 10, None)
    assert [result["method"] for result in record["results"]] == ["nlm", "opencv"]
    ours = record["results"][0]["seconds"]
    for result in record["results"]:
        assert len(result["seconds"]) == 3
        assert result["median"] == sorted(result["seconds"])[1]
        assert result["megapixels_per_second"] == pytest.approx(120e-6 / result["median"])
        ratios = sorted(a / b for a, b in zip(result["seconds"], ours, strict=True))
        assert result["ratio"] == pytest.approx(ratios[1])


def test_benchmark_says_why_opencv_is_missing(folder, capsys):
    assert main(["benchmark", "sixteen.png", "--sigma", "10", "--rounds", "1", "-q"]) == 0
    head, ours, theirs = capsys.readouterr().out.splitlines()
    assert head.split() == ["method", "median/s", "least/s", "MP/s", "ratio"]
    assert ours.split()[0] == "nlm"
    assert ours.split()[-1] == "1.00"
    assert theirs.split()[:5] == ["opencv", "-", "-", "-", "-"]
    assert "uint8" in theirs
    assert "uint16" in theirs


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none.png"], 1, "none.png"),
        (["eight.png", "--rounds", "0"], 2, "--rounds"),
        (["eight.png", "--workers", "0"], 2, "--workers"),
        (["eight.png", "--h", "-1"], 2, "--h"),
    ],
)
def test_benchmark_refuses(folder, capsys, arguments, code, text):
    assert main(["benchmark", *arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert text in lines[0]
