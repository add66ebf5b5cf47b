import pytest
import torch
from torch import nn

from coursekit.recurrent import gru_step, lstm_step, rnn_step


def parameters(cell):
    return cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh


@pytest.fixture
def x():
    return torch.randn(3, 5, dtype=torch.float64)


@pytest.fixture
def h():
    return torch.randn(3, 4, dtype=torch.float64)


@pytest.fixture
def c():
    return torch.randn(3, 4, dtype=torch.float64)


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


# --- the cells of torch.nn


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_step_is_the_cell_of_torch(x, h, nonlinearity):
    cell = nn.RNNCell(5, 4, nonlinearity=nonlinearity).double()
    U, w, b_U, b_w = parameters(cell)
    equal(rnn_step(x, h, U, w, b_U + b_w, nonlinearity), cell(x, h))


def test_lstm_step_is_the_cell_of_torch(x, h, c):
    cell = nn.LSTMCell(5, 4).double()
    U, w, b_U, b_w = parameters(cell)
    equal(lstm_step(x, (h, c), U, w, b_U + b_w), cell(x, (h, c)))


def test_gru_step_is_the_cell_of_torch(x, h):
    cell = nn.GRUCell(5, 4).double()
    equal(gru_step(x, h, *parameters(cell)), cell(x, h))


def test_the_reset_gate_multiplies_the_second_bias_of_the_candidate(x, h):
    """Outside of the reset gate it gives another candidate (erratum E18)."""
    cell = nn.GRUCell(5, 4).double()
    U, w, b_U, b_w = parameters(cell)
    assert (gru_step(x, h, U, w, b_U + b_w) - cell(x, h)).abs().max() > 0.01
    with torch.no_grad():
        cell.bias_hh[8:] = 0  # the lecture's formula
    equal(gru_step(x, h, U, w, b_U + b_w), cell(x, h))


# --- the lecture's formulas, gate by gate


def test_the_formulas_of_the_lstm_gate_by_gate(x, h, c):
    U_i, U_f, U_g, U_o = U = torch.randn(4, 4, 5, dtype=torch.float64)
    w_i, w_f, w_g, w_o = w = torch.randn(4, 4, 4, dtype=torch.float64)
    b_i, b_f, b_g, b_o = b = torch.randn(4, 4, dtype=torch.float64)
    i = torch.sigmoid(b_i + x @ U_i.T + h @ w_i.T)
    f = torch.sigmoid(b_f + x @ U_f.T + h @ w_f.T)
    candidate = torch.tanh(b_g + x @ U_g.T + h @ w_g.T)
    o = torch.sigmoid(b_o + x @ U_o.T + h @ w_o.T)
    c_t = f * c + i * candidate
    equal(lstm_step(x, (h, c), U.flatten(0, 1), w.flatten(0, 1), b.flatten()), (o * torch.tanh(c_t), c_t))


def test_the_formulas_of_the_gru_gate_by_gate(x, h):
    U_r, U_u, U_h = U = torch.randn(3, 4, 5, dtype=torch.float64)
    w_r, w_u, w_h = w = torch.randn(3, 4, 4, dtype=torch.float64)
    b_r, b_u, b_h = b = torch.randn(3, 4, dtype=torch.float64)
    r = torch.sigmoid(b_r + x @ U_r.T + h @ w_r.T)
    u = torch.sigmoid(b_u + x @ U_u.T + h @ w_u.T)
    candidate = torch.tanh(x @ U_h.T + r * (h @ w_h.T) + b_h)
    h_t = u * h + (1 - u) * candidate
    equal(gru_step(x, h, U.flatten(0, 1), w.flatten(0, 1), b.flatten()), h_t)


@pytest.mark.parametrize(("reset", "same"), [(40.0, True), (2.2, False)])
def test_a_gru_that_resets_nothing_and_keeps_nothing_is_a_simple_rnn(x, h, reset, same):
    """u = 0 and r = 1; already r = 0.9 is another net."""
    U, w, b = (torch.randn(4, *s, dtype=torch.float64) for s in [(5,), (4,), ()])
    U_gates, w_gates = torch.zeros(8, 5, dtype=torch.float64), torch.zeros(8, 4, dtype=torch.float64)
    gates = torch.tensor([reset, -40.0], dtype=torch.float64).repeat_interleave(4)  # r and u
    gru = gru_step(x, h, torch.cat([U_gates, U]), torch.cat([w_gates, w]), torch.cat([gates, b]))
    assert ((gru - rnn_step(x, h, U, w, b)).abs().max().item() < 1e-12) == same


# --- wrong arguments


def test_wrong_arguments_are_named(x, h, c, without_annotations):
    cell = nn.LSTMCell(5, 4).double()
    U, w, b, _ = parameters(cell)
    with pytest.raises(TypeError, match=r"^state: expected the pair \(h, c\), got Tensor"):
        lstm_step(x, h, U, w, b)
    with pytest.raises(ValueError, match=r"^c: expected shape \(3, 4\), got \(2, 4\)"):
        lstm_step(x, (h, c[:2]), U, w, b)
    with pytest.raises(ValueError, match=r"^h: expected shape \(3, h\), got \(1, 4\)"):
        rnn_step(x, h[:1], U[:4], w[:4], b[:4])
    with pytest.raises(ValueError, match=r"^U: expected shape \(4, 5\), got \(16, 5\)"):
        rnn_step(x, h, U, w[:4], b[:4])
    with pytest.raises(ValueError, match=r"^w: expected shape \(12, 4\), got \(16, 4\)"):
        gru_step(x, h, U[:12], w, b[:12])
    with pytest.raises(ValueError, match=r"^b_w: expected shape \(12\), got \(4,\)"):
        gru_step(x, h, U[:12], w[:12], b[:12], b[:4])
    with pytest.raises(TypeError, match=r"^b: expected a tensor, got ndarray"):
        gru_step(x, h, U[:12], w[:12], b[:12].detach().numpy())
    with pytest.raises(TypeError, match=r"^x, b: expected one dtype, got float64 and float32"):
        rnn_step(x, h, U[:4], w[:4], b[:4].float())
    with pytest.raises(TypeError, match=r"^x: expected a tensor, got ndarray"):
        rnn_step(x.numpy(), h, U[:4], w[:4], b[:4])
    with pytest.raises(ValueError, match=r"^h: 12 of 12 numbers are NaN"):
        rnn_step(x, h / 0 * 0, U[:4], w[:4], b[:4])
    with pytest.raises(ValueError, match=r"^unknown nonlinearity 'tan': did you mean tanh"):
        rnn_step(x, h, U[:4], w[:4], b[:4], "tan")
