"""Exercises of lecture 6: a step of the LSTM, a step of the GRU, and a memory of 100 steps."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from coursekit import datasets, recurrent
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_module
from coursekit.training import Descent, TrainingDiverged, fit

LENGTH = 100  # steps of the adding problem that a memory must solve
STEPS, BATCH = 200, 32  # of its training
LARGEST_STATE = 128  # numbers that it may hand on from step to step
WANTED = 1 / 60  # the mean squared error, a tenth of what predicting the mean has


def lstm_step(x: Tensor, h: Tensor, c: Tensor, U: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: (h_t, c_t) from x_t (B, I), h_{t−1} and c_{t−1} (B, H each).

    U (4H, I), w (4H, H) and b (4H,) hold the rows of the input gate, the forget gate, the new memory and the output
    gate, one above the other.
    """
    return recurrent.lstm_step(x, (h, c), U, w, b)


def gru_step(x: Tensor, h: Tensor, U: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """One step of a GRU: h_t (B, H) from x_t (B, I) and h_{t−1} (B, H).

    U (3H, I), w (3H, H) and b (3H,) hold the rows of the reset gate, the update gate and the candidate, one above the
    other.
    """
    return recurrent.gru_step(x, h, U, w, b)


def my_memory() -> nn.Module:
    """A GRU that begins with an update gate near 1, so that it keeps its state."""
    layer = nn.GRU(2, 24)
    with torch.no_grad():
        layer.get_parameter("bias_ih_l0")[24:48] = 2.0
    return layer


def check_my_memory(answer: Answer) -> str:
    """The answer's layer solves the adding problem with 100 steps, when it sees one step at a time.

    It learns with a linear readout of its last output, in 200 steps of Adam. The inputs are mixed, so that no rule that
    was written for numbers and marks can replace learning. The test hands each step to a new copy of the layer, with
    the state of the last one, so that nothing but the state can carry information.
    """
    torch.manual_seed(0)
    layer = require_module(answer())
    train, test = (datasets.adding(n, LENGTH, seed) for n, seed in ((STEPS * BATCH, 1), (300, 2)))
    readout = _readout_of(layer)
    _error_step_by_step(layer, readout, test.inputs[:4], test.targets[:4])  # before training: is it recurrent at all?
    both = nn.ModuleList([layer, readout])

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return (readout(_output(layer(_mixed(x)))[-1])[:, 0] - y).square().mean()

    try:
        fit(
            Descent(both, loss, lr=0.02, clip=1.0, precision="float32"),
            (train.inputs, train.targets),
            epochs=1,
            batch_size=BATCH,
            device="cpu",
            progress=False,
        )
    except TrainingDiverged:
        raise Wrong("its training diverges: the loss becomes infinite. Begin with smaller weights") from None
    error = _error_step_by_step(layer, readout, test.inputs, test.targets)
    if not error <= WANTED:
        raise Wrong(
            f"after {STEPS} steps of training its mean squared error is {error:.3f}, wanted at most {WANTED:.3f}; "
            "predicting the mean has 0.167. How far does its gradient reach before training?"
        )
    return f"a mean squared error of at most {WANTED:.3f} at {LENGTH} steps, seen one at a time"


def _mixed(x: Tensor) -> Tensor:
    """Sequences (n, T, 2) in the shape (T, n, 2), with numbers and marks mixed, and larger."""
    return x.transpose(0, 1) @ torch.tensor([[2.4, -1.8], [1.8, 2.4]])


def _output(result: Any) -> Tensor:
    """The output of a layer that returns (output, state)."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], Tensor) or result[0].ndim != 3:
        raise Wrong("expected a layer that takes x (T, B, 2) and returns (output, state), output (T, B, H), as nn.GRU")
    return result[0]


def _readout_of(layer: nn.Module) -> nn.Linear:
    """A linear readout of what the layer returns."""
    return nn.Linear(_output(layer(torch.zeros(3, 2, 2))).shape[2], 1)


@torch.no_grad()
def _error_step_by_step(layer: nn.Module, readout: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The mean squared error when copies of the layer see one step each, and hand on their state."""
    state: Any = None
    for x in _mixed(inputs).split(1):  # (1, n, 2)
        output, state = copy.deepcopy(layer)(x) if state is None else copy.deepcopy(layer)(x, state)
        _require_small(state, len(targets))
    if output.shape[:2] != (1, len(targets)):
        raise Wrong(f"for one step of {len(targets)} sequences expected an output (1, {len(targets)}, H)")
    return (readout(output[-1])[:, 0] - targets).square().mean().item()


def _require_small(state: Any, sequences: int) -> None:
    """The state is a tensor or a tuple of tensors, of a limited size for each sequence."""
    parts = state if isinstance(state, tuple) else (state,)
    if not all(isinstance(part, Tensor) for part in parts):
        raise Wrong("expected a state that is a tensor or a tuple of tensors")
    if (size := sum(part.numel() for part in parts) / sequences) > LARGEST_STATE:
        raise Wrong(
            f"its state holds {size:.0f} numbers for each sequence, allowed are {LARGEST_STATE}: "
            "a memory must choose what to keep"
        )


def _cases(gates: int, memory: bool) -> dict[str, tuple[Tensor, ...]]:
    """Arguments of a step: x, h, c with ``memory``, U, w, b."""

    def case(batch: int, inputs: int, hidden: int, scale: float, seed: int) -> tuple[Tensor, ...]:
        states = [(batch, hidden)] * (2 if memory else 1)
        shapes = [(batch, inputs), *states, (gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,)]
        chance = torch.Generator().manual_seed(seed)
        return tuple(scale * torch.randn(shape, generator=chance) for shape in shapes)

    return {
        "one sequence": case(1, 2, 3, 1.0, 0),
        "a batch": case(4, 5, 3, 1.0, 1),
        "a large state": case(2, 3, 4, 3.0, 2),
    }


exercise = Exercises(
    by_cases(lstm_step, _cases(4, memory=True)),
    by_cases(gru_step, _cases(3, memory=False)),
    Exercise(my_memory, check_my_memory),
)
