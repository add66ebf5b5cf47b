import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.recurrent import GRU, LSTM, RNN, backpropagate, rnn_step


def by_autograd(layer, readout, x, targets, state):
    """The loss and its gradients by the names of `Gradients`."""
    start = [part.clone().requires_grad_() for part in (state if isinstance(state, tuple) else (state,))]
    output, _ = layer(x, tuple(start) if isinstance(state, tuple) else start[0])
    loss = F.cross_entropy(readout(output).flatten(0, 1), targets.flatten(), reduction="sum")
    names = ["U", "w", "b", "V", "c", "h0", "c0"][: 5 + len(start)]
    wanted = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, *readout.parameters(), *start]
    return {"loss": loss.detach()} | dict(zip(names, torch.autograd.grad(loss, wanted), strict=True))


def problem(layer, steps, batch=3, classes=5):
    """A readout, inputs and classes for a layer, all random."""
    readout = nn.Linear(layer.hidden_size, classes).double()
    x = torch.randn(steps, batch, layer.input_size, dtype=torch.float64)
    return readout, x, torch.randint(classes, (steps, batch))


MAKE = {
    "tanh": lambda: RNN(4, 6).double(),
    "relu": lambda: RNN(4, 6, nonlinearity="relu").double(),
    "lstm": lambda: LSTM(4, 6).double(),
}


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("name", MAKE)
def test_the_formulas_give_the_gradients_of_autograd(name, steps, make_state):
    layer = MAKE[name]()
    readout, x, targets = problem(layer, steps)
    state = make_state(layer, 3)
    found = vars(backpropagate(layer, readout, x, targets, state))
    for parameter, expected in by_autograd(layer, readout, x, targets, state).items():
        torch.testing.assert_close(found[parameter], expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize("name", MAKE)
def test_no_state_means_zero(name, make_state):
    layer = MAKE[name]()
    readout, x, targets = problem(layer, 5)
    zero = tuple(torch.zeros(1, 3, 6).double() for _ in range(2))
    zero = zero if name == "lstm" else zero[0]
    given, default = (vars(backpropagate(layer, readout, x, targets, state)) for state in (zero, None))
    for parameter, expected in given.items():
        torch.testing.assert_close(default[parameter], expected, rtol=0, atol=0)


def test_the_sum_over_t_and_k_term_by_term(make_state):
    """∂L/∂w as the lecture writes it: for each t, the sum over k = 1, …, t, with E07 to E09 corrected."""
    rnn = MAKE["tanh"]()
    readout, x, targets = problem(rnn, 6, batch=1)
    start = make_state(rnn, 1)
    U, w, b_U, b_w = (p.detach() for p in rnn.parameters())
    h = [start[0]]
    for x_t in x:
        h.append(rnn_step(x_t, h[-1], U, w, b_U + b_w))  # (1, H)
    D = [torch.diag(1 - h_t[0] ** 2) for h_t in h]  # D[0] is not used
    total = torch.zeros_like(w)
    for t in range(1, 7):
        p = (h[t] @ readout.weight.T + readout.bias).softmax(dim=1)[0].detach()
        v = (p - F.one_hot(targets[t - 1, 0], 5)) @ readout.weight.detach()  # ∂L_t/∂h_t
        for k in range(t, 0, -1):
            total += torch.outer(D[k] @ v, h[k - 1][0])  # the immediate derivative
            v = v @ D[k] @ w  # ∂L_t/∂h_{k−1}
    torch.testing.assert_close(backpropagate(rnn, readout, x, targets, start).w, total, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("last_score", "p", "loss"),
    [(4.1, [0.038, 0.125, 0.001, 0.837], 2.079), (4.2, [0.035, 0.115, 0.001, 0.850], 2.163)],
    ids=["Karpathy's", "the slide's"],
)
def test_the_worked_example_of_the_lecture(last_score, p, loss):
    """x₁ = (1, 0, 0, 0), ĥ₁ = (.3, −.1, .9) and ô₁ = (1.0, 2.2, −3.0, 4.1) in one step; the slide has 4.2 (E50)."""
    rnn, readout = RNN(4, 3).double(), nn.Linear(3, 4).double()
    h = torch.tensor([0.3, -0.1, 0.9], dtype=torch.float64)
    o = torch.tensor([1.0, 2.2, -3.0, last_score], dtype=torch.float64)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        rnn.weight_ih_l0[:, 0] = h.atanh()
        readout.bias.copy_(o - readout.weight @ h)
    x, target = torch.tensor([[[1.0, 0, 0, 0]]]).double(), torch.tensor([[1]])  # "h", after which comes "e"
    found = backpropagate(rnn, readout, x, target)
    error = torch.tensor(p).double() - torch.tensor([0, 1, 0, 0])
    assert found.loss.item() == pytest.approx(loss, abs=5e-4)
    torch.testing.assert_close(found.c, error, rtol=0, atol=6e-4)
    torch.testing.assert_close(found.V, torch.outer(error, h), rtol=0, atol=6e-4)
    assert found.w.abs().max() == 0  # h_0 = 0: one step says nothing about w
    assert found.U[:, 1:].abs().max() == 0  # nor about letters that did not appear


def test_nothing_is_left_behind(make_state):
    lstm = MAKE["lstm"]()
    readout, x, targets = problem(lstm, 5)
    found = backpropagate(lstm, readout, x.requires_grad_(), targets, make_state(lstm, 3))
    assert not any(value.requires_grad for value in vars(found).values())
    assert all(p.grad is None for p in [x, *lstm.parameters(), *readout.parameters()])


# --- wrong arguments


def test_other_layers_are_refused(without_annotations):
    readout, x, targets = problem(MAKE["tanh"](), 5)
    with pytest.raises(TypeError, match=r"^layer: expected RNN or LSTM of coursekit.recurrent, got torch.*\.RNN$"):
        backpropagate(nn.RNN(4, 6), readout, x, targets)
    with pytest.raises(TypeError, match=r"^layer: expected RNN or LSTM of coursekit.recurrent, got coursekit.*\.GRU$"):
        backpropagate(GRU(4, 6), readout, x, targets)
    with pytest.raises(ValueError, match=r"^layer: expected num_layers = 1, got 2"):
        backpropagate(RNN(4, 6, 2).double(), readout, x, targets)


def test_readouts_that_do_not_fit_are_refused(without_annotations):
    layer = MAKE["tanh"]()
    _, x, targets = problem(layer, 5)
    with pytest.raises(ValueError, match=r"^readout: expected 6 inputs, one for each unit, got 5"):
        backpropagate(layer, nn.Linear(5, 5).double(), x, targets)
    with pytest.raises(ValueError, match=r"^readout: expected a bias c, got bias=False"):
        backpropagate(layer, nn.Linear(6, 5, bias=False).double(), x, targets)
    with pytest.raises(TypeError, match=r"^readout, x: expected one dtype, got float32 and float64"):
        backpropagate(layer, nn.Linear(6, 5), x, targets)
    with pytest.raises(TypeError, match=r"^readout: expected Linear, got Sequential"):
        backpropagate(layer, nn.Sequential(nn.Linear(6, 5)), x, targets)


WRONG_TARGETS = {
    "transposed": (lambda y: y.T, ValueError, r"expected \(T, B\) = \(5, 3\), got \(3, 5\)"),
    "flat": (lambda y: y.flatten(), ValueError, r"expected \(T, B\) = \(5, 3\), got \(15,\)"),
    "a class too much": (lambda y: y + 5, ValueError, "expected classes from 0 to 4, got "),
    "floats": (lambda y: y.float(), TypeError, "expected integers, got float32"),
    "NumPy": (lambda y: y.numpy(), TypeError, "expected Tensor, got ndarray"),
}


@pytest.mark.parametrize("case", WRONG_TARGETS)
def test_wrong_targets_are_refused(case, without_annotations):
    change, error, message = WRONG_TARGETS[case]
    layer = MAKE["tanh"]()
    readout, x, targets = problem(layer, 5)
    with pytest.raises(error, match=f"^targets: {message}"):
        backpropagate(layer, readout, x, change(targets))


def test_what_the_layer_refuses_is_refused(without_annotations):
    layer = MAKE["lstm"]()
    readout, x, targets = problem(layer, 5)
    with pytest.raises(ValueError, match=r"^x: expected \(T, B, I\)"):
        backpropagate(layer, readout, x[..., :3], targets)
    with pytest.raises(TypeError, match=r"^state: expected the pair \(h, c\), got Tensor"):
        backpropagate(layer, readout, x, targets, x)
