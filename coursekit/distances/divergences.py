"""Three divergences between probability vectors p and q of k entries, in nats where a logarithm is taken.

A batch of vectors, shape (..., k), gives one value each. All three can be differentiated with respect to p and q; where
an entry is 0, the infinite derivative of 0 · log 0 is left out.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.distances.checks import require_probabilities
from coursekit.validation import require_same_dtype, require_same_shape


def total_variation(p: Float[Tensor, "*b k"], q: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """Compute δ(p, q) = ½ Σᵢ |pᵢ − qᵢ|, the largest difference of the probabilities of one event: from 0 to 1.

    Raises:
        TypeError: p or q is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: their shapes differ; an entry is negative or NaN; a vector does not sum to 1.

    >>> total_variation(torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.9]))
    tensor(0.4000)
    """
    _require_pair(p, q)
    return (p - q).abs().sum(dim=-1) / 2


def kl(p: Float[Tensor, "*b k"], q: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """Compute KL(p‖q) = Σᵢ pᵢ log(pᵢ/qᵢ). It is infinite where p has mass and q has none.

    Raises:
        TypeError, ValueError: as for `total_variation`.

    >>> kl(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0]))
    tensor(inf)
    """
    _require_pair(p, q)
    # 0 · log 0 counts as 0, as 1 · log 1 does, p · log 0 as −∞.
    p, q = torch.where(p > 0, p, 1), torch.where(p > 0, q, 1)
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1).clamp(min=0)


def js(p: Float[Tensor, "*b k"], q: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """Compute the Jensen–Shannon divergence ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2: from 0 to log 2.

    It is log 2 for any two vectors without common mass, however near their places are.

    Raises:
        TypeError, ValueError: as for `total_variation`.

    Source:
        Lin (1991), *IEEE Trans. Information Theory* 37.

    >>> js(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(0.6931)
    """
    _require_pair(p, q)
    # KL(p‖m) = Σ p log 2p/(p + q). A mass so small that its half is 0 would make log m infinite.
    both = p + q
    logs = _x_log_x(p) + _x_log_x(q) - _x_log_x(both) + both * math.log(2)
    return (logs.sum(dim=-1) / 2).clamp(min=0)


def _x_log_x(x: Tensor) -> Tensor:
    """0 at x = 0, with a derivative of 0 there."""
    x = torch.where(x > 0, x, 1)
    return x * x.log()


def _require_pair(p: Tensor, q: Tensor) -> None:
    require_probabilities(p, "p")
    require_probabilities(q, "q")
    require_same_dtype(p, q, "p, q")
    require_same_shape(p, q, "p, q")
