"""The block put into a trained network, on the network and the pictures of docs/insert_block.py."""

import copy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
learned = pytest.importorskip("nlmeans.learned")
torch.set_num_threads(1)  # the tensors are small

STEPS = 60


@pytest.fixture(scope="module")
def script():
    """The example, which is no part of the package."""
    path = Path(__file__).parents[1] / "docs" / "insert_block.py"
    spec = spec_from_file_location("insert_block", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source(script):
    return script.pictures()[0]


@pytest.fixture(scope="module")
def batch(script, source):
    """Mosaics of the training halves, (64, 1, 32, 32), and their classes."""
    return script.mosaics(source, 64, torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def trained(script, source):
    torch.manual_seed(0)
    model = script.network()
    script.fit(model, source, STEPS, seed=0)
    return model


@pytest.fixture
def make(script, trained):
    """A copy of the trained network with a block, and the block."""

    def make(seed=1, **options):
        torch.manual_seed(seed)
        block = learned.NonLocalBlock(script.CHANNELS, **options)
        return script.insert(copy.deepcopy(trained), block), block

    return make


def loss(model, batch):
    mosaic, kind = batch
    return torch.nn.functional.cross_entropy(model(mosaic), kind)


def moved(before, after):
    """Names of the weights that are not what they were, of those whose gradient is not zero.

    The bias of phi adds the same to every score of a position, which the softmax takes out.
    """
    names = considered(before)
    return {name for name in names if not torch.equal(before[name], after[name])}


def considered(weights):
    return {name for name in weights if not name.endswith("phi.bias")}


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "dot_product"])
def test_outputs_stay_what_they_were(trained, make, batch, pairwise):
    model, block = make(pairwise=pairwise)
    expected = trained(batch[0])
    assert expected.std() > 0.1  # it tells mosaics apart, so a change would be seen
    torch.testing.assert_close(model(batch[0]), expected, rtol=0, atol=0)
    # And the block is on the way: with W_z not zero they change.
    torch.nn.init.normal_(block.w_z.weight)
    assert (model(batch[0]) - expected).abs().max() > 0.01


def test_trained_layers_have_the_gradients_they_had(trained, make, batch):
    """At first, and of the block only W_z has any: all others act through it, and it is zero."""
    model, block = make()
    loss(model, batch).backward()
    plain = copy.deepcopy(trained)
    loss(plain, batch).backward()
    layers = [layer for layer in model if layer is not block]
    for layer, expected in zip(layers, plain, strict=True):
        for weight, same in zip(layer.parameters(), expected.parameters(), strict=True):
            assert same.grad.abs().max() > 0
            torch.testing.assert_close(weight.grad, same.grad)
    nonzero = {name for name, weight in block.named_parameters() if weight.grad.abs().max() > 0}
    assert nonzero == {"w_z.weight", "w_z.bias"}


def test_fine_tuning_trains_the_block_and_the_layers(script, source, make, batch):
    model, block = make()
    assert not block.w_z.weight.any()
    before, loss_before = copy.deepcopy(model.state_dict()), loss(model, batch).item()
    script.fit(model, source, STEPS, seed=1)
    assert moved(before, model.state_dict()) == considered(before)
    assert block.w_z.weight.abs().max() > 0.01
    assert loss(model, batch).item() < 0.95 * loss_before


def test_a_trained_block_sees_beyond_the_layers(script, source, trained, make, batch):
    """A corner reaches the opposite one, 31 pixels away; the layers see 14."""
    model, _ = make()
    script.fit(model, source, STEPS, seed=1)
    for network, reaches in ((trained, False), (model, True)):
        mosaic = batch[0][:1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(mosaic)[..., 0, 0].square().sum(), mosaic)
        assert gradient[..., :8, :8].any()
        assert gradient[..., -8:, -8:].any() == reaches


def test_a_seed_decides_everything(script, source, make):
    seeds = (1, 1, 2)
    models = [make(seed)[0] for seed in seeds]
    for seed, model in zip(seeds, models, strict=True):
        script.fit(model, source, 5, seed)  # one after the other: torch's own generator goes on
    one, same, other = (model.state_dict() for model in models)
    assert moved(one, same) == set()
    assert moved(one, other) == considered(one)


def test_the_example_runs(script, capsys):
    script.main(seeds=2, steps=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Largest change of an output when a block is put in: 0"
    assert [line[:40].rstrip() for line in lines[4:]] == list(script.WAYS)
