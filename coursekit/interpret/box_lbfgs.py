"""L-BFGS in a box: minimize many functions at once, each on [0, 1]^d."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def minimize_in_box(
    function: Callable[[Float[Tensor, "m d"], Int[Tensor, " m"]], tuple[Float[Tensor, " m"], Float[Tensor, "m d"]]],
    start: Float[Tensor, "n d"],
    steps: int,
    memory: int = 8,
) -> Float[Tensor, "n d"]:
    """Minimize n functions on [0, 1]^d, all at once and each on its own: L-BFGS with projection onto the box.

    Coordinates at a bound that want to leave the box stand still; for the others −H⁻¹∇ comes from the last ``memory``
    moves, and its end, clipped to the box, is tried. A trial after which the function has fallen enough (Armijo) is
    taken, else a shorter one follows. Sources: Bertsekas, SIAM J. Control Optim. 1982 (projection); Nocedal, Math.
    Comp. 1980 (L-BFGS).

    Args:
        function: (z, rows) -> the values and gradients of the functions ``rows`` at the points z, one row for each.
        steps: trials for each function, at most.
    """
    z = start.clone()
    rows = torch.arange(len(z), device=z.device)  # the functions that still fall
    value, gradient = function(z, rows)
    s, y = z.new_zeros(2, memory, *z.shape)  # (memory, n, d) each: the last moves, and how the gradient changed
    direction, t = -_quasi_newton(z, gradient, s, y, rows), torch.ones_like(value)
    fresh = torch.ones_like(rows, dtype=torch.bool)  # without moves to learn from
    for _ in range(steps):
        trial = (z[rows] + t[rows, None] * direction[rows]).clamp(0, 1)
        found, slope = function(trial, rows)
        move, change = trial - z[rows], found - value[rows]
        promised = (gradient[rows] * move).sum(dim=1)  # ≤ 0: what the gradient says of the change
        taken = change <= 1e-4 * promised
        shorter = -promised / (2 * (change - promised))  # the lowest point of the parabola through what is known
        t[rows] = torch.where(taken, 1, t[rows] * shorter.nan_to_num(0.1).clamp(0.1, 0.5))
        took = rows[taken]
        s[:, took] = torch.cat([s[1:, took], move[None, taken]])
        y[:, took] = torch.cat([y[1:, took], (slope[taken] - gradient[took])[None]])
        z[took], value[took], gradient[took] = trial[taken], found[taken], slope[taken]

        # Who gains nothing forgets its moves and tries the gradient itself; who gains nothing there either has arrived.
        stuck = torch.where(taken, -change, -promised) <= 100 * torch.finfo(z.dtype).eps * (1 + value[rows].abs())
        s[:, rows[stuck]], y[:, rows[stuck]], t[rows[stuck]] = 0, 0, 1
        turning = rows[taken | stuck]
        direction[turning] = -_quasi_newton(z, gradient, s, y, turning)
        arrived = stuck & fresh
        rows, fresh = rows[~arrived], (stuck | (fresh & ~taken))[~arrived]
        if not len(rows):
            break
    return z


def _quasi_newton(
    z: Float[Tensor, "n d"],
    gradient: Float[Tensor, "n d"],
    s: Float[Tensor, "m n d"],
    y: Float[Tensor, "m n d"],
    rows: Int[Tensor, " k"],
) -> Float[Tensor, "k d"]:
    """H⁻¹∇ of these functions on their free coordinates, by L-BFGS's two loops; a move without curvature is skipped."""
    free = free_coordinates(z[rows], gradient[rows])
    s, y, q = s[:, rows] * free, y[:, rows] * free, gradient[rows] * free
    curvature, square = (s * y).sum(dim=2, keepdim=True), y.square().sum(dim=2, keepdim=True)  # (m, n, 1)
    sound = curvature > torch.finfo(s.dtype).eps * square
    rho = torch.where(sound, 1 / curvature, 0)
    scale = 1 / (10 * q.norm(dim=1, keepdim=True)).clamp_min(1)  # (n, 1): the first move is no longer than 0.1
    for i in range(len(s)):
        scale = torch.where(sound[i], curvature[i] / square[i], scale)
    weights = []
    for i in reversed(range(len(s))):
        weights.append(rho[i] * (s[i] * q).sum(dim=1, keepdim=True))
        q = q - weights[-1] * y[i]
    q = scale * q
    for i in range(len(s)):
        q = q + (weights.pop() - rho[i] * (y[i] * q).sum(dim=1, keepdim=True)) * s[i]
    return q / q.norm(dim=1, keepdim=True).clamp_min(1)  # further away than 1 the curvature seen so far says little


def free_coordinates(z: Float[Tensor, "m d"], gradient: Float[Tensor, "m d"]) -> Bool[Tensor, "m d"]:
    """The coordinates that may follow −gradient without leaving [0, 1]."""
    return ((z > 0) | (gradient < 0)) & ((z < 1) | (gradient > 0))
