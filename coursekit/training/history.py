"""What a run leaves behind, and the error of a run that diverged."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from coursekit.errors import CourseError
from coursekit.validation import raise_what_failed

Losses = Tensor | Mapping[str, Tensor]


class TrainingDiverged(CourseError):
    """A loss or a weight became NaN or infinite. ``history`` holds what was finite."""

    def __init__(self, what: str, history: "History") -> None:
        saved = f" The last good checkpoint is {history.checkpoint}." if history.checkpoint else ""
        super().__init__(
            f"{what}. Lower the learning rate, clip the gradient (Descent(..., clip=1.0)), "
            f"or look for a logarithm or a division at 0.{saved}"
        )
        self.history = history


class History:
    """The losses of a run and what was measured on the way.

    Attributes:
        losses: by name, one value per step, shape (steps,). A loss without a name is called "loss".
        epoch_losses: by name, the mean of each finished epoch, shape (epochs,).
        extra: by name, what ``on_epoch_end`` returned, shape (epochs,); NaN where it returned nothing.
        steps, epochs: how many were done; only whole epochs count.
        seconds: wall-clock time, with all callbacks and checkpoints, over all sessions of a resumed run.
        checkpoint: where the run was saved last, or None.
    """

    def __init__(self, samples: int, batch_size: int) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.losses: dict[str, Float64[np.ndarray, " steps"]] = {}
        self.measured: list[dict[str, float]] = []  # one entry per epoch
        self.steps = 0
        self.checkpoint: Path | None = None
        self._seconds = 0.0
        self._started: float | None = None  # on the clock, while the run lasts
        self._pending: list[Tensor] = []  # losses that are still on the device, in the order of `_names`, step by step
        self._names: tuple[str, ...] = ()
        self.put_off: dict[str, Tensor] = {}  # checks of values that are still on the device

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.samples // self.batch_size)

    @property
    def epochs(self) -> int:
        return self.steps // self.steps_per_epoch

    @property
    def epoch_losses(self) -> dict[str, Float64[np.ndarray, " epochs"]]:
        whole = self.epochs * self.steps_per_epoch
        return {
            name: values[:whole].reshape(self.epochs, -1).mean(1) if whole else values[:0]
            for name, values in self.losses.items()
        }

    @property
    def extra(self) -> dict[str, Float64[np.ndarray, " epochs"]]:
        names = dict.fromkeys(name for numbers in self.measured for name in numbers)
        return {name: np.array([numbers.get(name, np.nan) for numbers in self.measured]) for name in names}

    @property
    def seconds(self) -> float:
        return self._seconds + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def samples_per_second(self) -> float:
        rest = (self.steps % self.steps_per_epoch) * self.batch_size
        return (self.epochs * self.samples + rest) / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        """One line without timings, the same on every run; losses are means of the first and the last epoch."""
        losses = []
        for name, means in self.epoch_losses.items():
            ends = means[[0, -1]] if len(means) > 1 else means
            losses.append(f"{name} " + " → ".join(f"{value:.4g}" for value in ends))
        epochs, steps = _count(self.epochs, "epoch"), _count(self.steps, "step")
        return f"Trained {epochs}, {steps}" + (": " + ", ".join(losses) if self.epochs else "")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time that the block takes."""
        self._started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds, self._started = self.seconds, None

    def record(self, losses: Losses) -> None:
        """Note what a step returned, without waiting for the device to compute it."""
        named = by_name(losses)
        if self._names != tuple(named):
            if self._names:
                raise ValueError(
                    f"a step must return the same losses each time: {self._names} at first, "
                    f"{tuple(named)} at step {self.steps + 1}"
                )
            self._names = tuple(named)
        self._pending += [loss.detach() for loss in named.values()]
        self.steps += 1

    def flush(self) -> None:
        """Fetch the pending losses from the device in one transfer, and look at the checks that were put off.

        Raises:
            ValueError: one of these checks failed.
            TrainingDiverged: one of them is not finite; the history ends before its step.
        """
        raise_what_failed(self.put_off)
        if not self._pending:
            return
        values = torch.stack(self._pending).cpu().double().numpy().reshape(-1, len(self._names))  # (steps, losses)
        self._pending.clear()
        finite = np.isfinite(values).all(1)  # (steps,)
        good = len(values) if finite.all() else int(finite.argmin())
        for name, column in zip(self._names, values[:good].T, strict=True):
            self.losses[name] = np.concatenate([self.losses.get(name, column[:0]), column])
        if good < len(values):
            self.steps -= len(values) - good
            raise self._diverged(values[good])

    def _diverged(self, values: Float64[np.ndarray, " losses"]) -> TrainingDiverged:
        """The error for the first step whose losses, ``values``, are not all finite."""
        column = int(np.isfinite(values).argmin())
        name = self._names[column]
        before = ", ".join(f"{value:.4g}" for value in self.losses[name][-3:]) or "none"
        return TrainingDiverged(
            f"{name} became {values[column]} at step {self.steps + 1} (epoch {self.epochs + 1}); "
            f"its last finite values: {before}",
            self,
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of this history."""
        losses = {name: torch.from_numpy(values) for name, values in self.losses.items()}
        return {"losses": losses, "measured": self.measured, "steps": self.steps, "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.losses = {name: values.numpy() for name, values in state["losses"].items()}
        self.measured, self.steps, self._seconds = state["measured"], state["steps"], state["seconds"]
        self._names = tuple(self.losses)


def by_name(losses: Losses) -> Mapping[str, Tensor]:
    """What a step returned as scalar tensors by name; a loss without a name is called "loss"."""
    named = losses if isinstance(losses, Mapping) else {"loss": losses}
    for name, loss in named.items():
        if not isinstance(loss, Tensor) or loss.dim() or loss.is_complex():
            got = f"shape {tuple(loss.shape)}, {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(
                f"a step must return its loss as a scalar tensor, or a dict of them; {name!r} is {got}. "
                "Return loss itself, not loss.item(), which waits for the device."
            )
    return named


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
