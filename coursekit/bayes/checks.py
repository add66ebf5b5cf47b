"""Checks of arguments that the modules of Bayesian inference share."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_instance, require_tensor


def values_at(function: Callable[[Tensor], Tensor], z: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """The values of a function, one for each point of z.

    −∞ is the logarithm of zero and passes. NaN and +∞ do not.

    Args:
        function: what the user passed under ``name``.
        z: the points.
        name: of the argument, for messages.
        shape: what the values must have.
    """
    values = require_instance(function(z), f"{name}(z)", Tensor)
    if not values.is_floating_point():
        raise TypeError(f"{name}(z): expected floating-point numbers, got {str(values.dtype).removeprefix('torch.')}")
    if values.shape != shape:
        raise ValueError(f"{name}(z): expected one value for each point, shape {shape}, got {tuple(values.shape)}")
    if bad := int((values.isnan() | values.isposinf()).sum()):
        raise ValueError(f"{name}(z): {bad} of {values.numel()} values are NaN or +∞")
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
