"""The check of arguments that several distances share."""

import torch
from torch import Tensor

from coursekit.validation import require_tensor


def require_probabilities(value: Tensor, name: str, shape: str = "...") -> Tensor:
    """Probability vectors along the last axis: no entry is negative, and each vector sums to 1 up to rounding."""
    require_tensor(value, name, shape)
    if value.ndim == 0:
        raise ValueError(f"{name}: expected a vector of probabilities, got a single number")
    if (least := value.min().item()) < 0:
        raise ValueError(f"{name}: expected probabilities ≥ 0, got {least:.3g}")
    total = value.sum(dim=-1)
    if ((total - 1).abs() > torch.finfo(value.dtype).eps ** 0.5).any():
        worst = total.flatten()[(total - 1).abs().argmax()].item()
        raise ValueError(f"{name}: expected a sum of 1, got {worst:.6g}; {name} / {name}.sum() has it")
    return value
