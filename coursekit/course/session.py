"""The set-up of a lecture notebook: profile, seed, device, inline figures."""

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from coursekit.course.records import emit
from coursekit.errors import unknown

if TYPE_CHECKING:
    import torch

PROFILES = ("smoke", "quick", "full")
DEVICES = ("auto", "cpu", "cuda", "mps")
PROFILE_VARIABLE = "COURSEKIT_PROFILE"

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One run of one notebook: which profile it runs at, from which seed, on which device."""

    profile: str
    seed: int
    device: "torch.device"

    def pick(self, *, quick: T, smoke: T | None = None, full: T | None = None) -> T:
        """The value for this session's profile; ``smoke`` and ``full`` fall back to ``quick`` where not given."""
        value = {"smoke": smoke, "quick": quick, "full": full}[self.profile]
        return quick if value is None else value


_current: Session | None = None


def current() -> Session:
    """The session that ``setup`` made in this kernel; an error if there is none."""
    if _current is None:
        raise RuntimeError(
            "no session yet: run the cell with `course = setup(PROFILE, SEED, DEVICE)` at the top of the notebook"
        )
    return _current


def setup(profile: str = "quick", seed: int = 0, device: str = "auto") -> Session:
    """Make this kernel ready for a lecture: inline figures in the course's style, seeds, device, threads.

    At smoke and quick PyTorch computes on one thread, at full on as many as it finds.

    Parameters
    ----------
    profile
        ``"smoke"`` (seconds; identities and shapes), ``"quick"`` (about a minute, embedded data) or
        ``"full"`` (real data). The environment variable ``COURSEKIT_PROFILE`` wins where it is set: tools
        that cannot pass parameters to a notebook use it.
    seed
        Seeds Python, NumPy and PyTorch.
    device
        ``"auto"`` takes CUDA, then Apple's MPS, then the CPU.

    Raises
    ------
    ValueError
        The profile is unknown.
    CourseError
        The device is not there.
    """
    global _current
    profile = os.environ.get(PROFILE_VARIABLE) or profile
    if profile not in PROFILES:
        raise ValueError(unknown("profile", profile, PROFILES))

    import torch

    from coursekit.figures import use_style
    from coursekit.training import resolve_device, seed_everything

    _show_figures_inline()
    use_style()
    seed_everything(seed)
    if profile != "full":
        # The models are small, and two threads that wait for each other beside another busy program are many times
        # slower than one.
        torch.set_num_threads(1)
    _current = Session(profile, seed, resolve_device(device))
    _new_notebook()
    emit(
        "setup",
        {
            "profile": profile,
            "seed": seed,
            "device": str(_current.device),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
        },
        text=f"profile {profile} · seed {seed} · device {_current.device}",
    )
    return _current


def _new_notebook() -> None:
    from coursekit.course import claims, display

    claims.forget()
    display.forget()


def _show_figures_inline() -> None:
    """Figures appear in the notebook even where the environment sets ``MPLBACKEND=agg``."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")
