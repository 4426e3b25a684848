"""NL-means that compares learned features: against plain loops, and whatever runs it."""

import json
from importlib.resources import files

import cv2
import numpy as np
import pytest

from nlmeans import ParameterError, add_noise, denoise, psnr
from nlmeans.denoisers import features, learned_nlm
from nlmeans.denoisers.units import MIDDLE_GRAY, Units


@pytest.fixture(scope="module")
def noisy():
    """A crop of a photograph with noise of sigma 25; clean and noisy, float32."""
    from skimage.data import camera

    clean = camera()[60:190, 150:300].astype(np.float32)
    return clean, add_noise(clean, 25, rng=1)


def weights():
    """Arrays of the file that the package has, read by the format's description."""
    data = (files("nlmeans") / "learned" / "weights" / "features.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    arrays = {}
    for name, about in header.items():
        if name != "__metadata__":
            start, stop = about["data_offsets"]
            assert about["dtype"] == "F32"
            raw = np.frombuffer(data[8 + size :][start:stop], "<f4")
            arrays[name] = raw.reshape(about["shape"]).astype(np.float64)
    return arrays


def reflected(k, size):
    """Position that one beyond the border is a copy of."""
    while not 0 <= k < size:
        k = -k if k < 0 else 2 * (size - 1) - k
    return k


def oracle_features(image, sigma):
    """Three convolutions in plain loops, of an image (y, x) from 0 to 1."""
    height, width = image.shape
    rows = [reflected(k, height) for k in range(-4, height + 4)]
    columns = [reflected(k, width) for k in range(-4, width + 4)]
    planes = np.stack(
        [
            (image[np.ix_(rows, columns)] - 0.5) / (4 * sigma + 1 / 64),
            np.full((height + 8, width + 8), sigma),
        ]
    )
    arrays = weights()
    for layer in (0, 2, 4):
        kernel = arrays[f"features.convolutions.{layer}.weight"]
        bias = arrays[f"features.convolutions.{layer}.bias"]
        side = kernel.shape[-1]
        y, x = (size - side + 1 for size in planes.shape[1:])
        result = np.zeros((len(kernel), y, x))
        for i in range(y):
            for j in range(x):
                seen = planes[:, i : i + side, j : j + side]
                for k in range(len(kernel)):
                    result[k, i, j] = (kernel[k] * seen).sum() + bias[k]
        planes = np.maximum(result, 0) if layer < 4 else result
    return planes / np.exp(arrays["features.log_h"])


def oracle_mean(image, guide, radius):
    """NL-means of (y, x, C) over a window, weights by the guide (D, y, x), center "max"."""
    height, width = image.shape[:2]
    result = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            total, largest, weighted = 0.0, 0.0, 0.0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if (dy, dx) != (0, 0):
                        j = reflected(y + dy, height), reflected(x + dx, width)
                        f = np.exp(-np.mean((guide[:, y, x] - guide[:, j[0], j[1]]) ** 2))
                        total, largest = total + f, max(largest, f)
                        weighted = weighted + f * image[j]
            result[y, x] = (weighted + largest * image[y, x]) / (total + largest)
    return result


def shown_as_it_is(denoiser, image):
    """A method settled on an image, as if it had the contrast of a photograph."""
    settled = denoiser.settled(image)
    object.__setattr__(settled, "units", Units(255 * MIDDLE_GRAY, 1 / 255))
    return settled


@pytest.mark.parametrize("engine", ["numba", "reference", "torch"])
@pytest.mark.parametrize("sigma", [10.0, 60.0])
def test_against_plain_loops(engine, sigma, noisy):
    image = noisy[0][20:33, 40:55].astype(np.float64)
    image += np.random.default_rng(0).normal(0, sigma, image.shape)
    method = learned_nlm.LearnedNLMeans(sigma=sigma, search_radius=3, engine=engine)
    result = shown_as_it_is(method, image[..., np.newaxis])(image[..., np.newaxis])
    guide = oracle_features(image / 255, sigma / 255)
    expected = oracle_mean(image[..., np.newaxis], guide, 3)
    assert np.abs(expected[..., 0] - image).max() > 0.5 * sigma
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.01)


def test_channels_share_the_weights_of_their_mean(noisy):
    """And the noise of the mean is sigma over the root of their number."""
    image = noisy[0][20:32, 40:53].astype(np.float64)
    rng = np.random.default_rng(0)
    several = image[..., np.newaxis] * [1.0, 0.5, 0.8, 0.2] + rng.normal(0, 20, (*image.shape, 4))
    for channels in (2, 3, 4):
        x = several[..., :channels]
        method = learned_nlm.LearnedNLMeans(sigma=20.0, search_radius=2)
        guide = oracle_features(x.mean(-1) / 255, 20 / 255 / channels**0.5)
        result = shown_as_it_is(method, x)(x)
        np.testing.assert_allclose(result, oracle_mean(x, guide, 2), rtol=0, atol=0.01)


def test_learning_the_features_pays(noisy):
    """Better than raw patches, averaging pixels over as large a window, at every noise level."""
    clean, _ = noisy
    for sigma in (10, 25, 50):
        image = add_noise(clean, sigma, rng=1)
        ours = denoise(image, sigma=sigma, method="learned-nlm")
        theirs = denoise(image, sigma=sigma, preset="fast")
        assert psnr(clean, ours, data_range=255) > psnr(clean, theirs, data_range=255)


def test_strips_threads_and_units_do_not_show(noisy, monkeypatch):
    _, image = noisy
    whole = denoise(image, sigma=25, method="learned-nlm", workers=1)
    np.testing.assert_array_equal(denoise(image, sigma=25, method="learned-nlm", workers=3), whole)
    other = denoise(3.0 * image.astype(np.float64) + 1000, sigma=75, method="learned-nlm")
    np.testing.assert_allclose((other - 1000) / 3, whole, rtol=0, atol=0.01)
    monkeypatch.setattr(features, "STRIP", 37)
    strips = denoise(image, sigma=25, method="learned-nlm")
    np.testing.assert_allclose(strips, whole, rtol=0, atol=1e-3)


def test_opencv_keeps_its_number_of_threads(noisy):
    before = cv2.getNumThreads()
    denoise(noisy[1], sigma=25, method="learned-nlm", workers=before + 1)
    assert cv2.getNumThreads() == before


def test_without_noise_nothing_changes(noisy):
    clean, _ = noisy
    for sigma in (0, 1e-6):
        np.testing.assert_array_equal(denoise(clean, sigma=sigma, method="learned-nlm"), clean)


def test_volumes_and_other_options_are_refused():
    message = r"^method 'learned-nlm' takes images of two axes, not 3"
    with pytest.raises(ParameterError, match=message):
        denoise(np.zeros((9, 9, 9)), sigma=1, method="learned-nlm")
    with pytest.raises(ParameterError, match=r"^h is not an option of method 'learned-nlm'"):
        denoise(np.zeros((9, 9)), h=1, method="learned-nlm")
    with pytest.raises(ParameterError, match=r"^device must go with engine 'torch'"):
        denoise(np.zeros((9, 9)), sigma=1, method="learned-nlm", device="cpu")


# Training and export


def test_exported_features_are_those_of_the_module():
    """In OpenCV, of random weights, for several sizes."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from nlmeans.learned.graph import features_to_onnx
    from nlmeans.learned.nl_means import Features, NLMeansShape

    torch.manual_seed(0)
    module = Features(NLMeansShape()).requires_grad_(False)
    contents = features_to_onnx(module, {}).SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(contents, np.uint8))
    for height, width in ((9, 9), (40, 23), (17, 64)):
        y, sigma = torch.rand(1, 1, height, width), torch.rand(1, 1, height, width) / 3
        net.setInput(y.numpy(), "noisy")
        net.setInput(sigma.numpy(), "sigma")
        result = torch.from_numpy(net.forward())
        torch.testing.assert_close(result, module(y, sigma), rtol=1e-4, atol=1e-4)


def test_what_is_trained_is_what_is_run(noisy):
    """The module with the weights of the package, and the method."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlmeans.learned.nl_means import LearnedNLMeans, NLMeansShape

    module = LearnedNLMeans(NLMeansShape()).requires_grad_(False)
    module.load_state_dict({name: torch.tensor(w) for name, w in weights().items()})
    module.float()
    image = noisy[1][:40, :50]
    y = torch.from_numpy(image / 255)[None, None]
    trained = 255 * module(y, torch.full_like(y, 25 / 255))[0, 0].numpy()
    x = image[..., np.newaxis]
    result = shown_as_it_is(learned_nlm.LearnedNLMeans(sigma=25.0), x)(x)[..., 0]
    np.testing.assert_allclose(result, trained, rtol=0, atol=0.01)


def test_every_weight_learns(noisy):
    """The gradient goes through the average into the features and h."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlmeans.learned.nl_means import LearnedNLMeans, NLMeansShape

    torch.manual_seed(0)
    module = LearnedNLMeans(NLMeansShape(radius=2)).double()
    y = torch.from_numpy(noisy[1][:12, :13].astype(np.float64) / 255)[None, None]
    sigma = torch.full_like(y, 25 / 255)

    def loss():
        return module(y, sigma).square().sum()

    gradients = torch.autograd.grad(loss(), list(module.parameters()))
    for weight, gradient in zip(module.parameters(), gradients, strict=True):
        place = int(gradient.abs().argmax())
        assert gradient.flatten()[place] != 0
        with torch.no_grad():
            step = 1e-5
            weight.flatten()[place] += step
            more = loss()
            weight.flatten()[place] -= 2 * step
            less = loss()
            weight.flatten()[place] += step
        assert gradient.flatten()[place].item() == pytest.approx(
            float(more - less) / (2 * step), rel=1e-4
        )


def test_training_command(tmp_path):
    """It trains, resumes, refuses what it has not, and its export has the features' names."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    from PIL import Image
    from skimage.data import camera

    from nlmeans.learned import export, train

    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(camera()[100 * number :][:96, 200:296]).save(folder / f"{number}.png")
    out = tmp_path / "out"
    basic = ["--data", str(folder), "--out", str(out), "--threads", "1"]
    small = ["--net", "nl_means", "--radius", "1", "--crop", "16", "--batch", "1"]
    assert train.main([*basic, *small, "--pairwise", "gaussian", "--steps", "1"]) == 1
    assert train.main([*basic, *small, "--steps", "1"]) == 0
    assert train.main([*basic, "--resume", "--net", "network"]) == 1
    assert train.main([*basic, "--resume", "--steps", "2"]) == 0
    arguments = ["--checkpoint", str(out / "checkpoint.pt"), "--out", str(tmp_path / "weights")]
    assert export.main(arguments) == 0
    names = {path.name for path in (tmp_path / "weights").iterdir()}
    assert names == {"features.md", "features.onnx", "features.safetensors"}
    card = (tmp_path / "weights" / "features.md").read_text()
    assert "4,297 weights" in card
    assert "2 steps with Adam" in card
