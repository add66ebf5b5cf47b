"""What a run leaves behind, and the error of one that went astray."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from coursekit.errors import CourseError


class TrainingDiverged(CourseError):
    """A loss or a weight became NaN or infinite. ``history`` holds all that was finite."""

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
        losses: by name, one value per step, shape (steps,). A plain loss is named "loss".
        epoch_losses: by name, the mean of each finished epoch, shape (epochs,).
        extra: by name, what ``on_epoch_end`` returned, shape (epochs,); NaN where it returned nothing.
        steps, epochs: how many were done; only whole epochs count.
        seconds: wall-clock time, with all callbacks and checkpoints, over all sessions of a resumed run.
        checkpoint: where the run was saved last, or None.
    """

    def __init__(self, samples: int, batch_size: int) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.losses: dict[str, Float64[np.ndarray, " steps"]] = {}
        self.measured: list[dict[str, float]] = []  # one entry an epoch
        self.steps = 0
        self.seconds = 0.0
        self.checkpoint: Path | None = None
        self._pending: list[Tensor] = []  # losses still on the device, step by step in the order of `_names`
        self._names: tuple[str, ...] = ()

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
    def samples_per_second(self) -> float:
        rest = (self.steps % self.steps_per_epoch) * self.batch_size
        return (self.epochs * self.samples + rest) / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        """One stable line, without timings; losses are means of the first and the last epoch."""
        losses = []
        for name, means in self.epoch_losses.items():
            ends = means[[0, -1]] if len(means) > 1 else means
            losses.append(f"{name} " + " → ".join(f"{value:.4g}" for value in ends))
        epochs, steps = _count(self.epochs, "epoch"), _count(self.steps, "step")
        return f"Trained {epochs}, {steps}" + (": " + ", ".join(losses) if self.epochs else "")

    def note(self, losses: Any) -> None:
        """Remember what a step returned, without waiting for the device to compute it."""
        named = losses if isinstance(losses, Mapping) else {"loss": losses}
        if self._names != tuple(named):
            if self._names:
                raise ValueError(
                    f"a step must return the same losses each time: {self._names} at first, "
                    f"{tuple(named)} at step {self.steps + 1}"
                )
            self._names = tuple(named)
        for name, loss in named.items():
            if not isinstance(loss, Tensor) or loss.dim():
                got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise TypeError(
                    f"a step must return its loss as a scalar tensor, or a dict of them; {name!r} is {got}. "
                    "Return loss itself, not loss.item(), which waits for the device."
                )
            self._pending.append(loss.detach())
        self.steps += 1

    def drain(self) -> None:
        """Fetch the pending losses in one transfer; the first that is not finite is `TrainingDiverged`."""
        if not self._pending:
            return
        values = torch.stack(self._pending).cpu().double().numpy().reshape(-1, len(self._names))
        self._pending.clear()
        finite = np.isfinite(values).all(1)
        good = len(values) if finite.all() else int(finite.argmin())
        for name, column in zip(self._names, values[:good].T, strict=True):
            self.losses[name] = np.concatenate([self.losses.get(name, column[:0]), column])
        if good < len(values):
            self.steps -= len(values) - good
            column = int(np.isfinite(values[good]).argmin())
            name = self._names[column]
            before = ", ".join(f"{value:.4g}" for value in self.losses[name][-3:]) or "none"
            raise TrainingDiverged(
                f"{name} became {values[good, column]} at step {self.steps + 1} (epoch {self.epochs + 1}); "
                f"its last finite values: {before}",
                self,
            )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        losses = {name: torch.from_numpy(values) for name, values in self.losses.items()}
        return {"losses": losses, "measured": self.measured, "steps": self.steps, "seconds": self.seconds}

    def load_state(self, state: dict[str, Any]) -> None:
        self.losses = {name: values.numpy() for name, values in state["losses"].items()}
        self.measured, self.steps, self.seconds = state["measured"], state["steps"], state["seconds"]
        self._names = tuple(self.losses)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
