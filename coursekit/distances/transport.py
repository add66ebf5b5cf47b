"""Wasserstein distances: the least cost of moving one distribution onto another.

W_p(P, Q) = ( min over couplings π of P and Q of  E_π ‖X − Y‖ᵖ )^(1/p)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.distances.checks import require_probabilities
from coursekit.distances.linear_program import solve
from coursekit.validation import (
    require_covariance,
    require_integer,
    require_number,
    require_same_dtype,
    require_same_shape,
    require_samples,
    require_tensor,
)


@dataclass(frozen=True)
class Transport:
    """An optimal plan and its cost."""

    distance: float  # W_p
    plan: Float[Tensor, "n m"]  # the mass that goes from xᵢ to yⱼ: its rows sum to the weights of x, its columns to y's


def wasserstein(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    p: float = 1,
    *,
    x_weights: Float[Tensor, " n"] | None = None,
    y_weights: Float[Tensor, " m"] | None = None,
) -> Transport:
    """Compute the exact W_p between two samples, with its plan.

    Between samples of one size without weights, some optimal plan moves each point as a whole (Birkhoff), so this is
    the assignment problem, less than a second for n = 2000. With weights, or with sizes that differ, it is a linear
    program of n · m variables, half a second for 300 × 300. Both take time of order n³, or a little less.

    Args:
        x, y: points in rows.
        p: the order, ≥ 1. The cost of a move is the Euclidean distance to the power p.
        x_weights, y_weights: probabilities of the points. Without them, all are equal. A probability below 1e-7
            may count as 0.

    Raises:
        TypeError: an argument is not a tensor of float32 or float64, or they differ in dtype; p is not a number.
        ValueError: the rows of x and y differ in length; there are no rows; an entry is NaN; p < 1; weights are
            negative, do not sum to 1, or are not one for each point.

    Source:
        Peyré and Cuturi (2019), *Computational optimal transport*, chapters 2 and 3.

    >>> wasserstein(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [2.0]])).distance
    2.0
    """
    from scipy.optimize import linear_sum_assignment

    require_samples(x, y)
    p = require_number(p, "p", low=1)
    distances = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")  # (n, m)
    cost = (distances / _scale(distances)) ** p
    if x_weights is None and y_weights is None and len(x) == len(y):
        rows, columns = linear_sum_assignment(cost.detach().cpu().numpy())
        plan = torch.zeros_like(cost)
        plan[rows, columns] = 1 / len(x)
    else:
        a = _weights(x_weights, "x_weights", x)
        b = _weights(y_weights, "y_weights", y)
        plan = _linear_program(cost, a, b)
    moved = plan > 0
    return Transport(_root_of_mean(distances[moved], plan[moved], p).item(), plan.to(x.dtype))


def _linear_program(cost: Float[Tensor, "n m"], a: Float[Tensor, " n"], b: Float[Tensor, " m"]) -> Float[Tensor, "n m"]:
    """The plan π ≥ 0 of least Σᵢⱼ πᵢⱼ cᵢⱼ with Σⱼ πᵢⱼ = aᵢ and Σᵢ πᵢⱼ = bⱼ."""
    from scipy.sparse import eye_array, kron, vstack

    n, m = cost.shape
    rows = kron(eye_array(n), torch.ones(1, m).numpy())  # (n, nm): π flattened, summed over j
    columns = kron(torch.ones(1, n).numpy(), eye_array(m))  # (m, nm): summed over i
    marginals = torch.cat([a, b]).detach().cpu().numpy()
    plan = solve(cost.flatten(), "transport", A_eq=vstack([rows, columns]).tocsc(), b_eq=marginals)
    return plan.reshape(n, m).to(cost)


def wasserstein_1d(
    x: Float[Tensor, " n"],
    y: Float[Tensor, " m"],
    p: float = 1,
    *,
    x_weights: Float[Tensor, " n"] | None = None,
    y_weights: Float[Tensor, " m"] | None = None,
) -> Float[Tensor, ""]:
    """Compute W_p between samples of numbers: (∫₀¹ |F⁻¹(u) − G⁻¹(u)|ᵖ du)^(1/p), with quantile functions F⁻¹ and G⁻¹.

    On a line, the best plan keeps the order. The result can be differentiated with respect to x and y.

    Args, errors:
        As for `wasserstein`, but x and y have shape (n,) and (m,).

    >>> wasserstein_1d(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 2.0, 5.0]))
    tensor(2.5000)
    """
    require_tensor(x, "x", "n")
    require_tensor(y, "y", "m")
    require_same_dtype(x, y, "x, y")
    p = require_number(p, "p", low=1)
    x, x_order = x.sort()
    y, y_order = y.sort()
    a = _weights(x_weights, "x_weights", x)[x_order]
    b = _weights(y_weights, "y_weights", y)[y_order]
    i, j, mass = _monotone_plan(a, b)
    return _root_of_mean((x[i] - y[j]).abs(), mass, p).to(x.dtype)


def sliced_wasserstein(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], p: float = 2, *, directions: int = 100, seed: int = 0
) -> Float[Tensor, ""]:
    """Compute the mean over random directions θ of W_p(θᵀx, θᵀy)ᵖ, to the power 1/p.

    It needs sorting only, so it takes a moment where the exact distance takes minutes. In d dimensions a shift by v
    counts about ‖v‖/√d for p = 2, because most directions are nearly orthogonal to it.

    Args:
        x, y, p: as for `wasserstein`. The result can be differentiated with respect to x and y.
        directions: how many θ, drawn uniformly from the unit sphere.
        seed: of the directions.

    Raises:
        TypeError, ValueError: as for `wasserstein`; directions is not an integer ≥ 1.

    Source:
        Rabin, Peyré, Delon and Bernot (2011), *Scale Space and Variational Methods*.
    """
    require_samples(x, y)
    p = require_number(p, "p", low=1)
    directions = require_integer(directions, "directions", low=1)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    theta = torch.randn(x.shape[1], directions, generator=generator, dtype=torch.float64)
    theta = (theta / theta.norm(dim=0)).to(x)  # (d, k)
    u, v = (x @ theta).sort(dim=0).values, (y @ theta).sort(dim=0).values  # (n, k), (m, k)
    i, j, mass = _monotone_plan(_equal_weights(x), _equal_weights(y))
    return _root_of_mean((u[i] - v[j]).abs(), mass[:, None] / directions, p).to(x.dtype)  # of (n + m, k) moves


@torch.no_grad()
def gaussian_w2(
    mean1: Float[Tensor, " d"],
    covariance1: Float[Tensor, "d d"],
    mean2: Float[Tensor, " d"],
    covariance2: Float[Tensor, "d d"],
) -> Float[Tensor, ""]:
    """Compute W₂ between two Gaussians: W₂² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁^½ Σ₂ Σ₁^½)^½).

    The result has no gradient: that of a matrix root does not exist where eigenvalues are equal.

    Raises:
        TypeError: an argument is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: shapes do not fit; an entry is NaN; a covariance is not symmetric or has a negative eigenvalue.

    Source:
        Dowson and Landau (1982), *J. Multivariate Analysis* 12.

    >>> one, four = torch.eye(3), 4 * torch.eye(3)
    >>> gaussian_w2(torch.zeros(3), one, torch.zeros(3), four)  # √3 · |1 − 2|
    tensor(1.7321)
    """
    require_tensor(mean1, "mean1", "d")
    require_tensor(mean2, "mean2", "d")
    require_same_shape(mean1, mean2, "mean1, mean2")
    d = len(mean1)
    root1 = _root(require_covariance(covariance1, "covariance1", d))
    require_covariance(covariance2, "covariance2", d)
    for value, name in ((mean2, "mean2"), (covariance1, "covariance1"), (covariance2, "covariance2")):
        require_same_dtype(mean1, value, f"mean1, {name}")
    between = torch.linalg.eigvalsh(root1 @ covariance2.double() @ root1).clamp(min=0).sqrt().sum()  # tr (…)^½
    spread = covariance1.double().trace() + covariance2.double().trace() - 2 * between
    return ((mean1 - mean2).double().square().sum() + spread.clamp(min=0)).sqrt().to(mean1.dtype)


def _root(covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The symmetric square root in float64."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def _weights(weights: Tensor | None, name: str, x: Tensor) -> Tensor:
    """The probabilities of the points x in float64, of exactly one total; equal ones where none are given."""
    if weights is None:
        return _equal_weights(x)
    require_same_dtype(require_probabilities(weights, name, f"{len(x)}"), x, f"{name}, points")
    return weights.double() / weights.double().sum()


def _equal_weights(x: Tensor) -> Tensor:
    return x.new_full((len(x),), 1 / len(x), dtype=torch.float64)


def _root_of_mean(distances: Tensor, mass: Tensor, p: float) -> Float[Tensor, ""]:
    """(Σ mass · distanceᵖ)^(1/p). Where all points stay, both the value and its gradient are 0."""
    scale = _scale(distances)
    total = (mass * (distances / scale) ** p).sum()
    return scale * total ** (1 / p) if total > 0 else total


def _scale(distances: Tensor) -> Float[Tensor, ""]:
    """About the largest distance, so that no power of the others overflows; a power of two, which rounds nothing."""
    return torch.exp2(distances.detach().max().clamp(min=torch.finfo(distances.dtype).tiny).log2().floor())


def _monotone_plan(
    a: Float[Tensor, " n"], b: Float[Tensor, " m"]
) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"], Float[Tensor, " k"]]:
    """Which of the sorted points go to which, and with what mass: k = n + m pairs (i, j), some of mass 0."""
    # The quantile functions are constant between the levels at which one of them jumps.
    a, b = a.cumsum(0), b.cumsum(0)
    levels = torch.cat([a, b]).clamp(max=1).sort().values  # (n + m,)
    mass = levels.diff(prepend=levels.new_zeros(1))
    middle = levels - mass / 2
    i = torch.searchsorted(a, middle).clamp(max=len(a) - 1)
    j = torch.searchsorted(b, middle).clamp(max=len(b) - 1)
    return i, j, mass
