"""L-BFGS in a box: minimize many functions at once, each on [0, 1]^d."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coursekit.validation import require_integer, require_tensor, require_unit_range


def minimize_in_box(
    function: Callable[[Float[Tensor, "m d"], Int[Tensor, " m"]], tuple[Float[Tensor, " m"], Float[Tensor, "m d"]]],
    start: Float[Tensor, "n d"],
    steps: int,
    memory: int = 8,
) -> Float[Tensor, "n d"]:
    """Minimize n functions on [0, 1]^d, all at once but independently: L-BFGS with projection onto the box.

    Coordinates that −∇ would push out of the box are held fixed. For the others, L-BFGS approximates the step −H⁻¹∇
    from the last ``memory`` steps. The end of the step is clipped to the box and tried. A trial is accepted if the
    function falls enough (Armijo's condition); otherwise a shorter step is tried.

    Args:
        function: (z, rows) -> values (m,) and gradients (m, d), where function ``rows[i]`` is evaluated at ``z[i]``.
        start: one point in [0, 1]^d for each function.
        steps: the most trials for each function.
        memory: how many steps L-BFGS remembers.

    Returns:
        The last accepted point of each function.

    Raises:
        TypeError: start is not a tensor of float32 or float64; steps or memory is not an integer.
        ValueError: start is empty or leaves the box; steps or memory < 1.

    Sources: D. Bertsekas, SIAM Journal on Control and Optimization 20, 1982 (projection); J. Nocedal, Mathematics of
    Computation 35, 1980 (L-BFGS).

    The minimum of (z₁ − 0.3)² + (z₂ − 2)² in the box is at (0.3, 1):

    >>> centre = torch.tensor([0.3, 2.0])
    >>> def bowl(z, rows):
    ...     return (z - centre).square().sum(dim=1), 2 * (z - centre)
    >>> minimize_in_box(bowl, torch.zeros(1, 2), steps=20)
    tensor([[0.3000, 1.0000]])
    """
    require_unit_range(require_tensor(start, "start", "n d"), "start")
    steps = require_integer(steps, "steps", low=1)
    memory = require_integer(memory, "memory", low=1)

    z = start.clone()  # (n, d)
    rows = torch.arange(len(z), device=z.device)  # (m,), the functions that have not converged
    value, gradient = function(z, rows)  # (n,), (n, d)
    past = _Memory(memory, z)
    direction, t = past.direction(z, gradient, rows), torch.ones_like(value)  # the next trial is z + t · direction
    fresh = torch.ones_like(rows, dtype=torch.bool)  # (m,), no steps remembered: the direction is −∇
    for _ in range(steps):
        trial = (z[rows] + t[rows, None] * direction[rows]).clamp(0, 1)  # (m, d)
        trial_value, trial_gradient = function(trial, rows)
        step, change = trial - z[rows], trial_value - value[rows]  # (m, d), (m,)
        predicted = (gradient[rows] * step).sum(dim=1)  # (m,), the change to first order, ≤ 0
        accepted = change <= 1e-4 * predicted

        # After a rejected trial, t shrinks to the minimum of the parabola through value, slope and trial value.
        shrink = -predicted / (2 * (change - predicted))
        t[rows] = torch.where(accepted, 1, t[rows] * shrink.nan_to_num(0.1).clamp(0.1, 0.5))

        # An accepted trial is the new point, and L-BFGS learns from the step.
        moved = rows[accepted]
        past.store(moved, step[accepted], trial_gradient[accepted] - gradient[moved])
        z[moved], value[moved], gradient[moved] = trial[accepted], trial_value[accepted], trial_gradient[accepted]

        # If a function no longer falls, forget its steps and follow the gradient. If it already did, it has converged.
        gain = torch.where(accepted, -change, -predicted)
        stuck = gain <= 100 * torch.finfo(z.dtype).eps * (1 + value[rows].abs())
        past.forget(rows[stuck])
        t[rows[stuck]] = 1
        turned = rows[accepted | stuck]
        direction[turned] = past.direction(z, gradient, turned)

        going = ~(stuck & fresh)
        rows, fresh = rows[going], (stuck | (fresh & ~accepted))[going]
        if not len(rows):
            break
    return z


class _Memory:
    """The last steps s of every function, and the changes y of its gradient: what L-BFGS knows of the Hessian."""

    def __init__(self, length: int, z: Float[Tensor, "n d"]) -> None:
        self.s, self.y = z.new_zeros(2, length, *z.shape)  # (length, n, d) each, oldest first

    def store(self, rows: Int[Tensor, " m"], step: Float[Tensor, "m d"], change: Float[Tensor, "m d"]) -> None:
        """Add a step of these functions, in place of their oldest one."""
        self.s[:, rows] = torch.cat([self.s[1:, rows], step[None]])
        self.y[:, rows] = torch.cat([self.y[1:, rows], change[None]])

    def forget(self, rows: Int[Tensor, " m"]) -> None:
        """Drop all steps of these functions."""
        self.s[:, rows], self.y[:, rows] = 0, 0

    def direction(
        self, z: Float[Tensor, "n d"], gradient: Float[Tensor, "n d"], rows: Int[Tensor, " m"]
    ) -> Float[Tensor, "m d"]:
        """−H⁻¹∇ of these functions on their free coordinates, by the two loops of L-BFGS."""
        free = free_coordinates(z[rows], gradient[rows])
        s, y, q = self.s[:, rows] * free, self.y[:, rows] * free, gradient[rows] * free  # (length, m, d) twice, (m, d)

        # Steps without positive curvature are skipped, by ρ = 0.
        curvature, square = (s * y).sum(dim=2, keepdim=True), y.square().sum(dim=2, keepdim=True)  # (length, m, 1)
        usable = curvature > torch.finfo(s.dtype).eps * square
        rho = torch.where(usable, 1 / curvature, 0)

        # The initial H⁻¹ is a multiple of the identity: sᵀy/yᵀy of the newest step, or a first step of at most 0.1.
        scale = 1 / (10 * q.norm(dim=1, keepdim=True)).clamp_min(1)  # (m, 1)
        for i in range(len(s)):
            scale = torch.where(usable[i], curvature[i] / square[i], scale)

        # First loop, from the newest step to the oldest; second loop, back again.
        alphas = []
        for i in reversed(range(len(s))):
            alphas.append(rho[i] * (s[i] * q).sum(dim=1, keepdim=True))  # (m, 1)
            q = q - alphas[-1] * y[i]
        q = scale * q
        for i in range(len(s)):
            q = q + (alphas.pop() - rho[i] * (y[i] * q).sum(dim=1, keepdim=True)) * s[i]
        return -q / q.norm(dim=1, keepdim=True).clamp_min(1)  # no longer than 1: the curvature seen is a local one


def free_coordinates(z: Float[Tensor, "m d"], gradient: Float[Tensor, "m d"]) -> Bool[Tensor, "m d"]:
    """Find the coordinates that can follow −gradient without leaving [0, 1]."""
    return ((z > 0) | (gradient < 0)) & ((z < 1) | (gradient > 0))
