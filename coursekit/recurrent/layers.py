"""The simple RNN, the LSTM and the GRU as layers over whole sequences, written out.

Sequences have the shape (T, B, I): time, batch, features. Parameters have the names and the order of gates of torch.nn,
so ``load_state_dict`` takes weights from torch.nn's layers and gives weights to them.
"""

import math
from typing import ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.recurrent.cells import NONLINEARITIES, Nonlinearity, gru_update, lstm_update, require_pair
from coursekit.validation import require_choice, require_integer, require_number, require_same_dtype, require_tensor

Kind = Literal["RNN", "LSTM", "GRU"]
State: TypeAlias = Float[Tensor, "layers b h"]


class Recurrent(nn.Module):
    """What the three layers share: their parameters, the stack of layers, and the checks of their input.

    A subclass says how many gates it has and implements `scan`, which runs one layer over all times.
    """

    gates: ClassVar[int]

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.input_size = require_integer(input_size, "input_size", low=1)
        self.hidden_size = require_integer(hidden_size, "hidden_size", low=1)
        self.num_layers = require_integer(num_layers, "num_layers", low=1)
        rows = self.gates * self.hidden_size
        for layer in range(self.num_layers):
            # Each layer has parameters of its own (E17).
            inputs = self.hidden_size if layer else self.input_size
            self.register_parameter(f"weight_ih_l{layer}", nn.Parameter(torch.empty(rows, inputs)))
            self.register_parameter(f"weight_hh_l{layer}", nn.Parameter(torch.empty(rows, self.hidden_size)))
            self.register_parameter(f"bias_ih_l{layer}", nn.Parameter(torch.empty(rows)))
            self.register_parameter(f"bias_hh_l{layer}", nn.Parameter(torch.empty(rows)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(−1/√H, 1/√H), as torch.nn does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """U (G·H, I), w (G·H, H) and the biases added to U x_t and to w h_{t−1} (G·H each) of one layer."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        U, w, b_U, b_w = (self.get_parameter(f"{name}_l{layer}") for name in names)
        return U, w, b_U, b_w

    def forward(
        self, x: Float[Tensor, "t b i"], state: State | tuple[State, State] | None = None
    ) -> tuple[Float[Tensor, "t b h"], State | tuple[State, State]]:
        """The outputs h_1, …, h_T of the last layer, and the state of all layers: h_T, or (h_T, c_T) of an LSTM."""
        output, last = self.run(*self.start(x, state))
        return output, last[0] if len(last) == 1 else (last[0], last[1])

    def scan(self, x: Tensor, state: tuple[Tensor, ...], layer: int) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Run one layer: from x (T, B, I) and a state of (B, H) each to h_1, …, h_T (B, H) and the last state."""
        raise NotImplementedError

    def run(self, x: Tensor, start: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run all layers from a state of (num_layers, B, H) each to the output (T, B, H) and the last state."""
        last = []
        # In half precision, rounding errors would accumulate from step to step.
        with torch.autocast(x.device.type, enabled=False):
            for layer in range(self.num_layers):
                outputs, state = self.scan(x, tuple(part[layer] for part in start), layer)
                x = torch.stack(outputs)  # (T, B, H)
                last.append(state)
            return x, tuple(torch.stack(parts) for parts in zip(*last, strict=True))

    def start(self, x: Tensor, state: State | tuple[State, State] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Check the input and the state, and return the input and the parts of the state, which are zero by default."""
        x = self._check_input(x)
        return x, (self._check_state(state, x, "state"),)

    def _check_input(self, x: Tensor) -> Tensor:
        """A sequence (T, B, I) of at least one step and one element, in the precision of the parameters."""
        if isinstance(x, nn.utils.rnn.PackedSequence):
            raise TypeError(
                "x: expected a tensor (T, B, I), got a PackedSequence; unpack it with "
                "torch.nn.utils.rnn.pad_packed_sequence, and leave the padding out of the loss"
            )
        x = require_tensor(self._undo_autocast(x), "x", empty=True)
        if x.ndim != 3 or x.shape[2] != self.input_size:
            raise ValueError(
                f"x: expected (T, B, I), which is time, batch and {self.input_size} features, got {tuple(x.shape)}"
            )
        require_same_dtype(x, self.get_parameter("weight_ih_l0"), "x, parameters")
        return require_tensor(x, "x")

    def _check_state(self, state: object, x: Tensor, name: str) -> Tensor:
        """One part (num_layers, B, H) of the state."""
        shape = (self.num_layers, x.shape[1], self.hidden_size)
        if state is None:
            return x.new_zeros(shape)
        part = require_tensor(self._undo_autocast(state), name)
        if part.shape != shape:
            raise ValueError(f"{name}: expected (num_layers, B, H) = {shape}, got {tuple(part.shape)}")
        require_same_dtype(part, x, f"{name}, x")
        return part

    def _undo_autocast(self, value: object) -> object:
        """What other layers hand on in half precision under autocast, converted to the precision of the parameters."""
        if isinstance(value, Tensor) and torch.is_autocast_enabled(value.device.type):
            half = value.dtype in (torch.float16, torch.bfloat16)
            return value.to(self.get_parameter("weight_ih_l0").dtype) if half else value
        return value

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"


class RNN(Recurrent):
    """h_t = tanh(b + w h_{t−1} + U x_t), or the same with ReLU.

    The parameters U, w and b are the same at all times.

    Args:
        input_size: I, the length of x_t.
        hidden_size: H, the length of h_t.
        num_layers: how many layers are stacked; the outputs of one are the inputs of the next.
        nonlinearity: tanh or relu.

    Raises:
        TypeError: sizes that are not integers; later, an input or a state that is no tensor or has not the precision of
            the parameters, and packed sequences.
        ValueError: sizes below 1; later, an input that is not (T, B, I), a state that is not (num_layers, B, H), and
            NaN or infinite numbers in either.

    >>> rnn = RNN(input_size=4, hidden_size=3)
    >>> output, state = rnn(torch.zeros(10, 2, 4))
    >>> output.shape, state.shape
    (torch.Size([10, 2, 3]), torch.Size([1, 2, 3]))
    """

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, nonlinearity: Nonlinearity = "tanh"
    ) -> None:
        require_choice(nonlinearity, "nonlinearity", NONLINEARITIES)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers)

    def scan(self, x: Tensor, state: tuple[Tensor, ...], layer: int) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        (h,) = state
        U, w, b_U, b_w = self.weights(layer)
        activation = NONLINEARITIES[self.nonlinearity]
        # One product for all times. It is divided by `unbind`, because the backward pass of each ux[t] would fill a
        # tensor of the size of ux: T² work.
        ux = F.linear(x, U, b_U + b_w)  # (T, B, H)
        outputs, w_T = [], w.T
        for a in ux.unbind():
            h = activation(torch.addmm(a, h, w_T))  # (B, H)
            outputs.append(h)
        return outputs, (h,)


class LSTM(Recurrent):
    """Long short-term memory: a memory cell c_t beside h_t, and gates that forget, write and show it.

    `cells.lstm_update` holds the equations. The state is the pair (h, c), and errors are those of `RNN`.

    Args:
        input_size: I, the length of x_t.
        hidden_size: H, the length of h_t and of c_t.
        num_layers: how many layers are stacked; the outputs of one are the inputs of the next.
        forget_bias: the bias b^f of the forget gate to begin with. The larger it is, the longer a new layer remembers:
            while the weights are small, c_t decays by σ(b^f) a step. By default b^f is drawn as all other parameters.

    >>> output, (h, c) = LSTM(input_size=4, hidden_size=3, forget_bias=3)(torch.zeros(10, 2, 4))
    >>> output.shape, c.shape
    (torch.Size([10, 2, 3]), torch.Size([1, 2, 3]))
    """

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, forget_bias: float | None = None
    ) -> None:
        self.forget_bias = None if forget_bias is None else require_number(forget_bias, "forget_bias")
        super().__init__(input_size, hidden_size, num_layers)

    def reset_parameters(self) -> None:
        """Draw all parameters as torch.nn does; then set the bias of the forget gate, if one was given."""
        super().reset_parameters()
        if self.forget_bias is None:
            return
        for layer in range(self.num_layers):
            _, _, b_U, b_w = self.weights(layer)
            with torch.no_grad():
                # torch.nn has two biases, and the gate sees their sum.
                b_U[self.hidden_size : 2 * self.hidden_size] = self.forget_bias
                b_w[self.hidden_size : 2 * self.hidden_size] = 0

    def start(self, x: Tensor, state: State | tuple[State, State] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self._check_input(x)
        h, c = (None, None) if state is None else require_pair(state)
        return x, (self._check_state(h, x, "state h"), self._check_state(c, x, "state c"))

    def scan(self, x: Tensor, state: tuple[Tensor, ...], layer: int) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        h, c = state
        U, w, b_U, b_w = self.weights(layer)
        ux = F.linear(x, U, b_U + b_w)  # (T, B, 4H)
        outputs, w_T = [], w.T
        for a in ux.unbind():
            h, c = lstm_update(torch.addmm(a, h, w_T), c)  # (B, H) each
            outputs.append(h)
        return outputs, (h, c)


class GRU(Recurrent):
    """Gated recurrent unit: h_t = u ⊙ h_{t−1} + (1 − u) ⊙ h̃, so that an update gate u near 1 keeps the state.

    `cells.gru_update` holds the equations, and errors are those of `RNN`.

    Args:
        input_size: I, the length of x_t.
        hidden_size: H, the length of h_t.
        num_layers: how many layers are stacked; the outputs of one are the inputs of the next.
    """

    gates = 3

    def scan(self, x: Tensor, state: tuple[Tensor, ...], layer: int) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        (h,) = state
        U, w, b_U, b_w = self.weights(layer)
        ux = F.linear(x, U, b_U)  # (T, B, 3H)
        outputs, w_T = [], w.T
        for a in ux.unbind():
            h = gru_update(a, torch.addmm(b_w, h, w_T), h)  # (B, H)
            outputs.append(h)
        return outputs, (h,)


def require_layer(layer: object, kinds: tuple[type[Recurrent], ...] = (RNN, LSTM, GRU)) -> None:
    """One of the layers of this module, and not one of torch.nn, which has no `start`, `scan` and `run`."""
    if not isinstance(layer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        given = f"{type(layer).__module__}.{type(layer).__qualname__}"
        raise TypeError(f"layer: expected {names} of coursekit.recurrent, got {given}")


def require_one_layer(layer: Recurrent) -> None:
    """A layer that is not a stack."""
    if layer.num_layers != 1:
        raise ValueError(f"layer: expected num_layers = 1, got {layer.num_layers}")


def recurrent_layer(kind: Kind, input_size: int, hidden_size: int) -> Recurrent:
    """One layer of that kind.

    Raises:
        ValueError: the kind is unknown, or a size is not an integer ≥ 1.
    """
    kinds: dict[str, type[Recurrent]] = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
    require_choice(kind, "kind", kinds)
    return kinds[kind](input_size, hidden_size)
