"""Recurrent networks: cells and layers written out, and how gradients flow through time."""

from coursekit.recurrent.backpropagation import Gradients, backpropagate
from coursekit.recurrent.cells import gru_step, lstm_step, rnn_step
from coursekit.recurrent.gradients import gradient_norm_by_distance, jacobian_product, step_jacobians
from coursekit.recurrent.layers import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Gradients",
    "backpropagate",
    "gradient_norm_by_distance",
    "gru_step",
    "jacobian_product",
    "lstm_step",
    "rnn_step",
    "step_jacobians",
]
