"""The torch engine against the reference: every affinity, neighborhood, rule; and its gradients."""

import importlib
import sys

import numpy as np
import pytest

from nlmeans import ParameterError, denoise
from nlmeans.affinity import Concatenation, DotProduct, EmbeddedGaussian, Gaussian, PatchGaussian
from nlmeans.embedding import Linear, Patch, PatchKey, PatchQuery
from nlmeans.engines import get_engine
from nlmeans.neighborhood import Everywhere, Window
from nlmeans.normalizer import Count
from nlmeans.operation import NonLocalMean

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch_engine, torch_pairs, torch_patches = (
    importlib.import_module(f"nlmeans.engines.torch_{name}")
    for name in ("engine", "pairs", "patches")
)
torch.set_num_threads(1)  # tensors of some hundred numbers are slower on two

NEIGHBORHOODS = [
    Everywhere(),
    Window(1),
    Window(2),
    Window(5),
    Window(2, "exclude"),
    Window(5, "exclude"),
]
SPACES = {"sequence": (11,), "image": (9, 6), "volume": (3, 4, 5), "one pixel": (1, 1)}


def assert_agrees(operation, image, **options):
    """In float64 to rounding, in float32 to 1e-4 of 255 levels."""
    assert torch_engine.unsupported(operation) is None
    expected = get_engine("reference").average(operation, image, **options)
    np.testing.assert_allclose(
        torch_engine.average(operation, image, **options), expected, rtol=1e-9, atol=1e-9
    )
    single = torch_engine.average(operation, image.astype(np.float32), **options)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-4 * max(1, np.abs(image).max()))


def affinity_of_wang(name, rng, channels):
    ours = [Linear(rng.normal(size=(channels + 1, channels))) for _ in range(2)]
    weight = rng.normal(size=2 * (channels + 1))
    return {
        "gaussian": lambda: Gaussian(),
        "embedded": lambda: EmbeddedGaussian(*ours),
        "dot": lambda: DotProduct(*ours),
        "concatenation": lambda: Concatenation(*ours, weight),
    }[name]()


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", ["gaussian", "embedded", "dot", "concatenation"])
def test_block_affinities_agree(name, space, neighborhood, rng):
    image = rng.normal(size=(*SPACES[space], 2))
    operation = NonLocalMean(
        affinity_of_wang(name, rng, 2), neighborhood, values=Linear(rng.normal(size=(3, 2)))
    )
    assert_agrees(operation, image)


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("space", SPACES)
def test_embeddings_of_patches_agree(space, neighborhood, rng):
    """Beyond the border the image goes on, and not its features: patches are mirrored there."""
    image = rng.normal(size=(*SPACES[space], 2))
    affinity = EmbeddedGaussian(PatchQuery(1.5, Patch(1)), PatchKey(1.5, Patch(1, "gaussian")))
    assert_agrees(NonLocalMean(affinity, neighborhood), image)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("space", SPACES)
def test_nl_means_agrees(space, neighborhood, center, guided, rng):
    image = rng.normal(100, 20, (*SPACES[space], 2))
    guide = 0.7 * image[..., :1] + np.arange(SPACES[space][-1])[:, None] if guided else None
    affinity = PatchGaussian(20.0, 8.0, 1, "gaussian", center, cutoff=0.01)
    assert_agrees(NonLocalMean(affinity, neighborhood), image, guide=guide)


@pytest.mark.parametrize("border", ["reflect", "exclude"])
@pytest.mark.parametrize("center", ["one", "max", "zero"])
@pytest.mark.parametrize("space", SPACES)
def test_whole_patches_agree(space, center, border, rng):
    image = rng.normal(100, 20, (*SPACES[space], 2))
    affinity = PatchGaussian(20.0, 8.0, 1, "flat", center)
    operation = NonLocalMean(affinity, Window(3, border), patchwise=True)
    assert_agrees(operation, image)


@pytest.mark.parametrize("factor", [2.0**-110, 2.0**-70, 2.0**70, 2.0**110])
@pytest.mark.parametrize(
    ("neighborhood", "patchwise"),
    [(Window(2), False), (Window(2), True), (Everywhere(), False)],
    ids=str,
)
def test_any_unit_that_float32_holds(factor, neighborhood, patchwise, rng):
    """Though squares of the values are beyond it: powers of two change no digit."""
    image = rng.normal(100, 20, (9, 8, 2)).astype(np.float32)
    results = []
    for f in (1.0, factor):
        affinity = PatchGaussian(20.0 * f, 8.0 * f, 1)
        operation = NonLocalMean(affinity, neighborhood, patchwise=patchwise)
        results.append(torch_engine.average(operation, image * np.float32(f)) / np.float32(f))
    assert np.abs(results[0] - image).max() > 1
    np.testing.assert_array_equal(*results)


def test_a_pixel_that_nothing_resembles_is_kept(rng):
    """f underflows: the sums are 0, the result is the image, its gradient 1 and not NaN."""
    image = torch.from_numpy(rng.normal(0, 1e3, (5, 6, 1))).requires_grad_()
    for neighborhood in (Window(2), Everywhere()):
        operation = NonLocalMean(PatchGaussian(1e-2, 0, 1, center="zero"), neighborhood)
        y = torch_engine.mean(operation, image)
        torch.testing.assert_close(y, image)
        (gradient,) = torch.autograd.grad(y.sum(), image)
        torch.testing.assert_close(gradient, torch.ones_like(image))


@pytest.mark.parametrize(
    ("neighborhood", "patchwise"),
    [(Window(3), False), (Window(3, "exclude"), False), (Everywhere(), False), (Window(3), True)],
)
def test_a_region_is_that_of_the_whole(neighborhood, patchwise, rng):
    image = rng.normal(100, 20, (14, 12, 1))
    operation = NonLocalMean(PatchGaussian(20.0, 8.0, 2), neighborhood, patchwise=patchwise)
    assert_agrees(operation, image, region=((5, 9), (0, 7)))


@pytest.mark.parametrize("neighborhood", [Window(2), Window(2, "exclude"), Everywhere()], ids=str)
@pytest.mark.parametrize("name", ["embedded", "concatenation"])
def test_parts_do_not_show(name, neighborhood, rng, monkeypatch):
    """However few pairs are held at once."""
    image = rng.normal(size=(9, 7, 2))
    operation = NonLocalMean(affinity_of_wang(name, rng, 2), neighborhood)
    whole = torch_engine.average(operation, image)
    monkeypatch.setattr(torch_pairs, "PAIRS_AT_ONCE", 100)
    np.testing.assert_allclose(torch_engine.average(operation, image), whole, rtol=1e-12)


def test_parts_do_not_show_in_nl_means_everywhere(rng, monkeypatch):
    image = rng.normal(100, 20, (9, 7, 1))
    operation = NonLocalMean(PatchGaussian(20.0, 5.0, 1), Everywhere())
    whole = torch_engine.average(operation, image)
    monkeypatch.setattr(torch_patches, "PAIRS_AT_ONCE", 100)
    np.testing.assert_allclose(torch_engine.average(operation, image), whole, rtol=1e-12)


def test_memory_does_not_grow_with_the_pairs(rng, monkeypatch):
    """Of 400 positions everywhere no tensor of 400 x 400 is made, forward or backward."""
    monkeypatch.setattr(torch_pairs, "PAIRS_AT_ONCE", 4000)
    largest = [0]

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest[0] = max(largest[0], tensor.numel())
            return result

    image = torch.from_numpy(rng.normal(size=(400, 2))).requires_grad_()
    for name in ("gaussian", "embedded", "dot", "concatenation"):
        operation = NonLocalMean(
            affinity_of_wang(name, rng, 2), Everywhere(), values=Linear(rng.normal(size=(5, 2)))
        )
        with Watch():
            torch_engine.mean(operation, image).square().sum().backward()
    assert 400 < largest[0] <= 4000


@pytest.mark.parametrize("patchwise", [False, True])
@pytest.mark.parametrize("center", ["one", "max"])
@pytest.mark.parametrize("neighborhood", [Window(1), Window(1, "exclude")], ids=str)
def test_gradient_of_nl_means(neighborhood, center, patchwise, rng):
    image = torch.from_numpy(rng.normal(0, 1, (3, 4, 1))).requires_grad_()
    operation = NonLocalMean(
        PatchGaussian(2.0, 0.0, 1, center=center), neighborhood, patchwise=patchwise
    )
    assert torch.autograd.gradcheck(lambda x: torch_engine.mean(operation, x), image)


@pytest.mark.parametrize("neighborhood", [Window(1), Everywhere()], ids=str)
@pytest.mark.parametrize("name", ["gaussian", "embedded", "dot", "concatenation"])
def test_gradient_of_block_affinities(name, neighborhood, rng):
    """With respect to the image and to every matrix."""
    image, theta, phi, g, weight = (
        torch.from_numpy(rng.normal(size=shape)).requires_grad_()
        for shape in [(3, 3, 2), (2, 2), (2, 2), (2, 2), (4,)]
    )

    def y(image, theta, phi, g, weight):
        ours = Linear(theta), Linear(phi)
        affinity = {
            "gaussian": lambda: Gaussian(),
            "embedded": lambda: EmbeddedGaussian(*ours),
            "dot": lambda: DotProduct(*ours),
            "concatenation": lambda: Concatenation(*ours, weight),
        }[name]()
        return torch_engine.mean(NonLocalMean(affinity, neighborhood, values=Linear(g)), image)

    assert torch.autograd.gradcheck(y, (image, theta, phi, g, weight))


def test_nl_means_is_an_embedded_gaussian(camera):
    """On a photograph: the same result from patches as embeddings, in float32."""
    crop = camera[80:120, 190:235, None].astype(np.float32)
    patch, h = Patch(1), 25.0
    nl_means = torch_engine.average(NonLocalMean(PatchGaussian(h, 0.0, 1), Window(4)), crop)
    assert np.abs(nl_means - crop).max() > 10
    # The mean is taken off, which changes no difference and keeps |P|^2 small.
    level = crop.mean()
    block = NonLocalMean(EmbeddedGaussian(PatchQuery(h, patch), PatchKey(h, patch)), Window(4))
    y = torch_engine.average(block, crop - level) + level
    np.testing.assert_allclose(y, nl_means, rtol=0, atol=255e-5)


def test_denoise_runs_on_it(camera):
    crop = camera[:30, :40]
    options = {"sigma": 12, "patch_radius": 1, "search_radius": 3}
    ours, theirs = (
        denoise(crop.astype(np.float64), engine=engine, **options)
        for engine in ("torch", "reference")
    )
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    assert np.abs(ours - crop).max() > 1


def test_workers_and_progress(rng):
    """Threads are as before afterwards; progress never falls and ends with one 1."""
    before, seen, threads = torch.get_num_threads(), [], []

    def note(fraction):
        seen.append(fraction)
        threads.append(torch.get_num_threads())

    image = rng.normal(100, 20, (9, 8, 1))
    for operation in (
        NonLocalMean(PatchGaussian(20.0, 5.0, 1), Window(2)),
        NonLocalMean(PatchGaussian(20.0, 5.0, 1), Window(2), patchwise=True),
        NonLocalMean(PatchGaussian(20.0, 5.0, 1), Everywhere()),
    ):
        seen.clear()
        torch_engine.average(operation, image, workers=1, progress=note)
        assert seen == sorted(seen)
        assert seen.count(1.0) == 1
        assert seen[0] >= 0
        assert seen[-1] == 1
    assert set(threads) == {1}
    assert torch.get_num_threads() == before


class Strange:
    """An embedding that nobody knows."""

    def reach(self, ndim):  # noqa: D102
        return (0,) * ndim


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (NonLocalMean(Gaussian(), normalizer=Count()), "Sum"),
        (NonLocalMean(Gaussian(), values=Strange()), "embedding Strange"),
        (NonLocalMean(EmbeddedGaussian(Linear(np.eye(2)), Strange())), "embedding Strange"),
        (NonLocalMean(PatchGaussian(1.0), patchwise=True), "over a window"),
    ],
)
def test_says_what_it_can_not_do(operation, words):
    assert words in torch_engine.unsupported(operation)
    with pytest.raises(ParameterError, match=f"^engine 'torch' can not compute this: .*{words}"):
        torch_engine.average(operation, np.zeros((4, 4, 2)))


def test_without_torch_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nlmeans.engines.torch_engine")
    for module in [name for name in sys.modules if name.startswith("nlmeans.engines.torch_")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(ParameterError, match=r"engine .*pip install 'nlmeans\[torch\]'"):
        get_engine("torch")
