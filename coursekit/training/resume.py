"""The checkpoint of a run of `fit`: what is saved besides the states, and which run may go on from there."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from coursekit.errors import CourseError
from coursekit.training.checkpoint import (
    Stateful,
    bytes_of,
    read_checkpoint,
    require_writable,
    restore,
    save_checkpoint,
)
from coursekit.training.compatibility import listed, settings_of
from coursekit.training.device import rng_states, set_rng_states
from coursekit.training.history import History


@dataclass(frozen=True)
class RunCheckpoint:
    """The file in which a run is saved and from which it goes on.

    Attributes:
        path: the file, whether it exists or not.
        state: the modules and optimizers of the run, by name.
        settings: in words, what two runs must have in common for one to continue the other; None for what the run
            itself changes, such as the epoch of a schedule.
        device: where the run computes.
    """

    path: Path
    state: Mapping[str, Stateful]
    settings: dict[str, str | None]
    device: torch.device

    def save(self, history: History) -> None:
        """Save the run as it is after the last step of ``history``."""
        for name, value in self._built_with().items():
            if self.settings.get(name) != value:
                self.settings[name] = None
        save_checkpoint(
            self.path, self.state, settings=self.settings, history=history.state_dict(), rng=rng_states(self.device)
        )
        history.checkpoint = self.path

    def resume(self, history: History, epochs: int) -> None:
        """If the file exists, put ``history``, the states and torch's generators back to where it was saved.

        Raises:
            CourseError: the file is damaged, or of a run with other settings, states or more epochs; or nothing can be
                written there, which nobody wants to learn at the end.
        """
        require_writable(self.path)
        self.settings.update(self._built_with())
        if not self.path.exists():
            return
        saved = read_checkpoint(self.path)
        # Compare the settings of the two runs.
        there = saved.extra.get("settings", {})
        differing = [
            f"{name} is {there.get(name, 'absent')} there, {self.settings.get(name, 'absent')} here"
            for name in {**self.settings, **there}
            if there.get(name, "absent") not in (None, self.settings.get(name, "absent"))
        ]
        steps, wanted = saved.extra.get("history", {}).get("steps", 0), epochs * history.steps_per_epoch
        if not differing and steps > wanted:
            differing = [f"it has done {steps} steps, epochs={epochs} makes {wanted}"]
        if differing:
            raise CourseError(
                f"the checkpoint {self.path} is of another run: {listed(differing)}. Delete it or name another file. "
                "A new run can start with the weights in it: load_checkpoint."
            )
        # Restore the states last, so that no fault of the file leaves them half restored.
        history.load_state_dict(saved.extra["history"])
        history.checkpoint = self.path
        set_rng_states(self.device, saved.extra["rng"])
        restore(self.path, saved, self.state)
        self.settings.update(there)

    def _built_with(self) -> dict[str, str]:
        return {key: text for name, thing in self.state.items() for key, text in settings_of(name, thing).items()}


def fingerprint(x: Tensor) -> str:
    """Type, shape and checksum of a tensor."""
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)} with checksum {zlib.crc32(bytes_of(x)):08x}"
