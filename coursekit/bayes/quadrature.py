"""Integrals over a line or a plane as sums over a grid.

For a smooth density that has fallen to nothing at both ends, the sum over equally spaced points converges faster than
any power of the spacing (Trefethen and Weideman, SIAM Review 56, 2014). So a grid can fail in two ways only: it cuts
the density off, or it is too coarse. `normalize` finds out both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.bayes.checks import require_log_values, values_at
from coursekit.validation import require_instance, require_integer, require_number

CUT = 1e-8  # how high a density may be at the edge of the grid, relative to its maximum
# How much log ∫p may change with every second point. A Gaussian that passes is integrated to rounding with all points,
# because half the spacing raises the relative error to the fourth power; at a kink the error falls to a quarter.
COARSE = 1e-4


@dataclass(frozen=True)
class Grid:
    """Equally spaced points in an interval or a rectangle, in float64."""

    points: Float[Tensor, " n *d"]  # (n,) on a line, (n, 2) in a plane
    cell: float  # the length or area that each point stands for
    shape: tuple[int, ...]  # points along each axis


def grid(*axes: tuple[float, float, int]) -> Grid:
    """Lay a grid over an interval or a rectangle.

    Args:
        axes: one or two triples (low, high, number of points).

    Raises:
        TypeError: a number is expected and something else given.
        ValueError: there are no axes or more than two, low ≥ high, or fewer than 3 points.

    >>> grid((-1, 1, 5)).points
    tensor([-1.0000, -0.5000,  0.0000,  0.5000,  1.0000], dtype=torch.float64)
    >>> grid((-1, 1, 5), (0, 3, 4)).points.shape
    torch.Size([20, 2])
    """
    if len(axes) not in (1, 2):
        raise ValueError(f"axes: expected one or two triples (low, high, points), got {len(axes)}")
    lines, cell = [], 1.0
    for axis in axes:
        if not isinstance(axis, tuple) or len(axis) != 3:
            raise TypeError(f"axes: expected triples (low, high, points), got {axis!r}")
        low = require_number(axis[0], "low")
        high = require_number(axis[1], "high", above=low)
        count = require_integer(axis[2], "points", low=3)
        lines.append(torch.linspace(low, high, count, dtype=torch.float64))
        cell *= require_number(high - low, "high − low") / (count - 1)
    points = lines[0] if len(lines) == 1 else torch.cartesian_prod(*lines)  # (n,) or (n, 2)
    return Grid(points, cell, tuple(len(line) for line in lines))


def log_integral(log_f: Float[Tensor, " n"], grid: Grid) -> Float[Tensor, ""]:
    """Compute log ∫ f(z) dz from the values of log f on a grid."""
    log_f = _on_grid(log_f, "log_f", grid)
    return log_f.logsumexp(dim=0) + math.log(grid.cell)


def normalize(log_density: Callable[[Tensor], Tensor], grid: Grid) -> tuple[Float[Tensor, " n"], float]:
    """Evaluate an unnormalized log density on a grid.

    Returns:
        The normalized log density at the points of the grid, and the logarithm of the normalizer.

    Raises:
        ValueError: log_density returns another shape, NaN or +∞; the density is zero everywhere; the grid cuts it off
            (it exceeds ``CUT`` of its maximum at the edge), or is too coarse (every second point gives another
            integral, by more than ``COARSE``).
    """
    require_instance(grid, "grid", Grid)
    with torch.no_grad():
        values = values_at(log_density, grid.points, "log_density", (len(grid.points),)).double()  # (n,)
    top = values.max().item()
    if top == -math.inf:
        raise ValueError("log_density: the density is zero at all points of the grid")

    # The highest value on an edge: first and last along each axis.
    table = values.reshape(grid.shape)
    edge = max(table.select(axis, end).max().item() for axis in range(table.ndim) for end in (0, -1))
    if edge - top > math.log(CUT):
        raise ValueError(
            f"grid: it cuts the density off, which at the edge is still {math.exp(edge - top):.1g} of its maximum, "
            f"more than {CUT:g}; widen the grid"
        )

    # Every second point along each axis must give the same integral.
    log_normalizer = log_integral(values, grid).item()
    half = table[::2] if table.ndim == 1 else table[::2, ::2]
    coarse = half.flatten().logsumexp(dim=0).item() + math.log(grid.cell * 2**table.ndim)
    if abs(coarse - log_normalizer) > COARSE:
        raise ValueError(
            f"grid: it is too coarse, since every second point gives an integral that differs by "
            f"{abs(math.expm1(coarse - log_normalizer)):.1g}; use more points"
        )
    return values - log_normalizer, log_normalizer


def kl_divergence(log_q: Float[Tensor, " n"], log_p: Float[Tensor, " n"], grid: Grid) -> Float[Tensor, ""]:
    """Compute KL(q‖p) = ∫ q log(q/p) from the values of log q and log p on a grid.

    Where q = 0 the integrand is 0; where q > 0 and p = 0 it is infinite.

    >>> from torch.distributions import Normal
    >>> line = grid((-12, 12, 241))
    >>> q, p = Normal(1.0, 1.0), Normal(0.0, 1.0)
    >>> round(kl_divergence(q.log_prob(line.points), p.log_prob(line.points), line).item(), 6)
    0.5
    """
    log_q, log_p = _on_grid(log_q, "log_q", grid), _on_grid(log_p, "log_p", grid)
    q = log_q.exp()
    return torch.where(q > 0, q * (log_q - log_p), 0).sum() * grid.cell


def moments(log_p: Float[Tensor, " n"], grid: Grid) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """Compute mean and covariance of a density from its logarithm on a grid; a constant factor does not matter."""
    log_p = _on_grid(log_p, "log_p", grid)
    weights = log_p.softmax(dim=0)  # (n,)
    z = grid.points.reshape(len(weights), -1)  # (n, d)
    mean = weights @ z
    return mean, (z - mean).T @ (weights[:, None] * (z - mean))


def _on_grid(value: Tensor, name: str, grid: Grid) -> Float[Tensor, " n"]:
    """The logarithm of a function at the points of a grid, in float64."""
    return require_log_values(value, name, (len(require_instance(grid, "grid", Grid).points),)).double()
