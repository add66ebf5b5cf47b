"""Where a run computes, in which precision, and from which seed."""

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coursekit.errors import CourseError
from coursekit.validation import require_integer

Precision = Literal["auto", "float32", "bf16"]
LARGEST_SEED = 2**32 - 1  # of NumPy's legacy generator


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device called ``name``: "cpu", "cuda", "cuda:1", "mps", …, or "auto", the accelerator if there is one.

    Raises:
        CourseError: this machine has no such device.
        ValueError: torch knows no device of that name.

    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if not isinstance(name, (str, torch.device)):
        raise TypeError(f"device: expected a name or a torch.device, got {type(name).__name__}")
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {name!r}: expected 'auto', 'cpu', 'cuda', 'cuda:1', 'mps' or the like"
        ) from error
    if device.type == "cpu":
        return device
    if accelerator and device.type == accelerator.type:
        count = torch.accelerator.device_count()
        if (device.index or 0) < count:
            return device
        here = f"{count} of that type"
    else:
        here = "cpu" + (f" and {accelerator.type}" if accelerator else "")
    raise CourseError(f"device {name!r} is not available: this machine has {here}. Use 'auto' or 'cpu'.")


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices) with an integer from 0 to 2³² − 1.

    The same seed gives the same numbers on the same machine with the same versions and number of threads.
    On a GPU some kernels add in varying order; ``torch.use_deterministic_algorithms(True)`` forbids those.

    >>> seed_everything(1)
    >>> first = torch.rand(3)
    >>> seed_everything(1)
    >>> bool((torch.rand(3) == first).all())
    True
    """
    seed = require_integer(seed, "seed", low=0, high=LARGEST_SEED)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  scikit-learn and others draw from the legacy generator
    torch.manual_seed(seed)


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's global generators from which a step on ``device`` may draw, by type of device."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_rng_states(device: torch.device, states: dict[str, Tensor]) -> None:
    """Go back to ``states``; one that is missing, because the run began on another device, is left as it is."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


@contextmanager
def own_randomness(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Start the block from ``seed``, if one is given, and put torch's generators back after it."""
    before = rng_states(device)
    try:
        if seed is not None:
            fresh = {kind: torch.Generator(kind).manual_seed(seed).get_state() for kind in before}
            set_rng_states(device, fresh)
        yield
    finally:
        set_rng_states(device, before)


@functools.cache
def computes_in_bf16(device_type: str, precision: Precision) -> bool:
    """Whether ``precision`` means bfloat16 on that type of device.

    "auto" does where the hardware multiplies bfloat16 itself: on CUDA from compute capability 8.0.
    """
    if precision == "auto":
        return device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
