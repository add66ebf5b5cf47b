"""Exercises: a function that the student writes, checked by its name.

Each lecture has a module ``coursekit.exercises.lectureNN`` that holds the course's own solutions and their checks in
``exercise = Exercises(Exercise(solution, check), …)``. A check takes the student's function and returns what is right
about it, or raises `Wrong` with a message that says what differs. A notebook never stops at an exercise: it goes on
with the student's function if that is right, and else with the course's own.
"""

import copy
import html
import random
import textwrap
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coursekit.course import session
from coursekit.course.records import emit, in_words

Answer = Callable[..., Any]  # what a student writes
Check = Callable[[Answer], str]

NOTHING_YET = "it returns nothing yet; end the function with `return …`"
TOLERANCE = 1e-5  # relative to the largest entry: the same formula in another order, in float32


class Wrong(Exception):
    """What differs between the student's function and the right one."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: the course's own solution, a function with the exercise's name, and the check of an answer."""

    solution: Answer
    check: Check

    @property
    def name(self) -> str:
        """The name that the student's function must have."""
        return self.solution.__name__


class Exercises:
    """The exercises of one lecture: ``exercise = Exercises(Exercise(…), …)``, then ``f = exercise(f)``."""

    def __init__(self, *exercises: Exercise) -> None:
        self.by_name = {exercise.name: exercise for exercise in exercises}

    def __call__(self, function: Answer) -> Answer:
        """Check the student's ``function`` by its name, and say what is right about it or what differs.

        Returns:
            The function itself if it is right, else the course's own.

        Raises:
            LookupError: the lecture has no exercise of this name.
            TypeError: this is not a function.
            RuntimeError: `setup` was not called yet.
        """
        solved = session.current().solved  # by the answers checked last
        name = getattr(function, "__name__", None)
        if name is None:
            raise TypeError(f"exercise: expected your function itself, got {_describe(function)}")
        if name not in self.by_name:
            known = ", ".join(self.by_name)
            raise LookupError(f"no exercise is called {name!r}: keep the name of the function; there are {known}")
        try:
            praise = _judge(self.by_name[name], function)
        except Wrong as error:
            solved.discard(name)
            _show_open(name, str(error))
            return self.by_name[name].solution
        solved.add(name)
        emit("exercise", {"name": name, "verdict": "solved", "message": praise}, text=f"✓ {name}: {praise}")
        return function

    def score(self) -> None:
        """Show how many exercises of the lecture are solved, and which are open."""
        solved = session.current().solved
        still_open = [name for name in self.by_name if name not in solved]
        record = {"solved": len(self.by_name) - len(still_open), "exercises": len(self.by_name)}
        listed = f"; open: {', '.join(still_open)}" if still_open else ""
        sign = "○" if still_open else "✓"
        emit("score", record, text=f"{sign} {record['solved']} of {record['exercises']} exercises solved{listed}")


def _judge(exercise: Exercise, function: Answer) -> str:
    """What is right about the student's ``function``; `Wrong` for whatever goes wrong in it."""
    if function is exercise.solution:
        # After `f = exercise(f)` the name of an open exercise means the course's own function.
        raise Wrong("this is the course's own function; run the cell that defines yours, then this one")
    # The notebook's random numbers do not depend on the answer.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002, the generator that students may use
    try:
        with torch.random.fork_rng(devices=[]):
            return exercise.check(function)
    except NotImplementedError:
        raise Wrong("not written yet") from None
    except Wrong:
        raise
    except Exception as error:  # also one in a module that the function returned
        raise Wrong(_raised(error, function)) from error
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _show_open(name: str, message: str) -> None:
    """Say that an exercise is open and why, without the solution."""
    goes_on = "The notebook goes on with the course's own function."
    emit(
        "exercise",
        {"name": name, "verdict": "open", "message": message},
        text=f"○ {name} is open: {message}\n  {goes_on}",
        markup=(
            '<div style="border-left: 4px solid #e69f00; padding-left: 0.8em">'
            f"○ <b>{html.escape(name)} is open:</b> {html.escape(message)}<br><small>{goes_on}</small></div>"
        ),
    )


def _raised(error: Exception, function: Answer) -> str:
    """An error in words: ``it raises ZeroDivisionError: division by zero, in the line "return 1 / x"``."""
    file = function.__code__.co_filename if hasattr(function, "__code__") else None
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f', in the line "{lines[-1]}"' if lines and lines[-1] else ""
    said = textwrap.shorten(str(error), 200, placeholder=" …")
    return f"it raises {type(error).__name__}{': ' if said else ''}{said}{where}"


def by_cases(
    solution: Answer, cases: Mapping[str, tuple[Any, ...]], hints: Mapping[str, str] | None = None
) -> Exercise:
    """The exercise whose answer must equal the solution on every case.

    Args:
        solution: the course's own function.
        cases: the arguments of each case, by a name that messages quote.
        hints: what may be the reason when an answer is wrong on a case, by the name of the case.

    >>> check = by_cases(lambda x: 2 * x, {"one": (1.0,), "zero": (0.0,)}).check
    >>> check(lambda x: x + x)
    'right on one, zero'
    >>> check(lambda x: x + 1)
    Traceback (most recent call last):
    coursekit.exercises.checking.Wrong: right on one; wrong on zero: expected 0, got 1
    """

    def check(answer: Answer) -> str:
        right: list[str] = []
        for case, arguments in cases.items():
            so_far = f"right on {', '.join(right)}; " if right else ""
            hint = f"; {hints[case]}" if hints and case in hints else ""
            # Both get copies: an answer that changes its arguments must not spoil the case.
            given = copy.deepcopy(arguments)
            expected = solution(*copy.deepcopy(arguments))
            try:
                got = answer(*given)
            except NotImplementedError:
                raise
            except Exception as error:
                raise Wrong(f"{so_far}on {case} {_raised(error, answer)}{hint}") from error
            if difference := differs(expected, got, TOLERANCE):
                raise Wrong(f"{so_far}wrong on {case}: {difference}{hint}")
            changed = [
                differs(before, after, 0.0)
                for before, after in zip(arguments, given, strict=True)
                if before is not None
            ]
            if any(changed):
                raise Wrong(f"right on {case}, but it changes its argument in place; return a new value instead")
            right.append(case)
        return f"right on {', '.join(right)}"

    return Exercise(solution, check)


def differs(expected: Any, got: Any, tolerance: float) -> str:
    """What differs between two values, in words; empty if they are equal within ``tolerance``.

    Real and complex numbers and tensors of them may differ by ``tolerance · (1 + max |expected|)``, the maximum over
    the finite entries; infinite ones must agree in sign, and NaN equals NaN. All other values, integers and truth
    values among them, may not differ at all.

    >>> differs(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]), tolerance=1e-5)
    'at index (1,) expected 2, got 3'
    """
    if got is None or got is Ellipsis:
        return NOTHING_YET
    if isinstance(expected, tuple):
        if not isinstance(got, tuple | list) or len(got) != len(expected):
            return f"expected {len(expected)} values, got {_describe(got)}"
        parts = [differs(a, b, tolerance) for a, b in zip(expected, got, strict=True)]
        return "; ".join(f"value {i}: {part}" for i, part in enumerate(parts, start=1) if part)
    if isinstance(expected, Tensor) and expected.ndim and not hasattr(got, "shape"):
        return f"expected a tensor of shape {tuple(expected.shape)}, got {_describe(got)}"
    whole = isinstance(expected, int) and isinstance(got, int)  # of any size, or truth values
    if isinstance(expected, Tensor | complex | float | int) and not whole:
        return _numbers_differ(expected, got, tolerance)
    return "" if expected == got else f"expected {expected!r}, got {got!r}"


def _numbers_differ(expected: Tensor | complex, got: Any, tolerance: float) -> str:
    """`differs` for a number or a tensor of numbers."""
    try:
        wanted, given = (torch.as_tensor(value).detach().cpu() for value in (expected, got))
    except (TypeError, ValueError, RuntimeError):
        return f"expected {_describe(expected)}, got {_describe(got)}"
    if wanted.shape != given.shape:
        return f"expected shape {tuple(wanted.shape)}, got {tuple(given.shape)}"
    if (given.isnan() & ~wanted.isnan()).any():
        return "the result holds NaN"

    # Compare in the widest type of their kind: integers, real or complex numbers.
    kind = torch.promote_types(wanted.dtype, given.dtype)
    wide = torch.complex128 if kind.is_complex else torch.float64 if kind.is_floating_point else torch.int64
    a, b = wanted.to(wide), given.to(wide)
    equal = (a == b) | (a.isnan() & b.isnan())  # infinite numbers of one sign have no difference
    if equal.all():
        return ""
    gap = (a - b).abs().masked_fill(equal, 0)
    inexact = wanted.is_floating_point() or wanted.is_complex()
    if inexact and gap.max() <= tolerance * (1 + a.abs().nan_to_num(0, posinf=0).max()):
        return ""
    place = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
    where = f"at index {place} " if place else ""
    return f"{where}expected {in_words(wanted[place].item())}, got {in_words(given[place].item())}"


def require_result(got: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """What the student's function returned, as a tensor of finite numbers, detached.

    Args:
        got: a tensor, an array, or numbers in lists.
        shape: the shape that it must have.
        what: what it should be, for the message: ``"one label for each image"``.

    Raises:
        Wrong: it is something else; the message says what.

    >>> require_result(torch.zeros(4), (5,), "one label for each image")
    Traceback (most recent call last):
    coursekit.exercises.checking.Wrong: expected one label for each image, shape (5,), got Tensor of shape (4,)
    """
    if got is None or got is Ellipsis:
        raise Wrong(NOTHING_YET)
    try:
        result = torch.as_tensor(got).detach()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"expected {what}, shape {shape}, got {_describe(got)}") from None
    if result.shape != shape:
        raise Wrong(f"expected {what}, shape {shape}, got {_describe(got)}")
    if not result.isfinite().all():
        raise Wrong("the result holds NaN or infinite numbers")
    return result


def require_module(got: Any) -> nn.Module:
    """The net that the student's function returned.

    Raises:
        Wrong: it is not a torch module.
    """
    if got is None or got is Ellipsis:
        raise Wrong(NOTHING_YET)
    if not isinstance(got, nn.Module):
        raise Wrong(f"expected a torch module, got {_describe(got)}")
    return got


def _describe(value: Any) -> str:
    """The type of a value with its shape, or with the value itself if that is short."""
    kind = type(value).__name__
    if (shape := getattr(value, "shape", None)) is not None:
        return f"{kind} of shape {tuple(shape)}"
    return f"{kind} {value!r}" if isinstance(value, str | int | float) else kind
