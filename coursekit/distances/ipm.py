"""Integral probability metrics: the largest difference of means that a function of a family can find.

d_F(P, Q) = sup over f in F of  E_P f − E_Q f
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.distances.checks import require_probabilities
from coursekit.distances.linear_program import solve
from coursekit.distances.mmd import Kernel, checked
from coursekit.validation import require_choice, require_same_dtype, require_same_shape, require_tensor

Family = Literal["lipschitz", "bounded", "kernel"]


@dataclass(frozen=True)
class Witness:
    """The function of the family that tells two distributions apart best, and how well it does."""

    value: float  # E_P f − E_Q f
    function: Float[Tensor, " k"]  # f at the points of the grid


def ipm(
    p: Float[Tensor, " k"],
    q: Float[Tensor, " k"],
    grid: Float[Tensor, " k"],
    family: Family,
    kernel: Kernel | None = None,
) -> Witness:
    """Maximize Σᵢ f(gᵢ)(pᵢ − qᵢ) over the functions f of a family, on a grid on the line.

    - ``"lipschitz"``: |f(a) − f(b)| ≤ |a − b|. The value is W₁ (Kantorovich and Rubinstein). A linear program in f.
    - ``"bounded"``: |f| ≤ 1. The value is 2δ, twice the total variation, at f = sign(p − q).
    - ``"kernel"``: ‖f‖_H ≤ 1 in the space H of a kernel. The value is the MMD, and f = K(p − q)/MMD.

    Args:
        p, q: probabilities of the points of the grid.
        grid: its points, from left to right.
        family: which functions may compete.
        kernel: for ``"kernel"`` only, as for `mmd2`.

    Raises:
        TypeError: p, q or grid is not a tensor of float32 or float64, or they differ in dtype; the kernel is not a
            function.
        ValueError: they differ in shape; p or q is not a probability vector; the grid does not increase; the family
            is unknown; a kernel is missing, or given for another family.

    Source:
        Sriperumbudur et al. (2012), *Electronic J. Statistics* 6.

    >>> p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    >>> ipm(p, q, torch.tensor([0.0, 1.0, 2.0]), "lipschitz").value
    2.0
    """
    require_choice(family, "family", get_args(Family))
    require_probabilities(p, "p", "k")
    require_probabilities(q, "q", "k")
    require_tensor(grid, "grid", "k")
    for value, name in ((q, "q"), (grid, "grid")):
        require_same_dtype(p, value, f"p, {name}")
        require_same_shape(p, value, f"p, {name}")
    if (grid.diff() <= 0).any():
        raise ValueError("grid: expected points from left to right, each larger than the one before")
    if (kernel is None) == (family == "kernel"):
        raise ValueError(f"kernel: {'missing' if kernel is None else 'not used'} for the family {family!r}")

    g, difference = grid.double(), (p - q).double()
    if kernel is not None:
        embedding = checked(kernel)((g[:, None] - g).square()) @ difference  # (k,)
        mmd = (difference @ embedding).clamp(min=0).sqrt()
        f = embedding / mmd if mmd > 0 else embedding
    elif family == "lipschitz":
        f = _best_lipschitz(difference, g).to(g)
    else:
        f = difference.sign()
    return Witness((f @ difference).item(), f.to(p.dtype))


def _best_lipschitz(difference: Float[Tensor, " k"], grid: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The linear program: maximize f·(p − q) with |f(gᵢ₊₁) − f(gᵢ)| ≤ gᵢ₊₁ − gᵢ, which on a line is all it takes."""
    import numpy as np
    from scipy.sparse import diags_array, vstack

    k = len(grid)
    if k == 1:
        return torch.zeros_like(grid)
    steps = diags_array([-np.ones(k - 1), np.ones(k - 1)], offsets=[0, 1], shape=(k - 1, k))  # f(gᵢ₊₁) − f(gᵢ)
    limits = grid.detach().cpu().diff().numpy()
    # A constant added to f changes nothing, so f(g₁) = 0.
    return solve(
        -difference,
        "witness",
        A_ub=vstack([steps, -steps]).tocsc(),
        b_ub=np.concatenate([limits, limits]),
        bounds=[(0, 0), *[(None, None)] * (k - 1)],
    )
