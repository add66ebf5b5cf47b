"""Checks of arguments, one for each kind of value: each gives the value back, or says what was expected and what came.

A value of the wrong type is a ``TypeError``, any other wrong value a ``ValueError``. Every message starts with the name
of the argument. Public functions check their arguments with these, so that a wrong one never becomes a silent other
result. Tensors are float32 or float64 where the result is a number: integers would be cut off or wrap round, and half
precision has too few digits for the algorithms of the lectures.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from coursekit.errors import unknown

DECIMALS = (torch.float32, torch.float64)


def require_tensor(value: Any, name: str, shape: str = "...", *, finite: bool = True, empty: bool = False) -> Tensor:
    """A float32 or float64 tensor of the given shape.

    Args:
        shape: a letter for an axis of any length, a number for one of that length, ``...`` for any further axes:
            ``"n c h w"``, ``"n 2"``, ``"n ..."``.
        finite: refuse NaN and infinity.
        empty: allow a tensor without elements.

    >>> require_tensor(torch.ones(2, 3), "x", "n d").shape
    torch.Size([2, 3])
    >>> require_tensor(torch.ones(2, 3).long(), "x", "n d")
    Traceback (most recent call last):
    TypeError: x: expected float32 or float64, got int64; x.float() converts it
    """
    _require_is_tensor(value, name)
    if value.dtype not in DECIMALS:
        raise TypeError(f"{name}: expected float32 or float64, got {_dtype(value)}; {name}.float() converts it")
    _require_shape(value, name, shape)
    if not empty and value.numel() == 0:
        raise ValueError(f"{name}: expected at least one element, got shape {tuple(value.shape)}")
    if finite and (bad := count_nonfinite(value)):
        raise ValueError(f"{name}: {bad} of {value.numel()} numbers are NaN or infinite")
    return value


def require_images(value: Any, name: str = "images", *, unit_range: bool = False) -> Tensor:
    """A batch of images (N, C, H, W) of finite numbers, N ≥ 1; with ``unit_range`` all of them lie in [0, 1]."""
    if isinstance(value, Tensor) and value.ndim == 3:
        raise ValueError(f"{name}: expected a batch (n, c, h, w), got shape {tuple(value.shape)}; pass {name}[None]")
    if isinstance(value, Tensor) and value.dtype == torch.uint8:
        raise TypeError(f"{name}: expected float32 or float64, got uint8; {name}.float() / 255 converts it")
    require_tensor(value, name, "n c h w")
    return require_unit_range(value, name) if unit_range else value


def require_unit_range(value: Tensor, name: str) -> Tensor:
    """A tensor whose numbers all lie in [0, 1]."""
    low, high = value.min().item(), value.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name}: expected numbers in [0, 1], got {low:.3g} to {high:.3g}")
    return value


def require_mask(value: Any, name: str, shape: str = "...") -> Tensor:
    """A tensor of truth values of the given shape, as in `require_tensor`."""
    _require_is_tensor(value, name)
    if value.dtype != torch.bool:
        raise TypeError(f"{name}: expected truth values (torch.bool), got {_dtype(value)}; compare it with a number")
    _require_shape(value, name, shape)
    return value


def require_labels(value: Any, name: str, *, count: int, classes: int | None = None) -> Tensor:
    """Classes 0 … ``classes`` − 1 of ``count`` items, an integer tensor (count,)."""
    _require_is_tensor(value, name)
    if value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected integers, got {_dtype(value)}; {name}.long() converts it")
    if value.shape != (count,):
        raise ValueError(f"{name}: expected one class for each item, shape ({count},), got {tuple(value.shape)}")
    top = math.inf if classes is None else classes
    if wrong := value[(value < 0) | (value >= top)].unique().tolist():
        known = "from 0 on" if classes is None else f"from 0 to {classes - 1}"
        raise ValueError(f"{name}: expected classes {known}, got {wrong}")
    return value


def require_same_shape(a: Tensor, b: Tensor, names: str) -> None:
    """Two tensors of one shape: nothing is broadcast."""
    if a.shape != b.shape:
        raise ValueError(f"{names}: expected one shape, got {tuple(a.shape)} and {tuple(b.shape)}")


def require_integer(value: Any, name: str, *, low: int | None = None, high: int | None = None) -> int:
    """A whole number in [low, high]; a truth value is none.

    >>> require_integer(0, "k", low=1, high=10)
    Traceback (most recent call last):
    ValueError: k: expected an integer from 1 to 10, got 0
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {_kind(value)}")
    number = int(value)
    if (low is not None and number < low) or (high is not None and number > high):
        limits = " to ".join(str(limit) for limit in (low, high) if limit is not None)
        start = "from " if low is not None else "up to "
        raise ValueError(
            f"{name}: expected an integer {start}{limits}{'' if high is not None else ' on'}, got {number}"
        )
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
    """A finite number within the limits: > ``above``, ≥ ``low``, < ``below``, ≤ ``high``.

    >>> require_number(0, "bandwidth", above=0)
    Traceback (most recent call last):
    ValueError: bandwidth: expected a number > 0, got 0
    """
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not _is_scalar(value)):
        raise TypeError(f"{name}: expected a number, got {_kind(value)}")
    number = float(value)
    signs = {">": above, "≥": low, "<": below, "≤": high}
    wanted = " and ".join(f"{sign} {limit:g}" for sign, limit in signs.items() if limit is not None)
    met = (
        math.isfinite(number)
        and (above is None or number > above)
        and (low is None or number >= low)
        and (below is None or number < below)
        and (high is None or number <= high)
    )
    if not met:
        raise ValueError(
            f"{name}: expected a {'' if wanted else 'finite '}number{' ' + wanted if wanted else ''}, got {value}"
        )
    return number


def require_fraction(value: Any, name: str) -> float:
    """A number in [0, 1]."""
    return require_number(value, name, low=0, high=1)


def require_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of the named choices; the message lists near ones."""
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


def count_nonfinite(x: Tensor) -> int:
    """How many numbers are NaN or infinite; a finite sum says none, at a fiftieth of the cost of looking."""
    return 0 if x.sum().isfinite() else int((~x.isfinite()).sum())


def _require_is_tensor(value: Any, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {_kind(value)}; torch.as_tensor({name}) makes one")


def _require_shape(value: Tensor, name: str, shape: str) -> None:
    axes = shape.split()
    rest = "..." in axes
    fixed = [axis for axis in axes if axis != "..."]
    long_enough = value.ndim >= len(fixed) if rest else value.ndim == len(fixed)
    if not long_enough or any(
        axis.isdigit() and int(axis) != length for axis, length in zip(fixed, value.shape, strict=False)
    ):
        raise ValueError(f"{name}: expected shape ({', '.join(axes)}), got {tuple(value.shape)}")


def _is_scalar(value: Any) -> bool:
    """Whether this is a single real number of NumPy or torch."""
    return (
        getattr(value, "ndim", None) == 0
        and getattr(value, "dtype", None) not in (torch.bool,)
        and hasattr(value, "__float__")
    )


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r}" if isinstance(value, (str, int, float, bool)) else type(value).__name__
