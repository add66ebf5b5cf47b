"""The loop: shuffled batches go through a step; the step is the lecture's."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.errors import CourseError, is_out_of_memory
from coursekit.training.checkpoint import Stateful, require_state
from coursekit.training.device import LARGEST_SEED, own_randomness, resolve_device
from coursekit.training.history import History, Losses, TrainingDiverged
from coursekit.training.parallel import Together, any_process, is_first, processes, require_enough
from coursekit.training.progress import INTERVAL, LiveCurve, TerminalBar, watch
from coursekit.training.resume import RunCheckpoint, fingerprint
from coursekit.validation import checks_put_off, count_nonfinite, require_function, require_integer, require_number

Measure = Callable[[int, History], Mapping[str, float] | None]


def fit(
    step: Callable[..., Losses],
    data: Tensor | Sequence[Tensor],
    *,
    epochs: int,
    batch_size: int = 128,
    seed: int = 0,
    device: str | torch.device = "auto",
    state: Mapping[str, Stateful] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: float = 60.0,
    on_epoch_end: Measure | None = None,
    progress: bool = True,
) -> History:
    """Repeat ``step`` over shuffled batches of ``data`` and return the history of its losses.

    All data are moved to the device. An epoch is a permutation of them cut into batches; the last batch is smaller
    where ``batch_size`` does not divide N. The permutation depends on ``seed`` and the epoch alone, and torch's global
    generator is seeded for the run and put back afterwards. So the same seed and initial weights give the same run,
    and nobody else's random numbers change.

    In a group of processes (``torchrun``) this is one run: `Descent` gives each process a share of every batch, and
    the first process alone writes the checkpoint and shows progress.

    Args:
        step: does one whole update, e.g. `Descent` or a function that alternates critic and generator, and returns
            its loss as a scalar tensor, or several in a dict. It is called with one batch of each tensor in ``data``,
            shape (n, ...).
        data: a tensor of shape (N, ...) or several with equal N.
        epochs: how often to go through the data; 0 is allowed.
        batch_size: the number of samples in a step.
        seed: an integer from 0 to 2³² − 1.
        device: "auto" (the accelerator if there is one), "cpu", "cuda", "cuda:1", "mps", ...
        state: by name, the modules and optimizers of the run; ``step.state`` unless given. They are moved to the device
            and saved in checkpoints. Modules are in training mode during steps, and in evaluation mode when
            ``on_epoch_end`` is called and afterwards.
        checkpoint: a safetensors file. It is written every ``checkpoint_every`` seconds, at Ctrl-C (after the current
            step; a second Ctrl-C does not wait) and at the end. If it exists, the run goes on from there, on a CPU
            to the same bits as if it had never stopped. One with other data, layers, optimizers, schedules or
            settings is refused; what ``step`` computes with them is not compared.
        checkpoint_every: seconds between two checkpoints; 0 saves after every step.
        on_epoch_end: called after an epoch with its number, from 1, and the history, without gradients. The numbers
            that it returns are recorded as ``history.extra``. Random numbers that it draws do not change the run.
        progress: show a bar in a terminal, a live curve in a notebook.

    Raises:
        TrainingDiverged: a loss or a weight became NaN or infinite (noticed within half a second).
        CourseError: the device is not available, or its memory is too small; the checkpoint is damaged or of a run
            with other settings; there are several processes, and the step does not share its batches.
        ValueError, TypeError: the data or the settings make no sense.

    >>> from coursekit.training import Descent
    >>> x = torch.linspace(-1, 1, 64)[:, None]  # (64, 1)
    >>> line = nn.Linear(1, 1)
    >>> step = Descent(line, lambda x, y: (line(x) - y).square().mean(), lr=0.1)
    >>> history = fit(step, (x, 3 * x + 1), epochs=50, batch_size=16, device="cpu", progress=False)
    >>> history.steps
    200
    >>> round(line.weight.item(), 2), round(line.bias.item(), 2)
    (3.0, 1.0)
    """
    # Check everything before anything starts.
    for function, name in ((step, "step"), (on_epoch_end or step, "on_epoch_end")):
        require_function(function, name)
    epochs = require_integer(epochs, "epochs", low=0)
    batch_size = require_integer(batch_size, "batch_size", low=1)
    seed = require_integer(seed, "seed", low=0, high=LARGEST_SEED)
    checkpoint_every = require_number(checkpoint_every, "checkpoint_every", low=0)
    state = require_state(getattr(step, "state", {}) if state is None else state)
    if checkpoint is not None and not state:
        raise ValueError('nothing to save in the checkpoint: name models and optimizers, state={"model": ...}')
    device = resolve_device(device)

    given = _require_data(data)
    file = None
    if checkpoint is not None:
        settings = {"seed": f"{seed}", "batch_size": f"{batch_size}", "state": f"{sorted(state)}"}
        data_of_run = {f"data[{i}]": fingerprint(x) for i, x in enumerate(given)}
        file = RunCheckpoint(Path(checkpoint), state, {**settings, **data_of_run}, device)

    # Move the data and the models to the device.
    with _enough_memory(f"{device} for the data and the models: take fewer samples"):
        tensors = [x.to(device) for x in given]
        modules = _move(state, device)
    require_enough(min(batch_size, len(tensors[0]) % batch_size or batch_size))
    history = History(len(tensors[0]), batch_size)

    # Do the steps that are missing, with random numbers of their own.
    with own_randomness(device, seed), _interrupt_after_step(file is not None) as interrupted, history.running():
        if file is not None:
            file.resume(history, epochs)
        steps = _steps(step, tensors, history, epochs, seed, modules, on_epoch_end)
        display = watch(history, epochs, progress and is_first())
        try:
            _set_training(modules, True)
            _run(steps, history, display, state, file, checkpoint_every, interrupted)
        finally:
            _set_training(modules, False)
            display.close(history)
    return history


# Preparation


def _require_data(data: Any) -> tuple[Tensor, ...]:
    """``data`` as a tuple of tensors that can be cut into batches together."""
    tensors = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            array = isinstance(x, (np.ndarray, list))
            advice = f"torch.as_tensor(data[{i}]) makes one" if array else "fit itself cuts tensors into batches"
            raise TypeError(f"data[{i}]: expected a tensor, got {type(x).__name__}; {advice}")
    shapes = [tuple(x.shape) for x in tensors]
    if len({shape[:1] for shape in shapes}) != 1 or not shapes[0]:
        raise ValueError(f"data: expected tensors of shape (N, ...) with one N, got shapes {shapes}")
    if not len(tensors[0]):
        raise ValueError(f"data: expected at least one sample, got shapes {shapes}")
    for i, x in enumerate(tensors):
        if bad := count_nonfinite(x):
            raise ValueError(f"data[{i}]: {bad} of {x.numel()} numbers are NaN or infinite")
    return tensors


def _move(state: Mapping[str, Stateful], device: torch.device) -> list[nn.Module]:
    """Move the modules and optimizers of a run to the device; returns the modules."""
    modules = [thing for thing in state.values() if isinstance(thing, nn.Module)]
    for module in modules:
        module.to(device)
    for thing in state.values():
        if isinstance(thing, Optimizer):
            thing.load_state_dict(thing.state_dict())  # the moments of an earlier run follow their weights
    return modules


# The steps and what happens between them


def _steps(
    step: Callable[..., Losses],
    tensors: Sequence[Tensor],
    history: History,
    epochs: int,
    seed: int,
    modules: list[nn.Module],
    on_epoch_end: Measure | None,
) -> Iterator[None]:
    """Do the steps that are missing from ``history``, one at a time, and measure after the last step of each epoch."""
    device = tensors[0].device
    for epoch in range(history.epochs, epochs):
        # The permutation depends on seed and epoch alone, so that a run can resume in the middle of an epoch.
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(history.samples))  # (N,)
        batches = order.to(device).split(history.batch_size)  # (n,) each
        for index in batches[history.steps % history.steps_per_epoch :]:
            shares = Together.shares
            checks = checks_put_off(history.put_off) if _computes_beside(device) else nullcontext()
            # index_select copies rows; x[index] does the same by a path that is several times slower.
            try:
                with checks, _enough_memory(f"{device} for a batch of {len(index)} samples: lower batch_size"):
                    losses = step(*(x.index_select(0, index) for x in tensors))
            except Exception as error:
                batch = f"a batch of {len(index)} of the {history.samples} samples"
                error.add_note(f"This happened in step {history.steps + 1}, epoch {epoch + 1}, with {batch}.")
                raise
            if processes() > 1 and Together.shares == shares:
                raise CourseError(
                    "this step computes every batch as a whole in each process, because only `Descent` shares batches: "
                    "run it in one process, without torchrun."
                )
            history.record(losses)
            if history.steps % history.steps_per_epoch == 0:
                history.measured.append(_measure(on_epoch_end, history, modules, device) if on_epoch_end else {})
            yield


def _computes_beside(device: torch.device) -> bool:
    """Whether Python goes on while the device computes, and would wait for it to check a value."""
    return device.type != "cpu"


def _measure(
    on_epoch_end: Measure, history: History, modules: list[nn.Module], device: torch.device
) -> dict[str, float]:
    """The numbers that ``on_epoch_end`` returns; the run does not notice that it was called."""
    history.flush()
    _set_training(modules, False)
    with torch.no_grad(), own_randomness(device):
        numbers = on_epoch_end(history.epochs, history)
    _set_training(modules, True)
    if numbers is not None and not isinstance(numbers, Mapping):
        raise TypeError(f"on_epoch_end: expected it to return a dict of numbers or None, got {type(numbers).__name__}")
    try:
        return {name: float(value) for name, value in (numbers or {}).items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"on_epoch_end: expected it to return a dict of numbers, got {numbers}") from error


def _run(
    steps: Iterator[None],
    history: History,
    display: TerminalBar | LiveCurve,
    state: Mapping[str, Stateful],
    file: RunCheckpoint | None,
    save_every: float,
    interrupted: threading.Event,
) -> None:
    """Do the steps, and between them look at the losses and save the run whenever it is time."""
    first = history.steps
    look_at, save_at = time.perf_counter() + INTERVAL, time.perf_counter() + save_every
    for _ in steps:
        now = time.perf_counter()
        if now >= look_at:
            history.flush()
            display.update(history)
            look_at = time.perf_counter() + INTERVAL
        if any_process(interrupted.is_set()):  # all stop after the same step
            interrupted.set()
            break
        if file is not None and now >= save_at:
            _settle(history, state, file)
            save_at = time.perf_counter() + save_every
    if history.steps > first:
        _settle(history, state, file)


def _settle(history: History, state: Mapping[str, Stateful], file: RunCheckpoint | None) -> None:
    """Make sure that all losses and weights so far are finite, and then save them."""
    history.flush()
    # The last update can break the weights after a loss that was still finite.
    for name, thing in state.items():
        for weight, values in thing.named_parameters() if isinstance(thing, nn.Module) else ():
            if count_nonfinite(values):
                raise TrainingDiverged(f"{weight} of {name} is NaN or infinite after step {history.steps}", history)
    if file is not None and is_first():
        file.save(history)


@contextmanager
def _enough_memory(purpose: str) -> Iterator[None]:
    """A block that may need more memory than there is; then the error names the setting to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CourseError(f"not enough memory on {purpose}, or choose another device.") from error


def _set_training(modules: list[nn.Module], mode: bool) -> None:
    for module in modules:
        module.train(mode)


@contextmanager
def _interrupt_after_step(active: bool) -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of stopping in the middle of a step, and takes effect when the block ends.

    A second Ctrl-C stops at once. Signals reach the main thread only, so other threads hold nothing back.
    """
    asked = threading.Event()
    if not active or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
    if asked.is_set():
        raise KeyboardInterrupt
