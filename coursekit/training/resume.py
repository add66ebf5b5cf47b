"""The checkpoint of a run of `fit`: what is saved besides the states, and which run may go on from there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from coursekit.errors import CourseError
from coursekit.training.checkpoint import Stateful, read_checkpoint, restore, save_checkpoint
from coursekit.training.device import rng_states, set_rng_states
from coursekit.training.history import History


@dataclass(frozen=True)
class RunCheckpoint:
    """The file in which a run is saved and from which it goes on.

    Attributes:
        path: the file, whether it exists or not.
        state: the modules and optimizers of the run, by name.
        settings: what two runs must have in common for one to continue the other.
        device: where the run computes.
    """

    path: Path
    state: Mapping[str, Stateful]
    settings: dict[str, Any]
    device: torch.device

    def save(self, history: History) -> None:
        """Save the run as it is after the last step of ``history``."""
        save_checkpoint(
            self.path, self.state, settings=self.settings, history=history.state_dict(), rng=rng_states(self.device)
        )
        history.checkpoint = self.path

    def resume(self, history: History, epochs: int) -> None:
        """If the file exists, put ``history``, the states and torch's generators back to where it was saved.

        Raises:
            CourseError: the file is damaged, or of a run with other settings, states or more epochs.
        """
        if not self.path.exists():
            return
        saved = read_checkpoint(self.path)
        # Compare the settings of the two runs.
        there = saved.extra.get("settings", {})
        differing = [
            f"{name} is {there.get(name)} there, {value} here"
            for name, value in self.settings.items()
            if there.get(name) != value
        ]
        steps, wanted = saved.extra.get("history", {}).get("steps", 0), epochs * history.steps_per_epoch
        if not differing and steps > wanted:
            differing = [f"it has done {steps} steps, epochs={epochs} makes {wanted}"]
        if differing:
            raise CourseError(
                f"the checkpoint {self.path} is of another run: {'; '.join(differing)}. Delete it or name another file."
            )
        # Restore the states last, so that no fault of the file leaves them half restored.
        history.load_state_dict(saved.extra["history"])
        history.checkpoint = self.path
        set_rng_states(self.device, saved.extra["rng"])
        restore(self.path, saved, self.state)
