"""The exercises on LSTM and GRU accept what is right in any form, and say what is wrong."""

import pytest
import torch
from torch import nn

from coursekit.exercises import lecture06
from coursekit.exercises.lecture06 import exercise

# --- the LSTM


def lstm_by_gates(x, h, c, U, w, b):
    """A product for each gate."""
    i, f, g, o = (x @ u.T + h @ v.T + d for u, v, d in zip(U.chunk(4), w.chunk(4), b.chunk(4), strict=True))
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def lstm_fused(x, h, c, U, w, b):
    """One product with [U w] and [x h]."""
    a = torch.cat([x, h], dim=1) @ torch.cat([U, w], dim=1).T + b
    n = h.shape[1]
    i, f, o = a[:, :n].sigmoid(), a[:, n : 2 * n].sigmoid(), a[:, 3 * n :].sigmoid()
    c = torch.addcmul(f * c, i, a[:, 2 * n : 3 * n].tanh())
    return o * c.tanh(), c


def lstm_by_torch(x, h, c, U, w, b):
    cell = nn.LSTMCell(x.shape[1], h.shape[1])
    weights = {"weight_ih": U, "weight_hh": w, "bias_ih": b, "bias_hh": 0 * b}
    return torch.func.functional_call(cell, weights, (x, (h, c)))


def lstm_with(order=(0, 1, 2, 3), c_of=torch.tanh, g_of=torch.tanh, old=False):
    """An LSTM with other gates, or with something missing."""

    def step(x, h, c, U, w, b):
        parts = (x @ U.T + h @ w.T + b).chunk(4, dim=1)
        i, f, g, o = (parts[k] for k in order)
        new = f.sigmoid() * c + i.sigmoid() * g_of(g)
        return o.sigmoid() * c_of(c if old else new), new

    return step


@pytest.mark.parametrize("answer", [lstm_by_gates, lstm_fused, lstm_by_torch, lstm_with()])
def test_an_lstm_is_accepted_in_any_form(ask, answer):
    said = ask(exercise, "lstm_step", answer)
    assert said == "✓ lstm_step: right on one sequence, a batch, a large state"


def only_h(x, h, c, U, w, b):
    return lstm_by_gates(x, h, c, U, w, b)[0]


def c_first(x, h, c, U, w, b):
    return lstm_by_gates(x, h, c, U, w, b)[::-1]


def in_place(x, h, c, U, w, b):
    new_h, new_c = lstm_by_gates(x, h, c, U, w, b)
    c.copy_(new_c)
    return new_h, c


def coupled(x, h, c, U, w, b):
    """An input gate 1 − f."""
    U, w, b = (torch.cat([-it.chunk(4)[1], *it.chunk(4)[1:]]) for it in (U, w, b))
    return lstm_by_gates(x, h, c, U, w, b)


WRONG_LSTMS = {
    "i and f swapped": (lstm_with((1, 0, 2, 3)), "wrong on one sequence: value 1"),
    "order i, f, o, g": (lstm_with((0, 1, 3, 2)), "wrong on one sequence: value 1"),
    "no tanh on c": (lstm_with(c_of=lambda c: c), "wrong on one sequence: value 1"),
    "no tanh on the proposal": (lstm_with(g_of=lambda g: g), "wrong on one sequence: value 1"),
    "σ on the proposal": (lstm_with(g_of=torch.sigmoid), "wrong on one sequence: value 1"),
    "shows the old memory": (lstm_with(old=True), "wrong on one sequence: value 1"),
    "no h": (lambda x, h, c, U, w, b: lstm_by_gates(x, 0 * h, c, U, w, b), "wrong on one sequence"),
    "1 − f for i": (coupled, "wrong on one sequence"),
    "h only": (only_h, "expected 2 values, got Tensor"),
    "c before h": (c_first, "wrong on one sequence"),
    "in place": (in_place, "it changes its argument in place"),
    "transposed": (lambda x, h, c, U, w, b: lstm_by_gates(x, h, c, U, w.T, b), "raises RuntimeError"),
    "nothing yet": (lambda x, h, c, U, w, b: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_LSTMS.values(), ids=WRONG_LSTMS)
def test_a_wrong_lstm_is_refused(ask, answer, message):
    assert message in ask(exercise, "lstm_step", answer)


# --- the GRU


def gru_with(swap=False, on_candidate=False, cho=False, reset=True, order=(0, 1, 2)):
    """A GRU, or one with something else in its place."""

    def step(x, h, U, w, b):
        (U_r, w_r, b_r), (U_u, w_u, b_u), (U_h, w_h, b_h) = (
            (U.chunk(3)[k], w.chunk(3)[k], b.chunk(3)[k]) for k in order
        )
        r = torch.sigmoid(x @ U_r.T + h @ w_r.T + b_r)
        u = torch.sigmoid(x @ U_u.T + h @ w_u.T + b_u)
        inner = (r * h) @ w_h.T if cho else r * (h @ w_h.T) if reset else h @ w_h.T
        candidate = torch.tanh(x @ U_h.T + inner + b_h)
        return (1 - u) * h + u * candidate if on_candidate else u * h + (1 - u) * candidate

    return step


def gru_as_a_correction(x, h, U, w, b):
    """h̃ + u (h − h̃)."""
    r, u = (x @ U[: 2 * h.shape[1]].T + h @ w[: 2 * h.shape[1]].T + b[: 2 * h.shape[1]]).sigmoid().chunk(2, dim=1)
    candidate = (x @ U.chunk(3)[2].T + r * (h @ w.chunk(3)[2].T) + b.chunk(3)[2]).tanh()
    return candidate + u * (h - candidate)


def gru_by_torch(x, h, U, w, b):
    cell = nn.GRUCell(x.shape[1], h.shape[1])
    weights = {"weight_ih": U, "weight_hh": w, "bias_ih": b, "bias_hh": 0 * b}
    return torch.func.functional_call(cell, weights, (x, h))


@pytest.mark.parametrize("answer", [gru_with(), gru_as_a_correction, gru_by_torch])
def test_a_gru_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "gru_step", answer) == "✓ gru_step: right on one sequence, a batch, a large state"


def bias_inside(x, h, U, w, b):
    """The bias of the candidate inside r ⊙ (…), where torch.nn has its second one."""
    n = h.shape[1]
    inside = torch.cat([0 * b[: 2 * n], b[2 * n :]])
    cell = nn.GRUCell(x.shape[1], n)
    weights = {"weight_ih": U, "weight_hh": w, "bias_ih": b - inside, "bias_hh": inside}
    return torch.func.functional_call(cell, weights, (x, h))


WRONG_GRUS = {
    "u on the candidate": gru_with(on_candidate=True),
    "Cho's w(r ⊙ h)": gru_with(cho=True),
    "no reset gate": gru_with(reset=False),
    "r and u swapped": gru_with(order=(1, 0, 2)),
    "the bias inside r ⊙ (…)": bias_inside,
    "a simple RNN": lambda x, h, U, w, b: torch.tanh(x @ U.chunk(3)[2].T + h @ w.chunk(3)[2].T + b.chunk(3)[2]),
    "the old state": lambda x, h, U, w, b: h,
}


@pytest.mark.parametrize("answer", WRONG_GRUS.values(), ids=WRONG_GRUS)
def test_a_wrong_gru_is_refused(ask, answer):
    assert "wrong on one sequence: at index" in ask(exercise, "gru_step", answer)


# --- a memory of 100 steps


class Attention(nn.Module):
    """Sees the whole sequence at once: its state is all that it has seen."""

    def __init__(self):
        super().__init__()
        self.score, self.value = nn.Linear(2, 1), nn.Linear(2, 8)

    def forward(self, x, state=None):
        state = x if state is None else torch.cat([state, x])
        weights = self.score(state).softmax(dim=0)
        return (weights * self.value(state)).sum(dim=0, keepdim=True).expand(len(x), -1, -1), state


class Pool(nn.Module):
    """Sees the whole sequence at once, and has no state."""

    def __init__(self):
        super().__init__()
        self.value = nn.Linear(2, 8)

    def forward(self, x):
        return self.value(x).sum(dim=0, keepdim=True), None


class Hoarder(nn.Module):
    """Keeps the sequence in itself instead of in its state."""

    def __init__(self):
        super().__init__()
        self.value, self.seen = nn.Linear(2, 16), []

    def forward(self, x, state=None):
        if state is None:
            self.seen = []
        self.seen.append(x)
        return self.value(torch.cat(self.seen)).relu().sum(dim=0, keepdim=True), x.new_zeros(1, x.shape[1], 1)


class Rule(nn.Module):
    """Adds what is marked, as if numbers and marks came unmixed."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, state=None):
        start = x.new_zeros(x.shape[1]) if state is None else state[0, :, 0]
        total = start + self.scale * (x[..., 0] * x[..., 1]).cumsum(dim=0)
        return total[..., None], total[-1][None, :, None]


REFUSED = {
    "attention": (Attention, "a memory must choose what to keep"),
    "pooling": (Pool, "expected a state that is a tensor or a tuple of tensors"),
    "too large": (lambda: nn.LSTM(2, 100), "its state holds 200 numbers"),
    "a class": (lambda: nn.GRU, "expected a torch module"),
    "nothing": (lambda: None, "it returns nothing yet"),
    "no layer": (lambda: nn.Linear(2, 8), "expected a layer that takes x"),
    "hoarder": (Hoarder, "it raises RuntimeError"),
    "batch first": (lambda: nn.GRU(2, 8, batch_first=True), "open"),
}


@pytest.mark.parametrize(("answer", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_small_recurrent_memory_is_refused(ask, monkeypatch, answer, message):
    monkeypatch.setattr(lecture06, "STEPS", 2)
    assert message in ask(exercise, "my_memory", answer)


@pytest.mark.parametrize("answer", [lambda: nn.RNN(2, 24), Rule], ids=["tanh RNN", "rule"])
def test_what_does_not_remember_by_its_state_is_refused(ask, answer):
    said = ask(exercise, "my_memory", answer)
    assert "after 200 steps of training its mean squared error is" in said


def open_gru():
    layer = nn.GRU(2, 32)
    nn.init.constant_(layer.bias_hh_l0[32:64], 1.0)
    return layer


class Cell(nn.Module):
    """A minimal gated unit, written out, with a state of its own shape."""

    def __init__(self, size=32):
        super().__init__()
        self.gate, self.new = nn.Linear(2 + size, size), nn.Linear(2 + size, size)
        nn.init.constant_(self.gate.bias, -2.0)
        self.size = size

    def forward(self, x, state=None):
        h = x.new_zeros(x.shape[1], self.size) if state is None else state
        outputs = []
        for x_t in x:
            both = torch.cat([x_t, h], dim=1)
            h = torch.lerp(h, self.new(both).tanh(), self.gate(both).sigmoid())
            outputs.append(h)
        return torch.stack(outputs), h


def test_other_gated_memories_are_accepted(ask):
    assert ask(exercise, "my_memory", open_gru) == (
        "✓ my_memory: a mean squared error of at most 0.017 at 100 steps, seen one at a time"
    )
