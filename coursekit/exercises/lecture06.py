"""Exercises of lecture 6: the bias of a forget gate, a step of LSTM and GRU, and a start that remembers 100 steps."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from coursekit import datasets, recurrent
from coursekit.course import session
from coursekit.exercises.checking import TOLERANCE, Answer, Exercise, Exercises, Wrong, by_cases, differs
from coursekit.training import Descent

LENGTH = 100  # steps of the adding problem that the LSTM must solve
HIDDEN = 24  # numbers in its hidden state
STEPS, BATCH = 500, 32  # of its training, at most
SEEDS = (0, 1)  # of its parameters and of its sequences: a start must not pass by luck
WANTED = 1 / 60  # the mean squared error, a tenth of what predicting the mean has


def bias_for(kept: float, steps: int) -> float:
    """The forget bias b for which σ(b)^steps = kept."""
    f = kept ** (1 / steps)
    return math.log(f / (1 - f))


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


def my_start(layer: nn.LSTM) -> None:
    """Let each unit keep its memory for a time of its own: the chrono initialization.

    With the biases log τ and −log τ a unit has f = τ / (τ + 1) and i = 1 − f, so that its memory fades in about τ
    steps. The τ range from one step to the whole sequence.

    Source:
        C. Tallec, Y. Ollivier (2018), Can recurrent neural networks warp time?, ICLR.
    """
    times = torch.linspace(1, LENGTH - 1, HIDDEN)  # τ, (H,)
    with torch.no_grad():
        layer.get_parameter("bias_ih_l0")[: 2 * HIDDEN] = torch.cat([-times.log(), times.log()])  # i, f
        layer.get_parameter("bias_hh_l0")[: 2 * HIDDEN] = 0.0


def check_my_start(answer: Answer) -> str:
    """An LSTM learns the adding problem with 100 steps from the answer's start, whatever the seed.

    The check takes nothing but numbers from the answer: it copies the parameters into an LSTM of its own and trains
    that with a linear readout of its last output, by Adam, until the error is as wanted or the steps are used up.
    """
    for tried, seed in enumerate(session.current().pick(quick=SEEDS, smoke=SEEDS[:1])):
        torch.manual_seed(seed)
        error = _error_after_training(_started(answer), seed)
        if not error <= WANTED:
            before = "with one seed it learns, with another it does not: " if tried else ""
            raise Wrong(
                f"{before}after {STEPS} steps of training its mean squared error is {error:.3f}, wanted at most "
                f"{WANTED:.3f}; predicting the mean has 0.167. Look at both gates: how long does each "
                "unit keep, and how much does it write at each step?"
            )
    return f"from this start an LSTM reaches a mean squared error of at most {WANTED:.3f} at {LENGTH} steps"


def _error_after_training(layer: nn.LSTM, seed: int) -> float:
    """The mean squared error on unseen sequences, as soon as it is as wanted, else after all steps."""
    readout = nn.Linear(HIDDEN, 1)
    train, test = datasets.adding(STEPS * BATCH, LENGTH, seed=1 + 1000 * seed), datasets.adding(300, LENGTH, seed=2)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        output, _ = layer(x.transpose(0, 1))  # (T, B, H)
        return (readout(output[-1])[:, 0] - y).square().mean()

    step = Descent(nn.ModuleList([layer, readout]), loss, lr=0.02, clip=1.0, precision="float32")
    error = torch.inf
    for k in range(STEPS):
        batch = train[k * BATCH : (k + 1) * BATCH]
        step(batch.inputs, batch.targets)
        # Look every 20 steps: a good start is seen early.
        if k % 20 == 19:
            with torch.no_grad():
                error = loss(test.inputs, test.targets).item()
            if not error < torch.inf:
                raise Wrong("its training diverges: the loss becomes infinite. Start with smaller weights")
            if error <= WANTED:
                break
    return error


class _NoTraining(TorchDispatchMode):
    """Within it, the first operation of a backward pass raises `Wrong`: an answer sets a start, the check trains."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "backward" in func.__name__:
            raise Wrong("it trains: set a start by hand, and leave the training to the check")
        return func(*args, **(kwargs or {}))


def _started(answer: Answer) -> nn.LSTM:
    """A new LSTM with the parameters that the answer sets."""
    given = nn.LSTM(2, HIDDEN)
    layer = nn.LSTM(2, HIDDEN)
    before = {name: value.clone() for name, value in given.state_dict().items()}
    with torch.random.fork_rng(devices=()), _NoTraining():  # an answer's seed must not choose the readout
        answer(given)
    after = given.state_dict()
    if {name: value.shape for name, value in after.items()} != {name: value.shape for name, value in before.items()}:
        raise Wrong("the LSTM has other parameters than before; change the values of its parameters only")
    if not all(value.isfinite().all() for value in after.values()):
        raise Wrong("its parameters hold NaN or infinite numbers")
    if all(value.equal(before[name]) for name, value in after.items()):
        raise Wrong("it changes nothing yet: set the layer's parameters in place, within `torch.no_grad()`")
    layer.load_state_dict(after)
    return layer


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


def _step(solution: Answer, cases: dict[str, tuple[Tensor, ...]], names: str, hint: str) -> Exercise:
    """The exercise of a step: the values of the solution on every case, the same gradients, and float64 kept.

    Args:
        solution: the course's own function.
        cases: the arguments of each case.
        names: those of the arguments, for the message.
        hint: what may be the reason when a value is wrong.
    """
    by_value = by_cases(solution, cases, dict.fromkeys(cases, hint))

    def check(answer: Answer) -> str:
        praise = by_value.check(answer)
        expected, got = (_gradients(step, cases["a batch"]) for step in (solution, answer))
        if lost := [name for name, value in zip(names.split(), got, strict=True) if not value.any()]:
            raise Wrong(f"its values are right, but no gradient reaches {', '.join(lost)}; do not detach")
        if difference := differs(expected, got, TOLERANCE):
            raise Wrong(f"its values are right, but its gradients are not: {difference}")
        # The notebook runs the step in float64, too, and checks formulas with it to 1e-12.
        doubles = tuple(value.double() for value in cases["a batch"])
        if differs(solution(*doubles), answer(*doubles), 1e-12):
            raise Wrong("right in float32, but not exact in float64; do not change the type of the numbers")
        return praise

    return Exercise(solution, check)


def _gradients(step: Answer, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The gradients of a random combination of all outputs, by each argument."""
    leaves = [value.clone().requires_grad_() for value in arguments]
    outputs = step(*leaves)
    chance = torch.Generator().manual_seed(3)
    combined = torch.zeros((), requires_grad=True)  # so that there is something to differentiate in any case
    for output in (outputs,) if isinstance(outputs, Tensor) else outputs:
        combined = combined + (torch.randn(output.shape, generator=chance) * output).sum()
    return torch.autograd.grad(combined, leaves, allow_unused=True, materialize_grads=True)


exercise = Exercises(
    by_cases(
        bias_for,
        {"a half after 1 step": (0.5, 1), "a half after 50": (0.5, 50), "a tenth after 100": (0.1, 100)},
    ),
    _step(
        lstm_step,
        _cases(4, memory=True),
        "x h c U w b",
        "are the rows in the order i, f, proposal, o, and does only the proposal have a tanh?",
    ),
    _step(
        gru_step,
        _cases(3, memory=False),
        "x h U w b",
        "does u multiply the old state, and r the product w h, after the matrix (not h before it, as in Cho et al.)?",
    ),
    Exercise(my_start, check_my_start),
)
