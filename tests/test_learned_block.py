"""The non-local block: the same operation as NL-means, as a module."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from nlmeans import ParameterError, denoise
from nlmeans.affinity import (
    Concatenation,
    DotProduct,
    EmbeddedGaussian,
    Gaussian,
    PatchGaussian,
)
from nlmeans.embedding import Linear
from nlmeans.engines import get_engine
from nlmeans.neighborhood import Everywhere, Window
from nlmeans.operation import NonLocalMean

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
learned = pytest.importorskip("nlmeans.learned")
Blocks, NonLocalBlock = learned.Blocks, learned.NonLocalBlock
torch_pairs = pytest.importorskip("nlmeans.engines.torch_pairs")
torch.set_num_threads(1)  # tensors of some hundred numbers are slower on two

PAIRWISE = ["gaussian", "embedded_gaussian", "dot_product", "concatenation", "distance"]
SPACES = {1: (12,), 2: (8, 4), 3: (2, 4, 6)}
NEIGHBORHOODS = [Everywhere(), Window(1), Window((2,), "exclude"), Blocks(2, 1)]


def block(pairwise, dimension=2, *, seed=0, channels=4, **options):
    """A block in float64 with nothing at zero."""
    torch.manual_seed(seed)
    inner = {} if pairwise == "gaussian" else {"inner": 3}
    made = NonLocalBlock(channels, dimension=dimension, pairwise=pairwise, **inner, **options)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return made.double()


def features(dimension=2, *, channels=4, batch=2, seed=1, space=None):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, *(space or SPACES[dimension]))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def array(weight):
    return weight.detach().numpy()


def operation_of(made):
    """The block's y as a `NonLocalMean` of inputs with a channel of ones, which makes biases.

    Except for distances: that is NL-means of single pixels of theta(x), which is the guide.
    """

    def linear(layer, scale=1.0):
        if isinstance(layer, torch.nn.Identity):
            return Linear(scale * np.eye(4, 5))
        return Linear(scale * np.column_stack([array(layer.weight), array(layer.bias)]))

    theta, phi = linear(made.theta, made.scale), linear(made.phi)
    affinity = {
        "gaussian": lambda: EmbeddedGaussian(theta, phi),
        "embedded_gaussian": lambda: EmbeddedGaussian(theta, phi),
        "dot_product": lambda: DotProduct(theta, phi),
        "concatenation": lambda: Concatenation(
            linear(made.theta), phi, array(made.w_f).reshape(-1)
        ),
        # The mean over 3 features is over h^2, half their sum times the scale is wanted.
        "distance": lambda: PatchGaussian(h=(2 / (3 * made.scale)) ** 0.5, patch_radius=0),
    }[made.pairwise]()
    return NonLocalMean(affinity, made.neighborhood, values=linear(made.g))


@pytest.mark.parametrize("neighborhood", [Everywhere(), Window(1), Window(2, "exclude")], ids=str)
@pytest.mark.parametrize("dimension", SPACES)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_agrees_with_the_reference_engine(pairwise, dimension, neighborhood):
    """Sample by sample, in which every frame of a clip meets every other."""
    made = block(pairwise, dimension, neighborhood=neighborhood)
    x = features(dimension)
    z = made(x).detach().numpy()
    operation = operation_of(made)
    for sample in range(len(x)):
        last = np.moveaxis(x[sample].numpy(), 0, -1)
        with_ones = np.concatenate([last, np.ones_like(last[..., :1])], -1)
        guide = with_ones
        if pairwise == "distance":
            guide = last @ array(made.theta.weight).T + array(made.theta.bias)
        y = get_engine("reference").average(operation, with_ones, guide=guide)
        expected = last + y @ array(made.w_z.weight).T + array(made.w_z.bias)
        np.testing.assert_allclose(np.moveaxis(z[sample], 0, -1), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_blocks_are_windows_that_blocks_share(pairwise):
    """Each block alone, with everything around it: `Everywhere` with the keys of its window."""
    made = block(pairwise, neighborhood=Blocks(4, 2))
    x = features()
    z = made(x)
    alone = block(pairwise)
    alone.load_state_dict(made.state_dict())
    around = np.pad(x.numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)], mode="reflect")
    for i in range(0, 8, 4):
        part = alone(torch.from_numpy(around[:, :, i : i + 8, 0:8]))
        torch.testing.assert_close(z[:, :, i : i + 4, 0:4], part[:, :, 2:6, 2:6])


def test_positions_change_f_by_where_j_lies():
    """A large term for one displacement makes y the value there."""
    made = block("embedded_gaussian", neighborhood=Blocks(4, 2), position=True)
    x = features()
    with torch.no_grad():
        made.position.zero_()
        plain = made(x)
        # Displacements are counted row by row from (-5, -5): that of (1, -2) comes after 6 rows
        # of 11 and 3 more.
        made.position[6 * 11 + 3] = 1e4
        made.w_z.weight.copy_(torch.eye(4, 3))
        made.w_z.bias.zero_()
        y = (made(x) - x)[:, :3]
        g = made.g(x.movedim(1, -1)).movedim(-1, 1)
    assert not torch.allclose(plain[:, :3] - x[:, :3], y)
    torch.testing.assert_close(y[:, :, :-1, 2:], g[:, :, 1:, :-2])


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "distance"])
def test_bandwidth_scales_log_f_of_a_position(pairwise):
    """At every i, z is that of a block whose `scale` is the learned factor of that i."""
    made = block(pairwise, bandwidth=True, scale=0.7)
    x = features(batch=1)
    z = made(x)
    weights = {k: w for k, w in made.state_dict().items() if not k.startswith("bandwidth")}
    weight, bias = array(made.bandwidth.weight)[0], array(made.bandwidth.bias)[0]
    for i, j in ((0, 0), (3, 2), (7, 1)):
        factor = np.exp(weight @ x[0, :, i, j].numpy() + bias)
        alone = block(pairwise, scale=0.7 * factor)
        alone.load_state_dict(weights)
        torch.testing.assert_close(z[0, :, i, j], alone(x)[0, :, i, j])


@pytest.mark.parametrize(("bias", "exponent"), [(100, 5), (-100, -5)])
def test_bandwidths_are_bounded(bias, exponent):
    made = block("distance", bandwidth=True, scale=0.7)
    with torch.no_grad():
        made.bandwidth.weight.zero_()
        made.bandwidth.bias.fill_(bias)
    x = features(batch=1)
    weights = {k: w for k, w in made.state_dict().items() if not k.startswith("bandwidth")}
    alone = block("distance", scale=0.7 * np.exp(exponent))
    alone.load_state_dict(weights)
    torch.testing.assert_close(made(x), alone(x))


def test_distances_survive_bfloat16():
    """Embeddings of 8 +- 0.5: |theta|^2 / 2 is 96, where numbers of bfloat16 are 0.5 apart."""
    made = block("distance", scale=1.0)
    theta = (8 + features(channels=3) / 2).movedim(1, -1).bfloat16()
    g = features(channels=3, seed=2).movedim(1, -1).bfloat16()
    y = made._average(theta, theta, g)
    expected = made._average(theta.double(), theta.double(), g.double())
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_runs_under_autocast(pairwise, neighborhood):
    """Where the maps are in bfloat16 and what they map need not be."""
    dimension = 1 if neighborhood == Window((2,), "exclude") else 2
    made = block(pairwise, dimension, neighborhood=neighborhood).float()
    x = features(dimension).float() / 4
    with torch.autocast("cpu", torch.bfloat16):
        z = made(x)
    torch.testing.assert_close(z.float(), made(x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_nothing_grows_with_the_pairs(pairwise, monkeypatch):
    """With `Everywhere`, of 2 x 400 positions no tensor of 400 x 400 is made, either way."""
    import torch.utils._python_dispatch as dispatch

    monkeypatch.setattr(torch_pairs, "PAIRS_AT_ONCE", 4000)
    largest = [0]

    class Watch(dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest[0] = max(largest[0], tensor.numel())
            return result

    x = features(space=(20, 20)).requires_grad_()
    made = block(pairwise)
    with Watch():
        made(x).square().sum().backward()
    assert 800 < largest[0] <= 8000


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_gradients(pairwise, neighborhood):
    """With respect to the input and to every weight."""
    dimension = 1 if neighborhood == Window((2,), "exclude") else 2
    made = block(pairwise, dimension, neighborhood=neighborhood, channels=2)
    x = features(dimension, batch=1, channels=2, space=(4,) * dimension)
    names, weights = zip(*made.named_parameters(), strict=True)

    def z(x, *weights):
        return torch.func.functional_call(made, dict(zip(names, weights, strict=True)), x)

    leaves = [tensor.detach().requires_grad_() for tensor in (x, *weights)]
    assert torch.autograd.gradcheck(z, leaves)


def test_gradients_of_positions_bandwidths_and_pooling():
    x = features(batch=1, channels=2, space=(4, 4)).requires_grad_()
    options = {"channels": 2, "neighborhood": Blocks(4, 2), "position": True}
    assert torch.autograd.gradcheck(block("embedded_gaussian", **options), x)
    assert torch.autograd.gradcheck(block("dot_product", channels=2, subsample=2), x)
    assert torch.autograd.gradcheck(block("distance", channels=2, bandwidth=True), x)


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS, ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_is_the_identity_at_first(pairwise, neighborhood):
    dimension = 1 if neighborhood == Window((2,), "exclude") else 2
    made = NonLocalBlock(4, dimension=dimension, pairwise=pairwise, neighborhood=neighborhood)
    x = features(dimension).float()
    torch.testing.assert_close(made(x), x, rtol=0, atol=0)
    # And it can learn: the gradient of W_z is not zero.
    made(x).square().sum().backward()
    assert made.w_z.weight.grad.abs().max() > 0


@pytest.mark.parametrize("neighborhood", [Everywhere(), Window(1), Blocks(2, 1)], ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_samples_of_a_batch_never_meet(pairwise, neighborhood):
    made = block(pairwise, neighborhood=neighborhood)
    x = features(batch=3)
    z = made(x)
    changed = x.clone()
    changed[1] += 1
    torch.testing.assert_close(made(changed)[[0, 2]], z[[0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(made(x[1:2]), z[1:2])


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_frames_of_a_clip_do_meet(pairwise):
    """What changes in the last frame reaches the first."""
    made = block(pairwise, 3)
    x = features(3).requires_grad_()
    (gradient,) = torch.autograd.grad(made(x)[:, :, 0].square().sum(), x)
    assert (gradient[:, :, -1].abs() > 1e-12).all()


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_subsampling_pools_what_is_attended_to(pairwise):
    """As an image of the pooled features as keys and values, the queries being all positions."""
    made = block(pairwise, subsample=2)
    x = features()
    pooled = torch.nn.functional.max_pool2d(x, 2)
    whole = block(pairwise)
    whole.load_state_dict(made.state_dict())
    last, few = (t.movedim(1, -1) for t in (x, pooled))
    to_key = made.theta if pairwise == "distance" else made.phi
    y = whole._average(made.theta(last), to_key(few), made.g(few))
    torch.testing.assert_close(made(x), x + made.w_z(y).movedim(-1, 1))
    assert not torch.allclose(made(x), whole(x))


@pytest.mark.parametrize(
    ("dtype", "engine", "tolerance"),
    [
        # The largest differences, in gray levels of 255: 4e-4, for theta . phi subtracts numbers
        # of some |P|^2 / h^2 = 170, of which float32 drops 1e-5; and 1e-12.
        ("float32", "numba", 1e-3),
        ("float64", "reference", 1e-9),
    ],
)
@pytest.mark.parametrize("pairwise", ["embedded_gaussian", "distance"])
def test_with_embeddings_of_patches_it_is_nl_means(pairwise, dtype, engine, tolerance):
    """W_g picking the pixel, and theta (P) = (2 P / h^2, 1) and phi (P) = (P, -|P|^2 / h^2).

    With distances theta (P) = 2^1/2 P / h, and that is all.
    """
    h, radius, search = 10.0, 3, 10  # of `denoise` with h alone
    side, n = 2 * radius + 1, (2 * radius + 1) ** 2
    sample = Path(__file__).parents[1] / "sample_images/camera_noisy.png"
    image = iio.imread(sample)[40:140, 60:180].astype(dtype)
    level = np.round(image.mean())  # taken off, which changes no difference and keeps |P|^2 small
    # Beyond the border NL-means goes on with the image and the block with its features, whose
    # patches are not mirrored: it gets the image with what its windows see of the continuation.
    around = torch.nn.functional.pad(
        torch.from_numpy(image - level)[None, None], (search + radius,) * 4, mode="reflect"
    )
    space = (len(image) + 2 * search, len(image[0]) + 2 * search)
    patches = torch.nn.functional.unfold(around, side).unflatten(-1, space) / side  # |P|^2: a mean
    x = torch.cat([patches, (patches**2).sum(1, keepdim=True)], 1)  # (1, n + 1, H, W)
    options = {"pairwise": pairwise, "neighborhood": Window(search), "scale": 1.0}
    made = NonLocalBlock(n + 1, inner=n + 1, **options).to(x.dtype)
    with torch.no_grad():
        for weight in made.parameters():
            weight.zero_()
        if pairwise == "distance":
            made.theta.weight[:n, :n] = 2**0.5 * torch.eye(n, dtype=x.dtype) / h
        else:
            made.theta.weight[:n, :n] = 2 * torch.eye(n, dtype=x.dtype) / h**2
            made.theta.bias[n] = 1
            made.phi.weight[:n, :n] = torch.eye(n)
            made.phi.weight[n, n] = -1 / h**2
        made.g.weight[0, n // 2] = side  # the middle of the patch, its weight undone
        made.w_z.weight[0, 0] = 1
        y = (made(x) - x)[0, 0, search:-search, search:-search].numpy() + level
    expected = denoise(image, h=h, engine=engine)
    assert np.abs(expected - image).max() > 30
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)


def test_the_paper_s_gaussian_has_no_embedding():
    """With scale 1 it is `Gaussian`, Eq. (2)."""
    made = block("gaussian", channels=4, scale=1.0)
    x = features(batch=1)
    last = np.moveaxis(x[0].numpy(), 0, -1)
    y = get_engine("reference").average(NonLocalMean(Gaussian()), last)
    y = y @ array(made.g.weight).T + array(made.g.bias)
    expected = last + y @ array(made.w_z.weight).T + array(made.w_z.bias)
    np.testing.assert_allclose(np.moveaxis(array(made(x)[0]), 0, -1), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, r"^channels must be an integer, at least 1"),
        ({"dimension": 4}, r"^dimension must be at most 3"),
        ({"pairwise": "cosine"}, r"^pairwise must be one of gaussian, embedded_gaussian"),
        ({"inner": 0}, r"^inner must be an integer, at least 1"),
        ({"subsample": 2, "neighborhood": Window(1)}, r"^subsample must be 1 .*\(got 2\)"),
        ({"position": True}, r"^position must go with Blocks"),
        (
            {"position": True, "neighborhood": Blocks(), "pairwise": "dot_product"},
            r"^position must go with Blocks and an exponential",
        ),
        (
            {"bandwidth": True, "pairwise": "concatenation"},
            r"^bandwidth must go with an exponential pairwise \(got 'concatenation'\)",
        ),
        ({"scale": -1.0}, r"^scale must be a finite number, at least 0 \(got -1.0\)"),
        ({"scale": float("nan")}, r"^scale must be a finite number, at least 0"),
        (
            {"scale": 2.0, "pairwise": "concatenation"},
            r"^scale must not be given for concatenation \(got 2.0\)",
        ),
        ({"neighborhood": 5}, r"^neighborhood must be an Everywhere, Window or Blocks \(got 5\)"),
        ({"neighborhood": Window((2,))}, r"one for each of 2 axes \(got \(2,\)\)"),
    ],
)
def test_arguments_that_break_a_rule(options, message):
    with pytest.raises(ParameterError, match=message):
        NonLocalBlock(**{"channels": 4, **options})


@pytest.mark.parametrize("options", [{"size": 0}, {"halo": -1}])
def test_blocks_that_can_not_be(options):
    with pytest.raises(ParameterError):
        Blocks(**options)


def test_inputs_that_do_not_fit():
    with pytest.raises(ParameterError, match=r"^x must have 4 axes .*\(4, 8\)"):
        NonLocalBlock(4)(torch.zeros(4, 8))
    with pytest.raises(ParameterError, match=r"^x must have a multiple of 8 positions"):
        NonLocalBlock(4, neighborhood=Blocks(8, 2))(torch.zeros(1, 4, 12, 8))
