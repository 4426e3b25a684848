"""The command line does what the library does, in 8-bit gray levels, and keeps stdout clean."""

import io
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from PIL import Image

import nlmeans
from nlmeans_cli import progress
from nlmeans_cli.commands import nlm as group
from nlmeans_cli.main import main

SMALL = ("--patch-radius", "1", "--search-radius", "2")
RADII = {"patch_radius": 1, "search_radius": 2}
COMMANDS = sorted(group.commands)


def nlm(*args, data=b"", **options):
    """Run the installed program."""
    found = shutil.which("nlm", path=str(Path(sys.executable).parent)) or shutil.which("nlm")
    assert found, "the project is not installed"
    environment = {name: value for name, value in os.environ.items() if name != "NLM_TRACEBACK"}
    command = [found, *map(str, args)]
    if options.pop("start", False):
        return subprocess.Popen(command, env=environment, **options)
    done = subprocess.run(
        command, input=data, capture_output=True, env=environment, timeout=120, **options
    )
    assert b"Traceback" not in done.stderr
    return done


def noisy(shape=(24, 20), seed=0):
    rng = np.random.default_rng(seed)
    image = np.where(np.arange(shape[1])[:, None] < 10, 60, 180) if len(shape) == 3 else 0
    image = image + np.where(np.arange(shape[0]) < 12, 60, 140).reshape(-1, *[1] * (len(shape) - 1))
    return np.clip(image + rng.normal(0, 15, shape), 0, 255).astype(np.uint8)


def save(path, image):
    if Path(path).suffix == ".tif":
        tifffile.imwrite(path, image, photometric="rgb" if image.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(image).save(path)


def load(path):
    return tifffile.imread(path) if Path(path).suffix == ".tif" else np.asarray(Image.open(path))


def snapshot(folder):
    """Every file below a folder with its content, every directory without."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NLM_TRACEBACK", raising=False)
    save("in.png", noisy())
    return tmp_path


# Help ---------------------------------------------------------------------------------------------


def options_of(command):
    return [p for p in group.commands[command].params if isinstance(p, click.Option)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    long = capsys.readouterr().out
    assert main([command, "-h"]) == 0
    assert capsys.readouterr().out == long
    assert "Examples:" in long
    assert len(group.commands[command].help) > 50
    assert all(option.help for option in options_of(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_valid_command_lines(command):
    lines = [
        shlex.split(line.split("| ")[-1].split(" >")[0])
        for line in group.commands[command].epilog.split("\n\n")[0].splitlines()[2:]
    ]
    assert len(lines) >= 2
    for program, name, *args in lines:
        assert (program, name) == ("nlm", command)
        group.commands[command].make_context(name, args)


@pytest.mark.parametrize(
    ("command", "option"),
    [("denoise", "h"), ("denoise", "sigma"), ("denoise", "h_color"), ("noise", "sigma"),
     ("compare", "h"), ("compare", "sigma"), ("denoise", "gain"), ("noise", "gain")],
)  # fmt: skip
def test_help_tells_the_unit(command, option):
    (found,) = [o for o in options_of(command) if o.name == option]
    assert "8-bit gray levels" in found.help


def test_denoise_has_the_options_of_the_methods_and_no_others():
    methods = nlmeans.METHODS.values()
    options = {field.name for method in methods for field in fields(method) if field.init}
    own = {"output_dir", "method", "white", "format", "force", "workers", "quiet", "verbose"}
    noise = {"noise", "gain", "scales", "chroma", "tune", "as_json"}
    assert {o.name for o in options_of("denoise")} == options | own | noise


def test_h_is_the_strength_and_not_help(folder, capsys):
    assert main(["denoise", "in.png", "out.png", "--h", "0"]) == 0
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(load("out.png"), load("in.png"))


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nlm {nlmeans.__version__}\n"


def test_no_command_is_a_usage_error_with_help(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(command in err for command in COMMANDS)


def test_help_imports_nothing_slow():
    slow = ["numba", "cv2", "skimage", "scipy", "PIL", "imageio", "tifffile", "torch"]
    code = (
        "import sys; from nlmeans_cli.main import main; early = 'numpy' in sys.modules; "
        "main(['denoise', '--help']); "
        f"print(early, [m for m in {slow} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False []"


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "nlmeans_cli", "--version"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"nlm ")


# denoise ------------------------------------------------------------------------------------------


def test_denoise_says_nothing_and_does_what_the_library_does(folder):
    expected = nlmeans.denoise(noisy(), h=12, **RADII)  # first: the program says if it compiles
    done = nlm("denoise", "in.png", "out.png", "--h", "12", *SMALL)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    np.testing.assert_array_equal(load("out.png"), expected)
    assert not np.array_equal(expected, noisy())
    again = nlm("denoise", "in.png", "out.png", "--h", "30", *SMALL)  # an output may be replaced
    assert again.returncode == 0
    assert not np.array_equal(load("out.png"), expected)


@pytest.mark.parametrize(
    ("name", "image", "args", "level"),
    [
        ("a.png", noisy().astype(np.uint16) * 257, (), 257),
        ("a.tif", (noisy().astype(np.int32) * 257 - 32768).astype(np.int16), (), 257),
        ("a.tif", noisy().astype(np.uint16) * 16, ("--white", "4080"), 16),
        ("a.tif", (noisy() / 255).astype(np.float32), (), 1 / 255),
        ("a.tif", noisy().astype(np.float64), ("--white", "255"), 1),
    ],
    ids=["uint16", "int16", "12-bit", "float32", "float64 to 255"],
)
def test_strength_is_in_gray_levels_whatever_the_depth(folder, name, image, args, level):
    save(name, image)
    output = f"out{Path(name).suffix}"
    for option in ("h", "sigma"):
        assert main(["denoise", name, output, f"--{option}", "10", *SMALL, *args]) == 0
        assert main(["denoise", "in.png", "out8.png", f"--{option}", "10", *SMALL]) == 0
        result = load(output)
        assert result.dtype == image.dtype
        expected = nlmeans.denoise(image, **{option: 10 * level}, **RADII)
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=0)
        black = -32768 if image.dtype == np.int16 else 0
        eight = (result.astype(float) - black) / level
        assert np.abs(eight - load("out8.png")).max() < 0.5 + 0.5 / level * (level > 1) + 1e-3


def test_color_alpha_and_pages(folder):
    rgb, alpha = noisy((24, 20, 3)), noisy(seed=5)
    save("rgba.png", np.dstack([rgb, alpha]))
    assert main(["denoise", "rgba.png", "out.png", "--h", "12", *SMALL]) == 0
    np.testing.assert_array_equal(load("out.png")[..., 3], alpha)
    expected = nlmeans.denoise(rgb, h=12, channel_axis=-1, **RADII)
    np.testing.assert_array_equal(load("out.png")[..., :3], expected)

    pages = np.stack([noisy(seed=1), noisy(seed=2) // 3])
    save("pages.tif", pages)
    assert main(["denoise", "pages.tif", "out.tif", *SMALL]) == 0
    expected = [nlmeans.denoise(page, **RADII) for page in pages]
    np.testing.assert_array_equal(load("out.tif"), expected)


@pytest.mark.parametrize("method", nlmeans.METHODS)
def test_every_method(folder, method):
    assert main(["denoise", "in.png", "out.png", "--method", method]) == 0
    np.testing.assert_array_equal(load("out.png"), nlmeans.denoise(noisy(), method=method))


@pytest.mark.parametrize("method", ["learned", "learned-nlm"])
def test_trained_methods_keep_depth_and_alpha(folder, method):
    rgb = noisy((24, 20, 3)).astype(np.uint16) * 200
    alpha = np.arange(480, dtype=np.uint16).reshape(24, 20) * 100
    tifffile.imwrite(
        "in.tif", np.dstack([rgb, alpha]), photometric="rgb", extrasamples=["unassalpha"]
    )
    assert main(["denoise", "in.tif", "out.tif", "--method", method, "--sigma", "12"]) == 0
    result = load("out.tif")
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result[..., 3], alpha)
    expected = nlmeans.denoise(rgb, sigma=12 * 257, method=method, channel_axis=-1)
    np.testing.assert_array_equal(result[..., :3], expected)
    assert np.abs(result[..., :3].astype(float) - rgb).max() > 257


def test_options_reach_the_methods(folder):
    rgb = noisy((24, 20, 3))
    save("rgb.png", rgb)
    for method, args, options in [
        ("nlm", "--h 9 --sigma 5 --patch-kernel gaussian --center zero --engine reference",
         {"h": 9, "sigma": 5, "patch_kernel": "gaussian", "center": "zero", "engine": "reference"}),
        ("opencv", "--h 9 --h-color 4 --workers 1", {"h": 9, "h_color": 4}),
        ("median", "--radius 2", {"radius": 2}),
        ("gaussian", "--std 1.5", {"std": 1.5}),
    ]:  # fmt: skip
        small = SMALL if method in ("nlm", "opencv") else ()
        args = ["denoise", "rgb.png", "out.png", "--method", method, *args.split(), *small]
        assert main(args) == 0
        options |= RADII if small else {}
        expected = nlmeans.denoise(rgb, method=method, channel_axis=-1, **options)
        np.testing.assert_array_equal(load("out.png"), expected)


def test_verbose_and_json_tell_the_settings_in_gray_levels(folder, capsys):
    image = noisy().astype(np.uint16) * 257
    save("in16.png", image)
    assert main(["denoise", "in16.png", "out.png", "-v", "--json", *SMALL]) == 0
    out, err = capsys.readouterr()
    (record,) = json.loads(out)
    assert (record["input"], record["output"], record["method"]) == ("in16.png", "out.png", "nlm")
    (page,) = record["pages"]
    estimate = nlmeans.estimate_sigma(image) / 257
    assert 5 < estimate < 30
    assert page["estimated_sigma"] == pytest.approx(estimate)
    assert page["settings"]["sigma"] == pytest.approx(estimate)
    assert page["settings"] | RADII == page["settings"]
    assert len(err.splitlines()) == 1
    assert f"sigma={estimate:.4g}" in err
    assert "estimated" in err


@pytest.mark.parametrize(
    ("args", "given"),
    [
        ("--noise poisson --gain 2", {"noise": "poisson", "gain": 2 * 257}),
        ("--noise poisson-gaussian --gain 2 --sigma 5",
         {"noise": "poisson-gaussian", "gain": 2 * 257, "sigma": 5 * 257}),
        ("--noise rician --sigma 15", {"noise": "rician", "sigma": 15 * 257}),
        ("--noise speckle --sigma 0.2", {"noise": "speckle", "sigma": 0.2}),
        ("--scales 12,6.5", {"scales": (12 * 257, 6.5 * 257)}),
        ("--sigma 15 --chroma 2", {"sigma": 15 * 257, "chroma": 2}),
        ("--sigma 15 --tune", {"sigma": 15 * 257, "tune": True}),
    ],
)  # fmt: skip
def test_noise_is_told_in_gray_levels_too(args, given, folder, capsys):
    """But for speckle, whose sigma is a factor."""
    image = noisy((36, 40, 3)).astype(np.uint16) * 257
    save("in.tif", image)
    assert main(["denoise", "in.tif", "out.tif", "--json", *args.split()]) == 0
    expected, info = nlmeans.denoise(image, channel_axis=-1, return_info=True, **given)
    np.testing.assert_array_equal(load("out.tif"), expected)
    ((page,),) = (record["pages"] for record in json.loads(capsys.readouterr().out))
    level = {"sigma": 1 if info.noise.model == "speckle" else 257, "gain": 257}
    for name, unit in level.items():
        value = getattr(info.noise, name)
        assert page["noise"][name] == (None if value is None else pytest.approx(value / unit))
    assert page["noise"]["noise"] == info.noise.model
    if info.risk is not None:
        assert page["estimated_mse"] == pytest.approx(info.risk / 257**2)


def test_pipes(folder):
    data = Path("in.png").read_bytes()
    done = nlm("denoise", "-", "-", "--format", "png", "--h", "12", *SMALL, data=data)
    assert (done.returncode, done.stderr) == (0, b"")
    result = np.asarray(Image.open(io.BytesIO(done.stdout)))
    np.testing.assert_array_equal(result, nlmeans.denoise(noisy(), h=12, **RADII))
    assert sorted(os.listdir()) == ["in.png"]


def test_a_reader_that_closes_the_pipe_is_no_error_to_report(folder):
    with nlm("denoise", "in.png", "-", "--format", "png", "--method", "mean", start=True,
             stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_format_overrides_the_extension(folder):
    assert main(["denoise", "in.png", "out.dat", "--format", "tiff", "--method", "mean"]) == 0
    assert tifffile.imread("out.dat").shape == (24, 20)


# Many files ---------------------------------------------------------------------------------------


def test_batch_with_one_bad_file(folder):
    save("b.png", noisy(seed=1))
    Path("bad.png").write_bytes(b"no image")
    done = nlm("denoise", "in.png", "bad.png", "b.png", "-o", "out", "--json", "--h", "9", *SMALL)
    assert done.returncode == 3
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("nlm: error: 'bad.png'")
    assert sorted(os.listdir("out")) == ["b.png", "in.png"]
    np.testing.assert_array_equal(load("out/b.png"), nlmeans.denoise(noisy(seed=1), h=9, **RADII))
    records = json.loads(done.stdout)
    assert [("error" in r, r["input"]) for r in records] == [
        (False, "in.png"), (True, "bad.png"), (False, "b.png"),
    ]  # fmt: skip


def test_batch_of_which_all_fails(folder, capsys):
    Path("bad.png").write_bytes(b"no image")
    assert main(["denoise", "bad.png", "missing.png", "-o", "out"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not Path("out").exists()


def test_batch_with_a_format_gets_its_extension(folder):
    assert main(["denoise", "in.png", "-o", ".", "--format", "tiff", "--method", "mean"]) == 0
    assert sorted(os.listdir()) == ["in.png", "in.tif"]


def test_batch_in_place_only_by_force(folder, capsys):
    args = ["denoise", "in.png", "-o", ".", "--method", "mean"]
    before = snapshot(folder)
    assert main(args) == 2
    assert "--force" in capsys.readouterr().err
    assert snapshot(folder) == before
    assert main([*args, "--force"]) == 0
    np.testing.assert_array_equal(load("in.png"), nlmeans.denoise(noisy(), method="mean"))


# The other commands -------------------------------------------------------------------------------


def test_evaluate(folder, capsys):
    other = noisy(seed=1)
    save("other.png", other)
    assert main(["evaluate", "in.png", "other.png", "in.png", "--json"]) == 0
    first, same = json.loads(capsys.readouterr().out)
    expected = {f: getattr(nlmeans, f)(noisy(), other) for f in ("psnr", "ssim", "mse")}
    assert first == {"image": "other.png"} | {f: pytest.approx(v) for f, v in expected.items()}
    assert same == {"image": "in.png", "psnr": None, "ssim": 1.0, "mse": 0.0}
    assert main(["evaluate", "in.png", "other.png", "in.png"]) == 0
    head, row, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["image", "PSNR/dB", "SSIM", "MSE"]
    assert row.split()[:2] == ["other.png", f"{expected['psnr']:.2f}"]
    assert last.split() == ["in.png", "inf", "1.0000", "0"]
    assert len({line.rindex(line.split()[1]) + len(line.split()[1]) for line in (row, last)}) == 1


def test_evaluate_knows_the_range(folder, capsys):
    def psnr(*args):
        assert main(["evaluate", *args, "--json"]) == 0
        return json.loads(capsys.readouterr().out)[0]["psnr"]

    save("other.png", noisy(seed=1))
    expected = psnr("in.png", "other.png")
    for scale, args in [(1 / 255, ()), (16, ("--white", "4080"))]:
        for name, image in [("x.tif", noisy()), ("y.tif", noisy(seed=1))]:
            save(name, (image.astype(float) * scale).astype(np.float32))
        assert psnr("x.tif", "y.tif", *args) == pytest.approx(expected, abs=1e-4)
    assert main(["evaluate", "x.tif", "in.png"]) == 2  # two depths: the range is the user's to say
    assert "--white" in capsys.readouterr().err


def test_evaluate_takes_pages_one_by_one(folder, capsys):
    clean, other = np.stack([noisy(), noisy(seed=1)]), np.stack([noisy(seed=2), noisy(seed=1)])
    save("x.tif", clean)
    save("y.tif", other)
    assert main(["evaluate", "x.tif", "y.tif", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["ssim"] == pytest.approx((nlmeans.ssim(clean[0], other[0]) + 1) / 2)


def test_evaluate_goes_on_after_a_bad_image(folder):
    save("wide.png", noisy((20, 24)))
    done = nlm("evaluate", "in.png", "wide.png", "in.png")
    assert done.returncode == 3
    assert done.stderr.startswith(b"nlm: error: 'wide.png' must have the reference's shape")
    assert len(done.stdout.splitlines()) == 2


def test_noise_is_seeded_and_in_gray_levels(folder):
    image = noisy().astype(np.uint16) * 257
    save("in16.png", image)
    for name, args in {"a": [], "b": ["--seed", "0"], "c": ["--seed", "1"]}.items():
        assert main(["noise", "in16.png", f"{name}.png", "--sigma", "10", *args]) == 0
    np.testing.assert_array_equal(load("a.png"), nlmeans.add_noise(image, 2570, rng=0))
    np.testing.assert_array_equal(load("b.png"), load("a.png"))
    assert not np.array_equal(load("c.png"), load("a.png"))


def test_compare(folder, capsys):
    save("clean.png", np.full((24, 20), 100, np.uint8))
    assert main(["noise", "clean.png", "n.png", "--sigma", "15"]) == 0
    capsys.readouterr()
    args = ["compare", "n.png", "--reference", "clean.png", "--sigma", "15"]
    assert main([*args, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    start, *results = record["results"]
    assert [r["method"] for r in results] == list(nlmeans.METHODS)
    assert start["method"] is None
    missing = [r for r in results if "needs ONNX Runtime or PyTorch" in r.get("error", "")]
    assert [r["method"] for r in missing] in ([], ["learned"])
    run = [r for r in results if r not in missing]
    assert all(r["seconds"] > 0 and r["psnr"] > start["psnr"] + 3 for r in run)
    expected = nlmeans.denoise(load("n.png"), sigma=15)
    assert results[0]["psnr"] == pytest.approx(nlmeans.psnr(load("clean.png"), expected))
    assert results[0]["settings"]["sigma"] == pytest.approx(15)
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["method", "time/s", "PSNR/dB", "SSIM", "settings"]
    assert [line.split()[0] for line in lines[1:]] == ["(input)", *nlmeans.METHODS]


def test_compare_lists_a_method_that_can_not(folder, capsys):
    save("in16.png", noisy().astype(np.uint16) * 257)
    assert main(["compare", "in16.png", "--method", "opencv", "--method", "mean"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line.split()[0] for line in out.splitlines()] == ["method", "opencv", "mean"]
    assert "must have a dtype of uint8" in out
    assert main(["compare", "in16.png", "--method", "opencv"]) == 1


def test_info(folder, capsys):
    image = noisy().astype(np.uint16) * 257
    save("pages.tif", np.stack([image, image]))
    Image.fromarray(noisy((24, 20, 3))).save("dpi.png", dpi=(300, 300))
    assert main(["info", "pages.tif", "dpi.png", "--json"]) == 0
    pages, dpi = json.loads(capsys.readouterr().out)
    sigma = nlmeans.estimate_sigma(image)
    expected = {
        "file": "pages.tif", "bytes": Path("pages.tif").stat().st_size, "format": "TIFF",
        "width": 20, "height": 24, "pages": 2, "channels": 1, "alpha": False, "dtype": "uint16",
        "sigma_native": [sigma, sigma], "sigma": pytest.approx([sigma / 257] * 2),
    }  # fmt: skip
    assert pages | expected == pages
    assert dpi["metadata"]["DPI"] == pytest.approx([300, 300], rel=1e-3)
    assert main(["info", "pages.tif", "dpi.png"]) == 0
    out = capsys.readouterr().out
    assert f"{sigma / 257:.3g} of 255" in out
    assert "20 x 24, 2 pages" in out
    assert "DPI (300 x 300)" in out or "DPI (299.999 x 299.999)" in out


def test_info_tells_what_the_noise_is_like(folder, capsys, camera):
    clean = camera
    save("white.png", nlmeans.add_noise(clean, 10, rng=0))
    save(
        "counts.tif",
        257 * nlmeans.add_noise(clean.astype(np.uint16), noise="poisson", gain=4, rng=0),
    )
    assert main(["info", "white.png", "counts.tif", "--json"]) == 0
    white, counts = (record["noise"][0] for record in json.loads(capsys.readouterr().out))
    assert white["white"]
    assert not white["signal_dependent"]
    assert white["sigma"] == pytest.approx(10, abs=0.5)
    assert counts["signal_dependent"]
    assert counts["gain"] == pytest.approx(4, rel=0.1)
    assert main(["info", "white.png", "counts.tif"]) == 0
    out = capsys.readouterr().out
    assert "in the file; white" in out
    assert f"variance {counts['gain']:.3g} * level + " in out


def test_info_of_what_can_not_be_denoised(folder, capsys):
    save("nan.tif", np.full((24, 20), np.nan, np.float32))
    assert main(["info", "nan.tif"]) == 0
    assert "not estimated" in capsys.readouterr().out
    assert main(["info", "nan.tif", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert record["sigma"] is None


def test_noise_of_a_model(folder):
    save("clean.png", np.full((60, 60), 100, np.uint8))
    assert main(["noise", "clean.png", "out.png", "--noise", "poisson", "--gain", "4"]) == 0
    expected = nlmeans.add_noise(load("clean.png"), noise="poisson", gain=4, rng=0)
    np.testing.assert_array_equal(load("out.png"), expected)
    assert set(np.unique(expected)) <= set(range(0, 256, 4))


# The terminal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["denoise", "in.png", "o.png", *SMALL], ["compare", "in.png"]])
@pytest.mark.parametrize(("terminal", "args"), [(True, []), (True, ["--quiet"]), (False, [])])
def test_a_bar_on_a_terminal_only(folder, capsys, monkeypatch, command, terminal, args):
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main([*command, *args]) == 0
    err = capsys.readouterr().err
    assert "100%" in err if terminal and not args else err == ""


def test_no_bar_for_short_work(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["denoise", "in.png", "out.png", "--method", "mean"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_bar_on_a_real_terminal(folder):
    save("in.png", noisy((1280, 300)))
    ours, theirs = os.openpty()
    args = ("denoise", "in.png", "out.png", "--h", "5", "--patch-radius", "1", "--workers", "1")
    with nlm(*args, "--search-radius", "150", start=True, stdout=subprocess.PIPE, stderr=theirs,
             stdin=subprocess.DEVNULL) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux's end of a terminal
                break
            if not part:
                break
            seen += part
        assert process.stdout.read() == b""
    os.close(ours)
    assert process.returncode == 0
    assert b"denoising" in seen
    assert b"100%" in seen
    assert seen.endswith(b"\n")


def test_warnings_are_lines(folder, capsys):
    Image.fromarray(noisy()).save("dpi.png", dpi=(300, 300))
    assert main(["denoise", "dpi.png", "out.webp", "--method", "mean"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("nlm: warning: 'out.webp'")
    assert main(["denoise", "dpi.png", "out.webp", "--method", "mean", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_infinity_is_no_json():
    from nlmeans_cli.report import _plain

    assert _plain([math.inf, {"a": (math.nan, 1.0)}]) == [None, {"a": [None, 1.0]}]
