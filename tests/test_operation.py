"""The operation as it is written, against the oracle and against numbers worked out on paper."""

import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

import oracle
from nlmeans import denoise
from nlmeans.affinity import (
    Concatenation,
    DotProduct,
    EmbeddedGaussian,
    Gaussian,
    PatchGaussian,
)
from nlmeans.embedding import Identity, Linear, Patch, PatchKey, PatchQuery
from nlmeans.engines import ENGINES, get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Everywhere, Window
from nlmeans.normalizer import Count, Sum
from nlmeans.operation import NonLocalMean

H = 1 / math.sqrt(math.log(2))
"""With this h the weight of a distance D is 2^-D."""

SPACES = {1: (7,), 2: (4, 5), 3: (2, 3, 4)}


def reference(operation, image):
    return get_engine("reference").average(operation, image)


def matrices(rng, channels):
    """Two embeddings with the same number of features, more than there are channels."""
    return rng.normal(size=(channels + 1, channels)), rng.normal(size=(channels + 1, channels))


def wang_pair(name, rng, channels):
    """One affinity of Wang et al., ours and the oracle's, with the same random weights."""
    theta, phi = matrices(rng, channels)
    ours = Linear(theta), Linear(phi)
    weight = rng.normal(size=2 * (channels + 1))
    return {
        "gaussian": lambda: (Gaussian(), oracle.gaussian),
        "embedded": lambda: (EmbeddedGaussian(*ours), oracle.embedded_gaussian(theta, phi)),
        "dot": lambda: (DotProduct(*ours), oracle.dot_product(theta, phi)),
        "concatenation": lambda: (
            Concatenation(*ours, weight),
            oracle.concatenation(theta, phi, weight),
        ),
    }[name]()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    "neighborhood",
    [Everywhere(), Window(1), Window(2), Window(2, "exclude")],
    ids=["everywhere", "window1", "window2", "window2 inside"],
)
@pytest.mark.parametrize("name", ["gaussian", "embedded", "dot", "concatenation"])
def test_affinities_of_wang(name, neighborhood, ndim, channels, rng):
    """Those that are divided by the count are divided by that of the members inside the image."""
    image = rng.uniform(-1, 1, (*SPACES[ndim], channels))
    affinity, f = wang_pair(name, rng, channels)
    window = isinstance(neighborhood, Window)
    expected = oracle.non_local_mean(
        image,
        f,
        search_radius=neighborhood.margin(ndim) if window else None,
        divide_by_count=name in ("dot", "concatenation"),
        border=neighborhood.border if window else "reflect",
    )
    np.testing.assert_allclose(
        reference(NonLocalMean(affinity, neighborhood), image), expected, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("radius", [None, (1, 0)], ids=["everywhere", "window"])
def test_values_are_embedded(radius, rng):
    """g maps two channels to three, which the result then has."""
    image = rng.uniform(-1, 1, (3, 4, 2))
    theta, phi = matrices(rng, 2)
    g = rng.normal(size=(3, 2))
    operation = NonLocalMean(
        EmbeddedGaussian(Linear(theta), Linear(phi)),
        Everywhere() if radius is None else Window(radius),
        values=Linear(g),
    )
    expected = oracle.non_local_mean(
        image, oracle.embedded_gaussian(theta, phi), search_radius=radius, g=g
    )
    assert expected.shape == (3, 4, 3)
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-12)


@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
@pytest.mark.parametrize("sigma", [0.0, 0.2])
@pytest.mark.parametrize(
    ("space", "patch", "search"),
    [((9,), (2,), (3,)), ((5, 4), (1, 2), (2, 1)), ((2, 3, 4), (1, 0, 1), (0, 1, 2))],
    ids=["1-D", "2-D", "3-D"],
)
def test_nl_means(space, patch, search, sigma, kernel, center, rng):
    image = rng.uniform(0, 1, (*space, 2))
    settings = {"h": 0.4, "sigma": sigma, "patch_kernel": kernel, "center": center}
    expected = oracle.nl_means(image, patch_radius=patch, search_radius=search, **settings)
    operation = NonLocalMean(PatchGaussian(patch_radius=patch, **settings), Window(search))
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-12)


@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("border", ["reflect", "exclude"])
@pytest.mark.parametrize("cutoff", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(
    ("space", "patch", "search"),
    [((9,), (1,), (3,)), ((5, 4), (1, 0), (2, 1)), ((2, 3, 4), (0, 0, 1), (1, 4, 2))],
    ids=["1-D", "2-D", "3-D"],
)
def test_cutoff_and_border(space, patch, search, cutoff, border, center, rng):
    image = rng.uniform(0, 1, (*space, 2))
    settings = {"h": 0.5, "sigma": 0.1, "center": center, "cutoff": cutoff}
    expected = oracle.nl_means(
        image, patch_radius=patch, search_radius=search, border=border, **settings
    )
    operation = NonLocalMean(PatchGaussian(patch_radius=patch, **settings), Window(search, border))
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("cutoff", "border", "expected"),
    [
        (0.0, "exclude", [1 / 3, 19 / 25, 49 / 17]),
        (0.4, "reflect", [1 / 2, 2 / 3, 3]),
        (0.4, "exclude", [1 / 3, 2 / 3, 3]),
        (0.6, "reflect", [0, 1, 3]),
    ],
)
def test_cutoff_and_border_worked_on_paper(engine, cutoff, border, expected):
    """The image 0 1 3, window radius 1, patches of one pixel: f(0, 1) = 1/2, f(1, 3) = 1/16.

    exclude: y_0 = (0 + 1/2) / (1 + 1/2), y_2 = (3 + 1/16) / (1 + 1/16); y_1 has both its neighbors.
    cutoff 0.4: y_1 = (1 + 0/2) / (1 + 1/2) and y_2 = 3, for 1/16 counts as 0.
    """
    image = np.array([[[0.0], [1.0], [3.0]]])
    operation = NonLocalMean(
        PatchGaussian(H, patch_radius=0, cutoff=cutoff), Window((0, 1), border)
    )
    result = get_engine(engine).average(operation, image, workers=1)
    np.testing.assert_allclose(result.ravel(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "operation",
    [
        NonLocalMean(PatchGaussian(0.3, patch_radius=(1, 2), center="max"), Window((2, 5))),
        NonLocalMean(PatchGaussian(0.3, patch_radius=1, cutoff=0.5), Window(2, "exclude")),
        NonLocalMean(PatchGaussian(0.3, patch_radius=1, center="zero")),
        NonLocalMean(Gaussian(), values=Linear(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))),
        NonLocalMean(DotProduct(Identity(), Identity()), Window(1, "exclude")),
    ],
    ids=["window", "inside", "everywhere", "other channels", "count"],
)
@pytest.mark.parametrize("region", [((0, 6), (0, 5)), ((0, 1), (4, 5)), ((2, 5), (1, 3))])
def test_region_is_a_part_of_the_whole(operation, region, rng):
    image = rng.uniform(0, 1, (6, 5, 2))
    (top, bottom), (left, right) = region
    whole = reference(operation, image)
    part = get_engine("reference").average(operation, image, region=region)
    np.testing.assert_allclose(part, whole[top:bottom, left:right], rtol=1e-13)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("region", "message"),
    [
        (((0, 2),), r"^region must be 2 pairs of start and stop \(got \(\(0, 2\),\)\)$"),
        ((0, 2), "^region must be 2 pairs"),
        (((0, 2), (0, 2, 3)), "^region must be 2 pairs"),
        (((0, 2), (-1, 2)), "^region must be an integer, at least 0"),
        (((0, 2), (0.0, 2.0)), "^region must be an integer"),
        (((0, 2), (1, 1)), r"^region must lie in the image of \(3, 4\)"),
        (((0, 4), (0, 4)), r"^region must lie in the image of \(3, 4\)"),
    ],
)
def test_bad_regions_are_refused(engine, region, message):
    operation = NonLocalMean(PatchGaussian(1.0, patch_radius=0), Window(1))
    with pytest.raises(ParameterError, match=message):
        get_engine(engine).average(operation, np.zeros((3, 4, 1)), region=region)


def test_nl_means_everywhere(rng):
    """Positions are compared over the image instead of a window; the center rule still holds."""
    image = rng.uniform(0, 1, (3, 4, 1))
    patches = {
        i: [v for value in oracle.window_values(image, i, (1, 1)) for v in value]
        for i in np.ndindex(3, 4)
    }
    expected = np.zeros((3, 4, 1))
    for i, own in patches.items():
        pairs = []
        for j, other in patches.items():
            distance = oracle.mean([(a - b) ** 2 for a, b in zip(own, other, strict=True)])
            offset = tuple(np.subtract(j, i))
            pairs.append((offset, math.exp(-distance / 0.3**2), oracle.at(image, j)))
        expected[i] = oracle.average(oracle.recentered(pairs, "max"))
    operation = NonLocalMean(PatchGaussian(0.3, patch_radius=1, center="max"))
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-12)


@pytest.mark.jit_off
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("patch", "sigma", "center", "expected"),
    [
        (0, 0.0, "one", [1 / 2, 19 / 25, 25 / 9]),
        ((0, 1), 0.0, "one", [1 / 3, 1, 13 / 5]),
        ((0, 1), 0.0, "max", [2 / 3, 1, 5 / 3]),
        ((0, 1), 0.0, "zero", [1, 1, 1]),
        ((0, 1), math.sqrt(0.5), "one", [1 / 2, 1, 7 / 3]),
    ],
)
def test_worked_on_paper(engine, patch, sigma, center, expected):
    """The image 0 1 3, continued as 3 1 | 0 1 3 | 1 0, window radius 1, f = 2^-max(D - floor, 0).

    One-pixel patches: D(0, 1) = 1 and D(1, 3) = 4, so f = 1/2 and 1/16.
      y_0: neighbors 1 and 1:  (0 + 1/2 + 1/2) / (1 + 1/2 + 1/2) = 1/2
      y_1: neighbors 0 and 3:  (1 + 0/2 + 3/16) / (1 + 1/2 + 1/16) = 19/25
      y_2: neighbors 1 and 1:  (3 + 1/16 + 1/16) / (1 + 2/16) = 25/9
    Patches of three: 1 0 1, 0 1 3 and 1 3 1; beyond the borders 3 1 0 on both sides.
      D(101, 013) = (1 + 1 + 4) / 3 = 2 = D(101, 310) and D(013, 131) = (1 + 4 + 4) / 3 = 3
      = D(131, 310), so f = 1/4 at the left end and 1/8 at the right.
      one:  y_0 = (2/4) / (1 + 2/4) = 1/3, y_1 = (1 + 0/4 + 3/8) / (1 + 1/4 + 1/8) = 1,
            y_2 = (3 + 2/8) / (1 + 2/8) = 13/5
      max:  the center counts 1/4, 1/4 and 1/8: 2/3, (1/4 + 3/8) / (5/8) = 1, (3/8 + 2/8) / (3/8)
      zero: the mean of the neighbors: 1, (0/4 + 3/8) / (3/8) = 1, 1
      2 sigma^2 = 1: f = 1/2 and 1/4: (2/2) / 2, (1 + 3/4) / (1 + 1/2 + 1/4), (3 + 2/4) / (3/2)
    """
    image = np.array([[[0.0], [1.0], [3.0]]])
    affinity = PatchGaussian(H, sigma=sigma, patch_radius=patch, center=center)
    result = get_engine(engine).average(NonLocalMean(affinity, Window((0, 1))), image, workers=1)
    np.testing.assert_allclose(result.ravel(), expected, rtol=1e-6)


def test_gaussian_patch_worked_on_paper():
    """Weights of a Gaussian patch of radius 1, of width 1/2: e^-2, 1 and e^-2, over their sum.

    With w = e^-2 the distances above become D = (w + 1 + 4 w) / (1 + 2 w) at the left end and
    (w + 4 + 4 w) / (1 + 2 w) at the right.
    """
    w = math.exp(-2)
    left, right = (1 + 5 * w) / (1 + 2 * w), (4 + 5 * w) / (1 + 2 * w)
    affinity = PatchGaussian(H, patch_radius=(0, 1), patch_kernel="gaussian")
    image = np.array([[[0.0], [1.0], [3.0]]])
    result = reference(NonLocalMean(affinity, Window((0, 1))), image).ravel()
    f, g = 2**-left, 2**-right
    expected = [2 * f / (1 + 2 * f), (1 + 3 * g) / (1 + f + g), (3 + 2 * g) / (1 + 2 * g)]
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [
        (DotProduct(Identity(), Identity()), [0, 10 / 3, 10]),
        (Concatenation(Identity(), Identity(), np.array([1.0, -1.0])), [0, 0, 2 / 3]),
        (Gaussian(), [4 / 3, (1 * math.e + 3 * math.e**3) / (1 + math.e + math.e**3), None]),
    ],
    ids=["dot product", "concatenation", "gaussian"],
)
def test_everywhere_worked_on_paper(affinity, expected):
    """The signal 0 1 3: x_i (0 + 1 + 9) / 3; relu(x_i - x_j) x_j / 3; a softmax of x_i x_j."""
    if expected[-1] is None:
        terms = [math.exp(3 * x) for x in (0, 1, 3)]
        expected[-1] = (terms[1] + 3 * terms[2]) / sum(terms)
    result = reference(NonLocalMean(affinity), np.array([[0.0], [1.0], [3.0]]))
    np.testing.assert_allclose(result.ravel(), expected, rtol=1e-14)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
def test_nl_means_is_an_embedded_gaussian(kernel, channels, camera, astronaut):
    """-|P_i - P_j|^2 / h^2 and theta_i . phi_j differ by what does not depend on j."""
    crop = camera[80:96, 190:208, None] if channels == 1 else astronaut[100:116, 205:223]
    image = crop.astype(np.float64)
    h, patch, window = 12.0, Patch(2, kernel), Window(3)
    block = NonLocalMean(EmbeddedGaussian(PatchQuery(h, patch), PatchKey(h, patch)), window)
    nl_means = NonLocalMean(PatchGaussian(h, patch_radius=2, patch_kernel=kernel), window)
    result = reference(nl_means, image)
    assert np.abs(result - image).max() > 5
    np.testing.assert_allclose(reference(block, image), result, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("engine", "tolerance"), [("reference", 2e-4), ("torch", 1e-3)])
def test_denoise_is_an_embedded_gaussian(engine, tolerance):
    """The default core on a noisy photograph in float32, and the block, in gray levels of 255."""
    sample = Path(__file__).parents[1] / "sample_images/camera_noisy.png"
    image = iio.imread(sample)[40:140, 60:180].astype(np.float32)
    expected = denoise(image, h=10, engine="numba")
    assert np.abs(expected - image).max() > 30
    patch = Patch(3)
    block = NonLocalMean(EmbeddedGaussian(PatchQuery(10, patch), PatchKey(10, patch)), Window(10))
    # Taking a level off changes no difference of patches, but keeps the terms of theta . phi at
    # some |P|^2 / h^2 = 170, of which float32 drops 1e-5. The largest differences are 4e-5 from
    # the reference, the rounding of the core alone, and 4e-4 from torch (1e-3 with the level).
    level = np.round(image.mean())
    y = get_engine(engine).average(block, (image - level)[..., np.newaxis])[..., 0] + level
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
def test_patch_distance_is_the_distance_of_patch_vectors(kernel, channels, rng):
    """|P_i - P_j|^2 of embedded vectors is the D of the oracle."""
    image = rng.uniform(0, 1, (7, 8, channels))
    vectors = Patch((1, 2), kernel)(image)
    assert vectors.shape == (5, 4, 15 * channels)
    weights = oracle.patch_weights((1, 2), kernel)
    for i, j in [((0, 0), (4, 3)), ((2, 1), (3, 1)), ((1, 2), (1, 2))]:
        expected = oracle.patch_distance(
            image, tuple(np.add(i, (1, 2))), tuple(np.add(j, (1, 2))), weights
        )
        found = ((vectors[i] - vectors[j]) ** 2).sum()
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_embeddings_of_different_reach(rng):
    """Query and key are aligned although only one of them looks around the position."""
    image = rng.uniform(0, 1, (4, 5, 1))
    operation = NonLocalMean(DotProduct(Identity(), _LeftNeighbor()), Window(1))
    expected = np.zeros(image.shape)
    for i in np.ndindex(4, 5):
        pairs = []
        for offset in oracle.displacements((1, 1)):
            j = oracle.moved(i, offset)
            left = oracle.at(image, oracle.moved(j, (0, -1)))
            pairs.append((oracle.dot(oracle.at(image, i), left), oracle.at(image, j)))
        expected[i] = oracle.average(pairs, count=9)
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-13)


class _LeftNeighbor:
    """An embedding from outside the package: the pixel to the left."""

    def reach(self, ndim):
        return (0,) * (ndim - 1) + (1,)

    def __call__(self, image):
        return image[:, :-2]


def test_default_normalizer():
    """A softmax for the exponential affinities, the count for those whose sum can vanish."""
    identity = Identity(), Identity()
    assert NonLocalMean(PatchGaussian(1.0)).normalizer == Sum()
    assert NonLocalMean(Gaussian()).normalizer == Sum()
    assert NonLocalMean(DotProduct(*identity)).normalizer == Count()
    assert NonLocalMean(Concatenation(*identity, np.ones(2))).normalizer == Count()


@pytest.mark.parametrize("affinity", [DotProduct, Concatenation])
def test_sum_of_scores_that_can_vanish_is_refused(affinity):
    arguments = (Identity(), Identity(), np.ones(2))[: 3 if affinity is Concatenation else 2]
    with pytest.raises(ParameterError, match=r"^normalizer must be Count"):
        NonLocalMean(affinity(*arguments), normalizer=Sum())


@pytest.mark.parametrize(
    ("affinity", "f"),
    [
        (Gaussian(), oracle.gaussian),
        (
            PatchGaussian(0.5, patch_radius=0),
            lambda a, b: math.exp(-((a[0] - b[0]) ** 2) / 0.25),
        ),
    ],
    ids=["gaussian", "patch gaussian"],
)
def test_exponential_divided_by_the_count(affinity, f, rng):
    """C = N, given explicitly, divides f itself and not f over its largest value."""
    image = rng.uniform(0.5, 1.5, (3, 4, 1))
    expected = oracle.non_local_mean(image, f, divide_by_count=True)
    operation = NonLocalMean(affinity, normalizer=Count())
    np.testing.assert_allclose(reference(operation, image), expected, rtol=1e-12)


def test_large_scores_do_not_overflow():
    """exp(x_i . x_j) of gray levels is beyond any float; the softmax is not."""
    image = np.array([[0.0], [200.0], [255.0]])
    result = reference(NonLocalMean(Gaussian()), image)
    np.testing.assert_allclose(result.ravel(), [455 / 3, 255, 255], rtol=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("center", ["max", "zero"])
@pytest.mark.parametrize(("exponent", "kept"), [(90.5, False), (91.5, True)])
def test_smallest_sum_that_counts(exponent, kept, center, engine):
    """Two pixels, f = 2^-D and twice: the neighbors count from a sum of 2^-90 on."""
    image = np.array([[[0.0], [math.sqrt(exponent)]]])
    operation = NonLocalMean(PatchGaussian(H, patch_radius=0, center=center), Window((0, 1)))
    result = get_engine(engine).average(operation, image).ravel()
    other = image.ravel()[::-1]
    mixed = other if center == "zero" else (2 * other + image.ravel()) / 3
    np.testing.assert_allclose(result, image.ravel() if kept else mixed, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PatchGaussian(0.0), r"^h must be a finite number, at least 1e-100"),
        (lambda: PatchGaussian(1.0, sigma=-1), r"^sigma must be a finite number, at least 0"),
        (lambda: PatchGaussian(1.0, patch_radius=-1), r"^patch_radius must be an integer"),
        (lambda: PatchGaussian(1.0, patch_kernel="box"), r"^patch_kernel must be one of flat"),
        (lambda: PatchGaussian(1.0, center="two"), r"^center must be one of one, max, zero"),
        (lambda: PatchGaussian(1.0, cutoff=-0.1), r"^cutoff must be a finite number, at least 0"),
        (lambda: PatchGaussian(1.0, cutoff=1.0), r"^cutoff must be below 1 \(got 1.0\)"),
        (lambda: Window(1, "zero"), r"^border must be one of reflect, exclude"),
        (lambda: PatchQuery(-1.0, Patch(1)), r"^h must be a finite number, at least 1e-100"),
        (lambda: PatchKey(0, Patch(1)), r"^h must be a finite number, at least 1e-100"),
        (lambda: Patch(1.5), r"^patch_radius must be an integer, at least 0 \(got 1.5\)"),
        (lambda: Patch(1, "round"), r"^patch_kernel must be one of flat, gaussian"),
        (lambda: Window((1, -2)), r"^search_radius must be an integer, at least 0 \(got -2\)"),
        (lambda: Window(True), r"^search_radius must be an integer, at least 0 \(got True\)"),
        (lambda: Linear(np.ones(3)), r"^matrix must have two axes"),
        (lambda: get_engine("fortran"), r"^engine must be one of numba, reference"),
    ],
)
def test_bad_parts_are_refused(build, message):
    with pytest.raises(ParameterError, match=message):
        build()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("center", ["one", "max", "zero"])
def test_window_without_neighbors_keeps_the_pixel(center, engine):
    """A search radius of 0 leaves the pixel alone, whatever the center rule."""
    image = np.array([[[1.0], [3.0]]])
    operation = NonLocalMean(PatchGaussian(1.0, patch_radius=0, center=center), Window(0))
    np.testing.assert_array_equal(get_engine(engine).average(operation, image), image)
