"""Where a run computes, in which precision, and from which seed."""

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from coursekit.errors import CourseError
from coursekit.validation import require_choice, require_integer

Precision = Literal["auto", "float32", "bf16"]


def resolve_device(name: str | torch.device = "auto") -> torch.device:
    """The device called ``name``; "auto" is the machine's accelerator (CUDA, MPS, ...) or else the CPU.

    Raises:
        CourseError: this machine has no such device.
        ValueError: no machine has.
    """
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
    """Seed the global generators of Python, NumPy and torch (all devices).

    The same seed gives the same numbers on the same machine, with the same versions and the same number of threads.
    On a GPU some kernels add numbers in varying order; ``torch.use_deterministic_algorithms(True)`` forbids them.
    """
    require_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  scikit-learn and others draw from the legacy generator
    torch.manual_seed(seed)


def require_seed(seed: int) -> int:
    """An integer that every generator takes as its seed."""
    return require_integer(seed, "seed", low=0, high=2**32 - 1)


def rng_states(device: torch.device) -> dict[str, Tensor]:
    """By type of device, the states of the global generators that a step on ``device`` may draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_rng_states(device: torch.device, states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:  # a run may go on elsewhere than it began
        torch.get_device_module(device).set_rng_state(states[device.type], device)


@contextmanager
def own_randomness(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Restore torch's generators after the block; inside it they start from ``seed``, if one is given."""
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
    """Whether ``precision`` ("auto", "float32", "bf16") means bfloat16 on that type of device.

    "auto" means it where the hardware multiplies bfloat16 itself: CUDA from compute capability 8.0.
    """
    require_choice(precision, "precision", get_args(Precision))
    if precision == "auto":
        return device_type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"
