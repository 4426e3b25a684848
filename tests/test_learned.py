"""The method "learned": the trained network, whatever runs it, in whatever units and tiles."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from nlmeans import ParameterError, add_noise, denoise, psnr
from nlmeans.denoisers import learned, network
from nlmeans.device import on_device

RUNTIMES = ["onnxruntime", "torch"]


@pytest.fixture(params=RUNTIMES)
def runtime(request, monkeypatch):
    """One of the runtimes, as if it were the only one."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if request.param == "torch":
        pytest.importorskip("safetensors", reason="safetensors is not installed")
    monkeypatch.setattr(network, "check_runtime", lambda device: request.param)
    return request.param


@pytest.fixture(scope="module")
def noisy(request):
    """A crop of a photograph with noise of sigma 25; clean and noisy, float32."""
    from skimage.data import camera

    clean = camera()[60:190, 150:300].astype(np.float32)
    return clean, add_noise(clean, 25, rng=1)


def test_denoises(noisy, runtime):
    """Far better than pixelwise NL-means, at its own noise level and at others."""
    clean, image = noisy
    for sigma in (5, 25, 70):
        image = add_noise(clean, sigma, rng=1)
        ours = denoise(image, sigma=sigma, method="learned")
        theirs = denoise(image, sigma=sigma, preset="fast")
        assert ours.dtype == np.float32
        assert psnr(clean, ours, data_range=255) > psnr(clean, theirs, data_range=255) + 0.5


def test_runtimes_agree(noisy, monkeypatch):
    """To 1e-5 of black to white; the rounding of float32 makes up for a twentieth of it."""
    for name in (*RUNTIMES, "safetensors"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    _, image = noisy
    results = []
    for name in RUNTIMES:
        monkeypatch.setattr(network, "check_runtime", lambda device, name=name: name)
        results.append(denoise(image, sigma=25, method="learned"))
    np.testing.assert_allclose(*results, rtol=0, atol=255e-5)


TWICE = """
import numpy as np
from nlmeans import denoise
image = np.random.default_rng(0).random((512, 512), np.float32)
for _ in range(2):
    denoise(image, sigma=0.1, method="learned")
    print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""
"""Prints the process's largest resident memory so far, which no parent's counts in, in kB."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux only")
def test_a_second_image_of_a_size_takes_no_more_memory():
    """It took twice as much, all of it planned anew beside what the first had left."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=True)
    first, second = map(int, done.stdout.split())
    assert second < 1.2 * first


@pytest.mark.parametrize("tile", [48, 80, 160])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_tiles_do_not_show(runtime, tile, channels, monkeypatch):
    """On an image wider than the networks see, 149 pixels each way.

    Tiles of less than some 100 pixels with their margins are no fair question: for these, PyTorch
    takes other kernels, whose sums are rounded otherwise, by 5e-5 gray levels.
    """
    image = np.random.default_rng(2).uniform(0, 255, (50, 430, *channels)).astype(np.float32)
    run = {"sigma": 25, "method": "learned", "channel_axis": -1 if channels else None}
    whole = denoise(image, **run)
    monkeypatch.setattr(learned, "TILE", tile)
    np.testing.assert_array_equal(denoise(image, **run), whole)


def test_tiles_cover_every_pixel_once(monkeypatch):
    monkeypatch.setattr(learned, "TILE", 48)
    for space in ((1, 1), (48, 49), (100, 30), (97, 200)):
        visits = np.zeros(space, int)
        for tile in learned._tiles(space):
            assert all(start % network.MULTIPLE == 0 for start, _ in tile)
            assert all(stop - start <= 48 for start, stop in tile)
            visits[tuple(slice(*pair) for pair in tile)] += 1
        np.testing.assert_array_equal(visits, 1)


def test_best_is_the_mean_over_the_symmetries_of_the_square(noisy, runtime):
    """Each result turned and mirrored back; of an image whose sides are no multiple of blocks."""
    _, image = noisy
    image = image[:50, :70]
    total = np.zeros((50, 70))
    for turns in range(4):
        for mirror in (1, -1):
            seen = np.rot90(image, turns)[:, ::mirror]
            result = denoise(np.ascontiguousarray(seen), sigma=25, method="learned")
            total += np.rot90(result[:, ::mirror], -turns)
    best = denoise(image, sigma=25, method="learned", preset="best")
    np.testing.assert_allclose(best, total / 8, rtol=0, atol=2e-3)
    assert np.abs(best - denoise(image, sigma=25, method="learned")).max() > 0.5


def test_progress_of_best_runs_to_one(noisy, runtime):
    seen = []
    denoise(noisy[1], sigma=25, method="learned", preset="best", progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 8
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("method", "engine"), [("learned", None), ("nlm", "torch"), ("learned-nlm", "torch")]
)
def test_device(noisy, method, engine):
    """PyTorch computes there, even where ONNX Runtime is installed; what it has not is refused."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    options = {"sigma": 25, "method": method, "engine": engine}
    image = noisy[1][:48, :48]
    expected = denoise(image, **options)
    np.testing.assert_allclose(denoise(image, device="cpu", **options), expected, atol=2e-3)
    for device in ("nowhere", "meta", "cuda:99"):
        with pytest.raises(ParameterError, match=r"^device must be one that PyTorch has here"):
            denoise(image, device=device, **options)
    with pytest.raises(ParameterError, match=r"^device must be a name"):
        denoise(image, device=0, **options)
    assert torch.get_default_device() == torch.device("cpu")


def test_device_is_the_default_one_meanwhile():
    """Which is what engine and network ask for; a second name of the processor tells it apart."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with on_device("cpu:0"):
        assert torch.get_default_device() == torch.device("cpu:0") != torch.device("cpu")
    assert torch.get_default_device() == torch.device("cpu")
    with on_device(None):
        assert torch.get_default_device() == torch.device("cpu")


def test_device_without_torch(noisy, monkeypatch):
    monkeypatch.setattr(network, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ParameterError, match=r"^device needs PyTorch, .*nlmeans\[torch\]"):
        denoise(noisy[1], sigma=25, method="learned", device="cpu")
    with pytest.raises(ParameterError, match=r"^device must go with engine 'torch'"):
        denoise(noisy[1], sigma=25, device="cpu")
    with pytest.raises(ParameterError, match=r"^device is not an option of method 'ridge'"):
        denoise(noisy[1], sigma=25, method="ridge", device="cpu")


def test_units_do_not_matter(noisy, runtime):
    """From 0 to 1, far from 0, or as integers of 16 bits: the same picture."""
    _, image = noisy
    expected = denoise(image.astype(np.float64), sigma=25, method="learned")
    for factor, offset in ((1 / 255, 0), (3.0, 1000), (1e6, -1e7)):
        other = factor * image.astype(np.float64) + offset
        result = denoise(other, sigma=25 * factor, method="learned")
        np.testing.assert_allclose((result - offset) / factor, expected, rtol=0, atol=0.01)
    integers = np.clip(np.rint(200 * image), 0, 65535).astype(np.uint16)
    result = denoise(integers, sigma=25 * 200, method="learned")
    assert result.dtype == np.uint16
    reference = denoise(integers / 200.0, sigma=25, method="learned")
    np.testing.assert_allclose(result / 200, reference, rtol=0, atol=0.01)


@pytest.mark.parametrize("factor", [1e-42, 1e40])
def test_units_beyond_float32(noisy, runtime, factor):
    """In which an image is float64, as only that holds it."""
    image = noisy[1].astype(np.float64)
    expected = denoise(image, sigma=25, method="learned")
    result = denoise(image * factor, sigma=25 * factor, method="learned")
    np.testing.assert_allclose(result / factor, expected, rtol=0, atol=0.01)


def test_a_channel_without_contrast_stays(noisy, runtime):
    """An opaque alpha, say, that somebody takes for a color; progress still ends with 1."""
    image = np.clip(np.rint(noisy[1]), 0, 255).astype(np.uint8)
    opaque = np.stack([image, image, image[::-1], np.full_like(image, 255)], -1)
    seen = []
    result = denoise(opaque, sigma=25, method="learned", channel_axis=-1, progress=seen.append)
    assert (result[..., 3] == 255).all()
    assert (result[..., :3] != opaque[..., :3]).any((0, 1)).all()
    assert seen[-1] == 1


def test_torch_s_default_dtype_does_not_matter(noisy, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    monkeypatch.setattr(network, "check_runtime", lambda device: "torch")
    expected = denoise(noisy[1], sigma=25, method="learned")
    network.load.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        result = denoise(noisy[1], sigma=25, method="learned")
    finally:
        torch.set_default_dtype(torch.float32)
        network.load.cache_clear()
    np.testing.assert_array_equal(result, expected)


def test_rgb_is_denoised_as_a_whole(runtime):
    """Which is better than channel by channel, for channels of a photograph tell of each other."""
    from skimage.data import astronaut

    clean = astronaut()[:160, 150:320].astype(np.float32)
    image = add_noise(clean, 25, rng=3)
    whole = denoise(image, sigma=25, method="learned", channel_axis=-1)
    single = [denoise(image[..., c], sigma=25, method="learned") for c in range(3)]
    better = psnr(clean, whole, data_range=255) - psnr(clean, np.stack(single, -1), data_range=255)
    assert better > 1


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_than_rgb_are_denoised_each_for_itself(noisy, runtime, channels):
    """With units that they share."""
    _, image = noisy
    several = np.stack([image, image[::-1], image[:, ::-1], 255 - image][:channels], -1)
    result = denoise(several, sigma=25, method="learned", channel_axis=-1)
    denoiser = learned.Learned(sigma=25.0).settled(several)
    for c in range(channels):
        alone = denoiser(np.ascontiguousarray(several[..., c : c + 1]))[..., 0]
        np.testing.assert_array_equal(result[..., c], alone)


def test_without_noise_nothing_changes(noisy, runtime):
    clean, _ = noisy
    for sigma in (0, 1e-6):
        np.testing.assert_array_equal(denoise(clean, sigma=sigma, method="learned"), clean)
    seen = []
    denoise(clean, sigma=0, method="learned", progress=seen.append)
    assert seen == [1.0]


def test_more_noise_than_it_was_trained_for(noisy, runtime):
    """It sees the image with less contrast then, and still helps."""
    clean, _ = noisy
    image = add_noise(clean, 150, rng=2)
    result = denoise(image, sigma=150, method="learned")
    assert psnr(clean, result, data_range=255) > psnr(clean, image, data_range=255) + 8


def test_no_pixel_changes_by_more_than_eight_sigma(noisy, monkeypatch):
    """Whatever a network says."""
    _, image = noisy
    offset = np.linspace(-2, 2, image.size, dtype=np.float32).reshape(image.shape)[None]

    def run(noisy, sigma):
        change = np.zeros_like(noisy)
        change[:, : image.shape[0], : image.shape[1]] = offset
        return noisy + change

    monkeypatch.setattr(network, "check_runtime", lambda device: "onnxruntime")
    monkeypatch.setattr(network, "load", lambda *arguments: run)
    change = denoise(image, sigma=25, method="learned") - image
    assert change.max() == pytest.approx(8 * 25, rel=1e-4)
    assert change.min() == pytest.approx(-8 * 25, rel=1e-4)
    changed = np.abs(change) < 199
    scale = change[changed] / offset[0][changed]
    np.testing.assert_allclose(scale, np.median(scale), rtol=1e-2)


def hard_images():
    """Images unlike photographs, RGB of 96 x 128, by name."""
    row, column = np.mgrid[:96, :128]
    flat = np.full((96, 128, 3), (150.0, 180.0, 220.0))
    plane = flat.copy()
    plane[40:50, 40:80] = (20, 20, 30)
    plane[30:40, 56:64] = 240
    stars = np.full((96, 128), 8.0)
    for y, x, peak in ((20, 30, 4000), (70, 90, 900), (50, 15, 150)):
        stars += peak * np.exp(-((row - y) ** 2 + (column - x) ** 2) / 2)
    return {
        "flat": flat + column[..., None] / 32,
        "a plane in the sky": plane,
        "stars": stars[..., None].repeat(3, 2),
        "chessboard of pixels": 255.0 * ((row + column) % 2)[..., None].repeat(3, 2),
        "chessboard": 255.0 * ((row // 16 + column // 16) % 2)[..., None].repeat(3, 2),
        "stripes": 255.0 * (column % 3 == 0)[..., None].repeat(3, 2),
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", hard_images())
def test_images_unlike_photographs_are_not_made_worse(name, channels, runtime):
    clean = hard_images()[name].astype(np.float32)
    clean, axis = (clean, -1) if channels == 3 else (clean.mean(-1), None)
    for sigma in (3, 15, 27, 50, 75, 150):
        image = add_noise(clean, sigma, rng=1)
        result = denoise(image, sigma=sigma, method="learned", channel_axis=axis)
        assert np.sqrt(np.mean((result - clean) ** 2)) < 1.05 * sigma


def test_sigma_is_estimated(noisy, runtime):
    _, image = noisy
    result, info = denoise(image, method="learned", return_info=True)
    assert info.estimated_sigma == pytest.approx(25, abs=3)
    expected = denoise(image, sigma=info.estimated_sigma, method="learned")
    np.testing.assert_array_equal(result, expected)


def test_volumes_are_refused(runtime):
    with pytest.raises(ParameterError, match=r"^method 'learned' takes images of two axes, not 3"):
        denoise(np.zeros((9, 9, 9)), sigma=1, method="learned")


def test_without_a_runtime_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    message = r"^method 'learned' needs .*pip install 'nlmeans\[learned\]'"
    with pytest.raises(ParameterError, match=message) as caught:
        denoise(np.zeros((9, 9)), sigma=1, method="learned")
    assert "\n" not in str(caught.value)


def test_weights_are_small_and_no_pickles():
    folder = files("nlmeans") / "learned" / "weights"
    names = sorted(file.name for file in folder.iterdir())
    assert {name.split(".")[-1] for name in names} == {"md", "onnx", "safetensors"}
    assert sum(len((folder / name).read_bytes()) for name in names) < 4e6


# The export


@pytest.mark.parametrize(("channels", "passes"), [(1, 1), (3, 1), (1, 2)])
def test_exported_networks_agree(channels, passes):
    """The graph, the weights and the network they are of, for several sizes.

    Images go beyond what is looked at, and with them what goes into a second pass and bandwidths.
    """
    torch, onnxruntime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from safetensors.torch import load

    from nlmeans.learned.export import packed
    from nlmeans.learned.network import NonLocalNet, Shape

    torch.manual_seed(0)
    shape = Shape(channels=channels, passes=passes)
    net = NonLocalNet(shape).eval().requires_grad_(False)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    if passes > 1:
        net.again.fill_(100)
    state = {
        "shape": vars(net.shape),
        "recipe": {"seed": 7},
        "step": 11,
        "average": net.state_dict(),
    }
    contents = packed(state)
    # Weights that several passes share are in the file once.
    assert len(contents["onnx"]) < 1.1 * len(contents["safetensors"])
    halves = load(contents["safetensors"])
    assert all(weight.dtype == torch.float16 for weight in halves.values())
    loaded = NonLocalNet(shape).requires_grad_(False)
    loaded.load_state_dict(halves)
    session = onnxruntime.InferenceSession(contents["onnx"], providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["step"] == "11"
    for height, width in ((16, 16), (64, 32), (48, 112)):
        y, sigma = 3 * torch.randn(1, channels, height, width), torch.rand(1, 1, height, width) / 3
        (x,) = session.run(None, {"noisy": y.numpy(), "sigma": sigma.numpy()})
        torch.testing.assert_close(torch.from_numpy(x), loaded(y, sigma), rtol=0, atol=1e-5)
        torch.testing.assert_close(loaded(y, sigma), net(y, sigma), rtol=0, atol=1e-2)
        assert (loaded(y, sigma) - y).abs().max() > 0.1


@pytest.mark.parametrize(
    "changes", [{"pairwise": "dot_product"}, {"bandwidth": False}, {"halo": 2}]
)
def test_graphs_of_other_networks_are_refused(changes):
    pytest.importorskip("torch")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from nlmeans.learned.graph import to_onnx
    from nlmeans.learned.network import NonLocalNet, Shape

    with pytest.raises(ParameterError, match=r"^net must compare distances, with a bandwidth"):
        to_onnx(NonLocalNet(Shape(features=8, inner=4, **changes)), {})


def test_export_of_what_has_no_graph_is_one_line(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from nlmeans.learned import export
    from nlmeans.learned.network import Shape
    from nlmeans.learned.training import Recipe, Training

    Training(Shape(features=8, inner=4, halo=2), Recipe()).save(tmp_path / "checkpoint.pt")
    for name in ("checkpoint.pt", "nothing.pt"):
        out = tmp_path / "weights"
        assert export.main(["--checkpoint", str(tmp_path / name), "--out", str(out)]) == 1
        assert not list(out.iterdir())
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1


def test_export_command(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from nlmeans.learned import export
    from nlmeans.learned.network import Shape
    from nlmeans.learned.schedule import Schedule
    from nlmeans.learned.training import Recipe, Training

    made = Training(Shape(features=8, inner=4), Recipe(crop=48, loss="log"))
    made.step, made.before, made.schedule = 700, 500, Schedule(decay_from=600, decay_steps=100)
    made.log = [{"step": 600, "loss": 1.0, "psnr_15": 31.5, "psnr_25": 29.25}, {"step": 700}]
    made.save(tmp_path / "checkpoint.pt")
    out = tmp_path / "weights"
    arguments = ["--checkpoint", str(tmp_path / "checkpoint.pt"), "--out", str(out)]
    assert export.main(arguments) == 0
    names = ["gray.md", "gray.onnx", "gray.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    card = " ".join((out / "gray.md").read_text().split())
    assert f"{sum(weight.numel() for weight in made.net.parameters()):,} weights" in card
    assert "700 steps with Muon and Adam, begun with weights of 500 steps. The last" in card
    assert "crops of 48 x 48" in card
    assert "with the same weights: 1." in card
    assert "decaying to 0 over the last 100 steps" in card
    assert "31.50 dB at sigma 15, 29.25 dB at sigma 25 (step 600)" in card
