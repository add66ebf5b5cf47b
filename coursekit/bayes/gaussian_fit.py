"""The Gaussian closest to a density, in either Kullback–Leibler divergence.

The reverse one, KL(q‖p), is large where q has mass and p has none. If modes are far apart, there is a local optimum in
each of them. The forward one, KL(p‖q), is large where p has mass and q has none. Its only optimum has the moments of p.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal

from coursekit.bayes.checks import values_at
from coursekit.bayes.quadrature import Grid, grid, moments, normalize
from coursekit.validation import require_choice, require_instance, require_tensor

Divergence = Literal["reverse", "forward"]
Covariance = Literal["full", "diagonal", "isotropic"]
GRADIENT = 1e-6  # the largest derivative of the divergence at an optimum
Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class GaussianFit:
    """A local optimum q = N(mean, covariance)."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    divergence: float  # KL(q‖p) or KL(p‖q), in nats
    converged: bool  # no derivative exceeds ``GRADIENT``
    steps: int  # of BFGS

    def distribution(self) -> Distribution:
        """q, whose ``log_prob`` takes the points of the grid."""
        if len(self.mean) == 1:
            return Normal(self.mean[0], self.covariance[0, 0].sqrt())
        return MultivariateNormal(self.mean, self.covariance)


def fit_gaussian(
    log_density: Callable[[Tensor], Tensor],
    divergence: Divergence = "reverse",
    *,
    grid: Grid,
    covariance: Covariance = "full",
    starts: Float[Tensor, "k d"] | None = None,
) -> list[GaussianFit]:
    """Find all Gaussians q that minimize KL(q‖p) or KL(p‖q) locally, in one or two dimensions.

    BFGS minimizes over the mean and the Cholesky factor of the covariance, from every start with a wide q (the standard
    deviation of p) and a narrow one (a quarter of it). A saddle point is left on both sides.

    Args:
        log_density: z -> log p(z) up to a constant, from (n,) on a line or (n, 2) in a plane to (n,). For the reverse
            divergence it must be differentiable in z, and finite everywhere.
        divergence: ``"reverse"`` for KL(q‖p), ``"forward"`` for KL(p‖q).
        grid: where p is integrated; see `coursekit.bayes.grid`. Integrals over q use points of their own.
        covariance: ``"full"``, ``"diagonal"`` or ``"isotropic"``.
        starts: means to start from (k, d). By default the mean of p and all local maxima of p on the grid.

    Returns:
        The distinct optima, best first. Only those are found that the starts lead to.

    Raises:
        TypeError: starts is not a tensor of float32 or float64; divergence or covariance is not a word.
        ValueError: divergence or covariance is unknown; starts has another dimension than the grid; the grid cuts the
            density off or is too coarse; the density has NaN, or for the reverse divergence zeros or no derivative.

    Source: C. Bishop, Pattern Recognition and Machine Learning, 2006, section 10.1.2 and figure 10.3.

    Modes at ±4 with standard deviation 1: KL(q‖p) has an optimum in each, and a worse one that covers both. KL(p‖q)
    has one.

    >>> from torch.distributions import Categorical, MixtureSameFamily, Normal
    >>> p = MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([-4.0, 4.0]).double(), 1.0))
    >>> from coursekit.bayes import grid
    >>> line = grid((-15, 15, 601))
    >>> [round(abs(fit.mean.item()), 2) for fit in fit_gaussian(p.log_prob, "reverse", grid=line)]
    [4.0, 4.0, 0.0]
    >>> [round(fit.covariance.item(), 2) for fit in fit_gaussian(p.log_prob, "forward", grid=line)]
    [17.0]
    """
    require_choice(divergence, "divergence", get_args(Divergence))
    require_choice(covariance, "covariance", get_args(Covariance))
    require_instance(grid, "grid", Grid)
    d = len(grid.shape)
    log_p, log_normalizer = normalize(log_density, grid)  # (n,)
    p_mean, p_covariance = moments(log_p, grid)
    centres = _default_starts(log_p, p_mean, grid) if starts is None else require_tensor(starts, "starts", f"k {d}")

    family = _Family(d, covariance)
    objective = (
        _reverse(log_density, log_normalizer, family) if divergence == "reverse" else _forward(log_p, grid, family)
    )
    spread = 0.5 * p_covariance.diagonal().log().mean().item()  # log of the standard deviation of p
    pending = [family.pack(m.detach().double(), log_sd) for m in centres for log_sd in (spread, spread - math.log(4))]
    fits: list[GaussianFit] = []
    while pending:
        phi, steps, converged = _minimize(objective, pending.pop())
        # At a saddle point q can still improve on both sides along a direction of negative curvature.
        curvatures, directions = torch.linalg.eigh(torch.autograd.functional.hessian(objective, phi))
        if converged and curvatures[0] < -1e-6:
            pending += [phi + 0.1 * directions[:, 0], phi - 0.1 * directions[:, 0]]
            continue
        mean, factor = family.unpack(phi)
        fits.append(GaussianFit(mean, factor @ factor.T, objective(phi).item(), converged, steps))
    return _distinct(fits)


@dataclass(frozen=True)
class _Family:
    """How the numbers φ describe N(m, LLᵀ): m first, then the logarithms on the diagonal of L, then the rest of L."""

    d: int
    covariance: Covariance

    def pack(self, mean: Float[Tensor, " d"], log_sd: float) -> Float[Tensor, " k"]:
        """φ of an isotropic Gaussian."""
        scales = 1 if self.covariance == "isotropic" else self.d
        rest = self.d * (self.d - 1) // 2 if self.covariance == "full" else 0
        return torch.cat([mean, mean.new_full((scales,), log_sd), mean.new_zeros(rest)])

    def unpack(self, phi: Float[Tensor, " k"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        """The mean and the lower triangular factor L."""
        d = self.d
        scales = phi[d : d + 1].expand(d) if self.covariance == "isotropic" else phi[d : 2 * d]
        factor = scales.exp().diag()
        if self.covariance == "full" and d == 2:
            lower = torch.zeros_like(factor)
            lower[1, 0] = 1
            factor = factor + phi[4] * lower
        return phi[:d], factor


def _reverse(log_density: Callable[[Tensor], Tensor], log_normalizer: float, family: _Family) -> Objective:
    """φ -> KL(q‖p) = E_ε[log N(ε; 0, I)] − log|L| − E_ε[log p(m + Lε)], the expectations on a grid of noise ε."""
    d = family.d
    noise = grid(*[(-7, 7, 561 if d == 1 else 141)] * d)
    e = noise.points.reshape(-1, d)  # (n, d)
    log_weights = -0.5 * (e.square() + math.log(2 * math.pi)).sum(dim=1)  # (n,)
    weights = log_weights.exp() * noise.cell
    negative_entropy = weights @ log_weights

    def objective(phi: Float[Tensor, " k"]) -> Float[Tensor, ""]:
        mean, factor = family.unpack(phi)
        z = mean + e @ factor.T  # (n, d)
        log_p = values_at(log_density, z[:, 0] if d == 1 else z, "log_density", (len(z),))
        if log_p.isneginf().any():
            raise ValueError("log_density: the density is zero at points where q is not, so that KL(q‖p) is infinite")
        if phi.requires_grad and not log_p.requires_grad:
            raise ValueError("log_density: expected a function that torch can differentiate")
        return negative_entropy - factor.diagonal().log().sum() - weights @ (log_p.double() - log_normalizer)

    return objective


def _forward(log_p: Float[Tensor, " n"], grid: Grid, family: _Family) -> Objective:
    """φ -> KL(p‖q) = E_p[log p] − E_p[log q], both on the grid of p."""
    weights = log_p.softmax(dim=0)  # (n,)
    z = grid.points.reshape(len(weights), -1)  # (n, d)
    negative_entropy = torch.where(weights > 0, weights * log_p, 0).sum()

    def objective(phi: Float[Tensor, " k"]) -> Float[Tensor, ""]:
        mean, factor = family.unpack(phi)
        e = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)  # (d, n)
        log_q = -0.5 * e.square().sum(dim=0) - factor.diagonal().log().sum() - 0.5 * family.d * math.log(2 * math.pi)
        return negative_entropy - weights @ log_q

    return objective


def _minimize(objective: Objective, start: Float[Tensor, " k"]) -> tuple[Float[Tensor, " k"], int, bool]:
    """The end of BFGS, its steps, and whether the gradient vanishes there."""
    from scipy.optimize import minimize

    def value_and_gradient(numbers):
        phi = torch.from_numpy(numbers.copy()).requires_grad_()
        value = objective(phi)
        (gradient,) = torch.autograd.grad(value, phi)
        return value.item(), gradient.numpy()

    found = minimize(value_and_gradient, start.numpy(), method="BFGS", jac=True, options={"gtol": GRADIENT / 100})
    return torch.from_numpy(found.x), int(found.nit), bool(abs(found.jac).max() <= GRADIENT)


def _default_starts(log_p: Float[Tensor, " n"], mean: Float[Tensor, " d"], grid: Grid) -> Float[Tensor, "k d"]:
    """The mean of p and its local maxima on the grid: points that are higher than all neighbours."""
    table = log_p.reshape(1, *grid.shape)
    pool = torch.nn.functional.max_pool1d if len(grid.shape) == 1 else torch.nn.functional.max_pool2d
    peaks = (table == pool(table, 3, stride=1, padding=1)) & (table > table.max() - 20)
    return torch.cat([mean[None], grid.points.reshape(-1, len(mean))[peaks.flatten()]])


def _distinct(fits: list[GaussianFit]) -> list[GaussianFit]:
    """One fit for each optimum, best first; of equal ones the converged one counts."""
    distinct: list[GaussianFit] = []
    for fit in sorted(fits, key=lambda fit: not fit.converged):
        if not any(_same(fit, other) for other in distinct):
            distinct.append(fit)
    return sorted(distinct, key=lambda fit: fit.divergence)


def _same(a: GaussianFit, b: GaussianFit) -> bool:
    """Whether two fits are one optimum: means closer than a hundredth of a standard deviation, and equal scales."""
    scale = b.covariance.diagonal().max()
    near = (a.mean - b.mean).abs().max() <= 0.01 * scale.sqrt()
    return bool(near and (a.covariance - b.covariance).abs().max() <= 0.01 * scale)
