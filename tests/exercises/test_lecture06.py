"""The exercises on LSTM and GRU accept what is right in any form, and say what is wrong."""

import contextlib
import math

import pytest
import torch
from torch import nn

from coursekit.exercises import lecture06
from coursekit.exercises.lecture06 import exercise

# --- the bias of a forget gate


@pytest.mark.parametrize(
    "answer",
    [
        lambda kept, steps: -math.log(kept ** (-1 / steps) - 1),
        lambda kept, steps: -math.log(math.expm1(-math.log(kept) / steps)),
        lambda kept, steps: torch.tensor(kept ** (1 / steps)).logit(),
    ],
    ids=["−log(1/f − 1)", "by expm1", "a tensor's logit"],
)
def test_a_bias_is_accepted_in_any_form(ask, answer):
    said = ask(exercise, "bias_for", answer)
    assert said == "✓ bias_for: right on a half after 1 step, a half after 50, a tenth after 100"


WRONG_BIASES = {
    "of all steps at once": (lambda kept, steps: math.log(kept / (1 - kept)), "wrong on a half after 50"),
    "the steps' logarithm": (lambda kept, steps: math.log(steps), "wrong on a half after 50"),
    "an equal part for each step": (lambda kept, steps: math.log(kept / (steps - kept)), "wrong on a half after 50"),
    "the gate": (lambda kept, steps: kept ** (1 / steps), "wrong on a half after 1 step"),
    "the sign": (lambda kept, steps: math.log(kept ** (-1 / steps) - 1), "wrong on a half after 50"),
    "log f": (lambda kept, steps: math.log(kept) / steps, "wrong on a half after 1 step"),
    "by tanh": (lambda kept, steps: math.atanh(kept ** (1 / steps)), "wrong on a half after 1 step"),
    "the example's": (lambda kept, steps: 4.272 if steps == 50 else 0.0, "wrong on a half after 50"),
    "nothing yet": (lambda kept, steps: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_BIASES.values(), ids=WRONG_BIASES)
def test_a_wrong_bias_is_refused(ask, answer, message):
    assert message in ask(exercise, "bias_for", answer)


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


def lstm_as_a_list(*arguments):
    return list(lstm_by_gates(*arguments))


@pytest.mark.parametrize("answer", [lstm_by_gates, lstm_fused, lstm_by_torch, lstm_with(), lstm_as_a_list])
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


def detached(x, h, c, U, w, b):
    """Right values, but the memory of the step before gets no gradient."""
    i, f, g, o = (x @ U.T + h @ w.T + b).chunk(4, dim=1)
    c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).detach()
    return o.sigmoid() * c.tanh(), c


def gate_detached(x, h, c, U, w, b):
    """Right values, but no gradient through the forget gate."""
    i, f, g, o = (x @ U.T + h @ w.T + b).chunk(4, dim=1)
    c = f.sigmoid().detach() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def lstm_with_copies(x, h, c, U, w, b):
    """The weights copied into a cell of torch.nn: they get no gradient."""
    cell = nn.LSTMCell(x.shape[1], h.shape[1])
    cell.load_state_dict({"weight_ih": U, "weight_hh": w, "bias_ih": b, "bias_hh": 0 * b})
    return cell(x, (h, c))


WRONG_LSTMS = {
    "the memory detached": (detached, "its values are right, but no gradient reaches c; do not detach"),
    "a gate detached": (gate_detached, "its values are right, but its gradients are not: value 1"),
    "all detached": (lambda *it: [v.detach() for v in lstm_by_gates(*it)], "no gradient reaches x, h, c, U, w, b"),
    "copied weights": (lstm_with_copies, "its values are right, but no gradient reaches U, w, b; do not detach"),
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


@pytest.mark.parametrize(("name", "step"), [("lstm_step", lstm_by_gates), ("gru_step", gru_with())])
def test_a_step_that_computes_in_float32_alone_is_refused(ask, name, step):
    def in_float32(*arguments):
        return step(*(value.float() for value in arguments))

    assert "right in float32, but not exact in float64" in ask(exercise, name, in_float32)


# --- the start of an LSTM that remembers 100 steps


def forget_bias(value, rows=slice(24, 48)):
    """A start with one bias for some gates."""

    def start(layer):
        with torch.no_grad():
            layer.bias_ih_l0[rows] = value
            layer.bias_hh_l0[rows] = 0

    return start


def chrono(layer):
    """Tallec and Ollivier (2018): biases from time scales between 1 and 99 steps."""
    with torch.no_grad():
        bias = torch.empty(24).uniform_(1, 99).log()
        layer.bias_ih_l0[24:48], layer.bias_ih_l0[:24] = bias, -bias


def by_classes(layer):
    """Three kinds of units, for 5, 30 and 100 steps, by torch.nn.init, and with an answer."""
    times = torch.tensor([5.0, 30.0, 100.0]).repeat(8)
    nn.init.zeros_(layer.bias_ih_l0)
    layer.bias_hh_l0.data[:48] = torch.cat([-times.log(), times.log()])
    return layer


def small_writes(layer):
    """All units keep equally long and write little: the input gates alone."""
    with torch.no_grad():
        layer.bias_ih_l0[:24], layer.bias_ih_l0[24:48] = -4.0, 5.0
        layer.bias_hh_l0[:48] = 0


def other_times(layer):
    """Each unit keeps for a time of its own: the forget gates alone."""
    with torch.no_grad():
        layer.bias_ih_l0[24:48] = torch.linspace(1, 99, 24).log()
        layer.bias_hh_l0[24:48] = 0


@pytest.mark.parametrize("answer", [chrono, by_classes, small_writes, other_times])
def test_a_start_that_remembers_is_accepted(ask, answer):
    assert ask(exercise, "my_start", answer) == (
        "✓ my_start: from this start an LSTM reaches a mean squared error of at most 0.017 at 100 steps"
    )


def test_an_answer_does_not_choose_the_readout(ask, monkeypatch):
    """Whatever an answer does with the generator, the check goes on from the same place."""
    places = []

    def seen(layer, seed):
        places.append(torch.get_rng_state())
        return 0.0

    def lucky(layer):
        torch.manual_seed(7)
        chrono(layer)

    monkeypatch.setattr(lecture06, "_error_after_training", seen)
    for answer in (other_times, chrono, lucky):
        assert ask(exercise, "my_start", answer).startswith("✓")
    assert all(place.equal(places[k % 2]) for k, place in enumerate(places))  # two seeds each
    assert len(places) == 6


def orthogonal(layer):
    nn.init.orthogonal_(layer.weight_hh_l0)


@pytest.mark.parametrize(
    "answer",
    [
        orthogonal,
        forget_bias(1.0),
        forget_bias(2.0),
        forget_bias(3.0),
        forget_bias(4.0),
        forget_bias(5.0),
        forget_bias(3.0, slice(0, 24)),
        forget_bias(-3.0),
    ],
    ids=["orthogonal", "bias 1", "bias 2", "bias 3", "bias 4", "bias 5", "input gates", "closed"],
)
def test_a_start_that_forgets_is_refused(ask, answer):
    assert "after 500 steps of training its mean squared error is" in ask(exercise, "my_start", answer)


def infinite(layer):
    nn.init.constant_(layer.bias_ih_l0, torch.inf)


def larger(layer):
    layer.weight_hh_l0 = nn.Parameter(torch.zeros(96, 48))


def another_forward(layer):
    """Replaces what the layer does, and leaves its parameters as they are."""
    layer.forward = lambda x, state=None: (x.cumsum(dim=0), state)


def trained(layer):
    """Training in the answer itself, of the layer and a readout."""
    readout = nn.Linear(24, 1)
    step = torch.optim.Adam([*layer.parameters(), *readout.parameters()])
    for _ in range(2):
        step.zero_grad()
        (readout(layer(torch.rand(10, 4, 2))[0][-1]) - 1).square().mean().backward()
        step.step()


def trained_elsewhere(layer):
    """Training of another LSTM, and a copy of what it has learned."""
    other = nn.LSTM(2, 24)
    trained(other)
    layer.load_state_dict(other.state_dict())


def trained_in_silence(layer):
    """Training that goes on when it is stopped: it gets no gradient."""
    with contextlib.suppress(Exception):
        trained(layer)


REFUSED = {
    "nothing": (lambda layer: None, "it changes nothing yet"),
    "another layer": (lambda layer: nn.GRU(2, 24), "it changes nothing yet"),
    "another forward": (another_forward, "it changes nothing yet"),
    "infinite": (infinite, "its parameters hold NaN or infinite numbers"),
    "larger": (larger, "the LSTM has other parameters than before"),
    "a gate that is not there": (lambda layer: layer.bias_forget.fill_(1), "it raises AttributeError"),
    "trained": (trained, "it trains: set a start by hand"),
    "trained elsewhere": (trained_elsewhere, "it trains: set a start by hand"),
    "trained in silence": (trained_in_silence, "it changes nothing yet"),
    "with gradients": (lambda layer: layer.bias_ih_l0.fill_(1), "it raises RuntimeError"),
}


@pytest.mark.parametrize(("answer", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_start_is_refused(ask, answer, message):
    assert message in ask(exercise, "my_start", answer)
