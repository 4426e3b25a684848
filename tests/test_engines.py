"""The compiled engine against the reference, and what only threads and compilers get wrong."""

import itertools
import math
import threading

import numpy as np
import pytest

import nlmeans
import oracle
from nlmeans import ParameterError
from nlmeans.affinity import DotProduct, Gaussian, PatchGaussian
from nlmeans.embedding import Identity, Linear
from nlmeans.engines import ENGINES, get_engine, jit, kernels, lanes, layout, numba_engine
from nlmeans.neighborhood import Everywhere, Window
from nlmeans.normalizer import Count
from nlmeans.operation import NonLocalMean

AGREEMENT = 1e-3
"""Largest difference from the reference, in gray levels of 255."""


def both(operation, image, **options):
    """Result of the compiled engine and of the reference."""
    compiled = get_engine("numba").average(operation, image, **options)
    assert compiled.dtype == (np.float64 if image.dtype == np.float64 else np.float32)
    expected = get_engine("reference").average(operation, image, guide=options.get("guide"))
    return compiled, expected


def assert_agree(operation, image, least_change=0.0, **options):
    """The engines agree, and the case is one in which they have something to do."""
    compiled, expected = both(operation, image, **options)
    assert np.abs(expected - image).max() >= least_change
    np.testing.assert_allclose(compiled, expected, rtol=0, atol=AGREEMENT)


def random_image(shape):
    """Blocks of two levels under noise, so that some patches are alike and some are not."""
    rng = np.random.default_rng(math.prod(shape))
    checks = np.indices(shape[:-1]).sum(0) // 3 % 2
    return (90 + 60 * checks[..., None] + rng.normal(0, 15, shape)).astype(np.float32)


IMAGES = {
    "gray": lambda: random_image((9, 8, 1)),
    "RGB": lambda: random_image((6, 7, 3)),
    "5 channels": lambda: random_image((5, 6, 5)),
    "volume": lambda: random_image((3, 5, 6, 1)),
    "volume of 2 channels": lambda: random_image((2, 4, 5, 2)),
    "4-D": lambda: random_image((2, 3, 4, 5, 1)),
}

SETTINGS = [
    pytest.param(
        {"h": h, "sigma": sigma, "patch_kernel": kernel, "center": center},
        id=f"{kernel}-{center}-h{h}-sigma{sigma}",
    )
    for kernel, center, h, sigma in itertools.product(
        ["flat", "gaussian"], ["one", "max", "zero"], [6.0, 60.0], [0.0, 15.0]
    )
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", IMAGES)
def test_agrees_on_random_images(kind, settings, dtype):
    operation = NonLocalMean(PatchGaussian(patch_radius=1, **settings), Window(2))
    assert_agree(operation, IMAGES[kind]().astype(dtype), least_change=1e-4)


@pytest.mark.parametrize("settings", SETTINGS)
def test_agrees_on_photographs(settings, camera, astronaut):
    operation = NonLocalMean(PatchGaussian(patch_radius=1, **settings), Window(3))
    for crop in (camera[80:104, 190:210, None], astronaut[100:114, 205:223]):
        assert_agree(operation, crop.astype(np.float32), least_change=0.1)


@pytest.mark.parametrize("center", ["one", "max"])
@pytest.mark.parametrize(
    ("kind", "patch", "search", "kernel", "dtype"),
    [
        ("gray", 0, 2, "flat", np.float32),
        ("RGB", 0, (0, 3), "flat", np.float32),
        ("volume", 0, (2, 0, 0), "flat", np.float32),
        ("gray", (2, 1), (3, 1), "flat", np.float32),
        ("RGB", (2, 1), (1, 4), "gaussian", np.float64),
        ("gray", (0, 2), (0, 3), "flat", np.float32),
        ("5 channels", (0, 2), (3, 0), "flat", np.float32),
        ("volume", (1, 0, 2), (1, 2, 1), "flat", np.float32),
        ("volume of 2 channels", (2, 2, 1), (1, 1, 0), "gaussian", np.float64),
        ("4-D", (1, 2, 1, 1), (1, 1, 0, 2), "gaussian", np.float32),
        ("4-D", (2, 1, 1, 1), (2, 0, 1, 1), "flat", np.float32),
        ("gray", 3, 12, "flat", np.float32),
    ],
)
def test_agrees_for_radii_per_axis(kind, patch, search, kernel, dtype, center):
    affinity = PatchGaussian(20.0, 10.0, patch, kernel, center)
    operation = NonLocalMean(affinity, Window(search))
    assert_agree(operation, IMAGES[kind]().astype(dtype), least_change=1e-3)


@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 2, 1), (1, 9, 1), (9, 1, 2), (2, 1, 3, 1), (1, 1, 2, 1, 1)]
)
def test_agrees_on_thin_images(shape, kernel):
    """Window and patch reach far beyond the borders, which reflect several times."""
    affinity = PatchGaussian(20.0, 0.0, 1, kernel, "max")
    assert_agree(NonLocalMean(affinity, Window(4)), random_image(shape))


@pytest.mark.parametrize(("dtype", "width"), [(np.float32, 1020), (np.float64, 508)])
def test_rows_that_would_be_a_page_long(dtype, width):
    """With their margins of 2 they fill 4096 bytes, and are padded to avoid that."""
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 1), Window(1))
    assert_agree(operation, random_image((3, width, 2)).astype(dtype), least_change=1)


@pytest.mark.jit_off
@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
@pytest.mark.parametrize("shape", [(5, 4, 1), (3, 4, 2), (2, 2, 3, 1)])
def test_agrees_with_the_oracle(shape, kernel, center):
    image = random_image(shape)
    settings = {"h": 20.0, "sigma": 5.0, "patch_kernel": kernel, "center": center}
    operation = NonLocalMean(PatchGaussian(patch_radius=1, **settings), Window(1))
    radius = (1,) * (len(shape) - 1)
    expected = oracle.nl_means(image, patch_radius=radius, search_radius=radius, **settings)
    compiled = get_engine("numba").average(operation, image, workers=1)
    np.testing.assert_allclose(compiled, expected, rtol=0, atol=AGREEMENT)


# Whole patches, and a guide


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("border", ["reflect", "exclude"])
@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize(
    ("kind", "patch", "search", "kernel", "dtype"),
    [
        ("gray", 1, 2, "flat", np.float32),
        ("RGB", (2, 1), (1, 4), "gaussian", np.float64),
        ("5 channels", (0, 2), (3, 0), "flat", np.float32),
        ("volume", (1, 0, 2), (1, 2, 1), "flat", np.float32),
        ("4-D", (1, 2, 1, 1), (1, 1, 0, 2), "gaussian", np.float32),
        ("gray", 3, 12, "flat", np.float32),
        ("gray", 0, 3, "flat", np.float32),
    ],
)
def test_patchwise_agrees(kind, patch, search, kernel, dtype, center, border, guided):
    image = IMAGES[kind]().astype(dtype)
    guide = 0.7 * image[..., :1] + np.arange(image.shape[-2])[:, None] if guided else None
    affinity = PatchGaussian(20.0, 10.0, patch, kernel, center)
    operation = NonLocalMean(affinity, Window(search, border), patchwise=True)
    assert_agree(operation, image, least_change=1e-3, guide=guide)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 1), (9, 1, 2), (2, 1, 3, 1)])
def test_patchwise_agrees_on_thin_images(shape):
    operation = NonLocalMean(PatchGaussian(20.0, 0.0, 1), Window(4), patchwise=True)
    assert_agree(operation, random_image(shape))


@pytest.mark.parametrize("patchwise", [False, True])
def test_a_guide_decides_the_weights_and_not_the_values(patchwise):
    """Noise under a guide of two levels: everything is averaged on its own side of the edge."""
    image = random_image((12, 14, 1))
    guide = np.where(np.arange(14) < 7, 0.0, 1e6)[None, :, None] * np.ones((12, 1, 1))
    operation = NonLocalMean(PatchGaussian(1.0, 0.0, 0), Window(30, "exclude"), patchwise=patchwise)
    result = get_engine("numba").average(operation, image, guide=guide)
    for side in (slice(0, 7), slice(7, 14)):
        np.testing.assert_allclose(result[:, side], image[:, side].mean(), rtol=1e-5)


@pytest.mark.jit_off
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("shape", [(5, 4, 1), (3, 4, 2), (2, 2, 3, 1)])
def test_patchwise_agrees_with_the_oracle(shape, guided, center, engine):
    image = random_image(shape)
    guide = 0.5 * image + 10 * np.indices(shape)[0] if guided else None
    search = (2,) * (len(shape) - 1)
    patch = (1,) * (len(shape) - 1)
    operation = NonLocalMean(PatchGaussian(25.0, 5.0, 1, "flat", center), Window(2), patchwise=True)
    expected = oracle.nl_means(
        image, h=25.0, sigma=5.0, patch_radius=patch, search_radius=search, center=center,
        patchwise=True, guide=guide,
    )  # fmt: skip
    result = get_engine(engine).average(operation, image, guide=guide)
    np.testing.assert_allclose(result, expected, rtol=0, atol=AGREEMENT)


@pytest.mark.parametrize("block", [(1, 1, 3, 2), (1, 1, 8, 8)])
def test_block_borders_do_not_show_in_patchwise_means(block, monkeypatch):
    monkeypatch.setattr(layout, "blocks_for", lambda space, search: block)
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 2), Window(3), patchwise=True)
    assert_agree(operation, random_image((17, 13, 1)))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_region_of_patchwise_means_is_that_of_the_whole(engine):
    image = random_image((40, 30, 1))
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 2), Window(3), patchwise=True)
    average = get_engine(engine).average
    part = average(operation, image, region=((5, 19), (0, 7)))
    whole = average(operation, image)
    np.testing.assert_allclose(part, whole[5:19, :7], rtol=0, atol=AGREEMENT)


@pytest.mark.parametrize("level", [0.0, 1e3, 1e6, 1e9])
def test_float64_keeps_a_small_contrast_on_any_level(level):
    """An offset costs only the digits that float64 loses itself."""
    image = IMAGES["gray"]().astype(np.float64)
    operation = NonLocalMean(PatchGaussian(20.0, patch_radius=1), Window(2))
    plain, shifted = (get_engine("numba").average(operation, x) for x in (image, image + level))
    np.testing.assert_allclose(shifted - level, plain, rtol=0, atol=1e-5)


def test_flat_region_beside_a_strong_edge():
    """Patch sums carry no rounding error from a bright stripe into the dark texture beside it."""
    rng = np.random.default_rng(3)
    image = rng.normal(0, 1, (12, 14, 1)).astype(np.float32)
    image[:, 4] = image[3] = 60000
    operation = NonLocalMean(PatchGaussian(1.0, patch_radius=1), Window(2))
    compiled, expected = both(operation, image)
    dark = image < 100
    np.testing.assert_allclose(compiled[dark], expected[dark], rtol=0, atol=1e-4)


LARGE = {
    "image": ((150, 70, 1), 2),
    "long image": ((5, 1100, 2), 2),
    "volume": ((20, 70, 30, 1), 1),
}


@pytest.mark.parametrize("kind", LARGE)
def test_same_bits_for_any_number_of_workers(kind):
    shape, search = LARGE[kind]
    image = random_image(shape)
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 1, "flat", "max"), Window(search))
    engine = get_engine("numba")
    first = engine.average(operation, image, workers=1)
    assert np.abs(first - image).max() > 1
    for workers in (2, 3, 5):
        np.testing.assert_array_equal(engine.average(operation, image, workers=workers), first)


@pytest.mark.parametrize("center", ["one", "max"])
@pytest.mark.parametrize("block", [(1, 1, 1, 1), (2, 1, 3, 2), (1, 2, 5, 3), (8, 8, 2, 8)])
@pytest.mark.parametrize("shape", [(7, 6, 1), (2, 3, 4, 1), (2, 2, 2, 3, 1)])
def test_block_borders_do_not_show(shape, block, center, monkeypatch):
    image = random_image(shape)
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 1, "flat", center), Window(1))
    engine = get_engine("numba")
    whole = engine.average(operation, image)
    monkeypatch.setattr(layout, "blocks_for", lambda space, search: block)
    np.testing.assert_allclose(engine.average(operation, image), whole, rtol=1e-6)


def test_blocks_smaller_than_the_window(monkeypatch):
    """A pair may straddle several blocks; a gray image under a window of 7 x 5."""
    image = IMAGES["gray"]()
    operation = NonLocalMean(PatchGaussian(20.0, patch_radius=1), Window((3, 2)))
    monkeypatch.setattr(layout, "blocks_for", lambda space, search: (1, 1, 2, 3))
    assert_agree(operation, image, least_change=1)


@pytest.mark.parametrize("space", [(1, 1, 5, 3), (1, 1, 700, 90), (1, 40, 70, 33), (2, 3, 7, 8)])
def test_blocks_cover_every_position_once(space):
    region = tuple((0, size) for size in space)
    plan = layout.Layout((*space, 1), (0, 1, 3, 2), (0, 1, 1, 1), region)
    visits = np.zeros(space, int)
    for corners in plan.bundles():
        assert len(corners) <= lanes.LANES
        for corner in corners:
            visits[
                tuple(slice(c, c + side) for c, side in zip(corner, plan.block, strict=True))
            ] += 1
    np.testing.assert_array_equal(visits, 1)


@pytest.mark.jit_off
def test_progress_comes_in_the_calling_thread(monkeypatch):
    """It never falls, and ends with exactly one 1."""
    monkeypatch.setattr(layout, "blocks_for", lambda space, search: (1, 1, 3, 3))
    monkeypatch.setattr(numba_engine, "POLL", 0.0)
    image = random_image((9, 12, 1))
    operation = NonLocalMean(PatchGaussian(20.0, patch_radius=1), Window(1))
    calls = []
    get_engine("numba").average(
        operation,
        image,
        workers=2,
        progress=lambda done: calls.append((done, threading.get_ident())),
    )
    fractions = [done for done, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions.count(1.0) == 1
    assert 0 <= fractions[0] <= fractions[-1] == 1
    assert {thread for _, thread in calls} == {threading.get_ident()}


ONE_PIXEL = kernels.Patch(
    np.zeros(1, np.int64), np.ones(1, bool), *[(True,)] * 4, np.float32(0), np.float32(-1), True
)
"""A patch of one pixel of a gray image."""


@pytest.mark.jit_off
def test_progress_within_a_bundle():
    """Each step is no less than the one before; the state of a bundle ends just below 1."""
    plan = layout.Layout((2, 2, 9, 4, 1), (1,) * 4, (0,) * 4, ((0, 2), (0, 2), (0, 9), (0, 4)))
    seen = []

    class State(list):
        def __setitem__(self, place, value):
            seen.append(value)

    bundle = plan.bundle(np.dtype(np.float32))
    plain = getattr(kernels.filter_bundle, "py_func", kernels.filter_bundle)
    plain(bundle, ONE_PIXEL, (1, 1, 1, 1), kernels.STEP, (0.0, 1.0), State([0, 0]))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.9 < seen[-1] < 1


def test_error_in_progress_stops_the_work(monkeypatch):
    """It reaches the caller, what runs is told to stop, and the rest is not begun."""
    monkeypatch.setattr(layout, "blocks_for", lambda space, search: (1, 1, 1, 1))
    begun = []
    compute = numba_engine.filter_bundle
    monkeypatch.setattr(
        numba_engine, "filter_bundle", lambda *args: (begun.append(args[-1]), compute(*args))
    )

    def fail(done):
        raise InterruptedError("enough")

    image = random_image((60, 60, 1))
    operation = NonLocalMean(PatchGaussian(20.0, patch_radius=1), Window(1))
    with pytest.raises(InterruptedError, match="enough"):
        get_engine("numba").average(operation, image, workers=1, progress=fail)
    assert 0 < len(begun) < 3600 / lanes.LANES
    assert all(state[kernels.STOP] for state in begun)


@pytest.mark.jit_off
def test_a_bundle_told_to_stop_does_nothing():
    box = ((0, 1), (0, 1), (0, 4), (0, 4))
    plan = layout.Layout((1, 1, 4, 4, 1), (0, 0, 1, 1), (0,) * 4, box)
    bundle = plan.bundle(np.dtype(np.float32))
    state = np.array([1.0, 0.0])
    kernels.filter_bundle(bundle, ONE_PIXEL, (0, 0, 1, 1), kernels.STEP, (0.0, 1.0), state)
    assert not bundle.denominator.any()


def test_two_threads_at_once():
    """Each gets what it would get alone."""
    images = [random_image((90 + k, 80, 1))[..., 0] for k in range(4)]
    options = {"h": 20.0, "patch_radius": 1, "search_radius": 3, "workers": 2}
    alone = [nlmeans.denoise(image, **options) for image in images]
    results = [None] * len(images)
    start = threading.Barrier(len(images))

    def work(k):
        start.wait()
        results[k] = nlmeans.denoise(images[k], **options)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, expected in zip(results, alone, strict=True):
        np.testing.assert_array_equal(result, expected)


@jit.inline
def _powers(exponents, powers):
    unit = lanes.splat(np.float32(2**23))
    for at in range(0, len(powers), lanes.LANES):
        lanes.store(powers, at, lanes.exp2(lanes.load(exponents, at) * unit))


def powers_of_two(exponents):
    """exp2 of float32 exponents."""
    padded = layout.aligned(-(-len(exponents) // lanes.LANES) * lanes.LANES)
    padded[: len(exponents)] = exponents
    result = layout.aligned(len(padded))
    _powers(padded, result)
    return result[: len(exponents)].astype(np.float64)


@pytest.mark.jit_off
def test_exp2():
    """Within 2e-7 of 2^x for -125 <= x <= 0."""
    fine = np.linspace(-3, 0, 3001, dtype=np.float32)
    exponents = np.concatenate([np.linspace(-125, 0, 12501, dtype=np.float32), fine])
    expected = np.exp2(exponents.astype(np.float64))
    np.testing.assert_allclose(powers_of_two(exponents), expected, rtol=2e-7)


@pytest.mark.jit_off
def test_exp2_at_its_ends():
    exponents = np.array([0, -0.0, -125, -126, -1e30, -np.inf], np.float32)
    assert powers_of_two(exponents).tolist() == [1, 1, *[2.0**-125] * 4]


@pytest.mark.jit_off
def test_exp2_of_integers_is_exact():
    exponents = np.arange(-125, 1)
    np.testing.assert_array_equal(powers_of_two(exponents), 2.0**exponents)


IDENTITY = Identity(), Identity()


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (NonLocalMean(DotProduct(*IDENTITY), Window(1)), "affinity is DotProduct"),
        (NonLocalMean(Gaussian(), Window(1)), "affinity is Gaussian"),
        (NonLocalMean(PatchGaussian(1.0), Everywhere()), "neighborhood is not a Window"),
        (NonLocalMean(PatchGaussian(1.0), Window(1), Count()), "normalizer is not Sum"),
        (
            NonLocalMean(PatchGaussian(1.0), Window(1), values=Linear(np.eye(1))),
            "values are not Identity",
        ),
    ],
)
def test_compiled_engine_says_what_it_can_not_compute(operation, reason):
    assert reason in get_engine("numba").unsupported(operation)
    with pytest.raises(ParameterError, match=f"^engine 'numba' can not compute this: .*{reason}"):
        get_engine("numba").average(operation, np.zeros((3, 3, 1)))
    assert get_engine("reference").unsupported(operation) is None


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_computes_nl_means(name):
    operation = NonLocalMean(PatchGaussian(1.0), Window(1))
    engine = get_engine(name)
    assert engine.name == name
    assert engine.unsupported(operation) is None


@pytest.mark.jit_off
def test_kernel_cache_lies_in_the_chosen_folder(tmp_path, monkeypatch):
    """A folder of its own for each state of the sources; none where none can be made."""
    monkeypatch.setenv("NLMEANS_CACHE_DIR", str(tmp_path / "kernels"))
    folder = jit.cache_folder()
    assert folder.is_dir()
    assert folder.parent == tmp_path / "kernels"
    monkeypatch.setattr(jit.numba, "__version__", "0.0")
    assert jit.cache_folder() not in (None, folder)
    (tmp_path / "file").touch()
    monkeypatch.setenv("NLMEANS_CACHE_DIR", str(tmp_path / "file"))
    assert jit.cache_folder() is None


@pytest.mark.jit_off
@pytest.mark.parametrize(
    ("platform", "variable", "ending"),
    [
        ("win32", "LOCALAPPDATA", ("nlmeans", "cache")),
        ("linux", "XDG_CACHE_HOME", ("nlmeans",)),
        ("darwin", "HOME", ("Library", "Caches", "nlmeans")),
    ],
)
def test_kernel_cache_of_each_platform(platform, variable, ending, tmp_path, monkeypatch):
    monkeypatch.delenv("NLMEANS_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(jit.Path, "home", lambda: tmp_path)
    monkeypatch.setattr(jit.sys, "platform", platform)
    assert jit._cache_root() == tmp_path.joinpath(*ending)
    monkeypatch.setenv("NLMEANS_CACHE_DIR", str(tmp_path / "own"))
    assert jit._cache_root() == tmp_path / "own"
