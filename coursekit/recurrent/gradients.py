"""How far gradients reach: the Jacobian of the state from step to step, and the gradient of an output by distance."""

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.recurrent.cells import DERIVATIVES
from coursekit.recurrent.layers import RNN, Recurrent, State, require_layer, require_one_layer


def step_jacobians(
    layer: Recurrent, x: Float[Tensor, "t b i"], state: State | tuple[State, State] | None = None
) -> Float[Tensor, "t b s s"]:
    """The Jacobian of the state at t by the state at t − 1, on the given inputs, for t = 1, …, T.

    For an RNN it is ∂h_t/∂h_{t−1} = D_t w with D_t = diag(tanh′(a_t)); for a GRU and an LSTM it comes from autograd.
    The state of an LSTM is (h, c) as one vector of S = 2H numbers, h first. Its block ``[..., H:, H:]`` is diag(f_t).

    Args:
        layer: an `RNN`, `LSTM` or `GRU` of one layer.
        state: the state at the start; zero by default.

    Raises:
        TypeError: another layer; what the layer refuses.
        ValueError: more than one layer; what the layer refuses.

    >>> step_jacobians(RNN(2, 3), torch.zeros(50, 1, 2)).shape
    torch.Size([50, 1, 3, 3])
    """
    require_layer(layer)
    require_one_layer(layer)
    x, start = layer.start(x, state)
    parts = tuple(part[0] for part in start)  # (B, H) each
    if isinstance(layer, RNN):
        _, w, _, _ = layer.weights(0)
        outputs, _ = layer.scan(x, parts, 0)
        D = DERIVATIVES[layer.nonlinearity](torch.stack(outputs))  # the diagonals: (T, B, H)
        return (D[..., None] * w).detach()
    jacobians = []
    for x_t in x.split(1):
        jacobian, parts = _step_jacobian(layer, x_t, parts)
        jacobians.append(jacobian)
    return torch.stack(jacobians)


def jacobian_product(
    layer: Recurrent, x: Float[Tensor, "t b i"], state: State | tuple[State, State] | None = None
) -> Float[Tensor, "t b s s"]:
    """J_t, the Jacobian of the state at t by the state at the start, for t = 1, …, T.

    J_t is the product of the steps' Jacobians, the last on the left. For an RNN,

        J_t = D_t w D_{t−1} w ⋯ D_1 w,

    which is not (D_t ⋯ D_1) wᵗ: matrices do not commute (erratum E09). For an LSTM the block ``[..., H:, H:]`` is
    ∂c_t/∂c_0. It is not the product of the f_j, because the gates of later steps depend on h (errata E14 and E52).

    Arguments and errors are as in `step_jacobians`.

    >>> rnn = RNN(1, 1, nonlinearity="relu")
    >>> for parameter in rnn.parameters():
    ...     _ = torch.nn.init.constant_(parameter, 0.5)
    >>> jacobian_product(rnn, torch.zeros(4, 1, 1)).flatten()
    tensor([0.5000, 0.2500, 0.1250, 0.0625])
    """
    steps = step_jacobians(layer, x, state)
    products = [steps[0]]
    for step in steps[1:]:
        products.append(step @ products[-1])  # (B, S, S)
    return torch.stack(products)


def gradient_norm_by_distance(
    layer: Recurrent, x: Float[Tensor, "t b i"], state: State | tuple[State, State] | None = None
) -> Float[Tensor, " t"]:
    """‖∂(rᵀh_T)/∂x_{T−d}‖ for the distances d = 0, …, T − 1: the mean over the batch, with random directions r.

    r is drawn from N(0, 1) for each sequence. Divide by the first number to compare layers: its scale depends on U.

    Args:
        layer: an `RNN`, `LSTM` or `GRU`, of any number of layers.
        state: the state at the start; zero by default.

    Raises:
        TypeError: another layer; what the layer refuses.
        ValueError: what the layer refuses.

    >>> gradient_norm_by_distance(RNN(4, 8), torch.randn(100, 16, 4)).shape
    torch.Size([100])
    """
    require_layer(layer)
    x, start = layer.start(x, state)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output, _ = layer.run(x, start)
        last = output[-1]  # (B, H)
        (gradient,) = torch.autograd.grad((torch.randn_like(last) * last).sum(), x)  # (T, B, I)
    # The squares of gradients below 1e-23 are zero in single precision.
    norms = gradient.double().norm(dim=2)  # (T, B)
    return norms.mean(dim=1).flip(0)


def _step_jacobian(layer: Recurrent, x_t: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The Jacobian (B, S, S) of one step on x_t (1, B, I), and the state after it."""
    with torch.enable_grad():
        before = torch.cat(parts, dim=1).detach().requires_grad_()  # (B, S)
        _, parts = layer.scan(x_t, before.chunk(len(parts), dim=1), 0)
        after = torch.cat(parts, dim=1)
        # One backward pass for each number of the state after the step; they all run together.
        size = after.shape[1]
        rows = torch.eye(size).to(after)[:, None].expand(size, *after.shape)  # (S, B, S)
        (jacobian,) = torch.autograd.grad(after, before, rows, is_grads_batched=True)
    return jacobian.transpose(0, 1), tuple(part.detach() for part in parts)
