"""The set-up of a lecture notebook: profile, seed, device, inline figures."""

import functools
import itertools
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from coursekit.course.records import Check, Claim, emit
from coursekit.errors import CourseError, is_out_of_memory

if TYPE_CHECKING:
    import torch

PROFILES = ("smoke", "quick", "full")
DEVICES = ("auto", "cpu", "cuda", "mps")
PROFILE_VARIABLE = "COURSEKIT_PROFILE"

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One run of one notebook: its profile, seed and device, and what it has claimed, shown and solved so far."""

    profile: str
    seed: int
    device: "torch.device"
    claims: list[Claim] = field(default_factory=list, repr=False, compare=False)
    checks: list[Check] = field(default_factory=list, repr=False, compare=False)
    unshown: list[Check] = field(default_factory=list, repr=False, compare=False)  # those that no table shows yet
    solved: set[str] = field(default_factory=set, repr=False, compare=False)  # names of exercises
    figure_numbers: Iterator[int] = field(default_factory=partial(itertools.count, 1), repr=False, compare=False)

    def pick(self, *, quick: T, smoke: T | None = None, full: T | None = None) -> T:
        """The value for this session's profile; ``smoke`` and ``full`` fall back to ``quick`` where not given."""
        value = {"smoke": smoke, "quick": quick, "full": full}[self.profile]
        return quick if value is None else value


_current: Session | None = None
_drawing = False  # a drawing function of `explore` or `animate` is running


def current() -> Session:
    """The session that `setup` made in this kernel.

    Raises:
        RuntimeError: there is none yet, or a drawing function asks for it.
    """
    if _drawing:
        raise RuntimeError(
            "a drawing function runs many times, so it only returns a figure: "
            "claim, check, guess, show and exercise outside of it"
        )
    if _current is None:
        raise RuntimeError(
            "no session yet: run the cell with `course = setup(PROFILE, SEED, DEVICE)` at the top of the notebook"
        )
    return _current


@contextmanager
def drawing() -> Iterator[None]:
    """While a drawing function runs, nothing can be recorded in the session."""
    global _drawing
    _drawing = True
    try:
        yield
    finally:
        _drawing = False


@functools.cache
def _threads_at_start() -> int:
    """The threads on which PyTorch computed before the first `setup`."""
    import torch

    return torch.get_num_threads()


def setup(profile: str = "quick", seed: int = 0, device: str = "auto") -> Session:
    """Make this kernel ready for a lecture: inline figures in the course's style, seeds, device, threads.

    At smoke and quick PyTorch computes on one thread, at full on as many as it finds. Claims and figures are numbered
    from 1 again, and no exercise is solved.

    Args:
        profile: ``"smoke"`` (seconds; identities and shapes), ``"quick"`` (about a minute, embedded data) or
            ``"full"`` (real data). The environment variable ``COURSEKIT_PROFILE`` wins where it is set: tools that
            cannot pass parameters to a notebook use it.
        seed: seeds Python, NumPy and PyTorch.
        device: ``"auto"`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ValueError: the profile is unknown, or the seed is out of range.
        CourseError: this machine has no such device.
    """
    import torch

    from coursekit.figures import use_style
    from coursekit.training import resolve_device, seed_everything
    from coursekit.validation import require_choice, require_integer

    global _current
    profile = require_choice(os.environ.get(PROFILE_VARIABLE) or profile, "profile", PROFILES)
    _show_figures_inline()
    use_style()
    seed = require_integer(seed, "seed", low=0)
    seed_everything(seed)
    # The models of smoke and quick are small: two threads that wait for each other beside another busy program take
    # many times as long as one.
    threads = _threads_at_start()  # before they are set
    torch.set_num_threads(threads if profile == "full" else 1)
    _current = Session(profile, seed, resolve_device(device))
    _explain_when_memory_ends()
    record = {
        "profile": profile,
        "seed": seed,
        "device": str(_current.device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__.split("+")[0]},
    }
    emit("setup", record, text=f"profile {profile} · seed {seed} · device {_current.device}")
    return _current


def _show_figures_inline() -> None:
    """Show figures in the notebook even where the environment sets ``MPLBACKEND=agg``."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        shell.run_line_magic("matplotlib", "inline")


def _explain_when_memory_ends() -> None:
    """In a notebook, an error for lack of memory names the setting to lower, under the traceback of its cause."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:
        return

    def show(shell: Any, kind: type, error: BaseException, traceback: Any, tb_offset: int | None = None) -> None:
        if is_out_of_memory(error):
            session = current()
            explained = CourseError(
                f"not enough memory for profile {session.profile} on {session.device}: "
                "choose a smaller PROFILE or another DEVICE in the notebook's parameters, and restart the kernel."
            )
            explained.__cause__, kind, error = error, CourseError, explained
        shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)

    shell.set_custom_exc((RuntimeError, MemoryError), show)
