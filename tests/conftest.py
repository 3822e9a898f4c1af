"""Settings that every test runs under."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """A test that draws from torch's global generator draws the same each time, whatever ran before it."""
    torch.manual_seed(0)
