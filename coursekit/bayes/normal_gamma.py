"""Mean field for a Gaussian of unknown mean and precision, beside the exact posterior.

    xₙ ~ N(μ, 1/τ),   μ | τ ~ N(μ₀, 1/(λ₀τ)),   τ ~ Gamma(a₀, b₀).

Hyperparameters of zero stand for the limit of a vague, improper prior.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Gamma, Normal, StudentT

from coursekit.validation import require_integer, require_number, require_tensor


@dataclass(frozen=True)
class NormalGamma:
    """p(μ, τ) = N(μ; m, 1/(λτ)) Gamma(τ; a, b)."""

    mean: float  # m
    count: float  # λ, the number of observations that the knowledge of μ is worth
    shape: float  # a
    rate: float  # b
    log_evidence: float  # log p(x); NaN for an improper prior, which has none

    def mean_marginal(self) -> StudentT:
        """p(μ): Student's t with 2a degrees of freedom."""
        return StudentT(*_doubles(2 * self.shape, self.mean, math.sqrt(self.rate / (self.shape * self.count))))

    def precision_marginal(self) -> Gamma:
        """p(τ)."""
        return Gamma(*_doubles(self.shape, self.rate))


@dataclass(frozen=True)
class MeanFieldNormalGamma:
    """q(μ) q(τ) = N(μ; mean, 1/precision) Gamma(τ; shape, rate)."""

    mean: float
    precision: float
    shape: float
    rate: float
    elbo: list[float]  # after each update, of q(μ) and of q(τ) in turn; up to a constant if the prior is improper
    path: list[tuple[float, float, float, float]]  # mean, precision, shape and rate after each update
    sweeps: int
    converged: bool

    def mean_marginal(self) -> Normal:
        """q(μ)."""
        return Normal(*_doubles(self.mean, 1 / math.sqrt(self.precision)))

    def precision_marginal(self) -> Gamma:
        """q(τ)."""
        return Gamma(*_doubles(self.shape, self.rate))


@dataclass(frozen=True)
class _Model:
    """What the posterior depends on: size, mean and sum of squares of the data, and the hyperparameters."""

    n: int
    average: float
    squares: float  # S = Σ (x − x̄)²
    mu0: float
    lambda0: float
    a0: float
    b0: float

    @property
    def proper(self) -> bool:
        return min(self.lambda0, self.a0, self.b0) > 0


def normal_gamma_posterior(
    x: Float[Tensor, " n"], *, mu0: float = 0.0, lambda0: float = 0.0, a0: float = 0.0, b0: float = 0.0
) -> NormalGamma:
    """Compute the exact posterior of mean and precision, again normal-gamma.

        m = (λ₀μ₀ + n x̄)/λ,   λ = λ₀ + n,   a = a₀ + n/2,   b = b₀ + ½ [S + λ₀ n (x̄ − μ₀)²/λ].

    Args:
        x: the observations (n,).
        mu0: μ₀.
        lambda0: λ₀ ≥ 0.
        a0: a₀ ≥ 0.
        b0: b₀ ≥ 0.

    Raises:
        TypeError: x is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: x is empty, or holds NaN or infinity; a hyperparameter is negative; the posterior is improper.

    With all hyperparameters zero, E[τ] = n/S:

    >>> posterior = normal_gamma_posterior(torch.tensor([1.0, 2.0, 6.0]))
    >>> posterior.mean, posterior.precision_marginal().mean.item() == 3 / 14
    (3.0, True)
    """
    model = _checked(x, mu0, lambda0, a0, b0)
    count, shape = model.lambda0 + model.n, model.a0 + model.n / 2
    mean = (model.lambda0 * model.mu0 + model.n * model.average) / count
    rate = model.b0 + 0.5 * (model.squares + model.lambda0 * model.n * (model.average - model.mu0) ** 2 / count)

    # log p(x) is the difference of the normalizers of posterior and prior.
    log_evidence = math.nan
    if model.proper:
        log_evidence = (
            _log_normalizer(count, shape, rate)
            - _log_normalizer(model.lambda0, model.a0, model.b0)
            - 0.5 * model.n * math.log(2 * math.pi)
        )
    return NormalGamma(mean, count, shape, rate, log_evidence)


def mean_field_normal_gamma(
    x: Float[Tensor, " n"],
    *,
    mu0: float = 0.0,
    lambda0: float = 0.0,
    a0: float = 0.0,
    b0: float = 0.0,
    start: float = 1.0,
    sweeps: int = 1000,
    tolerance: float = 1e-12,
) -> MeanFieldNormalGamma:
    """Approximate p(μ, τ | x) by q(μ) q(τ): coordinate ascent on the ELBO.

        q(μ) = N(m, 1/ℓ),      m = (λ₀μ₀ + n x̄)/(λ₀ + n),   ℓ = (λ₀ + n) E[τ],
        q(τ) = Gamma(a, b),    a = a₀ + (n + 1)/2,   b = b₀ + ½ E_μ[Σ (x − μ)² + λ₀ (μ − μ₀)²].

    The 1 in a comes from p(μ | τ), which holds τ^½ even in the limit λ₀ → 0.

    Args:
        x: the observations (n,).
        mu0: μ₀.
        lambda0: λ₀ ≥ 0.
        a0: a₀ ≥ 0.
        b0: b₀ ≥ 0.
        start: the first E[τ] > 0.
        sweeps: the most updates of both factors.
        tolerance: converged when a sweep changes E[τ] by at most this fraction.

    Raises:
        TypeError: x is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: x is empty, or holds NaN or infinity; a hyperparameter is negative; the posterior is improper;
            start, sweeps or tolerance is out of range.

    Source: C. Bishop, Pattern Recognition and Machine Learning, 2006, section 10.1.3.

    With all hyperparameters zero, 1/E[τ] is the mean square S/n:

    >>> q = mean_field_normal_gamma(torch.tensor([1.0, 2.0, 6.0]))
    >>> round(q.rate / q.shape, 6), q.converged
    (4.666667, True)
    """
    model = _checked(x, mu0, lambda0, a0, b0)
    expected = require_number(start, "start", above=0)  # E[τ]
    sweeps = require_integer(sweeps, "sweeps", low=1)
    tolerance = require_number(tolerance, "tolerance", above=0)

    # The mean of q(μ) and the shape of q(τ) are right after one update.
    count, shape = model.lambda0 + model.n, model.a0 + (model.n + 1) / 2
    mean = (model.lambda0 * model.mu0 + model.n * model.average) / count
    rate = shape / expected
    path: list[tuple[float, float, float, float]] = []
    converged, sweep = False, 0
    while not converged and sweep < sweeps:
        sweep += 1
        precision = count * expected
        path.append((mean, precision, shape, rate))

        rate = model.b0 + 0.5 * sum(_expected_squares(model, mean, precision))
        path.append((mean, precision, shape, rate))
        new = shape / rate
        converged, expected = abs(new - expected) <= tolerance * expected, new
    return MeanFieldNormalGamma(mean, precision, shape, rate, [_elbo(model, *q) for q in path], path, sweep, converged)


def _expected_squares(model: _Model, mean: float, precision: float) -> tuple[float, float]:
    """E_μ Σ (x − μ)² and λ₀ E_μ (μ − μ₀)²."""
    data = model.squares + model.n * ((model.average - mean) ** 2 + 1 / precision)
    return data, model.lambda0 * ((mean - model.mu0) ** 2 + 1 / precision)


def _elbo(model: _Model, mean: float, precision: float, shape: float, rate: float) -> float:
    """E[log p(x|μ,τ) + log p(μ|τ) + log p(τ)] and the two entropies; constants that are infinite are left out."""
    q_mu, q_tau = Normal(*_doubles(mean, precision**-0.5)), Gamma(*_doubles(shape, rate))
    tau, log_tau = shape / rate, (torch.digamma(q_tau.concentration) - q_tau.rate.log()).item()
    data, prior = _expected_squares(model, mean, precision)
    log_likelihood = 0.5 * model.n * (log_tau - math.log(2 * math.pi)) - 0.5 * tau * data
    log_p_mu = 0.5 * (log_tau - math.log(2 * math.pi)) - 0.5 * tau * prior
    log_p_tau = (model.a0 - 1) * log_tau - model.b0 * tau
    constants = _log_normalizer(model.lambda0, model.a0, model.b0) if model.proper else 0.0
    return log_likelihood + log_p_mu + log_p_tau - constants + (q_mu.entropy() + q_tau.entropy()).item()


def _log_normalizer(count: float, shape: float, rate: float) -> float:
    """log ∫∫ √τ exp(−½ λτ(μ − m)²) τ^(a−1) exp(−bτ) dμ dτ without ½ log 2π: log Γ(a) − a log b − ½ log λ."""
    return math.lgamma(shape) - shape * math.log(rate) - 0.5 * math.log(count)


def _checked(x: Tensor, mu0: float, lambda0: float, a0: float, b0: float) -> _Model:
    data = require_tensor(x, "x", "n").double()
    average = data.mean()
    model = _Model(
        len(data),
        average.item(),
        (data - average).square().sum().item(),
        require_number(mu0, "mu0"),
        require_number(lambda0, "lambda0", low=0),
        require_number(a0, "a0", low=0),
        require_number(b0, "b0", low=0),
    )
    if model.b0 == 0 and data.min() == data.max():
        raise ValueError("x: with b0=0 the posterior is improper unless two observations differ")
    return model


def _doubles(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)
