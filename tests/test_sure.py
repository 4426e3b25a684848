"""The estimated error: against derivatives, worked numbers, true errors and each other."""

import itertools
import math
import time

import numpy as np
import pytest

import oracle
from nlmeans.affinity import PatchGaussian
from nlmeans.engines import get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Window
from nlmeans.operation import NonLocalMean
from nlmeans.sure import monte_carlo_sure, nl_means_sure, refined_h

CENTERS = ("one", "max", "zero")
SIZES = {"patch_radius": 1, "search_radius": 2}
INTERIOR = (slice(3, -3), slice(3, -3))


def nl_means(image, h, sigma, center, *, engine="reference", **options):
    operation = NonLocalMean(PatchGaussian(h, sigma, 1, "flat", center), Window(2), **options)
    return get_engine(engine).average(operation, image)


def ramps(rows, columns, channels):
    """Two ramps and a step, different for each channel."""
    image = np.add.outer(np.arange(rows) * 3.0, np.arange(columns) * 2.0)
    image[:, columns // 2 :] += 60
    return np.stack([image * (1 + 0.3 * c) for c in range(channels)], -1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("center", CENTERS)
def test_divergence_is_that_of_finite_differences(rng, center, offset, channels):
    y = ramps(9, 10, channels) + rng.normal(0, 10, (9, 10, channels))
    (risk,) = nl_means_sure(y, 10, [9], center=center, offset=offset, **SIZES)
    mse = np.mean((nl_means(y, 9, offset, center) - y)[INTERIOR] ** 2)
    derivatives = []
    for i in itertools.product(range(3, 6), range(3, 7), range(channels)):
        ends = []
        for step in (1e-4, -1e-4):
            moved = y.copy()
            moved[i] += step
            ends.append(nl_means(moved, 9, offset, center)[i])
        derivatives.append((ends[0] - ends[1]) / 2e-4)
    divergence = (risk - mse + 100) / 200
    assert divergence == pytest.approx(np.mean(derivatives), rel=1e-6)
    assert 0.02 < divergence < 0.98


def test_divergence_is_that_of_the_oracle(rng):
    y = rng.normal(100, 10, (7, 7, 1))  # one pixel in the middle
    options = {"h": 9, "sigma": 7, "center": "max", "patch_radius": (1, 1), "search_radius": (2, 2)}
    (risk,) = nl_means_sure(y, 10, [9], center="max", offset=7, **SIZES)
    ends = []
    for step in (1e-4, -1e-4):
        moved = y.copy()
        moved[3, 3] += step
        ends.append(oracle.nl_means(moved, **options)[3, 3, 0])
    change = np.mean(ends) - y[3, 3, 0]
    expected = change**2 - 100 + 200 * (ends[0] - ends[1]) / 2e-4
    assert risk == pytest.approx(expected, rel=1e-6)


def test_worked_by_hand():
    # A 0 among eight 2, h so that f is 1/2: C is 4 and what the center adds. The slope of f is
    # ln 2, so that of the result is (f_ii + 4 ln 2 (2 - y) - f_ii ln 2 [max] y) / C.
    y = np.full((3, 3, 1), 2.0)
    y[1, 1] = 0
    expected = {
        "one": 1.6**2 - 1 + 2 * (1 + 4 * math.log(2) * 0.4) / 5,
        "max": (16 / 9) ** 2 - 1 + 2 * (0.5 + 4 * math.log(2) * 2 / 9 - math.log(2) * 8 / 9) / 4.5,
        "zero": 2.0**2 - 1,
    }
    for center, risk in expected.items():
        options = {"patch_radius": 0, "search_radius": 1, "center": center, "offset": 0}
        (got,) = nl_means_sure(y, 1, [2 / math.sqrt(math.log(2))], **options)
        assert got == pytest.approx(risk, rel=1e-12)


@pytest.mark.parametrize("center", CENTERS)
def test_pixels_that_resemble_nothing_keep_their_noise(rng, center):
    y = rng.normal(100, 10, (12, 12, 1))
    risks = nl_means_sure(y, 10, [1e-3, 1e-100], center=center, offset=0, **SIZES)
    if center == "one":
        assert risks == pytest.approx([100, 100])
    assert risks[1] == pytest.approx(100)
    alone = nl_means_sure(y, 10, [5], patch_radius=1, search_radius=0, center=center)
    assert alone == pytest.approx([100])
    far = y[:3, :3] * 0
    far[1, 1] = 80  # f is exp(-80): not 0, and below the smallest sum that counts
    options = {"patch_radius": 0, "search_radius": 1, "center": center, "offset": 0}
    assert nl_means_sure(far, 10, [math.sqrt(80)], **options) == pytest.approx([100])


@pytest.mark.parametrize("center", CENTERS)
def test_mean_over_the_noise_is_the_true_error(rng, center):
    clean = ramps(40, 40, 1)
    excess = []
    for _ in range(30):
        y = clean + rng.normal(0, 10, clean.shape)
        risks = nl_means_sure(y, 10, [4, 8], center=center, **SIZES)
        true = [np.mean((nl_means(y, h, 10, center) - clean)[INTERIOR] ** 2) for h in (4, 8)]
        excess.append((*(risks - true), *true))
    mean, error = np.mean(excess, 0), np.std(excess, 0, ddof=1) / math.sqrt(30)
    assert (np.abs(mean[:2]) < 3 * error[:2]).all()
    assert (error[:2] < 0.1 * mean[2:]).all()  # or the line above says nothing


def test_several_h_are_each_as_alone(rng):
    y = ramps(20, 30, 3) + rng.normal(0, 10, (20, 30, 3))
    hs = [12, 3, 7]
    together = nl_means_sure(y, 10, hs, center="max", **SIZES)
    alone = [nl_means_sure(y, 10, [h], center="max", **SIZES)[0] for h in hs]
    assert together == pytest.approx(alone, rel=1e-12)


def test_radii_go_with_their_axes(rng):
    y = rng.normal(100, 10, (14, 20, 1))
    options = {"patch_radius": (1, 2), "search_radius": (2, 3), "center": "max"}
    across = {"patch_radius": (2, 1), "search_radius": (3, 2), "center": "max"}
    risks = nl_means_sure(y, 10, [5], **options)
    assert risks == pytest.approx(nl_means_sure(y.swapaxes(0, 1), 10, [5], **across), rel=1e-12)
    operation = NonLocalMean(PatchGaussian(5, 10, (1, 2), "flat", "max"), Window((2, 3)))
    change = (get_engine("reference").average(operation, y) - y)[3:-3, 5:-5]
    without_noise = nl_means_sure(y, 0, [5], offset=10, **options)
    assert without_noise == pytest.approx([np.mean(change**2)], rel=1e-12)


def test_sample_of_a_large_image_stands_for_it(rng):
    clean = np.tile(ramps(25, 25, 1), (16, 32, 1))
    y = clean + rng.normal(0, 10, clean.shape)
    start = time.process_time()
    risks = nl_means_sure(y, 10, [4, 8], center="max", **SIZES)
    assert time.process_time() - start < 1  # 0.05 s; all 320000 pixels take 20 times as long
    for h, risk in zip((4, 8), risks, strict=True):
        true = np.mean((nl_means(y, h, 10, "max", engine="numba") - clean) ** 2)
        assert risk == pytest.approx(true, rel=0.1)


def test_probe_agrees_with_the_closed_form(rng):
    y = ramps(60, 60, 1) + rng.normal(0, 10, (60, 60, 1))

    def inner(z):
        """The interior as a function of itself alone."""
        whole = y.copy()
        whole[INTERIOR] = z
        return nl_means(whole, 8, 10, "max", engine="numba")[INTERIOR]

    (exact,) = nl_means_sure(y, 10, [8], center="max", **SIZES)
    rest = np.mean((inner(y[INTERIOR]) - y[INTERIOR]) ** 2) - 100
    probed = [monte_carlo_sure(inner, y[INTERIOR], 10, rng=seed) for seed in range(40)]
    divergences = (np.array(probed) - rest) / 200
    expected = (exact - rest) / 200
    assert divergences == pytest.approx(np.full(40, expected), rel=0.2)  # 4 % standard deviation
    assert np.mean(divergences) == pytest.approx(expected, rel=0.02)
    assert np.std(divergences) > 0.01 * expected


def test_probe_is_exact_for_multiples_of_the_image(rng):
    y = rng.normal(100, 10, (20, 20, 3))
    square = np.mean(y**2)
    assert monte_carlo_sure(lambda z: z, y, 10, rng=rng) == pytest.approx(100)
    assert monte_carlo_sure(np.zeros_like, y, 10, rng=rng) == pytest.approx(square - 100)
    half = monte_carlo_sure(lambda z: z / 2, y, 10, rng=rng)
    assert half == pytest.approx(square / 4 - 100 + 2 * 100 / 2)
    assert monte_carlo_sure(lambda z: z / 2, y, 0, rng=rng) == pytest.approx(square / 4)


def test_probe_takes_what_is_known_and_a_seed(rng):
    y = rng.normal(100, 10, (20, 20, 1))
    calls = []

    def smooth(z):
        calls.append(z)
        return (z + np.roll(z, 1, 0)) / 2

    known = smooth(y)
    first = monte_carlo_sure(smooth, y, 10, rng=3, denoised=known)
    assert len(calls) == 2
    assert np.abs(calls[1] - y) == pytest.approx(np.full(y.shape, 0.1))
    assert monte_carlo_sure(smooth, y, 10, rng=np.random.default_rng(3)) == first
    assert monte_carlo_sure(smooth, y, 10, rng=4) != first


def shrink(image, h):
    """Toward 0, so that the risk is a parabola in log h."""
    return image * (0.5 + 0.1 * math.log(h))


def test_refined_h_is_the_best(rng):
    y = rng.normal(0, 30, (50, 50, 1))
    square = np.mean(y**2)
    best = math.exp((1 - 400 / square - 0.5) / 0.1)
    for start in (0.6 * best, best, 1.5 * best):
        h, risk = refined_h(y, 20, start, shrink)
        assert h == pytest.approx(best)
        assert risk == pytest.approx(400 - 400**2 / square)
    for start, end in ((best / 10, best / 5), (best * 10, best * 5)):
        h, risk = refined_h(y, 20, start, shrink)
        assert h == pytest.approx(end)
        assert risk == pytest.approx(monte_carlo_sure(lambda z, h=h: shrink(z, h), y, 20, rng=0))


@pytest.mark.parametrize("way", ["closed form", "pixelwise", "patchwise"])
def test_refined_h_of_nl_means_lowers_the_error(rng, way):
    clean = ramps(60, 60, 1)
    y = clean + rng.normal(0, 10, clean.shape)

    def run(image, h):
        return nl_means(image, h, 10, "max", engine="numba", patchwise=way == "patchwise")

    def mse(h):
        return np.mean((run(y, h) - clean) ** 2)

    for start in (3.0, 12.0):
        if way == "closed form":
            h, risk = refined_h(y, 10, start, center="max", **SIZES)
        else:
            h, risk = refined_h(y, 10, start, run)
        assert mse(h) < mse(start)
        assert mse(h) < 1.05 * min(mse(factor * start) for factor in (0.5, 0.7, 1, 1.4, 2))
        assert risk == pytest.approx(mse(h), abs=10)  # of 100 in y; its scatter is 2.5


@pytest.mark.parametrize(
    ("space", "tiles"),
    [((256, 256), 1), ((1000, 700), 4), ((60, 3000), 2), ((90, 80, 70), 1), ((40, 40, 40), 1)],
)
def test_refined_h_denoises_no_more_than_needed(space, tiles):
    y = np.arange(math.prod(space), dtype=np.float32).reshape(*space, 1)
    seen = []

    def run(image, h):
        if h == 3.0:
            seen.append(image)
        return image

    refined_h(y, 10, 3.0, run)
    crops = seen[::2]
    assert len(crops) == tiles
    first = [int(crop.min()) for crop in crops]
    assert len({*first}) == tiles
    assert all(first[0] <= crop.min() for crop in crops)
    assert sum(crop.size for crop in crops) <= 2**16
    assert sum(crop.size for crop in crops) > 2**16 / 5
    assert max(crop.max() for crop in crops) > y.size / 2


BAD = [
    ({"image": np.zeros((20, 20))}, "image"),
    ({"image": np.zeros((20, 20, 20, 1))}, "image"),
    ({"image": np.zeros((20, 6, 1))}, "image"),
    ({"image": np.full((20, 20, 1), np.nan)}, "image"),
    ({"sigma": -1}, "sigma"),
    ({"sigma": math.nan}, "sigma"),
    ({"hs": [1, 0]}, "hs"),
    ({"patch_radius": -1}, "patch_radius"),
    ({"patch_radius": (1, 1, 1)}, "patch_radius"),
    ({"patch_radius": 51, "image": np.zeros((130, 130, 1))}, "patch_radius"),
    ({"search_radius": 1.5}, "search_radius"),
    ({"center": "two"}, "center"),
    ({"offset": -1}, "offset"),
]


@pytest.mark.parametrize(("change", "name"), BAD)
def test_bad_arguments_of_the_closed_form(change, name):
    good = {"image": np.zeros((20, 20, 1)), "sigma": 10, "hs": [5], "center": "max", **SIZES}
    assert nl_means_sure(**good).shape == (1,)
    with pytest.raises(ParameterError) as error:
        nl_means_sure(**good | change)
    assert error.value.name == name


def test_bad_arguments_of_the_others():
    y = np.zeros((20, 20, 1))
    for name, call in [
        ("sigma", lambda: monte_carlo_sure(abs, y, -1, rng=0)),
        ("image", lambda: monte_carlo_sure(abs, [["a"]], 1, rng=0)),
        ("denoised", lambda: monte_carlo_sure(lambda z: z[..., 0], y, 1, rng=0)),
        ("denoised", lambda: monte_carlo_sure(abs, y, 1, rng=0, denoised=y[1:])),
        ("h", lambda: refined_h(y, 10, 0, shrink)),
        ("h", lambda: refined_h(y, 10, math.inf, shrink)),
        ("sigma", lambda: refined_h(y, -1, 5, shrink)),
        ("center", lambda: refined_h(y, 10, 5, center="two", **SIZES)),
    ]:
        with pytest.raises(ParameterError) as error:
            call()
        assert error.value.name == name
