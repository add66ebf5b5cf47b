"""Exercises: a function that the student writes, checked by its name.

Each lecture has a module ``coursekit.exercises.lectureNN`` with ``exercise = Exercises(name=check, …)``. A check takes
the student's function, returns what was right about it, and raises ``Wrong`` with a message that says what differs.
"""

import copy
from collections.abc import Callable
from typing import Any

from coursekit.course.records import emit

Check = Callable[[Callable[..., Any]], str]

NOTHING_YET = "it returns nothing yet; end the function with `return …`"
TOLERANCE = 1e-5  # relative to the largest entry: the same formula in another order, in float32


class Wrong(Exception):
    """What differs between the student's function and the right one."""


class ExerciseOpen(Exception):
    """An exercise that is not solved yet; the message says what differs."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback through our code."""
        return [f"✗ {self}"]


class Exercises:
    """The exercises of one lecture: ``exercise = Exercises(name=check, …)``, then ``exercise(function)``."""

    def __init__(self, **checks: Check) -> None:
        self.checks = checks

    def __call__(self, function: Callable[..., Any]) -> None:
        """Check the student's ``function`` by its name.

        Raises:
            ExerciseOpen: it is not right yet; the message says on which inputs, and what differs.
            LookupError: the lecture has no exercise of this name.
        """
        name = function.__name__
        if name not in self.checks:
            known = ", ".join(self.checks)
            raise LookupError(f"no exercise is called {name!r}: keep the name of the function; there are {known}")
        try:
            praise = self.checks[name](function)
        except (Wrong, NotImplementedError) as error:
            message = f"{name}: {error if isinstance(error, Wrong) else 'not written yet'}"
            emit("exercise", {"name": name, "verdict": "open", "message": message}, text=f"○ {name} is open")
            raise ExerciseOpen(message) from None
        emit("exercise", {"name": name, "verdict": "solved", "message": praise}, text=f"✓ {name}: {praise}")


def against(reference: Callable[..., Any], cases: dict[str, tuple[Any, ...]]) -> Check:
    """The check that a function equals ``reference`` on every one of the named ``cases`` (tuples of arguments)."""

    def check(function: Callable[..., Any]) -> str:
        right: list[str] = []
        for case, arguments in cases.items():
            given = copy.deepcopy(arguments)
            expected = reference(*copy.deepcopy(arguments))
            try:
                got = function(*given)
            except NotImplementedError:
                raise
            except Exception as error:
                raise Wrong(f"{_so_far(right)}on {case} it raises {type(error).__name__}: {error}") from error
            if difference := differs(expected, got, TOLERANCE):
                raise Wrong(f"{_so_far(right)}wrong on {case}: {difference}")
            if any(differs(a, b, 0.0) for a, b in zip(arguments, given, strict=True)):
                raise Wrong(f"right on {case}, but it changes its argument in place; return a new value instead")
            right.append(case)
        return f"right on {', '.join(right)}"

    return check


def differs(expected: Any, got: Any, tolerance: float) -> str:
    """What differs between two values, in words; empty where nothing does beyond ``tolerance``."""
    import torch

    if got is None or got is Ellipsis:
        return NOTHING_YET
    if isinstance(expected, tuple):
        if not isinstance(got, tuple) or len(got) != len(expected):
            return f"expected {len(expected)} values, got {_kind(got)}"
        found = [differs(e, g, tolerance) for e, g in zip(expected, got, strict=True)]
        return "; ".join(f"value {i + 1}: {text}" for i, text in enumerate(found) if text)
    if not isinstance(expected, torch.Tensor | float | int):
        return "" if expected == got else f"expected {expected!r}, got {got!r}"
    if isinstance(expected, torch.Tensor) and not isinstance(got, torch.Tensor):
        return f"expected a tensor of shape {tuple(expected.shape)}, got {_kind(got)}"
    try:
        a, b = torch.as_tensor(expected), torch.as_tensor(got)
    except (TypeError, ValueError, RuntimeError):
        return f"expected {_kind(expected)}, got {_kind(got)}"
    if a.shape != b.shape:
        return f"expected shape {tuple(a.shape)}, got {tuple(b.shape)}"
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    if b.isnan().any() and not a.isnan().any():
        return "the result holds NaN"
    gap = (a - b).abs()
    if not gap.numel() or gap.max() <= tolerance * (1 + a.abs().max()):
        return ""
    place = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    where = f"at index {place} " if place else ""
    return f"{where}expected {a[place].item():.4g}, got {b[place].item():.4g}"


def check_shape(got: Any, shape: tuple[int, ...], what: str) -> None:
    """``Wrong`` if what a function returned is no tensor of this shape; ``what`` names it in the message."""
    import torch

    if isinstance(got, torch.Tensor) and got.shape == shape:
        return
    found = f"shape {tuple(got.shape)}" if hasattr(got, "shape") else f"a {type(got).__name__}"
    raise Wrong(f"expected {what} shape {tuple(shape)}, got {found}")


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else f" ({value!r})")


def _so_far(right: list[str]) -> str:
    return f"right on {', '.join(right)}; " if right else ""
