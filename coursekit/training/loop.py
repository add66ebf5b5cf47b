"""The loop: shuffled batches go through a step; the step is the lecture's."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.errors import CourseError

from .checkpoint import read_checkpoint, restore, save_checkpoint
from .device import computes_in_bf16, own_randomness, require_seed, resolve_device, rng_states, set_rng_states
from .history import History, TrainingDiverged
from .progress import INTERVAL, watch

Losses = Tensor | Mapping[str, Tensor]


class Descent:
    """The usual step for one loss: one update of ``model`` down the gradient of ``loss(*batch)``.

    Args:
        model: the module whose parameters are updated.
        loss: maps a batch to a scalar, or to a dict of scalars of which "loss" is descended and the others
            are recorded beside it. It may draw noise from torch's global generator.
        lr: learning rate of the default optimizer, Adam in its fused form; 1e-3 unless given.
        optimizer: another optimizer of ``model``'s parameters, with a learning rate of its own.
        clip: the gradient is shortened to this norm where it is longer.
        precision: "float32", "bf16" (the loss is computed under bfloat16 autocast; weights stay float32), or
            "auto": bf16 on a GPU made for it, else float32. Autocast knows no ``binary_cross_entropy`` on a
            GPU: use ``binary_cross_entropy_with_logits``.
        compile: let ``torch.compile`` fuse the loss; code that it cannot compile as a whole is an error.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Losses],
        *,
        lr: float | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        clip: float | None = None,
        precision: str = "auto",
        compile: bool = False,
    ) -> None:
        if lr is not None and optimizer is not None:
            raise ValueError("lr belongs to the default optimizer: give lr or optimizer, not both")
        if clip is not None and not clip > 0:
            raise ValueError(f"clip is the largest norm of the gradient: expected a positive number, got {clip}")
        computes_in_bf16("cpu", precision)  # a misspelt precision is told here, not in the first step
        self.model = model
        self.loss = torch.compile(loss, fullgraph=True) if compile else loss
        if optimizer is None:
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3 if lr is None else lr, fused=True)
        self.optimizer = optimizer
        self.clip = clip
        self.precision = precision
        self.keep = {"model": model, "optimizer": self.optimizer}

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
    keep: Mapping[str, Any] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: float = 60.0,
    on_epoch_end: Callable[[int, History], Mapping[str, float] | None] | None = None,
    progress: bool = True,
) -> History:
    """Repeat ``step`` over shuffled batches of ``data`` and return the history of its losses.

    The data lie on the device as a whole, and an epoch is a permutation of them cut into batches, the last of
    which is smaller where ``batch_size`` does not divide N. The permutation depends on ``seed`` and the epoch
    alone, and torch's global generator is seeded for the run and put back afterwards. So the same seed and
    initial weights give the same run, and nobody else's random numbers change.

    Args:
        step: does one whole update, e.g. `Descent` or a function that alternates critic and generator, and
            returns its loss as a scalar tensor, or several in a dict. It is called with one batch of each
            tensor in ``data``, shape (n, ...).
        data: a tensor of shape (N, ...) or several with equal N.
        epochs: how often to go through the data; 0 is allowed.
        keep: by name, the modules and optimizers of the run, ``step.keep`` if it has that. They are moved to
            the device and saved in checkpoints. Modules are in training mode during steps and in evaluation
            mode when ``on_epoch_end`` is called and afterwards.
        checkpoint: a safetensors file. It is written every ``checkpoint_every`` seconds, at Ctrl-C (after the
            step in flight; a second Ctrl-C does not wait) and at the end. If it exists the run goes on from
            there, on a CPU to the same bits as if it had never stopped.
        on_epoch_end: called after an epoch with its number, from 1, and the history, without gradients. The
            numbers that it returns are recorded as ``history.extra``. Random numbers it draws do not change
            the run.
        progress: show a bar in a terminal, a live curve in a notebook.

    Raises:
        TrainingDiverged: a loss or a weight became NaN or infinite (noticed within half a second).
        CourseError: the device is not there; the checkpoint is damaged or of a run with other settings.
        ValueError, TypeError: the data or the settings make no sense.
    """
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"expected epochs ≥ 0 and batch_size ≥ 1, got {epochs} and {batch_size}")
    require_seed(seed)
    device = resolve_device(device)
    tensors = [x.to(device) for x in _checked(data)]
    keep = getattr(step, "keep", {}) if keep is None else keep
    if checkpoint is not None and not keep:
        raise ValueError('nothing to save in the checkpoint: name models and optimizers, keep={"model": ...}')
    modules = [thing for thing in keep.values() if isinstance(thing, nn.Module)]
    for module in modules:
        module.to(device)
    for thing in keep.values():
        if isinstance(thing, torch.optim.Optimizer):
            thing.load_state_dict(thing.state_dict())  # the moments of an earlier run follow their weights
    history = History(len(tensors[0]), batch_size)
    settings = {
        "seed": seed,
        "batch_size": batch_size,
        "data": [list(x.shape) for x in tensors],
        "keep": sorted(keep),
    }

    def settle() -> None:
        """Nothing is saved before all losses and weights so far are known to be finite."""
        history.drain()
        _require_finite_weights(keep, history)
        if checkpoint is not None:
            history.seconds = time.perf_counter() - started
            run = {"settings": settings, "history": history.state(), "rng": rng_states(device)}
            save_checkpoint(checkpoint, keep, **run)
            history.checkpoint = Path(checkpoint)

    with own_randomness(device, seed), _interrupt_after_step(checkpoint is not None) as interrupted:
        if checkpoint is not None and Path(checkpoint).exists():
            _resume(Path(checkpoint), keep, settings, history, epochs, device)
        first = history.steps
        display = watch(history, epochs, progress)
        now = time.perf_counter()
        started, look_at, save_at = now - history.seconds, now + INTERVAL, now + checkpoint_every
        try:
            _set_training(modules, True)
            for index in _remaining_batches(history, epochs, seed, device):
                # index_select copies rows; x[index] does the same by a path that is several times slower.
                history.note(step(*(x.index_select(0, index) for x in tensors)))
                if history.steps % history.steps_per_epoch == 0:
                    history.measured.append(_measure(on_epoch_end, history, modules, device))
                now = time.perf_counter()
                if now >= look_at:
                    history.drain()
                    display.update(history)
                    look_at = time.perf_counter() + INTERVAL
                if interrupted.is_set():
                    break
                if checkpoint is not None and now >= save_at:
                    settle()
                    save_at = time.perf_counter() + checkpoint_every
            if history.steps > first:
                settle()
        finally:
            history.seconds = time.perf_counter() - started
            _set_training(modules, False)
            display.close(history)
    return history


def _checked(data: object) -> tuple[Tensor, ...]:
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
        if bad := _count_nonfinite(x):
            raise ValueError(f"data[{i}] holds {bad} values of {x.numel()} that are NaN or infinite")
    return tensors


def _count_nonfinite(x: Tensor) -> int:
    """How many values are NaN or infinite; a finite sum says none, at a fiftieth of the cost of looking."""
    return 0 if x.sum().isfinite() else int((~x.isfinite()).sum())


def _remaining_batches(history: History, epochs: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Indices of the batches that ``history`` has not seen, by a permutation per (seed, epoch)."""
    for epoch in range(history.epochs, epochs):
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(history.samples))
        yield from order.to(device).split(history.batch_size)[history.steps % history.steps_per_epoch :]


def _set_training(modules: list[nn.Module], mode: bool) -> None:
    for module in modules:
        module.train(mode)


def _measure(
    on_epoch_end: Callable | None, history: History, modules: list[nn.Module], device: torch.device
) -> dict[str, float]:
    if on_epoch_end is None:
        return {}
    history.drain()
    _set_training(modules, False)
    with torch.no_grad(), own_randomness(device):
        numbers = on_epoch_end(history.epochs, history) or {}
    _set_training(modules, True)
    return {name: float(value) for name, value in numbers.items()}


def _require_finite_weights(keep: Mapping[str, Any], history: History) -> None:
    """The last update can break the weights after a loss that was still finite."""
    for name, thing in keep.items():
        for weight, values in thing.named_parameters() if isinstance(thing, nn.Module) else ():
            if _count_nonfinite(values):
                raise TrainingDiverged(f"{weight} of {name} is NaN or infinite after step {history.steps}", history)


def _resume(
    path: Path, keep: Mapping[str, Any], settings: dict, history: History, epochs: int, device: torch.device
) -> None:
    saved = read_checkpoint(path)
    there = saved.get("settings", {})
    differing = [
        f"{name} is {there.get(name)} there, {value} here"
        for name, value in settings.items()
        if there.get(name) != value
    ]
    steps, wanted = saved.get("history", {}).get("steps", 0), epochs * history.steps_per_epoch
    if not differing and steps > wanted:
        differing = [f"it has done {steps} steps, epochs={epochs} makes {wanted}"]
    if differing:
        raise CourseError(
            f"the checkpoint {path} is of another run: {'; '.join(differing)}. Delete it or name another file."
        )
    restore(path, saved, keep)
    history.load_state(saved["history"])
    history.checkpoint = path
    set_rng_states(device, saved["rng"])


@contextmanager
def _interrupt_after_step(active: bool) -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of stopping amid a step, and counts when the block ends.

    A second Ctrl-C stops at once. Signals reach the main thread only, so elsewhere nothing is held back.
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
