import pytest
import torch


@pytest.fixture
def data():
    return torch.rand(50, 6, generator=torch.Generator().manual_seed(1))
