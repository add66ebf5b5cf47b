"""Bayesian probit regression: P(y = 1 | x, β) = Φ(xᵀβ) with β ~ N(0, v₀ I), where Φ is the normal distribution.

The likelihood of each label sees β through one projection, so EP needs one-dimensional moments only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.bayes.expectation_propagation import ExpectationPropagation, TiltedMoments, expectation_propagation
from coursekit.bayes.quadrature import CUT, grid, moments, normalize
from coursekit.validation import require_choice, require_integer, require_labels, require_number, require_tensor

Method = Literal["ep", "adf", "laplace", "quadrature"]
MAX_STEPS = 200  # of Newton
REACH = 200.0  # the largest half-width of the grid, in standard deviations of Laplace's Gaussian


@dataclass(frozen=True)
class ProbitPosterior:
    """Mean and covariance of β given the labels, and log P(y | x) or its approximation."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    log_evidence: float
    converged: bool
    ep: ExpectationPropagation | None  # sites, sweeps, skipped steps and history of EP and ADF


def probit_log_joint(
    beta: Float[Tensor, "m d"], x: Float[Tensor, "n d"], y: Int[Tensor, " n"], prior_variance: float = 1.0
) -> Float[Tensor, " m"]:
    """Compute log P(y | x, β) + log p(β) in float64 for every row β.

    Raises:
        TypeError: beta or x is not a tensor of float32 or float64; y does not hold integers.
        ValueError: shapes differ; a tensor is empty or holds NaN or infinity; a label is neither 0 nor 1;
            prior_variance ≤ 0.
    """
    signed = _checked(x, y, prior_variance)
    require_tensor(beta, "beta", f"m {signed.shape[1]}")
    return _log_joint(beta.double(), signed, prior_variance)


def probit_posterior(
    x: Float[Tensor, "n d"],
    y: Int[Tensor, " n"],
    method: Method = "ep",
    prior_variance: float = 1.0,
    *,
    damping: float = 1.0,
    sweeps: int = 200,
) -> ProbitPosterior:
    """Approximate the posterior of β given labels y ~ Bernoulli(Φ(xᵀβ)) and β ~ N(0, v₀ I).

    Args:
        x: the inputs (n, d), none of them zero for EP; append a column of ones for an intercept.
        y: the labels (n,), 0 or 1.
        method: ``"ep"``, expectation propagation; ``"adf"``, its first sweep, which cannot know whether it has
            converged; ``"laplace"``, a Gaussian at the mode; or ``"quadrature"`` for d ≤ 2.
        prior_variance: v₀.
        damping: of EP, see `expectation_propagation`.
        sweeps: the most passes of EP.

    Raises:
        TypeError: x is not a tensor of float32 or float64; y does not hold integers; a number is expected and something
            else given.
        ValueError: shapes differ; x is empty, or holds NaN or infinity; a label is neither 0 nor 1; method is unknown;
            quadrature is asked for with d > 2, or cannot resolve the posterior; a number is out of range.

    Source: C. Rasmussen and C. Williams, Gaussian Processes for Machine Learning, 2006, sections 3.4 to 3.6.

    With one observation EP is exact, and by symmetry either label has probability ½:

    >>> q = probit_posterior(torch.tensor([[2.0]]), torch.tensor([1]))
    >>> round(math.exp(q.log_evidence), 6)
    0.5
    """
    require_choice(method, "method", get_args(Method))
    damping = require_number(damping, "damping", above=0, high=1)
    sweeps = require_integer(sweeps, "sweeps", low=1)
    signed = _checked(x, y, prior_variance)
    if method == "laplace":
        return _laplace(signed, prior_variance)
    if method == "quadrature":
        return _integrate(signed, prior_variance)

    if method == "adf":
        damping, sweeps = 1.0, 1
    d = signed.shape[1]
    prior = prior_variance * torch.eye(d, dtype=torch.float64)
    q = expectation_propagation(probit_sites(), signed, prior.new_zeros(d), prior, damping=damping, sweeps=sweeps)
    return ProbitPosterior(q.mean, q.covariance, q.log_evidence, q.converged, q)


def probit_sites() -> Callable[[int, float, float], TiltedMoments]:
    """Build the tilted moments of the factor Φ(a), for EP. The projections are then x for y = 1 and −x for y = 0.

    With z = m/√(1 + v) and h = N(z; 0, 1)/Φ(z),

        Z = Φ(z),   mean = m + h v/√(1 + v),   variance = v − h (z + h) v²/(1 + v).
    """
    from scipy.special import log_ndtr

    def tilted_moments(i: int, mean: float, variance: float) -> TiltedMoments:
        root = math.sqrt(1 + variance)
        z = mean / root
        log_z = float(log_ndtr(z))
        h = math.exp(-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - log_z)
        return TiltedMoments(log_z, mean + h * variance / root, variance - h * (z + h) * (variance / root) ** 2)

    return tilted_moments


def _log_joint(beta: Float[Tensor, "m d"], signed: Float[Tensor, "n d"], prior_variance: float) -> Float[Tensor, " m"]:
    likelihood = torch.special.log_ndtr(beta @ signed.T).sum(dim=1)  # (m,)
    prior = -0.5 * (beta.square() / prior_variance + math.log(2 * math.pi * prior_variance)).sum(dim=1)
    return likelihood + prior


def _laplace(signed: Float[Tensor, "n d"], prior_variance: float) -> ProbitPosterior:
    """A Gaussian with the mode and the curvature there. The log posterior is concave, and Newton's method finds it."""
    d = signed.shape[1]
    beta = signed.new_zeros(d)
    converged = False
    for _ in range(MAX_STEPS):
        # With h = N(a)/Φ(a): ∂ log Φ/∂a = h and −∂² log Φ/∂a² = h(a + h).
        a = signed @ beta  # (n,)
        h = torch.exp(-0.5 * a.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(a))
        gradient = signed.T @ h - beta / prior_variance  # (d,)
        curvature = signed.T @ ((h * (a + h))[:, None] * signed) + torch.eye(d, dtype=beta.dtype) / prior_variance
        step = torch.linalg.solve(curvature, gradient)
        if gradient @ step <= 1e-20 * (1 + beta @ curvature @ beta):
            converged = True
            break
        beta = beta + step
    covariance = torch.linalg.inv(curvature)
    mode = _log_joint(beta[None], signed, prior_variance).item()
    log_evidence = mode + 0.5 * (d * math.log(2 * math.pi) - torch.linalg.slogdet(curvature)[1].item())
    return ProbitPosterior(beta, (covariance + covariance.T) / 2, log_evidence, converged, None)


def _integrate(signed: Float[Tensor, "n d"], prior_variance: float) -> ProbitPosterior:
    """Sums over a grid of ε, where β = m + Lε with mean and Cholesky factor of Laplace's Gaussian."""
    d = signed.shape[1]
    if d > 2:
        raise ValueError(f"method: quadrature is possible with d ≤ 2 only, got d = {d}")
    start = _laplace(signed, prior_variance)
    factor = torch.linalg.cholesky(start.covariance)

    def log_joint(e: Float[Tensor, " m *d"]) -> Float[Tensor, " m"]:
        parts = (start.mean + e.reshape(-1, d) @ factor.T).split(max(1, 10**7 // len(signed)))  # saves memory
        return torch.cat([_log_joint(beta, signed, prior_variance) for beta in parts])

    # The tails can be longer than Laplace's, up to those of the prior: widen the grid until it holds them.
    reach = 8.0
    edge = torch.linspace(0, 2 * math.pi, 33, dtype=torch.float64)
    ring = torch.stack([edge.cos(), edge.sin()], dim=1)[:, :d]  # (33, d)
    top = log_joint(start.mean.new_zeros(1, d))
    while (log_joint(reach * ring) - top).max() > 2 * math.log(CUT) and reach < REACH:
        reach *= 1.3
    line = grid(*[(-reach, reach, math.ceil(20 * reach))] * d)
    try:
        log_p, log_normalizer = normalize(log_joint, line)
    except ValueError as error:
        raise ValueError(
            "method: the posterior is too far from a Gaussian for quadrature; use a smaller prior_variance"
        ) from error
    mean, covariance = moments(log_p, line)
    log_evidence = log_normalizer + factor.diagonal().log().sum().item()
    return ProbitPosterior(start.mean + factor @ mean, factor @ covariance @ factor.T, log_evidence, True, None)


def _checked(x: Tensor, y: Tensor, prior_variance: float) -> Float[Tensor, "n d"]:
    """x in float64, with the sign of each row turned where y = 0: then every factor is Φ(xᵀβ)."""
    require_tensor(x, "x", "n d")
    require_labels(y, "y", count=len(x), classes=2)
    prior_variance = require_number(prior_variance, "prior_variance", above=0)
    return x.double() * (2 * y[:, None].double() - 1)
