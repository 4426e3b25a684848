"""The device that PyTorch computes on, where it is asked to."""

from collections.abc import Iterator
from contextlib import contextmanager

from nlmeans.errors import ParameterError


def check_device(device: str | None) -> str | None:
    """The name of a device, checked for itself.

    Raises
    ------
    ParameterError
        If it is not a name.
    """
    if device is not None and not isinstance(device, str):
        raise ParameterError("device", "must be a name such as 'cpu' or 'cuda'", device)
    return device


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
        rule = "needs PyTorch, which pip install 'nlmeans[torch]' installs"
        raise ParameterError("device", rule, device) from None
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
