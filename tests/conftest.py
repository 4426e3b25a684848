"""Images and profiles that the tests share."""

import os
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", settings.get_profile("fixed"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_runtest_setup(item):
    """Skip the tests whose engine or method needs what is not installed."""
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    chosen = [param for param in params if isinstance(param, str)]
    if "torch" in chosen and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    if "learned" in chosen and find_spec("torch") is None and find_spec("onnxruntime") is None:
        pytest.skip("neither ONNX Runtime nor PyTorch is installed")


@pytest.fixture
def rng():
    """A generator that gives every test the same numbers each time."""
    return np.random.default_rng(20050620)


@pytest.fixture(scope="session")
def camera():
    """A gray photograph, 512 x 512 uint8, of the files inside scikit-image."""
    from skimage import data

    image = data.camera()
    image.flags.writeable = False
    return image


@pytest.fixture(scope="session")
def astronaut():
    """A color photograph, 512 x 512 x 3 uint8, of the files inside scikit-image."""
    from skimage import data

    image = data.astronaut()
    image.flags.writeable = False
    return image
