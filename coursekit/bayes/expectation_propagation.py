"""Expectation propagation (EP): replace every factor of a posterior by a Gaussian site, one after the other.

The target is p(z) ∝ N(z; m₀, V₀) ∏ᵢ tᵢ(aᵢ), where the factor tᵢ sees z only through the projection aᵢ = xᵢᵀz. With
d = 1 and xᵢ = 1 that is any model of one unknown number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.bayes.checks import require_positive_definite
from coursekit.validation import require_function, require_integer, require_number, require_tensor

NO_CAVITY = 1e-12  # a cavity needs at least this fraction of the precision of q


class TiltedMoments(NamedTuple):
    """Normalizer, mean and variance of the tilted density t(a) N(a; m, v) / Z."""

    log_normalizer: float
    mean: float
    variance: float


@dataclass(frozen=True)
class SiteUpdate:
    """One step of EP, all in terms of the projection aᵢ. A skipped step has no tilted moments."""

    sweep: int
    site: int
    cavity_mean: float
    cavity_variance: float  # negative (or infinite) where the step was skipped
    tilted: TiltedMoments | None
    mean: float  # of aᵢ under q after the step
    variance: float


@dataclass(frozen=True)
class Sites:
    """The Gaussian factors exp(cᵢ + νᵢ aᵢ − ½ τᵢ aᵢ²) that stand for the factors tᵢ. A precision may be negative."""

    precision: Float[Tensor, " n"]  # τ
    shift: Float[Tensor, " n"]  # ν, precision times mean
    log_scale: Float[Tensor, " n"]  # c


@dataclass(frozen=True)
class ExpectationPropagation:
    """What EP found. Unless it converged, mean, covariance and log evidence are those after the last sweep."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    log_evidence: float
    sites: Sites
    sweeps: int
    skipped: int  # steps without a proper cavity, over all sweeps
    converged: bool
    history: list[SiteUpdate]


def expectation_propagation(
    tilted_moments: Callable[[int, float, float], TiltedMoments],
    projections: Float[Tensor, "n d"],
    prior_mean: Float[Tensor, " d"],
    prior_covariance: Float[Tensor, "d _"],
    *,
    damping: float = 1.0,
    sweeps: int = 200,
    tolerance: float = 1e-10,
) -> ExpectationPropagation:
    """Approximate p(z) ∝ N(z; m₀, V₀) ∏ᵢ tᵢ(xᵢᵀz) by a Gaussian q(z).

    Each step takes a site out of q, which leaves the cavity; multiplies the cavity by the true factor, which gives the
    tilted density; and chooses the new site so that q again has the tilted mean and variance. That minimizes
    KL(tilted‖q), a local divergence: the result does not minimize KL(p‖q) (erratum E32). One sweep from sites that are
    1 is assumed-density filtering (ADF), and depends on the order of the factors. A fixed point does not.

    EP need not converge, and its log evidence bounds nothing.

    Args:
        tilted_moments: (i, m, v) -> log Z, mean and variance of tᵢ(a) N(a; m, v) / Z.
        projections: xᵢ in the rows (n, d), none of them zero.
        prior_mean: m₀ (d,).
        prior_covariance: V₀ (d, d), positive definite.
        damping: the fraction of each change of a site that is made, in (0, 1].
        sweeps: the most passes over all sites.
        tolerance: EP has converged when a whole sweep skips no site, and its full changes, before damping, are at most
            this: those of τᵢ as a fraction of the precision of aᵢ under q, those of νᵢ times its standard deviation.

    Returns:
        q, the log evidence log ∫ N(z; m₀, V₀) ∏ᵢ tᵢ, the sites, and the history of all steps. A step whose cavity has
        no positive variance is skipped and counted.

    Raises:
        TypeError: a tensor is not one of float32 or float64; a number is expected and something else given.
        ValueError: shapes differ; a row of projections is zero; prior_covariance is not positive definite; damping is
            outside (0, 1]; tilted moments are not finite, or a variance is not positive.

    Source: T. Minka, UAI 2001.

    A Gaussian factor is its own site, so one sweep is exact. Here y = 3 was observed with unit noise:

    >>> def observed(i, mean, variance):
    ...     total = variance + 1
    ...     log_z = -0.5 * (3 - mean) ** 2 / total - 0.5 * math.log(2 * math.pi * total)
    ...     return TiltedMoments(log_z, mean + variance * (3 - mean) / total, variance / total)
    >>> one = torch.ones(1, 1)
    >>> q = expectation_propagation(observed, one, torch.zeros(1), one)
    >>> q.mean.item(), q.covariance.item(), q.converged
    (1.5, 0.5, True)
    """
    require_function(tilted_moments, "tilted_moments")
    x, m0, v0 = _checked(projections, prior_mean, prior_covariance)
    damping = require_number(damping, "damping", above=0, high=1)
    sweeps = require_integer(sweeps, "sweeps", low=1)
    tolerance = require_number(tolerance, "tolerance", above=0)

    q = _Approximation(x, m0, v0)
    history: list[SiteUpdate] = []
    converged, sweep = False, 0
    while not converged and sweep < sweeps:
        sweep += 1
        changes = [_update(q, i, sweep, tilted_moments, damping, history) for i in range(len(x))]
        converged = max(changes) <= tolerance
        q.recompute()
    skipped = sum(step.tilted is None for step in history)
    return ExpectationPropagation(q.mean, q.covariance, q.log_evidence(), q.sites(), sweep, skipped, converged, history)


def _update(
    q: "_Approximation",
    i: int,
    sweep: int,
    tilted_moments: Callable[[int, float, float], TiltedMoments],
    damping: float,
    history: list[SiteUpdate],
) -> float:
    """Refine site i. Returns its full change, before damping, in units of q; infinite where the step is skipped."""
    # The cavity: the marginal of aᵢ under q, without site i.
    u = q.covariance @ q.x[i]  # (d,)
    mean, variance = (q.x[i] @ q.mean).item(), (q.x[i] @ u).item()
    precision = 1 / variance - q.precision[i]
    shift = mean / variance - q.shift[i]
    if precision <= NO_CAVITY / variance:
        outside = 1 / precision if precision else math.inf
        history.append(SiteUpdate(sweep, i, shift * outside, outside, None, mean, variance))
        return math.inf
    cavity_mean, cavity_variance = shift / precision, 1 / precision

    # The tilted density: the cavity times the true factor.
    tilted = TiltedMoments(*tilted_moments(i, cavity_mean, cavity_variance))
    if not all(map(math.isfinite, tilted)) or tilted.variance <= 0:
        raise ValueError(f"tilted_moments: expected finite moments and a positive variance for site {i}, got {tilted}")

    # The new site: what the cavity lacks to have the tilted moments; with damping, part of the way there.
    full_precision = 1 / tilted.variance - precision - q.precision[i]
    full_shift = tilted.mean / tilted.variance - shift - q.shift[i]
    change_precision, change_shift = damping * full_precision, damping * full_shift
    q.precision[i] += change_precision
    q.shift[i] += change_shift

    # q follows by a change of rank one. The divisor is positive, because both variances are.
    divisor = 1 + change_precision * variance
    q.mean = q.mean + u * ((change_shift - change_precision * mean) / divisor)
    q.covariance = q.covariance - torch.outer(u, u) * (change_precision / divisor)

    # The scale of the site makes ∫ cavity · site = Z, the normalizer of the tilted density.
    new_mean, new_variance = (mean + change_shift * variance) / divisor, variance / divisor
    before, after = _log_mass(cavity_mean, cavity_variance), _log_mass(new_mean, new_variance)
    q.log_scale[i] = tilted.log_normalizer + before - after
    history.append(SiteUpdate(sweep, i, cavity_mean, cavity_variance, tilted, new_mean, new_variance))
    return max(abs(full_precision) * variance, abs(full_shift) * math.sqrt(variance))


class _Approximation:
    """q(z) ∝ N(z; m₀, V₀) ∏ᵢ exp(νᵢ aᵢ − ½ τᵢ aᵢ²) with its sites."""

    def __init__(
        self, x: Float[Tensor, "n d"], prior_mean: Float[Tensor, " d"], prior_covariance: Float[Tensor, "d d"]
    ) -> None:
        self.x, self.prior_mean, self.prior_covariance = x, prior_mean, prior_covariance
        self.mean, self.covariance = prior_mean, prior_covariance
        self.precision, self.shift, self.log_scale = ([0.0] * len(x) for _ in range(3))  # τ, ν, c of the sites

    def recompute(self) -> None:
        """Compute q anew from its sites, so that rounding errors of many small changes do not add up."""
        precision, shift = self.x.new_tensor(self.precision), self.x.new_tensor(self.shift)  # (n,) each
        prior_precision = torch.linalg.inv(self.prior_covariance)
        total = prior_precision + self.x.T @ (precision[:, None] * self.x)  # (d, d)
        self.covariance = torch.linalg.inv((total + total.T) / 2)
        self.mean = self.covariance @ (prior_precision @ self.prior_mean + self.x.T @ shift)

    def log_evidence(self) -> float:
        """log ∫ N(z; m₀, V₀) ∏ᵢ exp(cᵢ + νᵢ aᵢ − ½ τᵢ aᵢ²) dz."""
        mass = _log_mass_of(self.mean, self.covariance) - _log_mass_of(self.prior_mean, self.prior_covariance)
        return mass + math.fsum(self.log_scale)

    def sites(self) -> Sites:
        """The sites as tensors."""
        return Sites(*(self.x.new_tensor(part) for part in (self.precision, self.shift, self.log_scale)))


def _log_mass(mean: float, variance: float) -> float:
    """log ∫ exp(νa − ½τa²) da for τ = 1/variance and ν = τ·mean, without the constant ½ log 2π."""
    return 0.5 * mean**2 / variance + 0.5 * math.log(variance)


def _log_mass_of(mean: Float[Tensor, " d"], covariance: Float[Tensor, "d d"]) -> float:
    """The same in d dimensions, without ½ d log 2π."""
    return (0.5 * mean @ torch.linalg.solve(covariance, mean) + 0.5 * torch.linalg.slogdet(covariance)[1]).item()


def _checked(
    projections: Tensor, prior_mean: Tensor, prior_covariance: Tensor
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """The arguments in float64, of matching shapes."""
    x = require_tensor(projections, "projections", "n d").double()
    d = x.shape[1]
    m0 = require_tensor(prior_mean, "prior_mean", str(d)).double()
    v0 = require_positive_definite(require_tensor(prior_covariance, "prior_covariance", f"{d} {d}"), "prior_covariance")
    if zero := (~x.any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(f"projections: expected rows that are not zero, got zeros in row {zero[0]}")
    return x, m0, v0
