"""What reports speed and quality: turns, ratios, rows and tables, on figures that are made up."""

import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nlmeans.timing import Summary, interleaved, summarize
from nlmeans_cli.main import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    """Import a module of benchmarks/, which are no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield importlib.import_module


@pytest.fixture(scope="module")
def render(script):
    return script("render")


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
    begin, end = render.marks("speed")
    readme = f"a\n{begin}\nold\n{end}\nb\n"
    assert render.placed(readme, "new\n", "speed") == f"a\n{begin}\nnew\n{end}\nb\n"
    with pytest.raises(ValueError, match="once each"):
        render.placed(readme, "new\n", "quality")


def test_readme_has_the_figures_that_were_measured(render):
    readme = (ROOT / "README.md").read_text()
    assert render.rendered(readme) == readme


def quality_row(contender, psnr, speed, **others):
    row = {
        "set": "Set12", "noise": "awgn", "sigma": 15, "peak": None, "contender": contender,
        "settings": {}, "blind": False, "eight_bit": False, "images": 12, "psnr": psnr,
        "psnr_least": psnr - 1, "ssim": 0.75, "mp_per_s": speed, "versions": {"numpy": "2.0"},
    }  # fmt: skip
    return row | others


REAL = {"set": "PolyU_dev57", "noise": "real", "sigma": None, "images": 57}
CLEAN = {"set": "Kodak24", "noise": "clean", "sigma": None, "images": 24}
COUNTS = {"noise": "poisson", "sigma": None}
OPENCV = {"settings": {"patch": 5, "h": 3}, "versions": {"opencv-python": "5.0"}}
QUALITY = {
    "machine": RESULTS["machine"],
    "rows": [
        quality_row("OpenCV", 35.5, 0.25, **REAL, **OPENCV),
        quality_row("OpenCV", 27.5, 4.5, sigma=25, eight_bit=True),
        quality_row("nlm fast", 28.25, 20, sigma=25),
        quality_row("nlm fast", 31.125, 25),
        quality_row("noisy", 24.5, None),
        quality_row("nlm default", 50, 3, **CLEAN),
        quality_row("ridge model", 24, 0.5, peak=4, **COUNTS),
        quality_row("ridge model", 20, 0.5, peak=1, **COUNTS),
    ],
}

QUALITY_TEXT = """\
Z80, 2 processors, Python 3.11, numpy 2.0, opencv-python 5.0; 2026-01-02. PSNR in dB / SSIM, \
means over the images.

| Set12 (12), white Gaussian noise | sigma 15 | sigma 25 | MP/s, sigma 15 |
| --- | --- | --- | --- |
| noisy | 24.50 / 0.750 |  |  |
| nlm fast | 31.12 / 0.750 | 28.25 / 0.750 | 25 |
| OpenCV (8-bit input) |  | 27.50 / 0.750 |  |

| PolyU_dev57 (57), camera noise, no options | PSNR / SSIM | MP/s | settings |
| --- | --- | --- | --- |
| OpenCV | 35.50 / 0.750 | 0.25 | patch 5, h 3 |

| Kodak24, FFDNet's 500x500 crops (24), no noise, no options | PSNR / SSIM | MP/s | least PSNR | \
settings |
| --- | --- | --- | --- | --- |
| nlm default | 50.00 / 0.750 | 3 | 49.00 |  |

| Set12 (12), Poisson noise | peak 1 | peak 4 | MP/s, peak 1 |
| --- | --- | --- | --- |
| ridge model | 20.00 / 0.750 | 24.00 / 0.750 | 0.5 |
"""


def test_quality_tables_of_made_up_rows(render):
    assert render.quality_markdown(QUALITY) == QUALITY_TEXT
    turned = QUALITY | {"rows": QUALITY["rows"][::-1]}
    assert render.quality_markdown(turned) == QUALITY_TEXT


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({"contender": "nlm slow"}, "unknown row: Set12, awgn, nlm slow"),
        ({"contender": "nlm model"}, "unknown row"),
        ({"set": "Set13"}, "unknown row"),
        ({"noise": "rician"}, "unknown row"),
        ({"contender": "OpenCV", "images": 3}, r"over \[3, 12\] images"),
    ],
)
def test_rows_without_a_place_in_the_tables_are_refused(render, others, text):
    row = quality_row("nlm fast", 31, 25)
    with pytest.raises(ValueError, match=text):
        render.quality_markdown(QUALITY | {"rows": [row, row | others]})


def test_ablations_are_told_beside_the_network_without_the_block(render):
    cost = {"minutes": 10, "seed": 0}
    rows = [
        {"variant": "no block", "weights": 1000, "steps": 2500, "psnr": {"A": 30.0}} | cost,
        {"variant": "block", "weights": 2000, "steps": 2000, "psnr": {"A": 29.875}} | cost,
    ]
    assert render.ablation_markdown({"rows": rows}).splitlines() == [
        "| 10 minutes of processor time each | weights | steps | A |",
        "| --- | --- | --- | --- |",
        "| no block | 1,000 | 2,500 | 30.00 |",
        "| block | 2,000 | 2,000 | 29.88 (-0.12) |",
    ]
    for other, text in (
        ({"minutes": 5}, "minutes, not of 5 and 10"),
        ({"seed": 1}, "seed, not of 0 and 1"),
    ):
        with pytest.raises(ValueError, match=f"ablations must be of one {text}"):
            render.ablation_markdown({"rows": [rows[0], rows[1] | other]})
    with pytest.raises(ValueError, match="ablations must have a row 'no block'"):
        render.ablation_markdown({"rows": rows[1:]})


def test_pareto_front(script):
    plot = script("quality_plot")
    rows = [
        quality_row("BM3D", 30, 0.1, sigma=25),
        quality_row("ridge balanced", 30, 1, sigma=25),
        quality_row("nlm balanced", 29, 8, sigma=25),
        quality_row("nlm balanced blind", 31, 8, sigma=25, blind=True),
        quality_row("OpenCV", 28, 4, sigma=25, eight_bit=True),
        quality_row("nlm fast", 28, 16, sigma=25),
        quality_row("nlm best", 32, 32),
    ]
    found = plot.points(rows, "Set12")
    names = ["BM3D", "ridge balanced", "OpenCV (8-bit)", "nlm balanced", "nlm fast"]
    assert [point.name for point in found] == names
    assert [point.name for point in found if not point.ours] == ["BM3D", "OpenCV (8-bit)"]
    best = ["ridge balanced", "nlm balanced", "nlm fast"]
    assert [point.name for point in plot.front(found)] == best


def test_plot_is_drawn(script, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [quality_row("nlm fast", 28, 16, sigma=25), quality_row("BM3D", 30, 0.1, sigma=25)]
    script("quality_plot").plot(rows, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size[0] > 500


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sets of one or two small images."""
    folder = tmp_path_factory.mktemp("data")
    y, x = np.mgrid[:24, :20]
    gray = np.uint8(120 + 100 * np.sin(x / 3) * np.cos(y / 4))
    color = np.stack([gray, gray[::-1], 255 - gray], -1)
    files = {"Set12/1.png": gray, "Set12/2.png": 255 - gray, "CBSD68/1.png": color}
    files |= {"Kodak24/1.png": color, "PolyU_dev57/1_mean.JPG": color}
    files["PolyU_dev57/1_real.JPG"] = color
    for name, image in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def test_noise_is_that_of_the_protocol(script, data):
    cases = script("cases")
    images = cases.Images(cases.Case("Set12", "awgn", 25), data)
    assert len(images) == 2
    clean, noisy, given = images[1]
    noise = np.random.default_rng(1).normal(0, 25, clean.shape)
    np.testing.assert_array_equal(noisy, (clean + noise).astype(np.float32))
    assert given.rms == pytest.approx(noise.std(), rel=0.05)
    eight = cases.Images(cases.Case("Set12", "clipped", 25), data)[1].noisy
    np.testing.assert_array_equal(eight, np.uint8(np.rint(np.clip(clean + noise, 0, 255))))
    counts = cases.Images(cases.Case("Set12", "poisson", 4), data)[1]
    assert counts.given.sigma is None
    np.testing.assert_allclose(counts.noisy / (255 / 4), np.rint(counts.noisy / (255 / 4)))
    assert cases.Case("Set12", "poisson-gaussian", 4).sigma == 25.5
    with pytest.raises(FileNotFoundError, match="BSD68"):
        len(cases.Images(cases.Case("BSD68", "awgn", 25), data))


@pytest.mark.parametrize(
    ("name", "noise", "level"),
    [
        ("Set12", "awgn", 20),
        ("CBSD68", "awgn", 20),
        ("PolyU_dev57", "real", None),
        ("Kodak24", "clean", None),
        ("Set12", "poisson", 30),
        ("Set12", "poisson-gaussian", 30),
        ("Set12", "speckle", 0.2),
        ("volume_MNI152", "rician", 15),
    ],
)
def test_every_contender_runs(script, data, name, noise, level):
    cases, quality = script("cases"), script("quality")
    case = cases.Case(name, noise, level)
    if name == "volume_MNI152":
        clean = np.float32(np.indices((12, 12, 12)).sum(0) * 8)
        given = cases.Given(noise, level, None, level, None)
        pair = cases.Pair(clean, cases.noised(clean, case, 0), given)
    else:
        pair = cases.Images(case, data)[0]
    for contender in quality.contenders(case):
        runs = contender.package != "onnxruntime" or find_spec("onnxruntime")
        if runs and not contender.optional:
            result = quality.call(contender, quality.corner(pair), contender.settings[-1])()
            assert result.shape == pair.clean.shape, contender.name
            assert np.isfinite(result).all(), contender.name


def test_settings_are_those_with_the_best_mean(script):
    """12 of 30 images, spread evenly, or all."""
    cases, quality = script("cases"), script("quality")
    clean = np.full((12, 12), 100.0)
    pairs = [cases.Pair(clean, clean + k, cases.Given("awgn", 1, None, 1, None)) for k in range(30)]
    seen = []

    def run(noisy, given, settings):
        seen.append(int(noisy[0, 0] - 100))
        return noisy - settings["less"]

    settings = tuple({"less": value} for value in (-20.5, 13.5, 40.5))
    contender = quality.Contender("a", run, settings)
    assert quality.chosen(contender, pairs) == {"less": 13.5}
    assert sorted(set(seen)) == [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27]
    seen.clear()
    quality.chosen(quality.Contender("a", run, settings, try_all=True), pairs)
    assert len(set(seen)) == 30


def test_rows_are_written_once_and_again_on_demand(script, data, tmp_path, monkeypatch):
    quality, path = script("quality"), tmp_path / "results" / "quality.json"
    names = ["noisy", "Gaussian filter"]
    words = [str(data), "--set", "Set12", "--noise", "awgn", "--json", str(path), "--contender"]
    quality.main([*words, *names, "--sigma", "25"])
    noisy, smooth = sorted(json.loads(path.read_text())["rows"], key=lambda row: row["psnr"])
    assert (noisy["contender"], smooth["contender"]) == tuple(names)
    images = quality.Images(quality.Case("Set12", "awgn", 25), data)
    mean = np.mean([quality.psnr(pair, pair.noisy) for pair in images])
    assert noisy["psnr"] == pytest.approx(mean, abs=1e-3)
    assert noisy["images"] == smooth["images"] == 2
    assert noisy["mp_per_s"] is None
    assert smooth["mp_per_s"] > 0
    assert smooth["settings"]["std"] > 0.5
    assert set(smooth["versions"]) == {"nlmeans", "numpy"}

    done = []

    def measured(contender, images):
        done.append((contender.name, images.case.level))
        return noisy | {"contender": contender.name, "sigma": images.case.level}

    monkeypatch.setattr(quality, "measured", measured)
    quality.main([*words, *names, "--sigma", "25", "50"])
    assert done == [("noisy", 50), ("Gaussian filter", 50)]
    done.clear()
    quality.main([*words[:-1], "--redo", "noisy", "--sigma", "25"])
    assert done == [("noisy", 25)]
    assert len(json.loads(path.read_text())["rows"]) == 4
    quality.main([*words, "noisy", "--sigma", "25", "--images", "1"])
    assert done == [("noisy", 25), ("noisy", 25)]


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
