"""Which backends this machine has."""

import functools
import importlib.util
import warnings
from typing import Literal

import torch

from perceptio.kernels.separable.contract import Backend, BackendName
from perceptio.kernels.separable.torch_backend import TorchBackend

BackendChoice = Literal["auto", "torch", "numba", "triton"]

_PREFERRED: dict[str, BackendName] = {"cpu": "numba", "cuda": "triton"}
"""The fastest backend of a device type."""


def usable_backends(choice: BackendChoice, device: torch.device) -> tuple[BackendName, ...]:
    """Returns the backends that may run on a device: the one asked for, or all that are installed, fastest first.

    Raises:
        ImportError: the backend asked for needs a package that is not installed.
        ValueError: it cannot work on the device.
    """
    if choice == "torch":
        return ("torch",)
    if choice == "auto":
        preferred = _PREFERRED.get(device.type)
        if preferred is None:
            return ("torch",)
        if is_installed(preferred):
            return (preferred, "torch")
        _say_once(preferred)
        return ("torch",)
    if not is_installed(choice):
        raise ImportError(f"backend {choice!r} needs the package {choice}. Install it: pip install {choice}")
    if _PREFERRED.get(device.type) != choice:
        raise ValueError(f"backend {choice!r} does not work with tensors on {device}. Take 'auto' or 'torch'.")
    return (choice,)


def load_backend(name: str) -> Backend:
    """Returns a backend by name; its package is imported now, not before."""
    if name == "numba":
        from perceptio.kernels.separable.numba_backend import NumbaBackend

        return NumbaBackend()
    if name == "triton":
        from perceptio.kernels.separable.triton_backend import TritonBackend

        return TritonBackend()
    assert name == "torch", name
    return TorchBackend()


@functools.cache
def is_installed(package: str) -> bool:
    """Returns whether a package can be found, without importing it."""
    return importlib.util.find_spec(package) is not None


@functools.cache
def _say_once(package: str) -> None:
    warnings.warn(
        f"{package} is not installed: separable attention runs in plain PyTorch, several times slower. "
        f"Install it: pip install {package}",
        stacklevel=2,
    )
