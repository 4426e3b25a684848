"""Noise that is not white or not Gaussian, luma and chroma: what is done around every method."""

import numpy as np
import pytest
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from nlmeans import METHODS, ParameterError, add_noise, denoise, estimate_noise, mse, psnr
from nlmeans.color import opponent
from nlmeans.noise.few_counts import in_rounds
from nlmeans.noise.models import Poisson, noise_model

MODELS = {
    "poisson": {"gain": 4.0},
    "poisson-gaussian": {"gain": 4.0, "sigma": 6.0},
    "rician": {"sigma": 15.0},
    "speckle": {"sigma": 0.25},
}
FLOAT_METHODS = [name for name, method in METHODS.items() if "float32" in method.dtypes]
WITHOUT_STRENGTH = ["mean", "median", "gaussian"]


@pytest.fixture
def crop(camera):
    """Part of a photograph with edges and texture, float64."""
    return camera[100:164, 130:190].astype(np.float64)


@pytest.fixture
def rgb(astronaut):
    return astronaut[60:110, 200:260].astype(np.float64)


# A level for each pixel


@pytest.mark.parametrize("method", ["nlm", "ridge"])
def test_a_constant_map_is_one_sigma(method, crop):
    noisy = add_noise(crop, 15, rng=0)
    result = denoise(noisy, sigma=np.full(crop.shape, 15.0), method=method)
    np.testing.assert_allclose(result, denoise(noisy, sigma=15.0, method=method), atol=1e-10)


@pytest.mark.parametrize("method", ["nlm", "ridge"])
def test_each_pixel_of_a_map_has_the_result_for_its_own_sigma(method, crop):
    """12 and 30 are the ends of the series of levels, so nothing lies between two of them."""
    noisy = add_noise(crop, 20, rng=0)
    sigma = np.where(np.arange(crop.shape[1]) < 30, 12.0, 30.0) * np.ones(crop.shape)
    result = denoise(noisy, sigma=sigma, method=method)
    low, high = (denoise(noisy, sigma=s, method=method) for s in (12.0, 30.0))
    np.testing.assert_allclose(result, np.where(sigma == 12, low, high), atol=1e-10)
    assert np.abs(low - high).max() > 5


def test_between_two_levels_a_map_is_near_the_result_for_its_sigma(crop):
    """Of a series from 10 to 20 by 2 ** (1 / 8) the value 13.5 is none."""
    noisy = add_noise(crop, 14, rng=0)
    sigma = np.full(crop.shape, 13.5)
    sigma[0, 0], sigma[0, 1] = 10, 20
    result, exact = denoise(noisy, sigma=sigma), denoise(noisy, sigma=13.5)
    below, above = (denoise(noisy, sigma=10 * 2 ** (k / 8)) for k in (3, 4))
    share = 8 * np.log2(1.35) - 3
    np.testing.assert_allclose(result[1:], (below + share * (above - below))[1:], atol=1e-9)
    assert np.abs(result - exact)[1:].mean() < 0.3 * np.abs(above - below)[1:].mean()


def test_where_sigma_is_zero_the_image_is_kept(crop):
    sigma = np.where(np.indices(crop.shape)[0] < 20, 0.0, 10.0)
    result = denoise(crop, sigma=sigma)
    np.testing.assert_array_equal(result[:20], crop[:20])
    assert np.abs(result - crop)[20:].max() > 1
    np.testing.assert_array_equal(denoise(crop, sigma=np.zeros(crop.shape)), crop)


def test_a_map_serves_channels_first_and_integers(rgb):
    image = np.moveaxis(rgb, -1, 0).astype(np.uint8)
    result = denoise(image, sigma=np.full(rgb.shape[:2], 10.0), channel_axis=0)
    np.testing.assert_array_equal(result, denoise(image, sigma=10, channel_axis=0))


# A level for each channel, for luma and chroma


def test_channels_of_their_own_sigma_are_brought_to_one(rgb):
    sigma = (5.0, 10.0, 20.0)
    noisy = rgb + np.random.default_rng(0).normal(0, sigma, rgb.shape)
    result = denoise(noisy, sigma=sigma, channel_axis=-1)
    unit = np.array(sigma)
    expected = denoise(noisy / unit, sigma=1.0, channel_axis=-1) * unit
    np.testing.assert_allclose(result, expected, atol=1e-10)


@pytest.mark.parametrize("method", ["nlm", "ridge"])
@pytest.mark.parametrize("chroma", [0.5, 2.0])
def test_luma_is_of_one_strength_and_chroma_of_another(method, chroma, rgb):
    noisy = add_noise(rgb, 12, rng=0)
    run = {"method": method, "channel_axis": -1}
    to_opponent = opponent(3).T
    result = denoise(noisy, sigma=12, chroma=chroma, **run) @ to_opponent
    luma = denoise(noisy, sigma=12, **run) @ to_opponent
    colors = denoise(noisy, sigma=12 * chroma, **run) @ to_opponent
    np.testing.assert_allclose(result[..., 0], luma[..., 0], atol=1e-9)
    np.testing.assert_allclose(result[..., 1:], colors[..., 1:], atol=1e-9)
    assert np.abs(luma - colors)[..., 1:].max() > 1


def test_chroma_goes_with_h_too(rgb):
    result = denoise(rgb, h=8, chroma=3, channel_axis=-1)
    differences = np.diff(denoise(rgb, h=24, channel_axis=-1), axis=-1)
    np.testing.assert_allclose(np.diff(result, axis=-1), differences, atol=1e-9)


def test_without_chroma_the_colors_are_those_of_the_image(rgb):
    result = denoise(rgb, sigma=12, chroma=0, channel_axis=-1)
    np.testing.assert_allclose(np.diff(result, axis=-1), np.diff(rgb, axis=-1), atol=1e-9)


@pytest.mark.parametrize("method", ["nlm", "ridge"])
def test_mean_color_is_kept(method, astronaut):
    """Within a tenth of a level, also where the noise of the channels differs."""
    clean = astronaut[:200, :200].astype(np.float64)
    noisy = clean + np.random.default_rng(0).normal(0, (4, 6, 8), clean.shape)
    for given in ({"sigma": 6.0}, {"sigma": (4, 6, 8)}, {"sigma": 6.0, "chroma": 1.5}, {}):
        result = denoise(noisy, method=method, channel_axis=-1, **given)
        shift = (result - noisy).mean((0, 1))
        assert np.abs(shift).max() < 0.1, given


# Scales


@pytest.mark.parametrize("method", [m for m in FLOAT_METHODS if m not in WITHOUT_STRENGTH])
def test_one_scale_is_the_method(method, crop):
    plain = {"sigma": 12.0} if METHODS[method]().needs_sigma else {}
    result = denoise(crop, scales=[12.0], method=method)
    np.testing.assert_array_equal(result, denoise(crop, method=method, **plain))


def test_no_noise_at_any_scale_is_no_change(crop):
    np.testing.assert_allclose(denoise(crop, scales=(0, 0)), crop, atol=1e-10)


def test_the_coarse_scale_is_denoised_at_half_the_size(crop):
    """Worked out with the transform alone: 80 % of its frequencies are replaced, no others."""
    image = np.tile(crop, (1, 2))[:, :66]
    spectrum = dctn(image, norm="ortho")
    scale = np.sqrt(32 * 33 / image.size)
    half = denoise(idctn(spectrum[:32, :33] * scale, norm="ortho"), sigma=12.0, method="ridge")
    spectrum[:26, :27] = dctn(half, norm="ortho")[:26, :27] / scale
    expected = idctn(spectrum, norm="ortho")
    result = denoise(image, scales=(0, 12.0), method="ridge")
    np.testing.assert_allclose(result, expected, atol=1e-9)
    assert np.abs(result - image).max() > 2


@pytest.mark.parametrize(("width", "scales", "gain"), [(1, (8, 7.8), 0.3), (2, (8, 8, 7.8), 0.4)])
def test_scales_take_away_noise_that_is_coarse(width, scales, gain, camera):
    """White noise smoothed to a deviation of 8, which falls more slowly than by half a scale."""
    clean = camera[:256, :256].astype(np.float64)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=clean.shape), width, mode="wrap")
    noisy = clean + 8 * noise / noise.std()
    single = psnr(clean, denoise(noisy, sigma=8), data_range=255)
    assert psnr(clean, denoise(noisy, scales=scales), data_range=255) > single + gain


# Models


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", FLOAT_METHODS)
def test_a_model_is_stabilized_and_brought_back(method, model, crop):
    noisy = np.maximum(add_noise(crop, noise=model, rng=0, **MODELS[model]), 0)
    result = denoise(noisy, noise=model, method=method, **MODELS[model])
    transform = noise_model(model, **MODELS[model])
    given = {"sigma": 1.0} if METHODS[method]().needs_sigma else {}
    stabilized = denoise(transform.stabilize(noisy), method=method, **given)
    np.testing.assert_allclose(result, transform.invert(stabilized), rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_better_than_gaussian_noise_of_the_best_level(model, camera):
    clean = camera[:200, :200].astype(np.float64)
    noisy = add_noise(clean, noise=model, rng=0, **MODELS[model])
    result = denoise(noisy, noise=model, **MODELS[model])
    rms = float(np.std(noisy - clean))
    best = max(
        psnr(clean, denoise(noisy, sigma=k * rms), data_range=255) for k in (0.6, 0.8, 1, 1.25)
    )
    # Poisson-Gaussian noise of this kind is nearly uniform, so that little is to be gained.
    assert psnr(clean, result, data_range=255) > best + 0.1


@pytest.mark.parametrize("model", MODELS)
def test_parameters_of_a_model_are_found(model, camera):
    noisy = add_noise(camera.astype(np.float64), noise=model, rng=0, **MODELS[model])
    _, info = denoise(noisy[:256, :256], noise=model, method="mean", return_info=True)
    _, whole = denoise(noisy, noise=model, method="mean", return_info=True)
    for found in (info.noise, whole.noise):
        assert found.model == model
    for name, value in MODELS[model].items():
        assert getattr(whole.noise, name) == pytest.approx(value, rel=0.1)


@pytest.mark.parametrize("model", MODELS)
def test_integers_of_a_model_come_back_as_integers(model, crop):
    image = add_noise(crop.astype(np.uint8), noise=model, rng=0, **MODELS[model])
    result = denoise(image, noise=model, **MODELS[model])
    assert result.dtype == np.uint8
    exact = denoise(image.astype(np.float32), noise=model, **MODELS[model])
    np.testing.assert_allclose(result, np.clip(exact, 0, 255), atol=0.501)


@pytest.mark.parametrize("model", MODELS)
def test_an_image_without_noise_is_returned(model):
    image = np.full((20, 20), 40.0)
    np.testing.assert_array_equal(denoise(image, noise=model), image)


# What was found, and what is refused


@pytest.mark.parametrize(
    "given",
    [
        {"noise": "poisson"},
        {"noise": "rician", "method": "ridge"},
        {"scales": (12, 7)},
        {"sigma": 12},
        {},
    ],
    ids=str,
)
def test_what_is_told_gives_the_same_again(given, crop):
    noisy = add_noise(crop, noise="poisson", gain=3, rng=0)
    result, info = denoise(noisy, return_info=True, **given)
    found = info.noise
    again = denoise(
        noisy, method=info.method, noise=found.model, sigma=found.sigma, gain=found.gain,
        scales=found.scales,
    )  # fmt: skip
    np.testing.assert_array_equal(again, result)
    assert (found.estimate is not None) == (given == {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"noise": "brown"}, "^noise must be one of gaussian, poisson"),
        ({"noise": "poisson", "sigma": 3}, "^sigma is not a parameter of poisson noise"),
        ({"noise": "rician", "gain": 3}, "^gain is not a parameter of rician noise"),
        ({"noise": "poisson", "gain": -1}, "^gain must be a finite number above 0"),
        ({"gain": 3}, "^gain must go with noise 'poisson'"),
        ({"noise": "poisson", "h": 3}, "^h must go with one sigma of Gaussian noise"),
        ({"scales": (3,), "h": 3}, "^h must go with one sigma of Gaussian noise"),
        ({"scales": (3,), "sigma": 3}, "^sigma must not be given with scales"),
        ({"scales": (3,), "noise": "poisson"}, "^scales must go with Gaussian noise"),
        ({"scales": ()}, "^scales must be a sequence of 1 to 8 numbers"),
        ({"scales": 3}, "^scales must be a sequence of 1 to 8 numbers"),
        (
            {"scales": (3, -1)},
            "^scales must be a finite number, at least 0",
        ),
        ({"sigma": [3, 4, 5]}, r"^sigma must be one number, one for each channel"),
        ({"sigma": np.ones((3, 3))}, r"^sigma must be one number, .* map of shape \(64, 60\)"),
        ({"sigma": np.full((64, 60), -1.0)}, "^sigma must be finite and at least 0 everywhere"),
        ({"sigma": np.full((64, 60), np.nan)}, "^sigma must be finite and at least 0 everywhere"),
        ({"sigma": [3.0], "noise": "rician"}, "^sigma must be one number for rician noise"),
        ({"chroma": 2}, "^chroma must not be given for an image without channels"),
        ({"chroma": -1}, "^chroma must be a finite number, at least 0"),
        (
            {"method": "mean", "sigma": np.ones((64, 60))},
            "^sigma is not an option of method 'mean'",
        ),
        ({"method": "mean", "scales": (3, 1)}, r"^scales is not .* method 'mean', which has no st"),
        ({"sigma": [1, [2, 3]]}, r"^sigma must have rows that are equally long"),
        ({"sigma": ["a", "b"]}, r"^sigma must be real numbers \(got \['a', 'b'\]\)"),
        ({"sigma": [1j, 1]}, r"^sigma must be real numbers"),
        ({"sigma": [True, True]}, r"^sigma must be real numbers"),
        ({"scales": [1, [2, 3]]}, r"^scales must have rows that are equally long"),
        ({"sigma": 3, "preset": ""}, r"^preset must be one of fast, balanced, best \(got ''\)"),
        ({"sigma": 3, "center": 0}, r"^center must be one of one, max, zero \(got 0\)"),
        ({"sigma": 3, "method": "learned", "preset": 0}, r"^preset must be one of balanced, best"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message, crop):
    with pytest.raises(ParameterError, match=message):
        denoise(crop, **given)


@pytest.mark.parametrize("method", WITHOUT_STRENGTH)
def test_chroma_has_no_strength_without_a_strength(method, rng):
    message = rf"^chroma is not an option of method '{method}', which has no strength \(got 2.0\)"
    with pytest.raises(ParameterError, match=message):
        denoise(rng.normal(size=(9, 9, 3)), method=method, channel_axis=-1, chroma=2)


def test_negative_values_are_no_counts(crop):
    with pytest.raises(ParameterError, match=r"^image must not"):
        denoise(crop - 100, noise="poisson")


def test_opencv_has_no_floats_to_stabilize(camera):
    with pytest.raises(ParameterError, match=r"^image must have a dtype of uint8"):
        denoise(camera[:40, :40], noise="poisson", gain=3, method="opencv")


@pytest.mark.parametrize("given", [{"chroma": 2}, {"scales": (20, 9)}, {"noise": "poisson"}])
def test_progress_of_several_runs_rises_to_one(given, rgb):
    seen = []
    denoise(rgb, channel_axis=-1, progress=seen.append, **given)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_a_clean_photograph_is_hardly_changed(astronaut):
    """With nothing given: 45 dB is a mean change of 1.4 levels."""
    result, info = denoise(astronaut, channel_axis=-1, return_info=True)
    assert info.noise.estimate == estimate_noise(astronaut, channel_axis=-1)
    assert psnr(astronaut, result) > 45


# Few counts


def test_few_counts_take_rounds(camera):
    """Half a count a pixel, of which one transform makes 2 dB less."""
    clean = camera[:128, :128].astype(np.float64)
    gain = float(clean.mean()) / 0.5
    noisy = add_noise(clean, noise="poisson", gain=gain, rng=0)
    transform = noise_model("poisson", gain=gain)
    single = transform.invert(denoise(transform.stabilize(noisy), sigma=1.0))
    result = denoise(noisy, noise="poisson", gain=gain)
    assert psnr(clean, result, data_range=255) > psnr(clean, single, data_range=255) + 2


@pytest.mark.parametrize("shape", [(21, 34, 1), (5, 6, 7, 2)])
def test_rounds_written_out(shape, rng):
    """With a method that does nothing: pixels joined twice two, their noise as the model's."""
    image = rng.poisson(0.6, shape) * 3.0
    seen = []

    def keep(stabilized, progress):
        seen.append(stabilized)
        return stabilized

    result = in_rounds(image, Poisson(3.0), keep, None)
    assert [z.shape for z in seen[:2]] == [tuple(-(-n // 2) for n in shape[:-1]) + shape[-1:]] * 2
    block = image[(slice(0, 2),) * (len(shape) - 1)][..., 0]
    joined = noise_model("poisson", gain=3.0 / block.size)
    np.testing.assert_allclose(seen[0].ravel()[0], joined.stabilize(block.mean()[None]), rtol=1e-6)
    assert seen[2].shape == shape
    assert result.shape == shape


def test_counts_too_few_to_tell_their_gain_are_said(rng):
    image = rng.poisson(0.01, (64, 64)) * 5.0
    with pytest.raises(ParameterError, match=r"^gain can not be estimated from this image"):
        denoise(image, noise="poisson")


# h by the estimated risk


@pytest.mark.parametrize("preset", ["fast", "balanced", "best"])
def test_tuned_h_is_better_and_its_risk_is_told(preset, camera):
    clean = camera[:200, :200].astype(np.float64)
    noisy = add_noise(clean, 8, rng=0)
    run = {"sigma": 8.0, "preset": preset}
    result, info = denoise(noisy, tune=True, return_info=True, **run)
    assert info.risk == pytest.approx(mse(clean, result), rel=0.1)
    assert mse(clean, result) < 0.98 * mse(clean, denoise(noisy, **run))
    np.testing.assert_array_equal(denoise(noisy, **info.settings), result)


def test_h_is_tuned_in_a_stabilized_image_and_at_every_strength(crop):
    noisy = add_noise(crop, noise="poisson", gain=4, rng=0)
    _, info = denoise(noisy, noise="poisson", gain=4, tune=True, return_info=True)
    transform = noise_model("poisson", gain=4)
    _, stabilized = denoise(transform.stabilize(noisy), sigma=1.0, tune=True, return_info=True)
    assert (info.settings, info.risk) == (stabilized.settings, stabilized.risk)
    _, info = denoise(noisy, scales=(20.0, 12.0), tune=True, return_info=True)
    _, single = denoise(noisy, sigma=20.0, tune=True, return_info=True)
    assert info.settings == single.settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tune": True, "h": 3}, "^tune must not be given with h"),
        ({"tune": True, "method": "ridge"}, "^tune is not an option of method 'ridge'"),
        ({"tune": 1}, "^tune must be True or False"),
    ],
)
def test_tune_needs_an_h_to_choose(given, message, crop):
    with pytest.raises(ParameterError, match=message):
        denoise(crop, **given)


# Gray in three channels


@pytest.mark.parametrize("method", ["nlm", "ridge"])
def test_equal_channels_are_denoised_as_gray(method, crop):
    """Their noise is the same, too: as three channels they would be left noisy."""
    noisy = add_noise(crop, 12, rng=0)
    rgb = np.stack([noisy] * 3, -1)
    result = denoise(rgb, method=method, channel_axis=-1)
    expected = np.stack([denoise(noisy, method=method)] * 3, -1)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    with_chroma = denoise(rgb, method=method, channel_axis=-1, chroma=2)
    np.testing.assert_array_equal(with_chroma, result)
