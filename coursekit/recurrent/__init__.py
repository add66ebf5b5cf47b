"""Recurrent networks: cells and layers written out, and how gradients flow through time."""

from coursekit.recurrent.cells import gru_step, lstm_step, rnn_step
from coursekit.recurrent.layers import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "gru_step",
    "lstm_step",
    "rnn_step",
]
