"""The device that PyTorch computes on, where it is asked to."""

from collections.abc import Iterator
from contextlib import contextmanager

from nlmeans.errors import ParameterError

NEEDS_TORCH = "needs PyTorch, which pip install 'nlmeans[torch]' installs"


def check_device(device: str | None, engine: str = "torch") -> None:
    """Check the name of a device for itself, and that it goes with the engine.

    Raises
    ------
    ParameterError
        If it is not a name, or the engine is not torch.
    """
    if device is not None and not isinstance(device, str):
        raise ParameterError("device", "must be a name such as 'cpu' or 'cuda'", device)
    if device is not None and engine != "torch":
        raise ParameterError("device", "must go with engine 'torch'", device)


@contextmanager
def on_device(device: str | None) -> Iterator[None]:
    """Make a device torch's default one, as long as it lasts; None leaves that as it is.

    Raises
    ------
    ParameterError
        If there is no such device, or no PyTorch.
    """
    if device is None:
        yield
        return
    try:
        import torch
    except ModuleNotFoundError:
        raise ParameterError("device", NEEDS_TORCH, device) from None
    try:
        torch.zeros(1, device=device).cpu()
    # What torch raises: for a name it does not know, for a device without data, for CUDA where
    # it was built without.
    except (RuntimeError, NotImplementedError, AssertionError):
        raise ParameterError(
            "device", "must be one that PyTorch has here, such as 'cpu' or 'cuda'", device
        ) from None
    with torch.device(device):
        yield
