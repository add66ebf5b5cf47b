import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from coursekit.recurrent import GRU, LSTM, RNN, gru_step, lstm_step, rnn_step


def parts(state):
    return state if isinstance(state, tuple) else (state,)


# --- equal to torch.nn


def outputs_and_gradients(layer, x, state):
    """Output, state, and the gradients of a number that depends on both, by input, state and parameters."""
    x, start = x.clone().requires_grad_(), [part.clone().requires_grad_() for part in parts(state)]
    output, last = layer(x, tuple(start) if isinstance(state, tuple) else start[0])
    loss = output.sin().mean() + sum(part.square().mean() for part in parts(last))
    return [output, *parts(last), *torch.autograd.grad(loss, [x, *start, *layer.parameters()])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (RNN, nn.RNN, {}),
        (RNN, nn.RNN, {"nonlinearity": "relu"}),
        (LSTM, nn.LSTM, {}),
        (GRU, nn.GRU, {}),
    ],
    ids=["RNN", "ReLU RNN", "LSTM", "GRU"],
)
def test_outputs_states_and_gradients_are_those_of_torch(
    ours, theirs, options, num_layers, dtype, tolerance, make_state
):
    layer, reference = ours(5, 7, num_layers, **options).to(dtype), theirs(5, 7, num_layers, **options).to(dtype)
    reference.load_state_dict(layer.state_dict())
    x, state = torch.randn(20, 3, 5, dtype=dtype), make_state(layer, 3, dtype)
    for found, expected in zip(
        outputs_and_gradients(layer, x, state), outputs_and_gradients(reference, x, state), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_weights_are_exchanged_both_ways(kind, make_state):
    ours, theirs = kind
    layer, reference = ours(3, 4, 2), theirs(3, 4, 2)
    x = torch.randn(6, 2, 3)
    layer.load_state_dict(reference.state_dict())
    torch.testing.assert_close(layer(x)[0], reference(x)[0])
    torch.manual_seed(1)
    layer.reset_parameters()
    assert (layer(x)[0] - reference(x)[0]).abs().max() > 0.01
    reference.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x)[0], reference(x)[0])


def test_a_seed_draws_the_parameters_of_torch(kind):
    drawn = []
    for make in kind:
        torch.manual_seed(5)
        drawn.append(make(3, 4, 2).state_dict())
    assert list(drawn[0]) == list(drawn[1])
    for name, value in drawn[0].items():
        torch.testing.assert_close(value, drawn[1][name], rtol=0, atol=0)


# --- what a layer is


@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_a_layer_repeats_its_step(make, make_state):
    layer = make(3, 4).double()
    x, start = torch.randn(6, 2, 3, dtype=torch.float64), make_state(layer, 2)
    output, last = layer(x, start)
    U, w, b_U, b_w = layer.parameters()
    state = tuple(part[0] for part in parts(start))
    for x_t, h_t in zip(x, output, strict=True):
        match layer:
            case RNN():
                state = (rnn_step(x_t, *state, U, w, b_U + b_w),)
            case LSTM():
                state = lstm_step(x_t, state, U, w, b_U + b_w)
            case GRU():
                state = (gru_step(x_t, *state, U, w, b_U, b_w),)
        torch.testing.assert_close(h_t, state[0])
    for found, expected in zip(parts(last), state, strict=True):
        torch.testing.assert_close(found[0], expected)


def test_a_sequence_in_two_pieces_is_the_whole_sequence(kind):
    layer = kind[0](3, 4, 2)
    x = torch.randn(9, 2, 3)
    whole, last = layer(x)
    first, state = layer(x[:4])
    second, state = layer(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for found, expected in zip(parts(state), parts(last), strict=True):
        torch.testing.assert_close(found, expected)


def test_the_output_depends_on_no_later_input(kind):
    layer, x = kind[0](3, 4, 2), torch.randn(9, 2, 3)
    changed = x.clone()
    changed[5:] += 1
    first, second = layer(x)[0], layer(changed)[0]
    torch.testing.assert_close(first[:5], second[:5], rtol=0, atol=0)
    assert (first[5:] != second[5:]).all()


def test_sequences_of_a_batch_do_not_meet(kind):
    layer, x = kind[0](3, 4, 2), torch.randn(9, 5, 3)
    torch.testing.assert_close(layer(x[:, 2:3])[0], layer(x)[0][:, 2:3])


def test_input_and_state_stay_as_they_are(kind, make_state):
    layer, x = kind[0](3, 4), torch.randn(9, 2, 3)
    state = make_state(layer, 2, torch.float32)
    before = copy.deepcopy((x, state))
    layer(x, state)[0].sum().backward()
    for found, expected in zip((x, *parts(state)), (before[0], *parts(before[1])), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_number_of_parameters_does_not_depend_on_the_length_and_each_layer_has_its_own(kind):
    count = sum(p.numel() for p in kind[0](3, 4, 2).parameters())
    gates = {RNN: 1, LSTM: 4, GRU: 3}[kind[0]]
    assert count == gates * 4 * ((3 + 4 + 2) + (4 + 4 + 2))


# --- gates


@pytest.fixture
def holding_gates():
    """An LSTM with w = 0, so that its gates depend on the input only."""
    lstm = LSTM(2, 3).double()
    nn.init.zeros_(lstm.weight_hh_l0)
    return lstm


def derivative_of_c(lstm, x):
    """∂c_T/∂c_0, unit by unit."""
    zero = torch.zeros(1, x.shape[1], lstm.hidden_size, dtype=x.dtype)
    c_0 = zero.clone().requires_grad_()
    _, (_, c) = lstm(x, (zero, c_0))
    return torch.autograd.grad(c.sum(), c_0)[0][0]  # (B, H)


def test_with_held_gates_the_memory_fades_by_the_product_of_the_forget_gates(holding_gates):
    """∂c_T/∂c_0 = f_1 ⋯ f_T: from 1 to T, not from 0 to T − 1 (erratum E15)."""
    x = torch.randn(8, 4, 2, dtype=torch.float64)
    a = x @ holding_gates.weight_ih_l0.T + holding_gates.bias_ih_l0 + holding_gates.bias_hh_l0
    f = a[..., 3:6].sigmoid()  # (T, B, H)
    torch.testing.assert_close(derivative_of_c(holding_gates, x), f.prod(dim=0), rtol=1e-12, atol=0)


def test_an_open_forget_gate_remembers_for_a_thousand_steps(holding_gates):
    lstm = holding_gates
    nn.init.zeros_(lstm.weight_ih_l0)
    with torch.no_grad():
        lstm.bias_ih_l0[3:6] = 40
        lstm.bias_hh_l0[3:6] = 0
    x = torch.randn(1000, 1, 2, dtype=torch.float64)
    torch.testing.assert_close(derivative_of_c(lstm, x), torch.ones(1, 3).double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("bias", [3, -1.5, 0])
def test_forget_bias_is_the_sum_of_both_biases_of_every_layer(bias):
    torch.manual_seed(3)
    lstm = LSTM(2, 3, 2, forget_bias=bias)
    torch.manual_seed(3)
    plain = LSTM(2, 3, 2).state_dict()
    for layer in range(2):
        total = lstm.state_dict()[f"bias_ih_l{layer}"] + lstm.state_dict()[f"bias_hh_l{layer}"]
        assert total[3:6].tolist() == [bias] * 3
    for name, value in lstm.state_dict().items():
        others = [0, 1, 2, 6, 7, 8, 9, 10, 11]  # i, g and o are drawn as ever
        torch.testing.assert_close(value[others], plain[name][others], rtol=0, atol=0)


def test_a_forget_bias_survives_a_reset():
    lstm = LSTM(2, 3, forget_bias=1)
    lstm.reset_parameters()
    assert (lstm.bias_ih_l0 + lstm.bias_hh_l0)[3:6].tolist() == [1, 1, 1]


# --- half precision


def test_under_autocast_the_recurrence_stays_in_single_precision(kind):
    layer, linear, x = kind[0](3, 4, 2), nn.Linear(3, 3), torch.randn(9, 2, 3)
    expected, _ = layer(linear(x))
    with torch.autocast("cpu", torch.bfloat16):
        x = linear(x)
        assert x.dtype == torch.bfloat16
        output, state = layer(x)
        assert output.dtype == torch.float32
        layer(x, tuple(part.bfloat16() for part in state) if isinstance(state, tuple) else state.bfloat16())
    torch.testing.assert_close(output, expected, rtol=0, atol=0.02)
    output.sum().backward()


# --- wrong arguments


def nan(x):
    return torch.where(x > 0, torch.nan, x)


WRONG_INPUTS = {
    "features": (lambda x: x[..., :2], ValueError, r"x: expected \(T, B, I\).* 3 features, got \(5, 2, 2\)"),
    "no batch": (lambda x: x[:, 0], ValueError, r"x: expected \(T, B, I\).* 3 features, got \(5, 3\)"),
    "no steps": (lambda x: x[:0], ValueError, r"x: expected at least one element, got shape \(0, 2, 3\)"),
    "no sequences": (lambda x: x[:, :0], ValueError, r"x: expected at least one element, got shape \(5, 0, 3\)"),
    "NumPy": (lambda x: x.numpy(), TypeError, r"x: expected a tensor, got ndarray; torch.as_tensor\(x\) makes one"),
    "a list": (lambda x: x.tolist(), TypeError, r"x: expected a tensor, got list"),
    "integers": (lambda x: x.long(), TypeError, r"x: expected float32 or float64, got int64; x.float\(\) converts it"),
    "half": (lambda x: x.half(), TypeError, r"x: expected float32 or float64, got float16; x.float\(\) converts it"),
    "double": (lambda x: x.double(), TypeError, "x, parameters: expected one dtype, got float64 and float32"),
    "NaN": (nan, ValueError, "x: .* of 30 numbers are NaN or infinite"),
    "packed": (lambda x: pack_sequence([x[:, 0]]), TypeError, "x: .*got a PackedSequence; unpack it with .*pad_packed"),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_inputs_are_refused(kind, case, without_annotations):
    change, error, message = WRONG_INPUTS[case]
    with pytest.raises(error, match=f"^{message}"):
        kind[0](3, 4)(change(torch.randn(5, 2, 3)))


WRONG_STATES = {
    "batch": (lambda h: h[:, :1], ValueError, r"expected \(num_layers, B, H\) = \(2, 2, 4\), got \(2, 1, 4\)"),
    "layers": (lambda h: h[:1], ValueError, r"expected \(num_layers, B, H\) = \(2, 2, 4\), got \(1, 2, 4\)"),
    "one layer": (lambda h: h[0], ValueError, r"expected \(num_layers, B, H\) = \(2, 2, 4\), got \(2, 4\)"),
    "NaN": (nan, ValueError, "numbers are NaN or infinite"),
    "double": (lambda h: h.double(), TypeError, "expected one dtype, got float64 and float32"),
    "half": (lambda h: h.half(), TypeError, "expected float32 or float64, got float16"),
    "NumPy": (lambda h: h.numpy(), TypeError, "expected a tensor, got ndarray"),
}


@pytest.mark.parametrize("case", WRONG_STATES)
def test_wrong_states_are_refused(kind, case, without_annotations):
    change, error, message = WRONG_STATES[case]
    layer, x, h = kind[0](3, 4, 2), torch.randn(5, 2, 3), torch.randn(2, 2, 4)
    with pytest.raises(error, match=f"^state.*{message}"):
        layer(x, (h, change(h)) if isinstance(layer, LSTM) else change(h))


def test_a_state_of_another_kind_is_refused(without_annotations):
    x, h = torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    with pytest.raises(TypeError, match=r"^state: expected the pair \(h, c\), got Tensor"):
        LSTM(3, 4)(x, h)
    with pytest.raises(TypeError, match=r"^state: expected the pair \(h, c\), got list"):
        LSTM(3, 4)(x, [h, h])
    for make in (RNN, GRU):
        with pytest.raises(TypeError, match=r"^state: expected a tensor, got tuple"):
            make(3, 4)(x, (h, h))


def test_wrong_sizes_are_refused(kind, without_annotations):
    make = kind[0]
    with pytest.raises(ValueError, match=r"^input_size: expected an integer from 1 on, got 0"):
        make(0, 4)
    with pytest.raises(TypeError, match=r"^hidden_size: expected an integer, got float 4\.0"):
        make(3, 4.0)
    with pytest.raises(ValueError, match=r"^num_layers: expected an integer from 1 on, got 0"):
        make(3, 4, 0)


def test_wrong_options_are_refused(without_annotations):
    with pytest.raises(ValueError, match=r"^unknown nonlinearity 'reul': did you mean relu"):
        RNN(3, 4, nonlinearity="reul")
    with pytest.raises(ValueError, match=r"^forget_bias: expected a finite number, got nan"):
        LSTM(3, 4, forget_bias=float("nan"))
    with pytest.raises(TypeError, match=r"^forget_bias: expected a number, got str 'one'"):
        LSTM(3, 4, forget_bias="one")
