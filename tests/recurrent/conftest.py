import pytest
import torch
from torch import nn

from coursekit.recurrent import GRU, LSTM, RNN

KINDS = {"RNN": (RNN, nn.RNN), "LSTM": (LSTM, nn.LSTM), "GRU": (GRU, nn.GRU)}


@pytest.fixture(params=KINDS)
def kind(request):
    """The layer of the course and the one of torch.nn."""
    return KINDS[request.param]


@pytest.fixture
def make_state():
    """A random state of a layer, as its forward takes it."""

    def make(layer, batch, dtype=torch.float64):
        shape = (layer.num_layers, batch, layer.hidden_size)
        h, c = torch.randn(2, *shape, dtype=dtype).unbind()
        return (h, c) if isinstance(layer, LSTM | nn.LSTM) else h

    return make
