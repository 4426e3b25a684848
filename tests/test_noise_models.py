"""Stabilized noise has standard deviation 1, and the inverse gives back clean values without bias.

The oracles sum the Poisson probabilities in loops and integrate densities numerically; there are no
random numbers but in the tests of whole images.
"""

import dataclasses
import math

import numpy as np
import pytest
from scipy import integrate, special

from nlmeans import ParameterError, add_noise, estimate_sigma
from nlmeans.noise.models import (
    NOISE_MODELS,
    Gaussian,
    Poisson,
    PoissonGaussian,
    Rician,
    Speckle,
    noise_model,
)

MODELS = [
    Gaussian(5.0),
    Poisson(3.0),
    PoissonGaussian(3.0, 4.0),
    PoissonGaussian(3.0, 0.0),
    Rician(5.0),
    Speckle(0.3),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=str)


def poisson_probabilities(x):
    """Of the counts 0, 1, 2, ... for the mean x, to 12 standard deviations above it."""
    if x == 0:
        return [1.0]
    most = int(x + 12 * math.sqrt(x) + 30)
    return [math.exp(k * math.log(x) - x - math.lgamma(k + 1)) for k in range(most)]


def poisson_moments(x, f):
    """Mean and standard deviation of f(k)."""
    mean = square = 0.0
    for k, p in enumerate(poisson_probabilities(x)):
        mean += p * f(k)
        square += p * f(k) ** 2
    return mean, math.sqrt(square - mean**2)


def integral(f, low, high, *breaks):
    points = [b for b in breaks if low < b < high]
    value, _ = integrate.quad(f, low, high, points=points or None, limit=400, epsabs=1e-10)
    return value


def gaussian_moments(mean, s, f, kink):
    """E[f] and E[f^2] over N(mean, s^2); f has a kink."""

    def density(y):
        return math.exp(-(((y - mean) / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi))

    low, high = mean - 9 * s, mean + 9 * s
    return [integral(lambda y, n=n: density(y) * f(y) ** n, low, high, kink, mean) for n in (1, 2)]


def rician_moments(x, f):
    """Mean and standard deviation of f(y) for Rician y of sigma 1; the trapezoidal rule."""
    y, step = np.linspace(max(0.0, x - 9), x + 9, 40001, retstep=True)
    mass = step * y * np.exp(-((y - x) ** 2) / 2) * special.ive(0, x * y)
    values = f(y)
    mean = mass @ values
    return mean, math.sqrt(mass @ values**2 - mean**2)


def gamma_moments(x, sigma, f):
    """Mean and standard deviation of f(y) for x times a gamma variable; y = x exp(t)."""
    looks = sigma**-2
    scale = looks * math.log(looks) - math.lgamma(looks)
    density = lambda t: math.exp(scale + looks * (t - math.exp(t)))  # noqa: E731
    low, high = -40 * sigma, 10 * sigma
    mean, square = (
        integral(lambda t, n=n: density(t) * f(x * math.exp(t)) ** n, low, high, 0.0)
        for n in (1, 2)
    )
    return mean, math.sqrt(square - mean**2)


def scalar(function):
    return lambda value: float(function(np.float64(value)))


# Poisson


def test_anscombe_by_hand():
    """2 sqrt(k + 3/8) for k = 0, 1, 2, 10 less 2 sqrt(3/8) = 1.224745."""
    expected = np.array([1.2247449, 2.3452079, 3.0822070, 6.4420494]) - 1.2247449
    result = Poisson(1).stabilize(np.array([0.0, 1.0, 2.0, 10.0]))
    np.testing.assert_allclose(result, expected, atol=2e-7)


@pytest.mark.parametrize("x", [1e-3, 0.01, 0.1, 0.3, 1, 2.345, 5, 20, 77.7, 99.9, 100.1, 101, 1000])
def test_poisson_inverse_of_the_mean(x):
    """Within 3e-5 of x, or 1e-5 counts where the tail begins."""
    mean, _ = poisson_moments(x, lambda k: 2 * math.sqrt(k + 0.375) - 2 * math.sqrt(0.375))
    assert Poisson(1).invert(np.float64(mean)) == pytest.approx(x, rel=3e-5)


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [(0, 0, 0), (1, 0.84, 0.85), (2, 0.95, 0.97), (3, 0.99, 1), (5, 1, 1.002), (50, 0.999, 1.001)],
)
def test_poisson_is_stabilized(x, low, high):
    _, std = poisson_moments(x, scalar(Poisson(1).stabilize))
    assert low <= std <= high


@pytest.mark.parametrize("x", [3.0, 5.0, 10.0, 50.0, 90.0, 300.0])
def test_closed_form_of_makitalo_and_foi_agrees(x):
    """Their fit of the exact unbiased inverse is off by 0.02 counts at most."""
    mean, _ = poisson_moments(x, lambda k: 2 * math.sqrt(k + 0.375))
    root = math.sqrt(1.5)
    closed = mean**2 / 4 + root / 4 / mean - 11 / 8 / mean**2 + 5 * root / 8 / mean**3 - 1 / 8
    exact = Poisson(1).invert(np.float64(mean - 2 * math.sqrt(0.375)))
    assert exact == pytest.approx(closed, abs=0.02)


def test_algebraic_inverse_would_be_biased():
    """At one count by 18 %: what the table is for."""
    mean, _ = poisson_moments(1.0, lambda k: 2 * math.sqrt(k + 0.375))
    assert (mean / 2) ** 2 - 0.375 < 0.83


# Poisson-Gaussian


@pytest.mark.parametrize("s", [0.05, 0.3, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("x", [0.0, 0.02, 0.5, 4.0, 30.0])
def test_poisson_gaussian_inverse_of_the_mean(x, s):
    """Within 1e-4 of x; the standard deviation within 5 % from 4 counts on."""
    c = 0.375 + s * s
    f = lambda y: 2 * math.sqrt(max(0.0, y + c)) - 2 * math.sqrt(c)  # noqa: E731
    mean = square = 0.0
    for k, p in enumerate(poisson_probabilities(x)):
        if p > 1e-12:
            one, two = gaussian_moments(k, s, f, -c)
            mean += p * one
            square += p * two
    model = PoissonGaussian(1, s)
    assert model.invert(np.float64(mean)) == pytest.approx(x, rel=1e-4, abs=1e-6)
    if x >= 4:
        assert math.sqrt(square - mean**2) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("s", [0.5, 10.0, 1e3])
def test_poisson_gaussian_tail_joins_the_table(s):
    """At 100 counts."""
    d = PoissonGaussian(1, s).stabilize(np.float64(100.0))
    around = d + np.linspace(-0.1, 0.1, 2001)
    steps = np.diff(PoissonGaussian(1, s).invert(around))
    assert steps.min() > 0
    assert steps.max() < 1e-3 + 2 * steps.min()


def test_poisson_gaussian_between_its_limits():
    """Without sigma it is Poisson; with a tiny gain Gaussian, also in float32."""
    y = np.linspace(0, 255, 512)
    np.testing.assert_array_equal(PoissonGaussian(2, 0).stabilize(y), Poisson(2).stabilize(y))
    for dtype, error in (("float64", 1e-7), ("float32", 1e-4)):
        z = PoissonGaussian(1e-9, 5).stabilize((y - 20).astype(dtype))
        np.testing.assert_allclose(z, (y - 20) / 5, atol=error)
        np.testing.assert_allclose(
            PoissonGaussian(1e-9, 5).invert(y.astype(dtype)), 5 * y, rtol=1e-6, atol=1e-8
        )


def test_negative_values_below_the_root_are_flat():
    """With gain 1 and sigma 2 the root is at -3/8 - 4."""
    z = PoissonGaussian(1, 2).stabilize(np.array([-4.375, -5.0, -1e9]))
    np.testing.assert_allclose(z, -2 * math.sqrt(4.375))


# Rician


@pytest.mark.parametrize(
    "x", [0.0, 0.03, 0.2, 0.7, 1.3, 2.0, 3.1, 5.0, 8.0, 12.0, 17.9, 18.1, 40.0]
)
def test_rician_is_stabilized_and_inverted(x):
    """Within 1e-3 of x or sigma; the standard deviation as the class says."""
    model = Rician(1)
    mean, std = rician_moments(x, model.stabilize)
    assert model.invert(np.float64(mean)) == pytest.approx(x, rel=1e-3, abs=1e-3)
    assert 0.97 < std < 1.06
    if x >= 4:
        assert 0.995 < std < 1.005


def test_rician_bias_is_taken_away():
    """Of black, whose magnitudes are 1.2533 sigma on average."""
    mean, _ = rician_moments(0.0, lambda y: y)
    assert mean == pytest.approx(math.sqrt(math.pi / 2), rel=1e-8)
    d, _ = rician_moments(0.0, Rician(1).stabilize)
    assert Rician(1).invert(np.float64(d)) < 1e-3
    np.testing.assert_array_equal(Rician(1).invert(np.array([0.0, d - 0.1, -3.0])), 0)


# Speckle


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("x", [1e-6, 0.3, 1.0, 250.0])
def test_speckle_is_stabilized_and_inverted(x, sigma):
    model = Speckle(sigma)
    mean, std = gamma_moments(x, sigma, scalar(model.stabilize))
    assert std == pytest.approx(1, rel=1e-6)
    assert model.invert(np.float64(mean)) == pytest.approx(x, rel=1e-6)


def test_one_look_by_hand():
    """An exponential variable has a logarithm of mean -0.57722 and variance pi^2 / 6."""
    model = Speckle(1.0)
    assert model.stabilize(np.float64(math.e)) == pytest.approx(math.sqrt(6) / math.pi)
    assert model.invert(np.float64(0)) == pytest.approx(math.exp(0.5772156649))


@pytest.mark.parametrize("sigma", [0.5, 1.0])
@pytest.mark.parametrize(
    ("image", "step"),
    [
        (np.array([0, 7], np.uint8), 1),
        (np.array([0, 7], np.int16), 1),
        (np.array([0, 0.25, 8]), 0.25),
        (np.array([0, 0.25, 8], np.float16), 0.25),
    ],
    ids=["uint8", "int16", "float64", "float16"],
)
def test_zero_under_the_logarithm(image, step, sigma):
    """Half a step times exp(-1 / L): the mean of log(y) for a density of y^(L - 1) below half."""
    looks, half = sigma**-2, step / 2
    weight = integral(lambda y: y ** (looks - 1), 0, half)
    mean = integral(lambda y: y ** (looks - 1) * math.log(y), 0, half) / weight
    z = Speckle(sigma).stabilize(image)
    assert z[0] == pytest.approx(mean / math.sqrt(special.polygamma(1, looks)), rel=1e-5)
    assert z[0] < z[1]


def test_black_stays_black_under_speckle():
    model = Speckle(0.5)
    for dtype, most in (("uint8", 0.5), ("float32", 1e-20), ("float64", 1e-20)):
        z = model.stabilize(np.zeros((3, 3), dtype))
        assert np.isfinite(z).all()
        assert model.invert(z).max() < most


# All


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Gaussian(5.0), lambda x: 5.0),
        (Poisson(3.0), lambda x: poisson_moments(x / 3, lambda k: 3 * k)[1]),
        (PoissonGaussian(3.0, 4.0), lambda x: math.sqrt(3 * x + 16)),
        (Rician(5.0), lambda x: 5 * rician_moments(x / 5, lambda y: y)[1]),
        (Speckle(0.3), lambda x: gamma_moments(x, 0.3, lambda y: y)[1] if x else 0.0),
    ],
    ids=str,
)
def test_standard_deviation_of_the_noise(model, expected):
    for x in (0.0, 0.4, 7.0, 89.0, 91.0, 250.0):
        assert float(model.noise_std(np.float64(x))) == pytest.approx(expected(x), rel=2e-4)


@pytest.mark.parametrize("x", [30.0, 99.0, 101.0, 150.0])
def test_standard_deviation_of_bright_rician_noise(x):
    """There it is 1 - 1 / (4 x^2) of sigma, and E[y^2] - E[y]^2 would cancel in the end."""
    _, expected = rician_moments(x, lambda y: y - x)
    assert float(Rician(2).noise_std(np.float64(2 * x))) == pytest.approx(2 * expected, rel=1e-6)
    assert Rician(2).noise_std(np.float64(1e9)) == pytest.approx(2, rel=1e-15)


@each_model
def test_no_clean_value_is_darker_than_black(model):
    """As far as the noise goes: that of a negative value is that of 0."""
    assert model.noise_std(np.float64(-7)) == model.noise_std(np.float64(0))


@each_model
def test_monotone(model):
    y = np.concatenate([np.linspace(0, 30, 5000), np.linspace(30.1, 5000, 5000)])
    z = model.stabilize(y[1:])
    assert (np.diff(z) > 0).all()
    x = model.invert(np.linspace(-5, z[-1], 20000))
    assert (np.diff(x) >= 0).all()
    if not isinstance(model, Gaussian):
        assert x.min() >= 0
    np.testing.assert_allclose(x[-1], 5000, rtol=0.06)


@each_model
def test_scaling_the_image_scales_sigma_and_gain(model, rng):
    """By a power of two, exactly: the stabilized image is the same."""
    scaled = {
        field.name: getattr(model, field.name) * (1 if isinstance(model, Speckle) else 0.25)
        for field in dataclasses.fields(model)
    }
    small = type(model)(**scaled)
    y = rng.uniform(0.1, 500, (20, 30))
    z = model.stabilize(y)
    if isinstance(model, Speckle):
        np.testing.assert_allclose(small.stabilize(y / 4), z - math.log(4) * z / np.log(y))
    else:
        np.testing.assert_array_equal(small.stabilize(y / 4), z)
        np.testing.assert_array_equal(small.invert(z), model.invert(z) / 4)
        np.testing.assert_array_equal(small.noise_std(y / 4), model.noise_std(y) / 4)


@each_model
def test_dtypes_and_shapes(model, rng):
    """float64 stays, all others become float32; each number goes by itself, the image unchanged."""
    image = rng.integers(1, 200, (70, 40, 30)).astype(np.float64)
    before = image.copy()
    z = model.stabilize(image)
    x = model.invert(z)
    assert z.dtype == x.dtype == np.float64
    np.testing.assert_array_equal(image, before)
    for dtype in ("uint8", "int16", "uint16", ">u2", "float16", "float32"):
        part = model.stabilize(image.astype(dtype))
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, z, rtol=1e-6, atol=1e-6)
        assert model.invert(part).dtype == model.noise_std(part).dtype == np.float32
    assert model.stabilize(image.astype(">f8")).dtype == np.float64
    np.testing.assert_array_equal(model.stabilize(image[::-2, :, 3]), z[::-2, :, 3])
    np.testing.assert_array_equal(model.invert(z.T), x.T)
    assert model.stabilize(image[:0]).shape == (0, 40, 30)
    assert model.invert(z[0, 0, 0]).shape == ()


@each_model
def test_missing_values_stay_missing(model):
    image = np.array([[math.nan, 5.0]])
    z = model.stabilize(image)
    for result in (z, model.invert(z)):
        np.testing.assert_array_equal(np.isnan(result), [[True, False]])


@pytest.mark.parametrize("level", [20.0, 150.0])
@each_model
def test_a_constant_image_through_noise_and_back(model, level):
    """What is estimated of the stabilized noise is 1, and the average inverts to the level.

    20 is 4 sigma or 7 counts. Within 4 standard errors, and the 4 % of Rician noise.
    """
    name = next(name for name, kind in NOISE_MODELS.items() if kind is type(model))
    clean = np.full((512, 512), level)
    noisy = add_noise(clean, noise=name, rng=7, **dataclasses.asdict(model))
    z = model.stabilize(noisy)
    assert z.std() == pytest.approx(1, abs=0.04)
    assert estimate_sigma(z) == pytest.approx(1, abs=0.05)
    error = 4 * float(model.noise_std(clean[0, 0])) / 512
    assert float(model.invert(z.mean())) == pytest.approx(level, abs=error)


# Arguments


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("gaussian", {"sigma": 2}, Gaussian(2.0)),
        ("poisson", {"gain": 2}, Poisson(2.0)),
        ("poisson-gaussian", {"gain": 2, "sigma": 0}, PoissonGaussian(2.0, 0.0)),
        ("rician", {"sigma": 2}, Rician(2.0)),
        ("speckle", {"sigma": 1}, Speckle(1.0)),
    ],
)
def test_models_by_name(name, parameters, expected):
    model = noise_model(name, **parameters)
    assert model == expected
    assert hash(model) == hash(expected)
    assert isinstance(next(iter(dataclasses.asdict(model).values())), float)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("shot", {}, r"noise must be one of gaussian, .*\(got 'shot'\)"),
        (None, {}, r"noise must be one of gaussian"),
        ("gaussian", {}, r"sigma must be a finite number above 0"),
        ("gaussian", {"sigma": 0}, r"sigma must be a finite number above 0.*\(got 0\)"),
        ("rician", {"sigma": -1}, r"sigma must be a finite number above 0.*\(got -1\)"),
        ("rician", {"sigma": math.nan}, r"sigma must be a finite number above 0"),
        ("rician", {"sigma": 1e60}, r"sigma must be at most 1e\+50"),
        ("speckle", {"sigma": 1.1}, r"sigma must be at most 1 \(got 1.1\)"),
        ("poisson", {}, r"gain must be a finite number above 0"),
        ("poisson", {"gain": 0}, r"gain must be a finite number above 0.*\(got 0\)"),
        ("poisson", {"gain": True}, r"gain must be a finite number above 0"),
        ("poisson-gaussian", {"gain": 1}, r"sigma must be a finite number, at least 0"),
        ("poisson-gaussian", {"sigma": 1}, r"gain must be a finite number above 0"),
        ("poisson-gaussian", {"gain": 1, "sigma": -2}, r"sigma must be a finite number, at least"),
        ("gaussian", {"sigma": 1, "gain": 2}, r"gain is not .* gaussian noise, which takes sigma"),
        ("rician", {"sigma": 1, "gain": 2}, r"gain is not a parameter of rician noise"),
        ("speckle", {"sigma": 1, "gain": 2}, r"gain is not a parameter of speckle noise"),
        ("poisson", {"gain": 1, "sigma": 2}, r"sigma is not .* which takes gain \(got 2\)"),
    ],
)
def test_bad_parameters_are_refused(name, parameters, message):
    with pytest.raises(ParameterError, match=f"^{message}"):
        noise_model(name, **parameters)


@pytest.mark.parametrize("model", [Poisson(1), Rician(1), Speckle(1)], ids=str)
def test_negative_values_are_refused(model):
    image = np.array([[3, -2]], np.int16)
    with pytest.raises(ParameterError, match=r"^image must not hold negative .* \(got -2\.0\)$"):
        model.stabilize(image)
    for good in (Gaussian(1), PoissonGaussian(1, 1)):
        assert np.isfinite(good.stabilize(image)).all()


def test_models_are_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Poisson(1).gain = 2
    assert Poisson(1) == Poisson(1.0) != Poisson(2)
