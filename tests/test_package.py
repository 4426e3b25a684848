"""The package as a whole: what importing it costs, what it names, what is in the wheel."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nlmeans

ROOT = Path(__file__).resolve().parents[1]

HEAVY = ["cv2", "skimage", "torch", "onnxruntime", "scipy", "numba", "imageio", "PIL", "tifffile"]

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(nlmeans.__path__, prefix="nlmeans.")
)

OPTIONAL = ["torch", "onnx", "onnxruntime", "safetensors", "matplotlib"]
"""What some modules need that no part of `pip install nlmeans` does."""


def imported(name):
    """A module, or None where it needs what is optional and not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in OPTIONAL:
            raise
        return None


FUNCTIONS = [name for name in nlmeans.__all__ if inspect.isfunction(getattr(nlmeans, name))]


@pytest.mark.parametrize(
    "statement",
    [
        "import nlmeans",
        "from nlmeans.engines import get_engine; get_engine('reference')",
        "import numpy, nlmeans; nlmeans.add_noise(numpy.zeros((9, 9)), 1, rng=0)",
        "import numpy, nlmeans; nlmeans.denoise(numpy.zeros((9, 9)), h=1, engine='reference')",
    ],
)
def test_heavy_packages_are_imported_only_by_what_needs_them(statement):
    code = f"import sys; {statement}; print([n for n in {HEAVY} if n in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", nlmeans.__all__)
def test_public_names_exist_and_are_documented(name):
    thing = getattr(nlmeans, name)
    if callable(thing):
        assert inspect.getdoc(thing)


def test_public_names_are_sorted_and_complete():
    """Whatever the front page imports, it offers."""
    assert sorted(nlmeans.__all__) == sorted(set(nlmeans.__all__))
    imported = {
        name
        for name, thing in vars(nlmeans).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }
    assert imported == set(nlmeans.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_document_parameters_results_and_errors(name):
    function = getattr(nlmeans, name)
    text = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    documented = text.split("Parameters\n----------\n")[1].split("\nReturns\n")[0]
    lines = [line for line in documented.splitlines() if line and not line.startswith(" ")]
    named = [name for line in lines for name in line.split(" : ")[0].split(", ")]
    assert named == list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = imported(name)
    if module is None:
        pytest.skip("it needs what is not installed")
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_some_docstrings_have_examples():
    """So that the test above has something to run."""
    found = [
        example
        for name in MODULES
        if (module := imported(name)) is not None
        for test in doctest.DocTestFinder().find(module)
        for example in test.examples
    ]
    assert len(found) > 5


def test_wheel_holds_the_two_packages_and_nothing_else(tmp_path):
    """Neither tests nor benchmarks nor a package called cli may land beside other packages."""
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not a source checkout")
    (built,) = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()
    info = f"nlmeans-{nlmeans.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"nlmeans", "nlmeans_cli", info}
    assert {"nlmeans/py.typed", "nlmeans/engines/kernels.py"} <= set(names)
    assert f"{info}/licenses/LICENSE" in names
    weights = [name for name in names if name.startswith("nlmeans/learned/weights/")]
    assert {"gray.onnx", "gray.safetensors"} <= {name.split("/")[-1] for name in weights}
    names = [name for name in names if name not in weights]
    packaged = (".py", ".typed")
    assert [n for n in names if not n.startswith(info) and not n.endswith(packaged)] == []
