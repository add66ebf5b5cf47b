"""One step of the simple RNN, the LSTM and the GRU, in the letters of the lecture.

A step takes the input x_t and the state at t − 1 to the state at t. U multiplies the input, w the hidden state h_{t−1},
and b is added. The parameters of all gates are stacked in one matrix each, in the order of torch.nn, so that one
product serves them all: rows i, f, g, o for the LSTM and r, u, h for the GRU. torch.nn calls U ``weight_ih``, w
``weight_hh``, and b ``bias_ih + bias_hh``; its gate g is the lecture's c̃, its z is u, and its n is h̃.

A step is a product and then an update of the state. The layers use the same updates, but compute the products U x_t of
all times at once.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_choice, require_same_dtype, require_tensor

Nonlinearity = Literal["tanh", "relu"]
NONLINEARITIES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": torch.relu}
# The derivatives, as functions of the output h = tanh(a) or relu(a): the diagonal of the lecture's D_t.
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": lambda h: 1 - h**2, "relu": lambda h: (h > 0).to(h.dtype)}


def rnn_step(
    x: Float[Tensor, "b i"],
    h: Float[Tensor, "b h"],
    U: Float[Tensor, "h i"],
    w: Float[Tensor, "h h"],
    b: Float[Tensor, " h"],
    nonlinearity: Nonlinearity = "tanh",
) -> Float[Tensor, "b h"]:
    """h_t = tanh(b + w h_{t−1} + U x_t), or the same with ReLU.

    >>> one = torch.ones(1, 1)
    >>> rnn_step(one, h=one, U=one, w=-one, b=torch.zeros(1))
    tensor([[0.]])
    """
    require_choice(nonlinearity, "nonlinearity", NONLINEARITIES)
    _check(1, x, h, U, w, b=b)
    return NONLINEARITIES[nonlinearity](b + h @ w.T + x @ U.T)


def lstm_step(
    x: Float[Tensor, "b i"],
    state: tuple[Float[Tensor, "b h"], Float[Tensor, "b h"]],
    U: Float[Tensor, "gates_h i"],
    w: Float[Tensor, "gates_h h"],
    b: Float[Tensor, " gates_h"],
) -> tuple[Float[Tensor, "b h"], Float[Tensor, "b h"]]:
    """(h_t, c_t) from (h_{t−1}, c_{t−1}), with the gates i, f, g, o of `lstm_update`.

    Source: S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural Computation 1997; the forget gate is from
    F. Gers, J. Schmidhuber and F. Cummins, Learning to forget, Neural Computation 2000.
    """
    h, c = require_pair(state)
    _check(4, x, h, U, w, b=b)
    require_tensor(c, "c", f"{len(x)} {h.shape[1]}")
    require_same_dtype(x, c, "x, c")
    return lstm_update(b + h @ w.T + x @ U.T, c)


def gru_step(
    x: Float[Tensor, "b i"],
    h: Float[Tensor, "b h"],
    U: Float[Tensor, "gates_h i"],
    w: Float[Tensor, "gates_h h"],
    b: Float[Tensor, " gates_h"],
    b_w: Float[Tensor, " gates_h"] | None = None,
) -> Float[Tensor, "b h"]:
    """h_t from h_{t−1}, with the gates r, u and the candidate h̃ of `gru_update`.

    Args:
        b: added to U x_t; ``bias_ih`` of torch.nn.
        b_w: added to w h_{t−1}, so that r multiplies its last third; ``bias_hh`` of torch.nn. The lecture has none.

    Source: K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014. There the candidate
    contains w^h (r ⊙ h) in place of r ⊙ (w^h h).
    """
    _check(3, x, h, U, w, b=b, b_w=b if b_w is None else b_w)
    wh = h @ w.T
    return gru_update(b + x @ U.T, wh if b_w is None else b_w + wh, h)


def lstm_update(
    a: Float[Tensor, "b gates_h"], c: Float[Tensor, "b h"]
) -> tuple[Float[Tensor, "b h"], Float[Tensor, "b h"]]:
    """(h_t, c_t) from a = b + U x_t + w h_{t−1} and c_{t−1}.

    i, f, o = σ(a_i), σ(a_f), σ(a_o) and c̃ = tanh(a_g); then c_t = f ⊙ c_{t−1} + i ⊙ c̃ and h_t = o ⊙ tanh(c_t).
    """
    i, f, g, o = a.chunk(4, dim=1)  # (B, H) each
    # Forget a part of the old memory, and write a part of the new one.
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    # Show a part of the memory.
    return o.sigmoid() * c.tanh(), c


def gru_update(
    ux: Float[Tensor, "b gates_h"], wh: Float[Tensor, "b gates_h"], h: Float[Tensor, "b h"]
) -> Float[Tensor, "b h"]:
    """h_t from ux = b + U x_t, wh = w h_{t−1} and h_{t−1}.

    r = σ(ux_r + wh_r), u = σ(ux_u + wh_u) and h̃ = tanh(ux_h + r ⊙ wh_h); then h_t = u ⊙ h_{t−1} + (1 − u) ⊙ h̃. The
    lecture prints r and u as functions of h_t, which is circular, and u_{t−1} for u_t (erratum E18).
    """
    x_r, x_u, x_h = ux.chunk(3, dim=1)  # (B, H) each
    h_r, h_u, h_h = wh.chunk(3, dim=1)
    r, u = (x_r + h_r).sigmoid(), (x_u + h_u).sigmoid()
    candidate = (x_h + r * h_h).tanh()
    return torch.lerp(candidate, h, u)  # u h + (1 − u) candidate


def require_pair(state: object) -> tuple[Tensor, Tensor]:
    """The state of an LSTM is the pair (h, c)."""
    if not (isinstance(state, tuple) and len(state) == 2):
        raise TypeError(f"state: expected the pair (h, c), got {type(state).__name__}")
    return state


def _check(gates: int, x: Tensor, h: Tensor, U: Tensor, w: Tensor, **biases: Tensor) -> None:
    """One batch, and parameters that fit the input and the state, all of one precision."""
    require_tensor(x, "x", "b i")
    require_tensor(h, "h", f"{len(x)} h")
    inputs, hidden = x.shape[1], h.shape[1]
    require_tensor(U, "U", f"{gates * hidden} {inputs}")
    require_tensor(w, "w", f"{gates * hidden} {hidden}")
    for name, bias in biases.items():
        require_tensor(bias, name, f"{gates * hidden}")
    for name, value in {"h": h, "U": U, "w": w, **biases}.items():
        require_same_dtype(x, value, f"x, {name}")
