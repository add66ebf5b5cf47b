import pytest
import torch
from torch import nn

from coursekit.recurrent import GRU, LSTM, RNN, gradient_norm_by_distance, jacobian_product, step_jacobians


def state_vectors(layer, x, start):
    """The state after every step of the one-layer ``layer``, (T, S), from the vector ``start`` (S,)."""
    parts = start.view(-1, 1, 1, layer.hidden_size)
    state = tuple(parts) if isinstance(layer, LSTM) else parts[0]
    after = []
    for x_t in x.split(1):
        _, state = layer(x_t, state)
        after.append(torch.cat(state if isinstance(state, tuple) else (state,)).flatten())
    return torch.stack(after)


def norms(matrices):
    return torch.linalg.matrix_norm(matrices, ord=2)


# --- Jacobians


@pytest.mark.parametrize(
    "layer", [RNN(3, 4), RNN(3, 4, nonlinearity="relu"), LSTM(3, 4), GRU(3, 4)], ids=["tanh", "relu", "LSTM", "GRU"]
)
def test_jacobians_are_those_of_autograd(layer, make_state):
    layer, x = layer.double(), torch.randn(6, 2, 3, dtype=torch.float64)
    state = make_state(layer, 2)
    products, steps = jacobian_product(layer, x, state), step_jacobians(layer, x, state)
    vectors = torch.cat(state if isinstance(state, tuple) else (state,), dim=2)[0]  # (B, S)
    for b in range(2):
        one = x[:, b : b + 1]
        expected = torch.autograd.functional.jacobian(lambda s, x=one: state_vectors(layer, x, s), vectors[b])
        torch.testing.assert_close(products[:, b], expected, rtol=1e-12, atol=1e-14)
        before = torch.cat([vectors[b : b + 1], state_vectors(layer, one, vectors[b])[:-1]]).detach()
        for t in range(6):
            step = torch.autograd.functional.jacobian(
                lambda s, x=one[t : t + 1]: state_vectors(layer, x, s)[0], before[t]
            )
            torch.testing.assert_close(steps[t, b], step, rtol=1e-12, atol=1e-14)


def test_matrices_do_not_commute():
    """w = [[0, 1], [1, 0]] and D_t = diag(1, ½) twice: D w D w is ½·1, and D² w² is diag(1, ¼) (erratum E09)."""
    rnn = RNN(2, 2).double()
    w = torch.tensor([[0.0, 1], [1, 0]]).double()
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), [torch.eye(2), w, torch.zeros(2), torch.zeros(2)], strict=True):
            parameter.copy_(value)
    h = torch.tensor([0, 0.5**0.5], dtype=torch.float64)  # where tanh′ is 1 and ½
    x = torch.stack([h.atanh(), h.atanh() - w @ h])[:, None]  # (2, 1, 2): keep h at this value
    product = jacobian_product(rnn, x)[1, 0]
    torch.testing.assert_close(product, 0.5 * torch.eye(2).double(), rtol=0, atol=1e-12)


def scalar(weight, nonlinearity):
    rnn = RNN(1, 1, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), [0, weight, 0, 0], strict=True):
            parameter.fill_(value)
    return rnn


def test_a_weight_above_one_vanishes_with_tanh_and_explodes_with_relu():
    """w = 1.5 for 50 steps: 4e-20 and 6.4e8 (errata E10 and E51)."""
    x, start = torch.zeros(50, 1, 1).double(), torch.ones(1, 1, 1).double()
    assert jacobian_product(scalar(1.5, "tanh"), x, start)[-1].item() == pytest.approx(4e-20, rel=0.2)
    assert jacobian_product(scalar(1.5, "relu"), x, start)[-1].item() == pytest.approx(1.5**50)


def test_a_norm_below_one_suffices_to_vanish():
    rnn = RNN(3, 8).double()
    nn.init.orthogonal_(rnn.weight_hh_l0)
    with torch.no_grad():
        rnn.weight_hh_l0 *= 0.9
    found = norms(jacobian_product(rnn, torch.randn(30, 2, 3).double()))  # (T, B)
    bound = 0.9 ** torch.arange(1, 31).double()
    assert (found <= bound[:, None]).all()


def test_a_spectral_radius_below_one_does_not():
    """A = [[.5, 10], [0, .5]]: ‖A⁵‖ = 3.125, while .5⁵ = .031 (erratum E10)."""
    rnn = RNN(1, 2, nonlinearity="relu").double()
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.tensor([[0.5, 10], [0, 0.5]]))
        rnn.bias_hh_l0.fill_(1)
        rnn.bias_ih_l0.zero_()
        rnn.weight_ih_l0.zero_()
    found = norms(jacobian_product(rnn, torch.zeros(5, 1, 1).double()))[-1]
    assert found.item() == pytest.approx(3.125, abs=1e-3)


def test_an_lstm_can_explode():
    """Near 0 and with open gates, c_t = c_{t−1} + h_{t−1} and h_t = c_t: they double at every step (erratum E16)."""
    lstm = LSTM(1, 1).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[[0, 1, 3]] = 40  # i, f, o
        lstm.weight_hh_l0[2] = 1  # g
    found = jacobian_product(lstm, torch.zeros(100, 1, 1).double())[-1, 0]
    torch.testing.assert_close(found, torch.full((2, 2), 2.0**99).double(), rtol=1e-12, atol=0)


def test_one_step_of_the_memory_and_its_gates(make_state):
    """∂c_t/∂c_{t−1} is f_t with h_{t−1} held; ∂c_t/∂h_{t−1} is what the gates add (erratum E14)."""
    lstm, x = LSTM(3, 4).double(), torch.randn(1, 1, 3).double()
    h, c = state = make_state(lstm, 1)
    jacobian = step_jacobians(lstm, x, state)[0, 0]  # (2H, 2H)
    U, w, b_U, b_w = (p.detach() for p in lstm.parameters())
    i, f, g, _ = (x[0, 0] @ U.T + h[0, 0] @ w.T + b_U + b_w).chunk(4)
    i, f, g, c = i.sigmoid(), f.sigmoid(), g.tanh(), c[0, 0]
    w_i, w_f, w_g, _ = w.chunk(4)
    through_gates = (
        (c * f * (1 - f))[:, None] * w_f + (g * i * (1 - i))[:, None] * w_i + (i * (1 - g**2))[:, None] * w_g
    )
    torch.testing.assert_close(jacobian[4:, 4:], f.diag(), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(jacobian[4:, :4], through_gates, rtol=1e-12, atol=1e-15)


def test_the_memory_over_several_steps_is_no_product_of_its_own_factors(make_state):
    """The chain through c alone leaves out what goes through h (erratum E52)."""
    lstm, x = LSTM(3, 4).double(), torch.randn(8, 1, 3).double()
    state = make_state(lstm, 1)
    whole = jacobian_product(lstm, x, state)[-1, 0, 4:, 4:]
    alone = step_jacobians(lstm, x, state)[:, 0, 4:, 4:].diagonal(dim1=1, dim2=2).prod(dim=0).diag()  # ∏ f_t
    assert (whole - alone).norm() > 0.05 * whole.norm()
    nn.init.zeros_(lstm.weight_hh_l0)  # gates that do not see h
    whole = jacobian_product(lstm, x, state)[-1, 0, 4:, 4:]
    alone = step_jacobians(lstm, x, state)[:, 0, 4:, 4:].diagonal(dim1=1, dim2=2).prod(dim=0).diag()
    torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-15)


# --- gradients by distance


def test_gradients_of_a_scaled_identity_fall_by_its_factor():
    rnn = RNN(4, 4, nonlinearity="relu").double()
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), [torch.eye(4), 0.7 * torch.eye(4), 1, 0], strict=True):
            parameter.copy_(torch.as_tensor(value))
    found = gradient_norm_by_distance(rnn, torch.rand(20, 3, 4).double())
    torch.testing.assert_close(found / found[0], 0.7 ** torch.arange(20).double())


def test_norms_are_those_of_the_jacobians(make_state):
    """With one unit every direction is the only one: |r U ∂h_T/∂h_t| (1 − h_t²)."""
    rnn = RNN(1, 1).double()
    x = torch.randn(9, 1, 1).double()
    start = make_state(rnn, 1)
    steps = step_jacobians(rnn, x, start).flatten()  # D_t w
    found = gradient_norm_by_distance(rnn, x, start)
    expected = torch.cat([steps[:1] * 0 + 1, steps[1:].flip(0).cumprod(0)]) * steps.flip(0) / steps[-1]
    torch.testing.assert_close(found / found[0], expected.abs().detach())


def test_distances_count_from_the_end(kind):
    """What the last output cannot see has no gradient: ReLU units that are off cut the past."""
    layer = kind[0](3, 4, 2)
    found = gradient_norm_by_distance(layer, torch.randn(40, 8, 3))
    assert found.shape == (40,)
    assert found[0] > 100 * found[-1] > 0


def test_gradients_far_below_single_precision_are_seen():
    """0.6⁹⁰ ≈ 1e-20 is a number in single precision, and its square is not."""
    rnn = RNN(1, 1, nonlinearity="relu")
    with torch.no_grad():
        for parameter, value in zip(rnn.parameters(), [1, 0.6, 1, 0], strict=True):
            parameter.fill_(value)
    found = gradient_norm_by_distance(rnn, torch.ones(120, 1, 1))
    assert found[110] / found[0] == pytest.approx(0.6**110, rel=1e-4)


def test_a_forget_bias_lengthens_the_memory():
    x = torch.randn(60, 16, 4)
    ratios = {}
    for bias in (None, 3):
        found = gradient_norm_by_distance(LSTM(4, 32, forget_bias=bias), x)
        ratios[bias] = (found[50] / found[0]).item()
    assert ratios[3] > 0.1
    assert ratios[None] < 1e-6


@pytest.mark.parametrize("function", [step_jacobians, jacobian_product, gradient_norm_by_distance])
def test_nothing_is_left_behind(function, kind):
    layer, x = kind[0](3, 4), torch.randn(5, 2, 3, requires_grad=True)
    with torch.no_grad():
        found = function(layer, x)
    assert not found.requires_grad
    assert not function(layer, x).requires_grad
    assert all(p.grad is None for p in [x, *layer.parameters()])


# --- wrong arguments


@pytest.mark.parametrize("function", [step_jacobians, jacobian_product, gradient_norm_by_distance])
def test_wrong_arguments_are_refused(function, without_annotations):
    x = torch.randn(5, 2, 3)
    message = r"^layer: expected RNN or LSTM or GRU of coursekit.recurrent, got torch.nn.modules.rnn.GRU"
    with pytest.raises(TypeError, match=message):
        function(nn.GRU(3, 4), x)
    with pytest.raises(ValueError, match=r"^x: expected \(T, B, I\)"):
        function(GRU(3, 4), x[0])
    with pytest.raises(ValueError, match=r"^state: expected \(num_layers, B, H\) = \(1, 2, 4\), got \(1, 1, 4\)"):
        function(GRU(3, 4), x, torch.zeros(1, 1, 4))


@pytest.mark.parametrize("function", [step_jacobians, jacobian_product])
def test_stacks_have_no_single_jacobian(function, kind):
    with pytest.raises(ValueError, match=r"^layer: expected num_layers = 1, got 2"):
        function(kind[0](3, 4, 2), torch.randn(5, 2, 3))
