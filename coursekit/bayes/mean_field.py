"""Mean field for a correlated Gaussian: a product of independent Gaussians, improved one factor at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.bayes.checks import require_positive_definite
from coursekit.validation import require_flag, require_integer, require_number, require_tensor


@dataclass(frozen=True)
class MeanFieldGaussian:
    """q(z) = ∏ᵢ N(zᵢ; mᵢ, vᵢ) and how it got there."""

    mean: Float[Tensor, " d"]  # m
    variance: Float[Tensor, " d"]  # v
    path: Float[Tensor, "steps d"]  # the means: the start, then those after each update
    elbo: Float[Tensor, " steps"]  # −KL(q‖p) at the same moments
    sweeps: int
    converged: bool


def mean_field_gaussian(
    mean: Float[Tensor, " d"],
    precision: Float[Tensor, "d d"],
    start: Float[Tensor, " d"] | None = None,
    *,
    simultaneous: bool = False,
    sweeps: int = 1000,
    tolerance: float = 1e-12,
) -> MeanFieldGaussian:
    """Approximate p = N(μ, Λ⁻¹) by a product of Gaussians: coordinate ascent on the ELBO.

    The best factor, given the others, is exp E_{j≠i}[log p(z)], normalized:

        qᵢ = N(mᵢ, 1/Λᵢᵢ),   mᵢ = μᵢ − Σ_{j≠i} Λᵢⱼ (mⱼ − μⱼ) / Λᵢᵢ.

    The variance 1/Λᵢᵢ is that of zᵢ given all others. It depends on no other factor, so it is right from the start, and
    it is smaller than the true Σᵢᵢ wherever zᵢ is correlated with others. The means reach μ.

    Args:
        mean: μ (d,).
        precision: Λ (d, d), positive definite.
        start: the first means (d,), zeros by default.
        simultaneous: update all factors at once, from the old ones. This is *not* coordinate ascent: the ELBO may fall
            and the means may diverge.
        sweeps: the most passes over all factors.
        tolerance: the means have converged when a whole sweep moves none by more than this, in units of √vᵢ.

    Returns:
        q, with means and ELBO after every update: d updates a sweep, or one if simultaneous. p is normalized, so the
        ELBO is −KL(q‖p).

    Raises:
        TypeError: a tensor is not one of float32 or float64; a number is expected and something else given.
        ValueError: shapes differ; precision is not symmetric and positive definite; sweeps < 1; tolerance ≤ 0.

    Source: C. Bishop, Pattern Recognition and Machine Learning, 2006, section 10.1.2.

    >>> precision = torch.linalg.inv(torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double())
    >>> q = mean_field_gaussian(torch.zeros(2), precision, start=torch.tensor([2.0, -1.0]))
    >>> q.variance, q.converged
    (tensor([0.1900, 0.1900], dtype=torch.float64), True)
    """
    simultaneous = require_flag(simultaneous, "simultaneous")
    mu = require_tensor(mean, "mean", "d").double()
    d = len(mu)
    m = torch.zeros_like(mu) if start is None else require_tensor(start, "start", str(d)).double().clone()
    lam = require_positive_definite(require_tensor(precision, "precision", f"{d} {d}"), "precision")
    sweeps = require_integer(sweeps, "sweeps", low=1)
    tolerance = require_number(tolerance, "tolerance", above=0)

    diagonal = lam.diagonal()  # (d,)
    path = [m.clone()]
    converged, sweep = False, 0
    while not converged and sweep < sweeps and m.isfinite().all():
        sweep += 1
        before = m.clone()
        if simultaneous:
            m = m - lam @ (m - mu) / diagonal  # every factor from the old values of the others
            path.append(m.clone())
        else:
            for i in range(d):
                m[i] -= lam[i] @ (m - mu) / diagonal[i]
                path.append(m.clone())
        converged = bool(((m - before).abs() * diagonal.sqrt()).max() <= tolerance)

    # −KL(q‖p) = −½ [(m − μ)ᵀΛ(m − μ) + Σ log Λᵢᵢ − log|Λ|], where v = 1/Λᵢᵢ makes the traces cancel.
    off = torch.stack(path) - mu  # (steps, d)
    gap = diagonal.log().sum() - torch.linalg.slogdet(lam)[1]
    elbo = -0.5 * (torch.einsum("si,ij,sj->s", off, lam, off) + gap)
    return MeanFieldGaussian(m, 1 / diagonal, torch.stack(path), elbo, sweep, converged)
