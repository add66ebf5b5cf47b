"""Exercises of lecture 12: tilted moments, a damped step of EP, and the posterior of a probit regression."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from coursekit.bayes import probit_log_joint, probit_posterior
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

Tilted = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
SAMPLES = 100_000  # of the simulation in the check of `my_posterior`
MEAN_WITHIN, SD_WITHIN = 0.1, 0.25  # the largest error of a mean, in standard deviations, and of one, as a fraction
CORRELATION_WITHIN = 0.15  # EP reaches 0.10, a single sweep 0.20, no correlations at all 0.58
EVIDENCE_WITHIN = 0.2  # nats; EP reaches 0.11, Laplace's method 0.24, a single sweep 0.65


def tilted_moments(m: Tensor, v: Tensor, y: Tensor, w: float = 0.5, a: float = 10.0) -> tuple[Tensor, Tensor, Tensor]:
    """log Z, mean and variance of N(θ; m, v) [(1 − w) N(y; θ, 1) + w N(y; 0, a)] / Z.

    By the derivatives of log Z in the mean of the cavity: m + v ∂ log Z and v + v² ∂² log Z.
    """
    with torch.enable_grad():
        centre = torch.as_tensor(m, dtype=torch.float64).detach().requires_grad_()
        spread, clutter = (torch.as_tensor(value, dtype=torch.float64).sqrt() for value in (v + 1, a))
        signal = math.log(1 - w) + Normal(centre, spread).log_prob(y)
        background = math.log(w) + Normal(torch.zeros_like(clutter), clutter).log_prob(y)
        log_z = torch.logaddexp(signal, background)
        (first,) = torch.autograd.grad(log_z, centre, create_graph=True)
        (second,) = torch.autograd.grad(first, centre)
    return log_z.detach(), m + v * first.detach(), v + v**2 * second


def ep_step(q: Tensor, site: Tensor, tilted: Tilted, damping: float) -> tuple[Tensor, Tensor]:
    """One step of EP on a single site, with damping; skipped if the cavity has no positive precision.

    Args:
        q: precision and shift (τ, ν) of the approximation, (2,).
        site: those of the site.
        tilted: mean and variance of the cavity -> log Z, mean and variance of the tilted density.
        damping: the fraction of the site's change that is made.

    Returns:
        The new q and the new site.
    """
    precision, shift = (q - site).unbind()
    if precision <= 0:
        return q, site
    _, mean, variance = tilted(shift / precision, 1 / precision)
    projected = torch.stack([1 / variance, mean / variance])  # (2,)
    # The cavity stays, so what q gains the site gains.
    change = damping * (projected - q)
    return q + change, site + change


def my_posterior(x: Tensor, y: Tensor, prior_variance: float) -> tuple[Tensor, Tensor, float]:
    """Mean (d,), covariance (d, d) of β, and log p(y), for y ~ Bernoulli(Φ(xᵀβ)) and β ~ N(0, prior_variance · I)."""
    q = probit_posterior(x, y, "ep", prior_variance)
    return q.mean, q.covariance, q.log_evidence


def check_my_posterior(answer: Answer) -> str:
    """Mean, standard deviations, correlations and log evidence are close to a long simulation's, on four data sets."""
    mean_error, sd_error, correlation_error, evidence_error = 0.0, 0.0, 0.0, 0.0
    for x, y, prior_variance, mean, covariance, log_evidence in _simulated():
        got = answer(x.clone(), y.clone(), prior_variance)
        if not isinstance(got, tuple | list) or len(got) != 3:
            raise Wrong("expected three values, the mean (d,), the covariance (d, d) and the log evidence")
        d = len(mean)
        its_mean = require_result(got[0], (d,), "the mean of the coefficients").double()
        its_covariance = require_result(got[1], (d, d), "the covariance of the coefficients").double()
        its_evidence = require_result(got[2], (), "the log evidence, a number").item()
        skew = (its_covariance - its_covariance.T).abs().max()
        its_covariance = (its_covariance + its_covariance.T) / 2
        if skew > 1e-4 * its_covariance.abs().max() or torch.linalg.eigvalsh(its_covariance).min() <= 0:
            raise Wrong("the covariance is not symmetric and positive definite")
        sd = covariance.diagonal().sqrt()
        mean_error = max(mean_error, ((its_mean - mean).abs() / sd).max().item())
        sd_error = max(sd_error, (its_covariance.diagonal().sqrt() / sd - 1).abs().max().item())
        off = (_correlations(its_covariance) - _correlations(covariance)).abs().max().item()
        correlation_error = max(correlation_error, off)
        evidence_error = max(evidence_error, abs(its_evidence - log_evidence))
    if mean_error > MEAN_WITHIN:
        hint = ". (If yours is the peak: the mean of a skewed density is elsewhere.)" if mean_error < 1 else ""
        raise Wrong(
            f"a mean is off by {mean_error:.2f} posterior standard deviations; wanted at most {MEAN_WITHIN}{hint}"
        )
    if sd_error > SD_WITHIN:
        raise Wrong(
            f"the means are right; a standard deviation is off by {sd_error:.0%}, wanted at most {SD_WITHIN:.0%}"
        )
    if correlation_error > CORRELATION_WITHIN:
        raise Wrong(
            f"means and standard deviations are right; a correlation is off by {correlation_error:.2f}, wanted at most "
            f"{CORRELATION_WITHIN}"
        )
    if evidence_error > EVIDENCE_WITHIN:
        raise Wrong(
            f"mean and covariance are right; the log evidence is off by {evidence_error:.2f}, wanted at most "
            f"{EVIDENCE_WITHIN}"
        )
    return (
        f"means within {MEAN_WITHIN} standard deviations of a long simulation, standard deviations within a quarter, "
        f"correlations within {CORRELATION_WITHIN}, the log evidence within {EVIDENCE_WITHIN}"
    )


def _correlations(covariance: Tensor) -> Tensor:
    sd = covariance.diagonal().sqrt()
    return covariance / torch.outer(sd, sd)


@functools.cache
def _simulated() -> list[tuple[Tensor, Tensor, float, Tensor, Tensor, float]]:
    """x, y and prior variance of four data sets; mean and covariance of β and log p(y) by importance sampling."""
    found = []
    for seed in range(4):
        prior_variance = (4.0, 1.0)[seed % 2]
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(30, 4, generator=generator, dtype=torch.float64)
        x[:, 0] = 1
        beta = math.sqrt(prior_variance) * torch.randn(4, generator=generator, dtype=torch.float64)
        chance = torch.special.ndtr(x @ beta)
        y = (torch.rand(30, generator=generator, dtype=torch.float64) < chance).long()

        # Samples from a Gaussian that is wider than the posterior, with weights p/q.
        near = probit_posterior(x, y, "ep", prior_variance)
        factor = 1.3 * torch.linalg.cholesky(near.covariance)  # (4, 4)
        noise = torch.randn(SAMPLES, 4, generator=generator, dtype=torch.float64)
        samples = near.mean + noise @ factor.T  # (SAMPLES, 4)
        log_weights = probit_log_joint(samples, x, y, prior_variance) + 0.5 * noise.square().sum(dim=1)
        weights = log_weights.softmax(dim=0)  # (SAMPLES,)
        mean = weights @ samples
        covariance = (samples - mean).T @ (weights[:, None] * (samples - mean))
        # The density of the wide Gaussian also has the constant (2π)^(−d/2) / |factor|.
        constant = torch.linalg.slogdet(factor)[1] + 0.5 * x.shape[1] * math.log(2 * math.pi)
        log_evidence = (log_weights.logsumexp(dim=0) - math.log(SAMPLES) + constant).item()
        found.append((x, y, prior_variance, mean, covariance, log_evidence))
    return found


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _clutter(y: float) -> Tilted:
    """The tilted moments of an observation y, which refuse a cavity that is no density."""

    def tilted(m: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if v <= 0:
            raise ValueError(f"a cavity with the variance {float(v):.3g} is no density")
        return tilted_moments(torch.as_tensor(m), torch.as_tensor(v), _number(y))

    return tilted


def _pair(precision: float, shift: float) -> Tensor:
    return torch.tensor([precision, shift], dtype=torch.float64)


exercise = Exercises(
    by_cases(
        tilted_moments,
        {
            "an observation near the cavity": (_number(1.0), _number(0.5), _number(1.8)),
            "one that may be clutter": (_number(0.0), _number(4.0), _number(3.5)),
            "one far away": (_number(2.0), _number(0.3), _number(-6.0)),
            "a broad cavity": (_number(-1.0), _number(100.0), _number(2.0)),
            "little clutter": (_number(0.5), _number(2.0), _number(2.5), 0.1, 10.0),
            "narrow clutter": (_number(0.5), _number(2.0), _number(1.5), 0.5, 2.0),
        },
    ),
    by_cases(
        ep_step,
        {
            "the first step": (_pair(0.01, 0.0), _pair(0.0, 0.0), _clutter(2.0), 1.0),
            "a later step": (_pair(3.0, 5.0), _pair(0.8, 1.9), _clutter(2.4), 1.0),
            "damping": (_pair(3.0, 5.0), _pair(0.8, 1.9), _clutter(0.5), 0.3),
            "a cavity with a negative mean": (_pair(2.0, -3.0), _pair(0.5, -1.0), _clutter(-2.4), 0.5),
            "a site of negative precision": (_pair(0.9, 1.2), _pair(-0.2, 0.4), _clutter(-3.0), 0.5),
            "an observation that makes q wider": (_pair(0.7, 1.5), _pair(0.1, 0.2), _clutter(-1.5), 1.0),
            "a cavity of negative precision": (_pair(0.5, 1.0), _pair(0.9, 1.2), _clutter(2.0), 1.0),
            "a cavity of precision zero": (_pair(0.9, 1.2), _pair(0.9, 0.7), _clutter(2.0), 1.0),
        },
    ),
    Exercise(my_posterior, check_my_posterior),
)
