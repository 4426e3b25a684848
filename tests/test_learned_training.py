"""Training: what a step sees, what it does, and that an interruption leaves no trace."""

import copy
import csv
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from nlmeans import NLMeansError, ParameterError, psnr

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
data = pytest.importorskip("nlmeans.learned.data")
network = pytest.importorskip("nlmeans.learned.network")
optimizer = pytest.importorskip("nlmeans.learned.optimizer")
train = pytest.importorskip("nlmeans.learned.train")
training = pytest.importorskip("nlmeans.learned.training")
Schedule = pytest.importorskip("nlmeans.learned.schedule").Schedule

SMALL = network.Shape(features=8, inner=4)


@pytest.fixture(scope="module")
def photographs(request):
    """Six crops (1, 96, 96) of a photograph."""
    from skimage.data import camera

    image = camera()
    return [image[None, y : y + 96, x : x + 96] for y in (80, 200) for x in (100, 200, 300)]


@pytest.fixture
def folder(tmp_path, photographs):
    """The same as files, in color."""
    from PIL import Image

    path = tmp_path / "photographs"
    path.mkdir()
    for number, image in enumerate(photographs):
        rgb = np.stack([image[0], image[0] // 2, 255 - image[0]], -1)
        Image.fromarray(rgb).save(path / f"{number}.png")
    (path / "README.md").write_text("no image")
    return path


def random_net(shape=SMALL, std=0.1):
    torch.manual_seed(0)
    net = network.NonLocalNet(shape).eval().requires_grad_(False)
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=std)
    return net


# Data


def test_images_are_luma_or_rgb(folder, photographs):
    gray, rgb = (data.load_images(folder, channels) for channels in (1, 3))
    assert [image.shape for image in gray] == [(1, 96, 96)] * 6
    expected = np.tensordot([0.299, 0.587, 0.114], rgb[2].astype(float), 1)
    assert np.abs(gray[2][0] - expected).max() <= 0.51
    np.testing.assert_array_equal(rgb[2][0], photographs[2][0])


def test_a_folder_without_images(tmp_path):
    with pytest.raises(ParameterError, match=r"^data must be a folder of at least two images"):
        data.load_images(tmp_path, 1)


def test_a_batch_depends_on_seed_and_step_alone(photographs):
    first, again = data.Crops(photographs, 1), data.Crops(photographs, 1)
    again.batch(0, 32, 2)
    one, same, later = first.batch(5, 32, 4), again.batch(5, 32, 4), first.batch(6, 32, 4)
    other = data.Crops(photographs, 2).batch(5, 32, 4)
    for name in ("clean", "noise", "sigma"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert not np.array_equal(getattr(one, name), getattr(later, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name))


def test_crops_are_turned_and_mirrored_parts_of_the_images(monkeypatch):
    """Of an image whose every pixel differs, too small to be seen smaller; in 8 positions."""
    monkeypatch.setattr(data, "STRETCHED", 0)
    monkeypatch.setattr(data, "REPEATED", 0)
    image = np.arange(64 * 4, dtype=np.uint8).reshape(1, 16, 16)
    batch = data.Crops([image], 0).batch(0, 16, 64)
    found = {
        (turns, mirrored)
        for crop in np.rint(batch.clean * 255)
        for turns in range(4)
        for mirrored in (False, True)
        if np.array_equal(np.rot90(image, turns, (1, 2))[..., :: -1 if mirrored else 1], crop)
    }
    assert len(found) == 8


@pytest.fixture(scope="module")
def of_a_chessboard():
    """Crops (4000, 1, 32, 32) of a chessboard of single pixels, with even numbers of both."""
    chessboard = 255 * (np.indices((1, 64, 64)).sum(0) % 2).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "REPEATED", 0)
        return data.Crops([chessboard], 0).batch(0, 32, 4000).clean


def test_four_crops_of_five_are_of_photographs_as_they_are(of_a_chessboard):
    """A chessboard of single pixels has two values; every one made smaller has more."""
    whole = [len(np.unique(crop)) == 2 for crop in of_a_chessboard]
    assert np.mean(whole) == pytest.approx(0.8, abs=0.02)


def test_an_eighth_of_the_crops_has_another_contrast(of_a_chessboard):
    """From half to twice, all factors alike, around the middle gray 115."""
    whole = [np.unique(crop) for crop in of_a_chessboard if len(np.unique(crop)) == 2]
    stretched = [values for values in whole if tuple(values) != (0, 1)]
    assert len(stretched) / len(whole) == pytest.approx(0.125, abs=0.02)
    np.testing.assert_allclose(np.mean(stretched, 1), 115 / 255, rtol=1e-5)
    contrast = np.diff(stretched)
    assert 0.5 <= contrast.min() < 0.52
    assert 1.95 < contrast.max() <= 2
    assert np.median(contrast) == pytest.approx(1, abs=0.1)


def test_one_crop_of_25_repeats_a_few_pixels():
    """2 to 8 of them each way, of a photograph that is nowhere the same."""
    image = np.random.default_rng(1).integers(0, 256, (1, 40, 40), np.uint8)
    clean = data.Crops([image], 0).batch(0, 32, 4000).clean[:, 0]

    def period(crop):
        return next((n for n in range(2, 17) if np.array_equal(crop[n:], crop[:-n])), None)

    found = [(period(crop), period(crop.T), crop) for crop in clean if period(crop)]
    assert len(found) / len(clean) == pytest.approx(0.04, abs=0.01)
    for axis in (0, 1):
        assert {periods[axis] for periods in found} == set(range(2, 9))
    contrast = [np.ptp(crop) for *_, crop in found]
    assert 0.1 <= min(contrast) < 0.15
    assert 0.95 < max(contrast) <= 1
    assert all(crop.min() + crop.max() == pytest.approx(1, abs=1e-5) for *_, crop in found)


def test_noise_is_of_every_level(photographs):
    """Half from 10 to 55; of the others, half are below 30 levels, a fifth above 56."""
    crops = data.Crops(photographs, 0)
    batches = [crops.batch(step, 16, 100) for step in range(40)]
    sigma = 255 * np.concatenate([batch.sigma for batch in batches]).ravel()
    parts = np.histogram(sigma, [0, 10, 30, 55, 75])[0] / len(sigma)
    of_all = np.diff((np.array([0, 10, 30, 55, 75]) / 75) ** (1 / 1.3))
    usual = np.array([0, 20 / 45, 25 / 45, 0])
    np.testing.assert_allclose(parts, (of_all + usual) / 2, atol=0.02)
    assert 0 <= sigma.min() < 1
    assert 74 < sigma.max() <= 75
    noise = np.concatenate([batch.noise for batch in batches])
    assert noise.std() == pytest.approx(1, abs=0.01)


def test_crops_larger_than_an_image_are_refused(photographs):
    with pytest.raises(ParameterError, match=r"^crop must fit into images of 96 pixels .*97"):
        data.Crops(photographs, 0).batch(0, 97, 1)


def test_images_held_out_are_not_trained_on(photographs):
    seen, held_out = data.hold_out(photographs, 2, seed=3)
    assert (len(seen), len(held_out)) == (4, 2)
    numbers = [id(image) for image in (*seen, *held_out)]
    assert sorted(numbers) == sorted(id(image) for image in photographs)
    assert len(data.hold_out(photographs, 12, seed=3)[0]) == 3


# The network


def test_without_noise_the_image_is_returned():
    net = random_net()
    y = torch.rand(2, 1, 32, 48)
    sigma = torch.full((2, 1, 32, 48), 0.1)
    sigma[:, :, :, 20:] = 0
    x = net(y, sigma)
    torch.testing.assert_close(x[..., 20:], y[..., 20:], rtol=0, atol=0)
    assert (x - y)[..., :20].abs().max() > 0.01


def test_a_second_pass_is_gated_and_sees_the_first_layer_again():
    """Worked out from the parts; with gates of 0 there is only the first."""
    net = random_net(network.Shape(features=8, inner=4, passes=2))
    y, sigma = torch.rand(1, 1, 32, 16), torch.full((1, 1, 32, 16), 0.2)
    unshuffled = torch.nn.functional.pixel_unshuffle(y, 2)
    first = net.head(torch.cat([unshuffled, torch.full((1, 1, 16, 8), 0.2)], 1))

    def once(x):
        return net.after(net.block(net.before(x)))

    def result(x):
        return y - sigma * torch.nn.functional.pixel_shuffle(net.tail(x), 2)

    x = once(first)
    z = x + net.again[0].reshape(1, 8, 1, 1) * first
    expected = x + net.gates[0].reshape(1, 8, 1, 1) * (once(z) - z)
    torch.testing.assert_close(net(y, sigma), result(expected))
    assert (result(expected) - result(x)).abs().max() > 1e-3
    net.gates.zero_()
    torch.testing.assert_close(net(y, sigma), result(x))


def test_what_is_far_beyond_black_and_white_is_as_if_cut():
    """At -1.5 and 2.5; what the network takes away from it is the same."""
    net = random_net(network.Shape(features=8, inner=4, passes=2)).double()
    y = 3 * torch.randn(1, 1, 32, 16, dtype=torch.float64)
    sigma = torch.full_like(y, 0.2)
    cut = y.clamp(-1.5, 2.5)
    assert 0.3 < (cut != y).double().mean() < 0.7
    torch.testing.assert_close(net(y, sigma) - y, net(cut, sigma) - cut)
    inside = cut.clamp(-1.4, 2.4)
    assert (net(inside, sigma) - inside - net(cut, sigma) + cut).abs().max() > 1e-4


def test_a_later_pass_sees_bounded_features():
    """Of a first pass that makes features of thousands; the second one, of them, as of 16."""
    net = random_net(network.Shape(features=8, inner=4, passes=2))
    net.after[1].second.weight.mul_(1000)
    seen = []
    net.before.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    net(torch.rand(1, 1, 32, 16), torch.full((1, 1, 32, 16), 0.2))
    assert len(seen) == 2
    assert seen[1].abs().max() == 16
    assert (seen[1].abs() < 16).any()


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_reach_of_the_network(passes, monkeypatch):
    """How far a pixel sees, over all its places in a block: exactly what the method says."""
    from nlmeans.denoisers import network as runs

    multiple = runs.MULTIPLE
    net = random_net(network.Shape(features=8, inner=4, passes=passes)).double()
    monkeypatch.setattr(runs, "shape", lambda channels: vars(net.shape))
    width = 21 * multiple
    y = torch.rand(1, 1, multiple, width, dtype=torch.float64).requires_grad_()
    x = net(y, torch.full_like(y, 0.2))
    farthest = 0
    for place in range(10 * multiple, 11 * multiple):
        (gradient,) = torch.autograd.grad(x[0, 0, 8, place], y, retain_graph=True)
        seen = gradient[0, 0].abs().sum(0).nonzero().flatten()
        farthest = max(farthest, place - int(seen[0]), int(seen[-1]) - place)
    assert farthest == runs.reach(1)
    assert net.shape.multiple == multiple


@pytest.mark.parametrize(
    "pairwise",
    ["none", "gaussian", "embedded_gaussian", "dot_product", "concatenation", "distance"],
)
def test_every_pairwise_function_can_be_trained(pairwise, photographs):
    shape = network.Shape(features=8, inner=4, pairwise=pairwise)
    made = training.Training(shape, training.Recipe(crop=32, batch=2))
    before = {name: w.clone() for name, w in made.net.named_parameters()}
    crops = data.Crops(photographs, 0)
    # At first, gradients behind layers that begin at zero are below Adam's epsilon.
    for _ in range(5):
        made.advance(crops)
    unmoved = {name for name, w in made.net.named_parameters() if torch.equal(w, before[name])}
    # Adding a number to all scores of a query changes no softmax: phi's bias has no gradient
    # but rounding's.
    assert unmoved <= {"block.phi.bias"}


def test_an_unknown_pairwise_function():
    with pytest.raises(ParameterError, match=r"^pairwise must be one of gaussian, .*'cosine'"):
        network.NonLocalNet(network.Shape(pairwise="cosine"))


def test_size_is_within_the_budget():
    assert sum(w.numel() for w in network.NonLocalNet(network.Shape()).parameters()) == 381398


# A step


def test_losses_worked_out_by_hand():
    """Errors of 0.1 and of 0.3 at sigma 0.25 and 0.36."""
    error = torch.stack([torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), -0.3)])
    sigma = torch.tensor([0.25, 0.36]).reshape(2, 1, 1, 1)
    assert float(training.absolute(error, sigma)) == pytest.approx((0.2 + 0.5) / 2, rel=1e-3)
    parts = [(0.1 / 0.25) ** 2, (0.3 / 0.36) ** 2]
    expected = sum(math.log(part + 0.005) for part in parts) / 2
    assert float(training.log(error, sigma)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("shape", [(6, 6), (3, 10), (10, 3)])
def test_orthogonalized_directions_move_alike(shape):
    """Singular vectors stay, singular values of 1 to 100 come near 1."""
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(0, 2, 3 if 3 in shape else 6, dtype=torch.float64)
    result = optimizer.orthogonalized((u * values @ vh)[None])[0]
    inner = u.mT @ result @ vh.mT
    torch.testing.assert_close(inner, torch.diag(torch.diag(inner)), rtol=0, atol=1e-6)
    assert torch.diag(inner).min() > 0.6
    assert torch.diag(inner).max() < 1.25


def test_a_step_of_muon():
    """For a gradient of orthogonal rows: a step of 0.2 sqrt(columns) along it, and decay."""
    weight = torch.nn.Parameter(torch.ones(2, 4, 1, 2))
    gradient = torch.zeros(2, 8)
    gradient[0, 0], gradient[1, 3] = 5.0, 5.0
    weight.grad = gradient.reshape(weight.shape)
    optimizer.Muon([weight], lr=0.1, decay=0.5).step()
    move = ((0.95 - weight.detach()) / (0.1 * 0.2 * math.sqrt(8))).reshape(2, 8)
    expected = (gradient > 0).double()
    assert 0.6 < move[0, 0] < 1.25
    torch.testing.assert_close((move / move[0, 0]).double(), expected, rtol=0, atol=1e-5)


def test_schedule():
    plain = Schedule(warmup=4)
    assert [plain.factor(step) for step in (0, 1, 3, 4, 10**6)] == [0.25, 0.5, 1, 1, 1]
    decaying = Schedule(warmup=4, decay_from=100, decay_steps=10)
    assert [decaying.factor(step) for step in (99, 100, 105, 110)] == [1, 1, 0.5, 0]
    assert [decaying.finished(step) for step in (0, 109, 110)] == [False, False, True]
    assert not plain.finished(10**6)


def test_it_learns(photographs):
    """In a few seconds a tiny network takes 3 dB of noise off crops it was not trained on."""
    made = training.Training(
        network.Shape(features=16, inner=8), training.Recipe(crop=32, batch=4), threads=2
    )
    crops = data.Crops(photographs[:-1], 0)
    made.schedule = Schedule(warmup=10)
    for _ in range(60):
        made.advance(crops)
    (value,) = made.validate(photographs[-1:], (50.0,))
    clean = photographs[-1].astype(np.float32) / 255
    noise = np.random.default_rng(0).standard_normal((1, *clean.shape), np.float32)[0]
    noisy = np.clip(clean + 50 / 255 * noise, 0, 1)
    assert value > psnr(clean[0], noisy[0], data_range=1) + 3


def test_validation_is_the_psnr_of_the_average(photographs):
    made = training.Training(SMALL, training.Recipe())
    made.average.load_state_dict(random_net(std=0.02).state_dict())
    values = made.validate(photographs[:2], (15.0, 50.0))
    for sigma, value in zip((15.0, 50.0), values, strict=True):
        single = []
        for number, image in enumerate(photographs[:2]):
            clean = torch.from_numpy(image[None] / np.float32(255))
            rng = np.random.default_rng(number)
            noise = torch.from_numpy(rng.standard_normal(clean.shape, np.float32))
            level = torch.full_like(clean, sigma / 255)
            result = made.average(clean + level * noise, level).clamp(0, 1)
            single.append(psnr(clean[0, 0].numpy(), result[0, 0].numpy(), data_range=1))
        assert value == pytest.approx(np.mean(single), abs=1e-4)


# Interruption


def advance(made, crops, steps):
    for _ in range(steps):
        made.advance(crops)


@pytest.mark.parametrize("threads", [1, 2])
def test_resuming_leaves_no_trace(tmp_path, photographs, threads):
    crops = data.Crops(photographs, 0)
    recipe = training.Recipe(crop=32, batch=2)
    whole, first, second = (
        training.Training(SMALL, recipe, threads=threads, bfloat16=False) for _ in range(3)
    )
    advance(whole, crops, 6)
    advance(first, crops, 3)
    first.save(tmp_path / "checkpoint.pt")
    second.load(training.read_checkpoint(tmp_path / "checkpoint.pt"))
    advance(second, crops, 3)
    assert second.step == 6
    assert second.recent == whole.recent
    for name in ("net", "average"):
        ours, theirs = getattr(second, name).state_dict(), getattr(whole, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_the_average_follows_the_weights(photographs):
    """w' <- k w' + (1 - k) w with k = 1/10, 2/11, ..."""
    made = training.Training(SMALL, training.Recipe(crop=32, batch=2))
    expected = made.net.tail.bias.detach().clone()
    crops = data.Crops(photographs, 0)
    for step in range(3):
        made.advance(crops)
        kept = (1 + step) / (10 + step)
        expected = kept * expected + (1 - kept) * made.net.tail.bias.detach()
    torch.testing.assert_close(made.average.tail.bias, expected)
    assert not torch.equal(made.average.tail.bias, made.net.tail.bias)


def test_a_loss_that_is_not_finite_stops_the_training(photographs):
    made = training.Training(SMALL, training.Recipe(crop=32, batch=2))
    with torch.no_grad():
        made.net.tail.bias.fill_(torch.nan)
    with pytest.raises(NLMeansError, match="the loss of step 0 is nan"):
        made.advance(data.Crops(photographs, 0))


def test_a_large_gradient_is_cut_down(photographs, monkeypatch):
    """To a norm of 5, of which a twentieth goes into Muon's momentum and a tenth into Adam's."""
    made = training.Training(SMALL, training.Recipe(batch=2, crop=32))
    large = [torch.full_like(weight, 1e6) for weight in made.net.parameters()]
    monkeypatch.setattr(made, "_gradients", lambda batch: (0.0, large))
    made.advance(data.Crops(photographs, 0))
    muon, adam = (optimizer.state.values() for optimizer in made.optimizers)
    squares = [(state["momentum"] / 0.05).square().sum() for state in muon]
    squares += [(state["exp_avg"] / 0.1).square().sum() for state in adam]
    assert sum(squares) ** 0.5 == pytest.approx(5, rel=1e-3)


def test_a_gradient_that_is_not_finite_is_not_taken(photographs, monkeypatch):
    """Ten times; then the training stops. One that is finite begins the count anew."""
    made = training.Training(SMALL, training.Recipe(batch=2, crop=32))
    crops = data.Crops(photographs, 0)
    taken = made._gradients
    too_large = [torch.full_like(weight, torch.inf) for weight in made.net.parameters()]
    for finite in (False, True, False):
        monkeypatch.setattr(made, "_gradients", taken if finite else lambda _: (0.0, too_large))
        before = copy.deepcopy(made.net.state_dict())
        for _ in range(3 if finite else 10):
            made.advance(crops)
        same = [torch.equal(w, before[name]) for name, w in made.net.state_dict().items()]
        assert not any(same) if finite else all(same)
        assert all(weight.isfinite().all() for weight in made.average.parameters())
    assert made.step == 23
    with pytest.raises(NLMeansError, match=r"the gradient of step 23 is (inf|nan), once more"):
        made.advance(crops)


def test_a_batch_that_threads_can_not_share():
    with pytest.raises(ParameterError, match=r"^batch must be a multiple of threads \(2\) .*3"):
        training.Training(SMALL, training.Recipe(batch=3), threads=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_part_of_a_batch_has_one_thread(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        made = training.Training(SMALL, training.Recipe(), threads=threads)
        seen = list(made._pool.map(lambda _: torch.get_num_threads(), range(threads)))
    finally:
        torch.set_num_threads(before)
    assert seen == [1] * threads


def test_as_many_threads_as_share_a_batch(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    shares = [train._threads(training.Recipe(batch=batch)) for batch in (16, 8, 6, 7, 1)]
    assert shares == [4, 4, 6, 1, 1]


def test_trunk_of_another_network():
    """A network for RGB begins as the gray one, applied to the mean of the channels."""
    weights = random_net().state_dict()
    color = training.Training(replace(SMALL, channels=3), training.Recipe())
    color.adopt({"shape": asdict(SMALL), "average": weights, "step": 5, "before": 7})
    assert (color.step, color.before) == (0, 12)
    rng = torch.Generator().manual_seed(1)
    y = torch.rand(1, 3, 32, 48, generator=rng)
    sigma = torch.full((1, 1, 32, 48), 0.2)
    mean = y.mean(1, keepdim=True)
    expected = y + random_net()(mean, sigma / 3**0.5) - mean
    with torch.no_grad():
        for net in (color.net, color.average):
            torch.testing.assert_close(net(y, sigma), expected, rtol=0, atol=1e-6)


def test_trunk_with_one_pass_for_a_network_with_two():
    weights = random_net().state_dict()
    made = training.Training(replace(SMALL, passes=2), training.Recipe())
    made.adopt({"shape": asdict(SMALL), "average": weights, "step": 5})
    for name, weight in made.average.state_dict().items():
        assert name in ("gates", "again") or torch.equal(weight, weights[name])


def test_trunk_with_two_passes_for_a_network_with_four():
    """It begins as the same network; gradients reach the gates of the passes that are new."""
    two, four = replace(SMALL, passes=2), replace(SMALL, passes=4)
    old = random_net(two)
    made = training.Training(four, training.Recipe())
    made.adopt({"shape": asdict(two), "average": old.state_dict(), "step": 5})
    rng = torch.Generator().manual_seed(1)
    y = torch.rand(1, 1, 32, 48, generator=rng)
    sigma = torch.full((1, 1, 32, 48), 0.2)
    result = made.net(y, sigma)
    torch.testing.assert_close(result, old(y, sigma), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(result.square().sum(), made.net.gates)
    assert (gradient != 0).all()


def test_trunk_from_exported_weights(tmp_path):
    """They are those of the checkpoint, rounded to float16, and tell the shape themselves."""
    export = pytest.importorskip("nlmeans.learned.export", reason="onnx is not installed")
    made = training.Training(SMALL, training.Recipe())
    made.step, made.before = 3, 4
    made.save(tmp_path / "checkpoint.pt")
    state = training.read_trunk(tmp_path / "checkpoint.pt")
    (tmp_path / "gray.safetensors").write_bytes(export.packed(state)["safetensors"])
    trunk = training.read_trunk(tmp_path / "gray.safetensors")
    assert training.shape_of(trunk) == SMALL
    assert (trunk["step"], trunk["before"]) == (3, 4)
    for name, weight in made.average.state_dict().items():
        assert torch.equal(trunk["average"][name], weight.half().float())


# The command


def run(folder, out, *options):
    """Run the command with a small network; its exit code."""
    basic = ["--data", str(folder), "--out", str(out), "--threads", "1", "--precision", "float32"]
    return train.main([*basic, *options])


SMALL_OPTIONS = ["--features", "8", "--crop", "32", "--batch", "2"]


def test_command_resumes_as_it_was_told_before(tmp_path, folder, monkeypatch, capsys):
    monkeypatch.setattr(train, "LOG_EVERY", 2)
    monkeypatch.setattr(train, "VALIDATE_EVERY", 4)
    out = tmp_path / "out"
    assert run(folder, out, *SMALL_OPTIONS, "--loss", "log", "--steps", "3") == 0
    assert run(folder, out, "--steps", "4") == 1
    assert "--resume goes on from it" in capsys.readouterr().err
    assert run(folder, out, "--resume", "--decay", "2") == 0
    state = training.read_checkpoint(out / "checkpoint.pt")
    assert state["step"] == 5
    assert state["recipe"]["loss"] == "log"
    assert state["recipe"]["crop"] == 32
    assert state["shape"]["features"] == 8
    rows = list(csv.DictReader((out / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["2", "4", "5"]
    assert [float(row["rate"]) for row in rows] == pytest.approx(
        [0.004 * 3 / 500, 0.5 * 0.004 * 5 / 500, 0]
    )
    assert rows[0]["psnr_25"] == ""
    assert all(5 < float(row["psnr_25"]) < 40 for row in rows[1:])
    assert run(folder, out, "--resume", "--features", "16") == 1
    assert "the checkpoint has Shape(channels=1, features=8" in capsys.readouterr().err


def test_command_branches_off(tmp_path, folder):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(folder, first, *SMALL_OPTIONS, "--steps", "2") == 0
    before = (first / "checkpoint.pt").read_bytes()
    start = str(first / "checkpoint.pt")
    assert run(folder, second, "--start-from", start, "--decay", "1", "--crop", "48") == 0
    assert (first / "checkpoint.pt").read_bytes() == before
    state = training.read_checkpoint(second / "checkpoint.pt")
    assert (state["step"], state["recipe"]["crop"]) == (3, 48)


def test_command_decays_a_decayed_training_once_more(tmp_path, folder, capsys):
    """In a folder of its own; one that is on its way goes on as it began."""
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(folder, first, *SMALL_OPTIONS, "--decay", "2") == 0
    assert run(folder, first, "--resume", "--decay", "3") == 1
    assert "decay must be the 2 steps of the checkpoint (got 3)" in capsys.readouterr().err
    assert run(folder, first, "--resume", "--decay", "2") == 0
    start = str(first / "checkpoint.pt")
    assert run(folder, second, "--start-from", start, "--decay", "3") == 0
    state = training.read_checkpoint(second / "checkpoint.pt")
    assert (state["step"], state["schedule"]["decay_from"]) == (5, 2)


def test_command_stops_at_a_step_that_is_past(tmp_path, folder):
    out = tmp_path / "out"
    assert run(folder, out, *SMALL_OPTIONS, "--steps", "3") == 0
    assert run(folder, out, "--resume", "--steps", "2") == 0
    assert training.read_checkpoint(out / "checkpoint.pt")["step"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--decay", "0"], "decay must be an integer, at least 1 (got 0)"),
        (["--steps", "-5"], "steps must be an integer, at least 1 (got -5)"),
        (["--threads", "0"], "threads must be an integer, at least 1 (got 0)"),
        (["--batch", "0"], "batch must be an integer, at least 1 (got 0)"),
        (["--passes", "0"], "passes must be an integer, at least 1 (got 0)"),
        (["--rate", "-1"], "rate must be a finite number above 0 (got -1.0)"),
        (["--pairwise", "cosine"], "pairwise must be one of gaussian, embedded_gaussian"),
        (["--crop", "50"], "crop must be a multiple of 16 above 16 (got 50)"),
        (["--crop", "16"], "crop must be a multiple of 16 above 16 (got 16)"),
        (["--trunk", "nowhere.pt"], "trunk must be a file (got 'nowhere.pt')"),
        (["--start-from", "a.pt", "--trunk", "b.pt"], "trunk must not be given with start_from"),
        (["--data", "nowhere"], "data must be a folder (got 'nowhere')"),
    ],
)
def test_command_refuses_what_can_not_be(tmp_path, folder, options, message, capsys):
    assert run(folder, tmp_path / "out", "--steps", "1", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_command_draws_the_curve(tmp_path, folder, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from PIL import Image

    monkeypatch.setattr(train, "LOG_EVERY", 1)
    monkeypatch.setattr(train, "VALIDATE_EVERY", 2)
    assert run(folder, tmp_path / "out", *SMALL_OPTIONS, "--steps", "4") == 0
    with Image.open(tmp_path / "out" / "curve.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_a_stop_signal_ends_it_with_a_checkpoint(tmp_path, folder, monkeypatch):
    import os
    import signal

    def advance_and_stop(self, crops):
        self.step += 1
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(training.Training, "advance", advance_and_stop)
    assert run(folder, tmp_path / "out", *SMALL_OPTIONS) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    assert training.read_checkpoint(tmp_path / "out" / "checkpoint.pt")["step"] == 3
