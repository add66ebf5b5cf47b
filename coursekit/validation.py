"""Checks of arguments, one for each kind of value.

Each returns the value, or says what was expected and what was given.

A value of the wrong type raises a ``TypeError``, any other wrong value a ``ValueError``, and the message starts with
the name of the argument. Public functions check their arguments with these, so that a wrong one never leads silently
to a wrong result. Tensors must be float32 or float64: integers would be truncated or wrap around, and half precision
has too few digits for the algorithms of the lectures.
"""

import math
import operator
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.errors import unknown

FLOATS = (torch.float32, torch.float64)
LARGEST = 2**63 - 1  # of torch's integers, and of the seeds of its generators
_put_off: ContextVar[dict[str, Tensor] | None] = ContextVar("_put_off", default=None)
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def require_tensor(value: Any, name: str, shape: str = "...", *, finite: bool = True, empty: bool = False) -> Tensor:
    """A float32 or float64 tensor of the given shape.

    Args:
        shape: a letter for an axis of any length, a number for an axis of that length, and ``...`` at the end for any
            further axes: ``"n c h w"``, ``"n 2"``, ``"n ..."``.
        finite: refuse NaN and infinity.
        empty: allow a tensor without elements.

    >>> require_tensor(torch.ones(2, 3), "x", "n d").shape
    torch.Size([2, 3])
    >>> require_tensor(torch.ones(2, 3).long(), "x", "n d")
    Traceback (most recent call last):
    TypeError: x: expected float32 or float64, got int64; x.float() converts it
    """
    _require_is_tensor(value, name)
    if value.dtype not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {_dtype(value)}; {name}.float() converts it")
    _require_shape(value, name, shape)
    if not empty and value.numel() == 0:
        raise ValueError(f"{name}: expected at least one element, got shape {tuple(value.shape)}")
    if not finite or noted(f"{name}: some numbers are NaN or infinite", lambda: value.isfinite()):
        return value
    if bad := count_nonfinite(value):
        raise ValueError(f"{name}: {bad} of {value.numel()} numbers are NaN or infinite")
    return value


def require_images(value: Any, name: str = "images", *, unit_range: bool = False) -> Tensor:
    """A batch of N ≥ 1 images (N, C, H, W) of finite numbers, with ``unit_range`` all of them in [0, 1].

    >>> require_images(torch.zeros(1, 28, 28))
    Traceback (most recent call last):
    ValueError: images: expected a batch (n, c, h, w), got shape (1, 28, 28); pass images[None]
    """
    if isinstance(value, Tensor) and value.ndim == 3:
        raise ValueError(f"{name}: expected a batch (n, c, h, w), got shape {tuple(value.shape)}; pass {name}[None]")
    if isinstance(value, Tensor) and value.dtype == torch.uint8:
        raise TypeError(f"{name}: expected float32 or float64, got uint8; {name}.float() / 255 converts it")
    require_tensor(value, name, "n c h w")
    return require_unit_range(value, name) if unit_range else value


def require_points(value: Any, name: str, least: int = 1) -> Tensor:
    """Points of ℝᵈ in rows, (n, d), at least so many.

    >>> require_points(torch.zeros(3), "x")
    Traceback (most recent call last):
    ValueError: x: expected a point in each row, shape (n, d), got (3,); x[:, None] has shape (3, 1)
    """
    if isinstance(value, Tensor) and value.ndim == 1:
        raise ValueError(
            f"{name}: expected a point in each row, shape (n, d), got ({len(value)},); "
            f"{name}[:, None] has shape ({len(value)}, 1)"
        )
    require_tensor(value, name, "n d")
    if len(value) < least:
        raise ValueError(f"{name}: expected at least {least} rows, got {len(value)}")
    return value


def require_samples(a: Any, b: Any, names: tuple[str, str] = ("x", "y"), least: int = 1) -> None:
    """Two samples of points of one space, in rows (n, d) and (m, d), at least so many each, of one precision.

    >>> require_samples(torch.zeros(3, 2), torch.zeros(4, 1))
    Traceback (most recent call last):
    ValueError: x, y: expected rows of one length, got 2 and 1
    """
    require_points(a, names[0], least)
    require_points(b, names[1], least)
    require_same_dtype(a, b, ", ".join(names))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{', '.join(names)}: expected rows of one length, got {a.shape[1]} and {b.shape[1]}")


def require_unit_range(value: Any, name: str) -> Tensor:
    """A float32 or float64 tensor of numbers in [0, 1]."""
    require_tensor(value, name)
    wanted = f"{name}: expected numbers in [0, 1]"
    if noted(wanted, lambda: (value >= 0) & (value <= 1)):
        return value
    low, high = value.min().item(), value.max().item()
    if low < 0 or high > 1:
        raise ValueError(f"{wanted}, got {low:.3g} to {high:.3g}")
    return value


def require_mask(value: Any, name: str, shape: str = "...") -> Tensor:
    """A tensor of truth values of the given shape, written as for `require_tensor`."""
    _require_is_tensor(value, name)
    if value.dtype != torch.bool:
        raise TypeError(f"{name}: expected truth values (torch.bool), got {_dtype(value)}; compare it with a number")
    _require_shape(value, name, shape)
    return value


def require_labels(value: Any, name: str, *, count: int, classes: int | None = None) -> Tensor:
    """The classes of ``count`` items: integers from 0 to ``classes`` − 1, shape (count,).

    >>> require_labels(torch.tensor([0, 10, 3]), "labels", count=3, classes=10)
    Traceback (most recent call last):
    ValueError: labels: expected classes from 0 to 9, got [10]
    """
    _require_is_tensor(value, name)
    if value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected integers, got {_dtype(value)}; {name}.long() converts it")
    if value.shape != (count,):
        raise ValueError(f"{name}: expected one class for each item, shape ({count},), got {tuple(value.shape)}")
    end = math.inf if classes is None else classes
    if wrong := value[(value < 0) | (value >= end)].unique().tolist():
        known = "from 0 on" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{name}: expected classes {known}, got {reprlib.repr(wrong)}")
    return value


def require_covariance(value: Any, name: str, d: int | None = None) -> Tensor:
    """A symmetric (d, d) matrix without a negative eigenvalue, up to rounding; of any size unless d is given."""
    size = "d" if d is None else f"{d}"
    require_same_shape(require_tensor(value, name, f"{size} {size}"), value.T, f"{name} and its transpose")
    rounding = 1e-5 * value.abs().max().item()
    if (gap := (value - value.T).abs().max().item()) > rounding:
        raise ValueError(f"{name}: expected a symmetric matrix, got opposite entries {gap:.3g} apart")
    if (least := torch.linalg.eigvalsh(value.detach().double()).min().item()) < -rounding:
        raise ValueError(f"{name}: expected no negative eigenvalue, got {least:.3g}")
    return value


def require_same_shape(a: Tensor, b: Tensor, names: str) -> None:
    """Two tensors of the same shape, so that neither is broadcast."""
    if a.shape != b.shape:
        raise ValueError(f"{names}: expected one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def require_integer(value: Any, name: str, *, low: int | None = None, high: int | None = None) -> int:
    """An integer in [low, high], of Python, NumPy or torch, of at most 64 bits; a truth value is not one.

    >>> require_integer(0, "k", low=1, high=10)
    Traceback (most recent call last):
    ValueError: k: expected an integer from 1 to 10, got 0
    """
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name}: expected an integer, got {_kind(number)}")
    if high is None and number > LARGEST:
        high = LARGEST
    if (low is not None and number < low) or (high is not None and number > high):
        limits = f"up to {high}" if low is None else f"from {low} on" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}: expected an integer {limits}, got {number}")
    return number


def require_number(
    value: Any,
    name: str,
    *,
    above: float | None = None,
    low: float | None = None,
    below: float | None = None,
    high: float | None = None,
) -> float:
    """A finite real number within the given limits: > ``above``, ≥ ``low``, < ``below``, ≤ ``high``.

    >>> require_number(0, "bandwidth", above=0)
    Traceback (most recent call last):
    ValueError: bandwidth: expected a number > 0, got 0
    """
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name}: expected a number, got {_kind(number)}")
    limits = [(">", operator.gt, above), ("≥", operator.ge, low), ("<", operator.lt, below), ("≤", operator.le, high)]
    given = [(sign, holds, limit) for sign, holds, limit in limits if limit is not None]
    if not abs(number) <= sys.float_info.max or not all(holds(number, limit) for _, holds, limit in given):
        wanted = " and ".join(f"{sign} {limit:g}" for sign, _, limit in given)
        raise ValueError(f"{name}: expected a {f'number {wanted}' if wanted else 'finite number'}, got {number}")
    return float(number)


def require_fraction(value: Any, name: str) -> float:
    """A number in [0, 1]."""
    return require_number(value, name, low=0, high=1)


def require_flag(value: Any, name: str) -> bool:
    """True or False, of Python, NumPy or torch: any other value, "False" too, would count as one of them in silence."""
    flag = _scalar(value)
    if not isinstance(flag, bool):
        raise TypeError(f"{name}: expected True or False, got {_kind(flag)}")
    return flag


def require_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of the named choices; for any other name the message suggests similar ones, or else lists all.

    >>> require_choice("gradiant", "rule", ["gradient", "deconvnet"])
    Traceback (most recent call last):
    ValueError: unknown rule 'gradiant': did you mean gradient?
    """
    choices = list(choices)
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {_kind(value)}")
    if value not in choices:
        raise ValueError(unknown(name, value, choices))
    return value


def require_same_dtype(a: Tensor, b: Tensor, names: str) -> None:
    """Two tensors of one precision: neither is rounded to that of the other."""
    if a.dtype != b.dtype:
        raise TypeError(f"{names}: expected one dtype, got {_dtype(a)} and {_dtype(b)}")


def require_floating(value: Any, name: str, shape: str = "...") -> Tensor:
    """A floating-point tensor of any precision and of the given shape, for what runs inside a training step.

    Autocast hands on half precision there. NaN and infinity pass: a search for them would make a GPU wait at every
    step, and the loss shows them anyway.
    """
    _require_is_tensor(value, name)
    if not value.is_floating_point():
        raise TypeError(f"{name}: expected floating-point numbers, got {_dtype(value)}; {name}.float() converts it")
    _require_shape(value, name, shape)
    return value


def require_instance(value: Any, name: str, kind: type[T]) -> T:
    """An object of the class ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {kind.__name__}, got {_kind(value)}")
    return value


def require_function(value: F, name: str) -> F:
    """Something that can be called."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {_kind(value)}")
    return value


def require_optimizer(value: Any, name: str, net: nn.Module, whose: str) -> Optimizer:
    """An optimizer that updates a parameter of the net."""
    optimizer = require_instance(value, name, Optimizer)
    updated = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in updated for p in net.parameters()):
        raise ValueError(f"{name}: expected one of the {whose}'s parameters, got one that updates none of them")
    return optimizer


def require_index(value: Any, name: str = "index") -> Tensor:
    """A one-dimensional tensor of integers or truth values. uint8 is refused: PyTorch takes it for truth values."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise TypeError(f"{name}: expected a slice or a tensor, got {kind}; data[i : i + 1] is one item")
    if value.dtype not in (torch.bool, torch.int32, torch.int64):
        raise TypeError(f"{name}: expected integers or truth values, got {_dtype(value)}")
    if value.ndim != 1:
        raise ValueError(f"{name}: expected shape (m,), got {tuple(value.shape)}")
    return value


def count_nonfinite(x: Tensor) -> int:
    """How many numbers are NaN or infinite."""
    # A finite sum proves that all are finite, in a fiftieth of the time that a look at each takes. A sum that is not
    # finite proves nothing, because finite numbers can overflow.
    return 0 if x.sum().isfinite() else int((~x.isfinite()).sum())


@contextmanager
def checks_put_off(results: dict[str, Tensor]) -> Iterator[None]:
    """A block that does not wait for a device: what it checks of the values of tensors is noted in ``results``.

    `raise_what_failed` looks at them later. Types and shapes, which are known at once, are checked at once.
    """
    before = _put_off.set(results)
    try:
        yield
    finally:
        _put_off.reset(before)


def noted(failure: str, good: Callable[[], Tensor]) -> bool:
    """Whether checks are put off; then ``good``, truth values that should all be true, is noted."""
    results = _put_off.get()
    if results is not None:
        all_good = good().all()
        results[failure] = results[failure] & all_good if failure in results else all_good
    return results is not None


def raise_what_failed(results: dict[str, Tensor]) -> None:
    """Raise a ``ValueError`` for the first check that was put off and failed, and forget all of them."""
    failed = [failure for failure, good in results.items() if not good]
    results.clear()
    if failed:
        raise ValueError(failed[0])


def _require_is_tensor(value: Any, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {_kind(value)}; torch.as_tensor({name}) makes one")
    if value.layout != torch.strided or value.is_meta:
        kind = "a meta tensor, which holds no numbers" if value.is_meta else f"layout {value.layout}; use .to_dense()"
        raise TypeError(f"{name}: expected a dense tensor, got {kind}")


def _require_shape(value: Tensor, name: str, shape: str) -> None:
    axes = shape.split()
    fixed = [axis for axis in axes if axis != "..."]
    enough = value.ndim >= len(fixed) if "..." in axes else value.ndim == len(fixed)
    lengths = zip(fixed, value.shape, strict=False)
    if not enough or any(axis.isdigit() and int(axis) != length for axis, length in lengths):
        raise ValueError(f"{name}: expected shape ({', '.join(axes)}), got {tuple(value.shape)}")


def _scalar(value: Any) -> Any:
    """The Python number in a scalar of NumPy or torch; any other value as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    """The type of a value, with the value itself where that is a word or a number."""
    return type(value).__name__ + (f" {reprlib.repr(value)}" if isinstance(value, (str, int, float)) else "")
