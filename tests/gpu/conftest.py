"""The device of the tests marked ``gpu``."""

import pytest
import torch

from tests.gpu.target import DEVICE, why_not


@pytest.fixture
def device() -> torch.device:
    """The GPU. In a dry run it is the CPU, which the tests then compare with itself."""
    if reason := why_not():
        pytest.skip(f"{reason}; `make test-gpu` runs this test on a machine that has one")
    return torch.device(DEVICE)
