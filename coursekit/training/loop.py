"""The loop: shuffled batches go through a step, and the step is the lecture's."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.errors import CourseError
from coursekit.training.checkpoint import Stateful, read_checkpoint, restore, save_checkpoint
from coursekit.training.device import (
    Precision,
    computes_in_bf16,
    own_randomness,
    require_seed,
    resolve_device,
    rng_states,
    set_rng_states,
)
from coursekit.training.history import History, TrainingDiverged
from coursekit.training.progress import INTERVAL, watch
from coursekit.validation import count_nonfinite, require_integer, require_number

Losses = Tensor | Mapping[str, Tensor]


class Descent:
    """The usual step for one loss: one update of ``model`` along the negative gradient of ``loss(*batch)``.

    Args:
        model: the module with the parameters to update.
        loss: maps a batch to a scalar, or to a dict of scalars: "loss" is minimized, and the others are recorded
            beside it. It may draw noise from torch's global generator.
        lr: learning rate of the default optimizer, Adam in its fused form; 1e-3 by default.
        optimizer: another optimizer of ``model``'s parameters, with a learning rate of its own.
        clip: the largest norm of the gradient; a longer one is shortened to it.
        precision: "float32", "bf16" (the loss is computed under bfloat16 autocast; weights stay float32), or "auto":
            bf16 on a GPU made for it, else float32. On a GPU, autocast does not know ``binary_cross_entropy``: use
            ``binary_cross_entropy_with_logits``.
        compile: let ``torch.compile`` fuse the loss; code that it cannot compile completely is an error.

    Raises:
        ValueError: both lr and optimizer are given, clip is not positive, or the precision is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Losses],
        *,
        lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        clip: float | None = None,
        precision: Precision = "auto",
        compile: bool = False,
    ) -> None:
        if lr is not None and optimizer is not None:
            raise ValueError("lr belongs to the default optimizer: give lr or optimizer, not both")
        if clip is not None:
            require_number(clip, "clip", above=0)
        computes_in_bf16("cpu", precision)  # reports an unknown precision here, not in the first step
        self.model = model
        self.loss = torch.compile(loss, fullgraph=True) if compile else loss
        if optimizer is None:
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if lr is None else lr, fused=True)
        self.optimizer = optimizer
        self.clip = clip
        self.precision = precision
        self.state = {"model": model, "optimizer": self.optimizer}

    def __call__(self, *batch: Tensor) -> Losses:
        device = batch[0].device.type
        self.optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=computes_in_bf16(device, self.precision)):
            losses = self.loss(*batch)
        (losses["loss"] if isinstance(losses, Mapping) else losses).backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return losses


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
    on_epoch_end: Callable[[int, History], Mapping[str, float] | None] | None = None,
    progress: bool = True,
) -> History:
    """Repeat ``step`` over shuffled batches of ``data``, and return the history of its losses.

    The device holds all of the data. An epoch is a permutation of them, cut into batches; the last batch is smaller
    where ``batch_size`` does not divide N. The permutation depends on ``seed`` and the epoch alone. torch's global
    generator is seeded for the run and restored afterwards, so the same seed and initial weights give the same run,
    and nobody else's random numbers change.

    Args:
        step: does one complete update and returns its loss as a scalar tensor, or several in a dict: a `Descent`, or a
            function that alternates critic and generator. Its arguments are one batch of each tensor in ``data``,
            with shape (n, ...).
        data: a tensor of shape (N, ...), or several with equal N.
        epochs: how often to go through the data; 0 is allowed.
        state: by name, the modules and optimizers of the run; by default ``step.state``, if there is one. They are
            moved to the device and saved in checkpoints. Modules are in training mode during steps, and in evaluation
            mode when ``on_epoch_end`` is called and afterwards.
        checkpoint: a safetensors file. It is written every ``checkpoint_every`` seconds, at Ctrl-C (after the current
            step; a second Ctrl-C does not wait) and at the end. If it exists the run continues from it; on a CPU it
            arrives at the same bits as a run that was never stopped.
        on_epoch_end: called after an epoch with its number, from 1, and the history, without gradients. The numbers
            that it returns are recorded in ``history.extra``. Random numbers that it draws do not change the run.
        progress: show a bar in a terminal, or a live curve in a notebook.

    Raises:
        TrainingDiverged: a loss or a weight became NaN or infinite (noticed within half a second).
        CourseError: the device is not available; the checkpoint is damaged or of a run with other settings.
        ValueError, TypeError: the data or the settings make no sense.

    >>> x = torch.linspace(-1, 1, 64)[:, None]
    >>> line = nn.Linear(1, 1)
    >>> step = Descent(line, lambda x, y: (line(x) - y).square().mean(), lr=0.1)
    >>> history = fit(step, (x, 3 * x), epochs=60, batch_size=16, progress=False)
    >>> round(line.weight.item(), 2), len(history.losses["loss"])
    (3.0, 240)
    """
    require_integer(epochs, "epochs", low=0)
    require_integer(batch_size, "batch_size", low=1)
    device = resolve_device(device)
    tensors = [x.to(device) for x in _require_data(data)]
    run = _Run(
        state=getattr(step, "state", {}) if state is None else state,
        history=History(len(tensors[0]), batch_size),
        device=device,
        settings={"seed": require_seed(seed), "batch_size": batch_size, "data": [list(x.shape) for x in tensors]},
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    run.prepare()
    history = run.history
    with own_randomness(device, seed), _interrupt_after_step(checkpoint is not None) as interrupted:
        run.resume(epochs)
        first = history.steps
        display = watch(history, epochs, progress)
        look, save = _Timer(INTERVAL), _Timer(checkpoint_every)
        try:
            run.set_training(True)
            for index in _remaining_batches(history, epochs, seed, device):
                # index_select copies rows; x[index] does the same by a path that is several times slower.
                history.note(step(*(x.index_select(0, index) for x in tensors)))
                if history.steps % history.steps_per_epoch == 0:
                    history.measured.append(run.measure(on_epoch_end))
                if look.due():
                    history.drain()
                    display.update(history)
                    look.restart()
                if interrupted.is_set():
                    break
                if checkpoint is not None and save.due():
                    run.settle()
                    save.restart()
            if history.steps > first:
                run.settle()
        finally:
            run.stop_clock()
            run.set_training(False)
            display.close(history)
    return history


@dataclass
class _Run:
    """What `fit` knows of its run besides the step."""

    state: Mapping[str, Stateful]
    history: History
    device: torch.device
    settings: dict[str, Any]  # must be equal in a run that continues this one
    checkpoint: Path | None
    started: float = 0.0  # on the clock of perf_counter, moved back by the seconds of earlier sessions

    def prepare(self) -> None:
        """Move the state to the device."""
        if self.checkpoint is not None and not self.state:
            raise ValueError('nothing to save in the checkpoint: name models and optimizers, state={"model": ...}')
        self.settings["state"] = sorted(self.state)
        for module in self.modules:
            module.to(self.device)
        for thing in self.state.values():
            if isinstance(thing, torch.optim.Optimizer):
                thing.load_state_dict(thing.state_dict())  # moves the moments of an earlier run to their weights

    @property
    def modules(self) -> list[nn.Module]:
        return [thing for thing in self.state.values() if isinstance(thing, nn.Module)]

    def set_training(self, mode: bool) -> None:
        for module in self.modules:
            module.train(mode)

    def resume(self, epochs: int) -> None:
        """Continue from the checkpoint if it exists, and start the clock."""
        if self.checkpoint is not None and self.checkpoint.exists():
            saved = read_checkpoint(self.checkpoint)
            self._require_same_run(saved.extra, epochs)
            restore(self.checkpoint, saved, self.state)
            self.history.load_state(saved.extra["history"])
            self.history.checkpoint = self.checkpoint
            set_rng_states(self.device, saved.extra["rng"])
        self.started = time.perf_counter() - self.history.seconds

    def _require_same_run(self, saved: Mapping[str, Any], epochs: int) -> None:
        there = saved.get("settings", {})
        differing = [
            f"{name} is {there.get(name)} there, {value} here"
            for name, value in self.settings.items()
            if there.get(name) != value
        ]
        steps, wanted = saved.get("history", {}).get("steps", 0), epochs * self.history.steps_per_epoch
        if not differing and steps > wanted:
            differing = [f"it has done {steps} steps, epochs={epochs} makes {wanted}"]
        if differing:
            raise CourseError(
                f"the checkpoint {self.checkpoint} is of another run: {'; '.join(differing)}. "
                "Delete it or name another file."
            )

    def measure(self, on_epoch_end: Callable | None) -> dict[str, float]:
        """What ``on_epoch_end`` returns, computed in evaluation mode and with random numbers of its own."""
        if on_epoch_end is None:
            return {}
        self.history.drain()
        self.set_training(False)
        with torch.no_grad(), own_randomness(self.device):
            numbers = on_epoch_end(self.history.epochs, self.history) or {}
        self.set_training(True)
        return {name: float(value) for name, value in numbers.items()}

    def settle(self) -> None:
        """Check that all losses and weights so far are finite, and only then save."""
        self.history.drain()
        self._require_finite_weights()
        if self.checkpoint is not None:
            self.stop_clock()
            extra = {"settings": self.settings, "history": self.history.state(), "rng": rng_states(self.device)}
            save_checkpoint(self.checkpoint, self.state, **extra)
            self.history.checkpoint = self.checkpoint

    def _require_finite_weights(self) -> None:
        """The last update can break the weights after a loss that was still finite."""
        for name, thing in self.state.items():
            for weight, values in thing.named_parameters() if isinstance(thing, nn.Module) else ():
                if count_nonfinite(values):
                    step = self.history.steps
                    raise TrainingDiverged(f"{weight} of {name} is NaN or infinite after step {step}", self.history)

    def stop_clock(self) -> None:
        self.history.seconds = time.perf_counter() - self.started


class _Timer:
    """Is due when so many seconds have passed since it was started."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.restart()

    def restart(self) -> None:
        self.at = time.perf_counter() + self.seconds

    def due(self) -> bool:
        return time.perf_counter() >= self.at


def _require_data(data: Any) -> tuple[Tensor, ...]:
    """``data`` as a tuple of tensors that can be cut into batches together."""
    tensors = tuple(data) if isinstance(data, (tuple, list)) else (data,)
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"data[{i}] must be a tensor, got {type(x).__name__}; see torch.as_tensor")
    shapes = [tuple(x.shape) for x in tensors]
    if len({shape[:1] for shape in shapes}) != 1 or not shapes[0]:
        raise ValueError(f"data must be tensors of shape (N, ...) with one N, got shapes {shapes}")
    if not len(tensors[0]):
        raise ValueError(f"data must hold at least one sample, got shapes {shapes}")
    for i, x in enumerate(tensors):
        if bad := count_nonfinite(x):
            raise ValueError(f"data[{i}] holds {bad} values of {x.numel()} that are NaN or infinite")
    return tensors


def _remaining_batches(history: History, epochs: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Indices of the batches that ``history`` has not seen, from a permutation for each (seed, epoch)."""
    for epoch in range(history.epochs, epochs):
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(history.samples))
        yield from order.to(device).split(history.batch_size)[history.steps % history.steps_per_epoch :]


@contextmanager
def _interrupt_after_step(active: bool) -> Iterator[threading.Event]:
    """Inside the block, Ctrl-C sets the event instead of interrupting a step; the interrupt is raised at the end.

    A second Ctrl-C interrupts at once. Signals reach the main thread only, so in other threads nothing changes.
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
