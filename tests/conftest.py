"""Settings that every test runs under."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

# The tests' tensors are small: a second thread costs more in waiting than it saves in work.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """A test that draws from torch's global generator draws the same each time, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what a test caches out of the user's own folder; processes that it starts inherit this."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "user-cache"))


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Lets a test pass what no type checker would: outside the tests nothing stops it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
