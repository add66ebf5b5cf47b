"""Checks of arguments that the modules of Bayesian inference share."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_function, require_tensor


def values_at(function: Callable[[Tensor], Tensor], z: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """The values of a function that the user passed under ``name``: one for each point of z, of this shape."""
    return require_log_values(require_function(function, name)(z), f"{name}(z)", shape)


def require_log_values(values: Any, name: str, shape: tuple[int, ...]) -> Tensor:
    """Logarithms of this shape. −∞ is the logarithm of zero and passes; NaN and +∞ do not."""
    require_tensor(values, name, " ".join(map(str, shape)), finite=False)
    if bad := int((values.isnan() | values.isposinf()).sum()):
        raise ValueError(f"{name}: {bad} of {values.numel()} values are NaN or +∞")
    return values


def require_positive_definite(value: Any, name: str) -> Float[Tensor, "d d"]:
    """A symmetric positive-definite matrix, in float64.

    >>> require_positive_definite(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "precision")
    Traceback (most recent call last):
    ValueError: precision: expected a positive-definite matrix, got the eigenvalues -1 to 3
    """
    matrix = require_tensor(value, name, "d d")
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name}: expected a square matrix, got shape {tuple(matrix.shape)}")
    gap = (matrix - matrix.T).abs().max()
    if gap > 100 * torch.finfo(matrix.dtype).eps * matrix.abs().max():
        raise ValueError(f"{name}: expected a symmetric matrix, got entries that differ by {gap:.3g} from their mirror")
    matrix = (matrix.double() + matrix.double().T) / 2
    eigenvalues = torch.linalg.eigvalsh(matrix)
    if eigenvalues[0] <= 1e-14 * eigenvalues[-1].abs():
        low, high = eigenvalues[0].item(), eigenvalues[-1].item()
        raise ValueError(f"{name}: expected a positive-definite matrix, got the eigenvalues {low:.3g} to {high:.3g}")
    return matrix
