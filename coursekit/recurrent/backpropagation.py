"""Backpropagation through time by the lecture's formulas, corrected, without autograd.

A readout o_t = c + V h_t, p_t = softmax(o_t) predicts the class y_t at every step, and the loss is L = Σ_t L_t with
L_t = −log p_t[y_t]. Let a_k = b + w h_{k−1} + U x_k, let v_k = ∂L/∂h_k be the vector that comes back to h_k from L_k
and all later losses, and let δ_k = ∂L/∂a_k be what it becomes before the nonlinearity. With y_k one-hot and
k = 1, …, T,

    ∂L/∂V = Σ (p_k − y_k) h_kᵀ        ∂L/∂c = Σ (p_k − y_k)
    ∂L/∂w = Σ δ_k h_{k−1}ᵀ            ∂L/∂U = Σ δ_k x_kᵀ            ∂L/∂b = Σ δ_k

for the RNN and for the LSTM. They differ only in how δ_k follows from δ_{k+1}. The lecture sums ∂L_t/∂w over t and,
for each t, over k ≤ t. Here v_k already holds the sum over t, so that a single pass from T to 1 gives all terms.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from coursekit.recurrent.cells import DERIVATIVES
from coursekit.recurrent.layers import LSTM, RNN, State, require_layer, require_one_layer
from coursekit.validation import require_instance, require_labels, require_same_dtype


@dataclass(frozen=True)
class Gradients:
    """The loss L, summed over the batch too, and its gradients by the lecture's names of the parameters.

    U, w and b are stacked by gates as in `cells`. V and c belong to the readout; h0 and c0 are the state at the start.
    """

    loss: Float[Tensor, ""]
    U: Float[Tensor, "gates_h i"]
    w: Float[Tensor, "gates_h h"]
    b: Float[Tensor, " gates_h"]
    V: Float[Tensor, "k h"]
    c: Float[Tensor, " k"]
    h0: State
    c0: State | None = None  # for the LSTM only


@torch.no_grad()
def backpropagate(
    layer: RNN | LSTM,
    readout: nn.Linear,
    x: Float[Tensor, "t b i"],
    targets: Int[Tensor, "t b"],
    state: State | tuple[State, State] | None = None,
) -> Gradients:
    """The gradients of L = Σ_t L_t, the cross-entropy of a softmax readout at every step.

    Args:
        layer: an `RNN` or an `LSTM` of one layer.
        readout: V and c, which take h_t to the scores o_t of the classes.
        targets: the class y_t of every step and sequence.
        state: h_0, or (h_0, c_0) for an LSTM; zero by default.

    Raises:
        TypeError: a layer of another kind; targets that are not integers; what the layer refuses.
        ValueError: more than one layer; a readout that does not fit; targets of another shape or outside the classes;
            what the layer refuses.

    Source: the lecture with errata E06 to E09 for the RNN, and E13, E14 and E52 for the LSTM.

    >>> layer, readout = RNN(input_size=4, hidden_size=3), nn.Linear(3, 4)
    >>> backpropagate(layer, readout, torch.ones(5, 1, 4), torch.zeros(5, 1, dtype=torch.long)).w.shape
    torch.Size([3, 3])
    """
    require_layer(layer, (RNN, LSTM))
    require_one_layer(layer)
    x, start = layer.start(x, state)  # h_0, or h_0 and c_0: (1, B, H) each
    _check_readout(readout, layer, x)
    _check_targets(targets, readout, x)

    # Run forward, and let the readout predict.
    output, _ = layer.run(x, start)
    h = torch.cat([start[0], output])  # h_0, …, h_T: (T + 1, B, H)
    o = readout(output)  # (T, B, K)
    loss = F.cross_entropy(o.flatten(0, 1), targets.flatten().long(), reduction="sum")
    # ∂L_t/∂o_t = p_t − y_t (E06), and what L_t sends to its own h_t.
    delta_o = o.softmax(dim=2) - F.one_hot(targets.long(), readout.out_features)  # (T, B, K)
    from_loss = delta_o @ readout.weight  # Vᵀ(p_t − y_t): (T, B, H)

    # Run back through time.
    if isinstance(layer, LSTM):
        delta, h0, c0 = _back_through_lstm(layer, x, h, start[1][0], from_loss)
    else:
        delta, h0, c0 = *_back_through_rnn(layer, h, from_loss), None

    # The gradient of a matrix is a sum of outer products, over times and batch.
    return Gradients(
        loss,
        U=torch.einsum("tbg,tbi->gi", delta, x),
        w=torch.einsum("tbg,tbh->gh", delta, h[:-1]),  # h_{k−1}, held fixed: the immediate derivative of E08
        b=delta.sum(dim=(0, 1)),
        V=torch.einsum("tbk,tbh->kh", delta_o, output),  # E07
        c=delta_o.sum(dim=(0, 1)),
        h0=h0[None],
        c0=None if c0 is None else c0[None],
    )


def _back_through_rnn(layer: RNN, h: Tensor, from_loss: Tensor) -> tuple[Tensor, Tensor]:
    """δ_1, …, δ_T (T, B, H) and ∂L/∂h_0 (B, H) of an RNN.

    With D_k = diag(tanh′(a_k)), v_k = Vᵀ(p_k − y_k) + wᵀ δ_{k+1} and δ_k = D_k v_k. On the way from t to k, a vector is
    multiplied by (D_t w D_{t−1} w ⋯ D_{k+1} w)ᵀ. The matrices do not commute, so this is no power of w (E09).
    """
    _, w, _, _ = layer.weights(0)
    D = DERIVATIVES[layer.nonlinearity](h[1:])  # the diagonals: (T, B, H)
    delta = torch.zeros_like(from_loss)
    back = torch.zeros_like(h[0])  # wᵀ δ_{k+1}, zero after the last step: (B, H)
    for k in reversed(range(len(delta))):
        v = from_loss[k] + back
        delta[k] = D[k] * v
        back = delta[k] @ w
    return delta, back


def _back_through_lstm(
    layer: LSTM, x: Tensor, h: Tensor, c_0: Tensor, from_loss: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """δ_1, …, δ_T (T, B, 4H), ∂L/∂h_0 and ∂L/∂c_0 (B, H) of an LSTM.

    The state is the pair (h, c), and gradients come back along both: through the gates to h_{k−1}, which the lecture
    leaves out, and through c_k to c_{k−1} (E13, E52). With v_k = ∂L/∂h_k and s_k = ∂L/∂c_k,

    v_k = Vᵀ(p_k − y_k) + wᵀ δ_{k+1}
    s_k = v_k ⊙ o_k ⊙ (1 − tanh² c_k) + f_{k+1} ⊙ s_{k+1}

    and δ_k has a part for each of i, f, g and o. With the lecture's c̃ as g, they are

    s_k ⊙ g_k ⊙ i_k (1 − i_k),    s_k ⊙ c_{k−1} ⊙ f_k (1 − f_k),
    s_k ⊙ i_k ⊙ (1 − g_k²),       v_k ⊙ tanh c_k ⊙ o_k (1 − o_k).

    The factor f_{k+1} alone is ∂c_{k+1}/∂c_k only while the gates are held fixed (E14).
    """
    U, w, b_U, b_w = layer.weights(0)
    # The gates and the memory once more: the layer does not hand them out.
    a = x @ U.T + h[:-1] @ w.T + b_U + b_w  # (T, B, 4H)
    i, f, g, o = a.chunk(4, dim=2)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()  # (T, B, H) each
    c = [c_0]  # c_0, …, c_T
    for k in range(len(x)):
        c.append(f[k] * c[k] + i[k] * g[k])

    delta = torch.zeros_like(a)
    back_h, back_c = torch.zeros_like(c_0), torch.zeros_like(c_0)  # wᵀ δ_{k+1} and f_{k+1} ⊙ s_{k+1}: (B, H)
    for k in reversed(range(len(x))):
        before, shown = c[k], c[k + 1].tanh()  # c_{k−1} and tanh c_k of the docstring, which counts from 1
        v = from_loss[k] + back_h
        s = v * o[k] * (1 - shown**2) + back_c
        delta_i = s * g[k] * i[k] * (1 - i[k])
        delta_f = s * before * f[k] * (1 - f[k])
        delta_g = s * i[k] * (1 - g[k] ** 2)
        delta_o = v * shown * o[k] * (1 - o[k])
        delta[k] = torch.cat([delta_i, delta_f, delta_g, delta_o], dim=1)
        back_h, back_c = delta[k] @ w, s * f[k]
    return delta, back_h, back_c


def _check_readout(readout: nn.Linear, layer: RNN | LSTM, x: Tensor) -> None:
    """A linear map with bias from the hidden state."""
    require_instance(readout, "readout", nn.Linear)
    if readout.in_features != layer.hidden_size:
        raise ValueError(f"readout: expected {layer.hidden_size} inputs, one for each unit, got {readout.in_features}")
    if readout.bias is None:
        raise ValueError("readout: expected a bias c, got bias=False")
    require_same_dtype(readout.weight, x, "readout, x")


def _check_targets(targets: Tensor, readout: nn.Linear, x: Tensor) -> None:
    """One class of the readout for each step and sequence."""
    require_instance(targets, "targets", Tensor)
    if targets.shape != x.shape[:2]:
        raise ValueError(f"targets: expected (T, B) = {tuple(x.shape[:2])}, got {tuple(targets.shape)}")
    require_labels(targets.flatten(), "targets", count=targets.numel(), classes=readout.out_features)
