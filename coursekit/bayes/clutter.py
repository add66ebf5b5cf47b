"""Minka's clutter problem: a signal θ, observed among background noise.

Each observation comes from the signal with probability 1 − w, and else from the background:

    y ~ (1 − w) N(θ, 1) + w N(0, a),   θ ~ N(0, v₀).

The posterior of θ is a mixture of 2ⁿ Gaussians. Four approximations and one-dimensional quadrature compute its mean,
variance and log evidence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.bayes.expectation_propagation import ExpectationPropagation, TiltedMoments, expectation_propagation
from coursekit.bayes.quadrature import Grid, grid, moments, normalize
from coursekit.validation import require_choice, require_integer, require_number, require_tensor

Method = Literal["ep", "adf", "vb", "laplace", "quadrature"]
MAX_STEPS = 10_000  # of VB, and of EM for the mode


@dataclass(frozen=True)
class ClutterPosterior:
    """Mean and variance of θ given the observations, and log p(y) or its approximation."""

    mean: float
    variance: float
    log_evidence: float  # with VB a lower bound
    converged: bool
    elbo: list[float]  # after each update of VB; empty otherwise
    ep: ExpectationPropagation | None  # sites, sweeps, skipped steps and history of EP and ADF


@dataclass(frozen=True)
class _Model:
    """The observations y (n,) in float64 and the numbers of the model."""

    y: Float[Tensor, " n"]
    w: float
    a: float
    prior_variance: float

    def log_joint(self, theta: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        """log p(y, θ) for every θ."""
        likelihood = torch.logaddexp(self.signal(theta[:, None]), self.background()).sum(dim=1)  # (m,)
        return likelihood + _log_normal(theta, self.prior_variance)

    def signal(self, theta: Float[Tensor, "*m"]) -> Float[Tensor, "*k"]:
        """log (1 − w) N(y; θ, 1)."""
        return math.log(1 - self.w) + _log_normal(self.y - theta, 1.0)

    def background(self) -> Float[Tensor, " n"]:
        """log w N(y; 0, a)."""
        return math.log(self.w) + _log_normal(self.y, self.a)

    def grid(self) -> Grid:
        """A grid that neither cuts the posterior nor is too coarse for it.

        Each of the 2ⁿ Gaussians has a variance from 1/(n + 1/v₀) to v₀, and its mean is a weighted mean of 0 and
        observations. Ten prior standard deviations beyond those, and half of the smallest deviation as spacing,
        integrate all of them to the precision of float64.
        """
        reach = 10 * math.sqrt(self.prior_variance)
        low, high = min(0.0, self.y.min().item()) - reach, max(0.0, self.y.max().item()) + reach
        spacing = 0.5 / math.sqrt(len(self.y) + 1 / self.prior_variance)
        return grid((low, high, math.ceil((high - low) / spacing) + 2))


def sample_clutter(theta: float, n: int, w: float = 0.5, a: float = 10.0, seed: int = 0) -> Float[Tensor, " n"]:
    """Draw n observations y ~ (1 − w) N(θ, 1) + w N(0, a) in float64.

    Raises:
        TypeError: a number is expected and something else given.
        ValueError: n < 1, w is outside (0, 1), a ≤ 0, or seed < 0.
    """
    theta = require_number(theta, "theta")
    n = require_integer(n, "n", low=1)
    w = require_number(w, "w", above=0, below=1)
    a = require_number(a, "a", above=0)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    background = torch.rand(n, generator=generator, dtype=torch.float64) < w
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    return torch.where(background, math.sqrt(a) * noise, theta + noise)


def clutter_log_joint(
    theta: Float[Tensor, " m"], y: Float[Tensor, " n"], w: float = 0.5, a: float = 10.0, prior_variance: float = 100.0
) -> Float[Tensor, " m"]:
    """Compute log p(y, θ) in float64 for every θ.

    Raises:
        TypeError: theta or y is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: theta or y is empty or holds NaN or infinity; w is outside (0, 1); a or prior_variance ≤ 0.
    """
    require_tensor(theta, "theta", "m")
    return _checked(y, w, a, prior_variance).log_joint(theta.double())


def clutter_posterior(
    y: Float[Tensor, " n"],
    method: Method = "ep",
    w: float = 0.5,
    a: float = 10.0,
    prior_variance: float = 100.0,
    *,
    damping: float = 1.0,
    sweeps: int = 200,
) -> ClutterPosterior:
    """Approximate the posterior of θ given observations y ~ (1 − w) N(θ, 1) + w N(0, a), where θ ~ N(0, v₀).

    Args:
        y: the observations (n,).
        method: one of

            - ``"ep"``, expectation propagation;
            - ``"adf"``, its first sweep, which depends on the order of y and cannot know whether it has converged;
            - ``"vb"``, mean field for θ and the n hidden labels. It starts at the median of y with variance 1/n,
              because from the prior it would not move;
            - ``"laplace"``, a Gaussian at the highest mode;
            - ``"quadrature"``, exact to rounding.
        w: the probability of the background, in (0, 1).
        a: the variance of the background.
        prior_variance: v₀.
        damping: of EP, see `expectation_propagation`.
        sweeps: the most passes of EP.

    Raises:
        TypeError: y is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: y is empty, or holds NaN or infinity; method is unknown; w is outside (0, 1); a or prior_variance
            is not positive; damping or sweeps is out of range.

    Source: T. Minka, Expectation propagation for approximate Bayesian inference, UAI 2001.

    With a single observation EP is exact:

    >>> y = torch.tensor([1.5])
    >>> ep, exact = clutter_posterior(y, "ep"), clutter_posterior(y, "quadrature")
    >>> abs(ep.mean - exact.mean) < 1e-9, abs(ep.log_evidence - exact.log_evidence) < 1e-9
    (True, True)
    """
    require_choice(method, "method", get_args(Method))
    damping = require_number(damping, "damping", above=0, high=1)
    sweeps = require_integer(sweeps, "sweeps", low=1)
    model = _checked(y, w, a, prior_variance)
    if method == "ep":
        return _propagate(model, damping, sweeps)
    if method == "adf":
        return _propagate(model, damping=1.0, sweeps=1)
    return {"vb": _variational, "laplace": _laplace, "quadrature": _integrate}[method](model)


def clutter_sites(
    y: Float[Tensor, " n"], w: float = 0.5, a: float = 10.0
) -> Callable[[int, float, float], TiltedMoments]:
    """Build the tilted moments of the factors tᵢ(θ) = (1 − w) N(yᵢ; θ, 1) + w N(yᵢ; 0, a), for EP.

    With the probability r that yᵢ comes from the signal,

        Z = (1 − w) N(yᵢ; m, v + 1) + w N(yᵢ; 0, a),   r = 1 − w N(yᵢ; 0, a) / Z,
        mean = m + r g,   variance = v − r v²/(v + 1) + r(1 − r) g²,   g = v (yᵢ − m)/(v + 1).

    Raises:
        TypeError: y is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: y is empty, or holds NaN or infinity; w is outside (0, 1), or a ≤ 0.
    """
    model = _checked(y, w, a, 1.0)
    values, background = model.y.tolist(), model.background().tolist()

    def tilted_moments(i: int, mean: float, variance: float) -> TiltedMoments:
        # Z and r, from logarithms, so that a far observation does not underflow.
        off, total = values[i] - mean, variance + 1
        signal = math.log(1 - w) - 0.5 * off**2 / total - 0.5 * math.log(2 * math.pi * total)
        log_z = max(signal, background[i]) + math.log1p(math.exp(-abs(signal - background[i])))
        r, not_r = math.exp(signal - log_z), math.exp(background[i] - log_z)

        # Mean and variance of the mixture of updated cavity (weight r) and cavity itself (weight 1 − r).
        gain = variance * off / total
        return TiltedMoments(log_z, mean + r * gain, variance * (not_r + r / total) + r * not_r * gain**2)

    return tilted_moments


def _propagate(model: _Model, damping: float, sweeps: int) -> ClutterPosterior:
    """EP, or with one sweep ADF, in one dimension: every factor sees θ itself."""
    ones = torch.ones_like(model.y)[:, None]  # (n, 1)
    prior = torch.full((1, 1), model.prior_variance, dtype=torch.float64)
    sites = clutter_sites(model.y, model.w, model.a)
    q = expectation_propagation(sites, ones, prior.new_zeros(1), prior, damping=damping, sweeps=sweeps)
    return ClutterPosterior(q.mean.item(), q.covariance.item(), q.log_evidence, q.converged, [], q)


def _integrate(model: _Model) -> ClutterPosterior:
    """Sums over the grid, some points at a time, to save memory."""
    line = model.grid()

    def log_joint(theta: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        return torch.cat([model.log_joint(part) for part in theta.split(max(1, 10**7 // len(model.y)))])

    log_p, log_evidence = normalize(log_joint, line)
    mean, covariance = moments(log_p, line)
    return ClutterPosterior(mean.item(), covariance.item(), log_evidence, True, [], None)


def _laplace(model: _Model) -> ClutterPosterior:
    """A Gaussian with the mode and the curvature of log p(y, θ) there."""
    # The highest mode is near the best of the observations and their median.
    points = torch.cat([model.y, model.y.median()[None], model.y.new_zeros(1)])
    theta = points[model.log_joint(points).argmax()]  # ()

    # r is the probability that an observation comes from the signal. EM climbs: θ = Σ r y / (Σ r + 1/v₀).
    converged = False
    for _ in range(MAX_STEPS):
        r = (model.signal(theta) - model.background()).sigmoid()  # (n,)
        new = r @ model.y / (r.sum() + 1 / model.prior_variance)
        converged, theta = bool((new - theta).abs() <= 1e-12 * (1 + theta.abs())), new
        if converged:
            break

    # −∂² log p(y, θ)/∂θ², positive at a mode.
    curvature = (r - r * (1 - r) * (model.y - theta).square()).sum().item() + 1 / model.prior_variance
    log_evidence = model.log_joint(theta[None]).item() + 0.5 * math.log(2 * math.pi / curvature)
    return ClutterPosterior(theta.item(), 1 / curvature, log_evidence, converged, [], None)


def _variational(model: _Model) -> ClutterPosterior:
    """Mean field: q(θ) ∏ᵢ q(sᵢ), where sᵢ says whether yᵢ comes from the signal; updated in turn."""
    mean, variance = model.y.median(), torch.tensor(1 / len(model.y), dtype=torch.float64)
    path: list[float] = []
    converged = False
    for _ in range(MAX_STEPS):
        # q(sᵢ): the uncertainty of θ lowers the expected log likelihood by ½ variance.
        r = (model.signal(mean) - variance / 2 - model.background()).sigmoid()  # (n,)

        # q(θ): every observation counts with the weight r.
        variance = 1 / (r.sum() + 1 / model.prior_variance)
        mean = variance * (r @ model.y)

        path.append(_elbo(model, r, mean, variance))
        if len(path) > 1 and path[-1] - path[-2] <= 1e-12 * (1 + abs(path[-1])):
            converged = True
            break
    return ClutterPosterior(mean.item(), variance.item(), path[-1], converged, path, None)


def _elbo(model: _Model, r: Float[Tensor, " n"], mean: Float[Tensor, ""], variance: Float[Tensor, ""]) -> float:
    """E log p(y, s | θ) + entropy of q(s) − KL(q(θ) ‖ p(θ)), for q(sᵢ = signal) = rᵢ."""
    likelihood = r * (model.signal(mean) - variance / 2) + (1 - r) * model.background()  # (n,)
    entropy = -(torch.xlogy(r, r) + torch.xlogy(1 - r, 1 - r))  # (n,)
    ratio = variance / model.prior_variance
    penalty = 0.5 * (ratio - 1 - ratio.log() + mean.square() / model.prior_variance)
    return ((likelihood + entropy).sum() - penalty).item()


def _log_normal(off: Float[Tensor, "*n"], variance: float) -> Float[Tensor, "*n"]:
    """log N(off; 0, variance). Distributions that are built from Python numbers would round them to float32."""
    return -0.5 * off.square() / variance - 0.5 * math.log(2 * math.pi * variance)


def _checked(y: Tensor, w: float, a: float, prior_variance: float) -> _Model:
    require_tensor(y, "y", "n")
    w = require_number(w, "w", above=0, below=1)
    a = require_number(a, "a", above=0)
    prior_variance = require_number(prior_variance, "prior_variance", above=0)
    return _Model(y.double(), float(w), float(a), float(prior_variance))
