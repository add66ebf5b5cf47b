"""The exercises on expectation propagation accept what is right in any form, and say what is wrong."""

import math

import pytest
import torch
from torch.distributions import Normal

from coursekit import bayes
from coursekit.exercises.lecture12 import exercise

# --- tilted moments


def by_formulas(m, v, y, w=0.5, a=10.0):
    def density(off, variance):
        return torch.exp(-0.5 * off**2 / variance) / (2 * math.pi * variance) ** 0.5

    background = w * density(y, torch.tensor(a))
    z = (1 - w) * density(y - m, v + 1) + background
    r = 1 - background / z
    g = v * (y - m) / (v + 1)
    return z.log(), m + r * g, v - r * v**2 / (v + 1) + r * (1 - r) * g**2


def in_floats(m, v, y, w=0.5, a=10.0):
    return tuple(float(value) for value in by_formulas(m, v, y, w, a))


def by_quadrature(m, v, y, w=0.5, a=10.0):
    theta = torch.linspace(-150, 150, 60_001, dtype=torch.float64)
    ten = torch.tensor(a, dtype=torch.float64)
    signal = math.log(1 - w) + Normal(theta, torch.ones_like(theta)).log_prob(y)
    background = math.log(w) + Normal(torch.zeros_like(ten), ten.sqrt()).log_prob(y)
    tilted = Normal(m, v.sqrt()).log_prob(theta).exp() * torch.logaddexp(signal, background).exp()
    z = tilted.sum() * (theta[1] - theta[0])
    weights = tilted / tilted.sum()
    mean = (weights * theta).sum()
    return z.log(), mean, (weights * (theta - mean) ** 2).sum()


@pytest.mark.parametrize("answer", [by_formulas, in_floats, by_quadrature])
def test_tilted_moments_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "tilted_moments", answer).startswith("✓ tilted_moments: right on an observation near")


def altered(**changes):
    """The formulas with one term changed."""

    def answer(m, v, y, w=0.5, a=10.0):
        log_z, mean, variance = by_formulas(m, v, y, w, a)
        background = w * Normal(torch.zeros(()).double(), math.sqrt(a)).log_prob(y).exp()
        r = 1 - background / log_z.exp()
        g = v * (y - m) / (v + 1)
        parts = {"log_z": log_z, "mean": mean, "variance": variance}
        parts |= {name: change(m, v, y, r, g, log_z, mean, variance) for name, change in changes.items()}
        return parts["log_z"], parts["mean"], parts["variance"]

    return answer


WRONG_MOMENTS = {
    "Z, not its logarithm": (altered(log_z=lambda m, v, y, r, g, z, e, s: z.exp()), "value 1: expected"),
    "the site's variance": (altered(variance=lambda m, v, y, r, g, z, e, s: 1 / (1 / s - 1 / v)), "value 3: expected"),
    "no spread of the two means": (
        altered(variance=lambda m, v, y, r, g, z, e, s: r * v / (v + 1) + (1 - r) * v),
        "value 3: expected",
    ),
    "the squared weight": (
        altered(variance=lambda m, v, y, r, g, z, e, s: r * v / (v + 1) + (1 - r) * v + r * g**2),
        "value 3: expected",
    ),
    "the standard deviation": (altered(variance=lambda m, v, y, r, g, z, e, s: s.sqrt()), "value 3: expected"),
    "second moment": (altered(variance=lambda m, v, y, r, g, z, e, s: s + e**2), "value 3: expected"),
    "weights swapped": (altered(mean=lambda m, v, y, r, g, z, e, s: m + (1 - r) * g), "value 2: expected"),
    "never clutter": (
        altered(
            mean=lambda m, v, y, r, g, z, e, s: m + g,
            variance=lambda m, v, y, r, g, z, e, s: v / (v + 1),
        ),
        "value 2: expected",
    ),
    "y for y − m": (altered(mean=lambda m, v, y, r, g, z, e, s: m + r * v * y / (v + 1)), "value 2: expected"),
    "only the mean": (lambda m, v, y, w=0.5, a=10.0: by_formulas(m, v, y, w, a)[1], "expected 3 values"),
    "w is ignored": (lambda m, v, y, w=0.5, a=10.0: by_formulas(m, v, y, 0.5, a), "wrong on little clutter"),
    "a is ignored": (lambda m, v, y, w=0.5, a=10.0: by_formulas(m, v, y, w, 10.0), "wrong on narrow clutter"),
    "w and 1 − w swapped": (lambda m, v, y, w=0.5, a=10.0: by_formulas(m, v, y, 1 - w, a), "wrong on little clutter"),
    "without the noise of y": (lambda m, v, y, w=0.5, a=10.0: by_formulas(m, v - 0.1, y, w, a), "wrong on an obs"),
    "nothing": (lambda m, v, y, w=0.5, a=10.0: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MOMENTS.values(), ids=WRONG_MOMENTS)
def test_wrong_tilted_moments_are_named(ask, answer, message):
    said = ask(exercise, "tilted_moments", answer)
    assert "tilted_moments is open" in said
    assert message in said


# --- a damped step


def step(
    q,
    site,
    tilted,
    damping,
    *,
    cavity_of=lambda q, site: q - site,
    improper=lambda cavity: cavity[0] <= 0,
    wanted_of=lambda projection, cavity: projection - cavity,
):
    """The step of the notebook, with parts that can be replaced."""
    cavity = cavity_of(q, site)
    if improper(cavity):
        return q, site
    _, mean, variance = tilted(cavity[1] / cavity[0], 1 / cavity[0])
    projection = torch.stack([1 / variance, mean / variance])
    new = site + damping * (wanted_of(projection, cavity) - site)
    return cavity + new, new


def in_moments(q, site, tilted, damping):
    """By means and variances instead of natural parameters."""
    variance, mean = 1 / q[0], q[1] / q[0]
    inverse = 1 / variance - site[0]
    if inverse <= 0:
        return q, site
    cavity_variance = 1 / inverse
    cavity_mean = cavity_variance * (mean / variance - site[1])
    _, new_mean, new_variance = tilted(cavity_mean, cavity_variance)
    precision = site[0] + damping * (1 / new_variance - inverse - site[0])
    shift = site[1] + damping * (new_mean / new_variance - cavity_mean * inverse - site[1])
    return torch.stack([inverse + precision, cavity_mean * inverse + shift]), torch.stack([precision, shift])


def mixing(q, site, tilted, damping):
    """A mixture of old and new, and q from its change."""
    cavity = q - site
    if not cavity[0] > 0:
        return q.clone(), site.clone()
    _, mean, variance = tilted(*(cavity[1] / cavity[0], 1 / cavity[0]))
    new = (1 - damping) * site + damping * (torch.stack([1 / variance, mean / variance]) - cavity)
    return q + (new - site), new


def step_in_numpy(q, site, tilted, damping):
    return tuple(value.numpy() for value in step(q, site, tilted, damping))


def by_the_package(q, site, tilted, damping):
    """One sweep of the package, which has the cavity for a prior and starts at a site of 1: undamped only."""
    cavity = q - site
    if damping < 1 or cavity[0] <= 0:
        return step(q, site, tilted, damping)

    def moments(_, mean, variance):
        numbers = (torch.tensor(value, dtype=torch.float64) for value in (mean, variance))
        return bayes.TiltedMoments(*(float(value) for value in tilted(*numbers)))

    one = torch.ones(1, 1, dtype=torch.float64)
    found = bayes.expectation_propagation(
        moments, one, (cavity[1] / cavity[0]).view(1), (1 / cavity[0]).view(1, 1), sweeps=1
    )
    new = torch.cat([found.sites.precision, found.sites.shift])
    return cavity + new, new


@pytest.mark.parametrize("answer", [step, in_moments, mixing, step_in_numpy, by_the_package])
def test_steps_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "ep_step", answer).startswith("✓ ep_step: right on the first step, a later step, damping")


def damped_moments(q, site, tilted, damping):
    """Damps mean and variance of q instead of the site."""
    cavity = q - site
    if cavity[0] <= 0:
        return q, site
    _, mean, variance = tilted(cavity[1] / cavity[0], 1 / cavity[0])
    mean = q[1] / q[0] + damping * (mean - q[1] / q[0])
    variance = 1 / q[0] + damping * (variance - 1 / q[0])
    projection = torch.stack([1 / variance, mean / variance])
    return projection, projection - cavity


def q_undamped(q, site, tilted, damping):
    new_q, _ = step(q, site, tilted, 1.0)
    _, new_site = step(q, site, tilted, damping)
    return new_q, new_site


def raises_where_improper(q, site, tilted, damping):
    if (q - site)[0] <= 0:
        raise ValueError("no cavity")
    return step(q, site, tilted, damping)


def returns_moments(q, site, tilted, damping):
    new_q, new_site = step(q, site, tilted, damping)
    return torch.stack([new_q[1] / new_q[0], 1 / new_q[0]]), new_site


def no_negative_sites(q, site, tilted, damping):
    _, new = step(q, site, tilted, damping)
    new = torch.stack([new[0].clamp(min=0), new[1]])
    return (q, site) if (q - site)[0] <= 0 else (q - site + new, new)


def in_place(q, site, tilted, damping):
    new_q, new_site = step(q, site, tilted, damping)
    q.copy_(new_q)
    site.copy_(new_site)
    return q, site


WRONG_STEPS = {
    "the posterior for the cavity": (
        lambda *a: step(*a, cavity_of=lambda q, site: q),
        "right on the first step; wrong on a later step",
    ),
    "the site added": (lambda *a: step(*a, cavity_of=lambda q, site: q + site), "wrong on a later step"),
    "a negative variance in silence": (
        lambda *a: step(*a, improper=lambda cavity: False),
        "on a cavity of negative precision it raises ValueError: a cavity with the variance -2.5 is no density",
    ),
    "a cavity of infinite variance": (
        lambda *a: step(*a, improper=lambda cavity: cavity[0] < 0),
        "wrong on a cavity of precision zero",
    ),
    "negative means are skipped": (
        lambda *a: step(*a, improper=lambda cavity: cavity[0] <= 0 or cavity[1] < 0),
        "wrong on a cavity with a negative mean",
    ),
    "the absolute value of the mean": (
        lambda *a: step(*a, cavity_of=lambda q, site: torch.stack([(q - site)[0], (q - site)[1].abs()])),
        "wrong on a cavity with a negative mean",
    ),
    "the absolute value of the precision": (
        lambda *a: step(*a, cavity_of=lambda q, site: torch.stack([(q - site)[0].abs(), (q - site)[1]])),
        "wrong on a cavity of negative precision",
    ),
    "no damping": (lambda q, site, tilted, damping: step(q, site, tilted, 1.0), "wrong on damping"),
    "1 − damping": (lambda q, site, tilted, damping: step(q, site, tilted, 1 - damping), "wrong on the first step"),
    "damped moments": (damped_moments, "wrong on damping"),
    "q is the projection": (q_undamped, "wrong on damping: value 1"),
    "the site is the projection": (
        lambda *a: step(*a, wanted_of=lambda projection, cavity: projection),
        "wrong on the first step",
    ),
    "negative sites are refused": (no_negative_sites, "wrong on"),
    "steps that widen q are skipped": (
        lambda q, site, tilted, damping: (
            (q, site) if step(q, site, tilted, damping)[0][0] < q[0] else step(q, site, tilted, damping)
        ),
        "wrong on",
    ),
    "an error instead of a skip": (raises_where_improper, "on a cavity of negative precision it raises ValueError"),
    "mean and variance": (returns_moments, "wrong on the first step: value 1"),
    "site and q swapped": (lambda *a: step(*a)[::-1], "wrong on the first step"),
    "only q": (lambda *a: step(*a)[0], "expected 2 values"),
    "in place": (in_place, "it changes its argument in place"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_wrong_steps_are_named(ask, answer, message):
    said = ask(exercise, "ep_step", answer)
    assert "ep_step is open" in said
    assert message in said


# --- the posterior of a probit regression


def by_gibbs(x, y, prior_variance):
    """Albert and Chib (1993): a latent normal for each label."""
    x, sign = x.double(), 2.0 * y.double() - 1
    covariance = torch.linalg.inv(x.T @ x + torch.eye(x.shape[1]) / prior_variance)
    root = torch.linalg.cholesky(covariance)
    beta, kept = torch.zeros(100, x.shape[1], dtype=torch.float64), []
    for sweep in range(1000):
        mean = beta @ x.T  # (100 chains, n)
        # A truncated normal by its inverse distribution function.
        least = torch.special.ndtr(-sign * mean)
        uniform = (least + (1 - least) * torch.rand_like(mean)).clamp(1e-12, 1 - 1e-12)
        latent = mean + sign * torch.special.ndtri(uniform)
        beta = latent @ x @ covariance + torch.randn_like(beta) @ root.T
        if sweep >= 500:
            kept.append(beta)
    samples = torch.cat(kept)
    draws = math.sqrt(prior_variance) * torch.randn(400_000, x.shape[1], dtype=torch.float64)  # from the prior
    likelihoods = torch.special.log_ndtr(draws @ (sign[:, None] * x).T).sum(dim=1)
    return samples.mean(dim=0), samples.T.cov(), likelihoods.logsumexp(dim=0) - math.log(len(draws))


def by_importance_sampling(x, y, prior_variance):
    start = bayes.probit_posterior(x, y, "laplace", prior_variance)
    root = 1.5 * torch.linalg.cholesky(start.covariance)
    noise = torch.randn(100_000, x.shape[1], dtype=torch.float64)
    samples = start.mean + noise @ root.T
    joint = bayes.probit_log_joint(samples, x, y, prior_variance)
    proposal = torch.distributions.MultivariateNormal(start.mean, scale_tril=root).log_prob(samples)
    weights = (joint - proposal).softmax(dim=0)
    mean = weights @ samples
    log_evidence = (joint - proposal).logsumexp(dim=0) - math.log(len(samples))
    covariance = (samples - mean).T @ (weights[:, None] * (samples - mean))
    return mean.numpy(), covariance.numpy(), float(log_evidence)


def three(q):
    return q.mean, q.covariance, q.log_evidence


def a_few_sweeps(x, y, prior_variance):
    q = bayes.probit_posterior(x, y, "ep", prior_variance, sweeps=4)
    return three(q)


@pytest.mark.parametrize("answer", [by_gibbs, by_importance_sampling, a_few_sweeps])
def test_a_posterior_is_accepted_from_any_method(ask, answer):
    torch.manual_seed(0)
    said = ask(exercise, "my_posterior", answer)
    assert said.startswith("✓ my_posterior: means within 0.1 standard deviations of a long simulation")


def laplace(x, y, prior_variance):
    q = bayes.probit_posterior(x, y, "laplace", prior_variance)
    return three(q)


def one_sweep(x, y, prior_variance):
    q = bayes.probit_posterior(x, y, "adf", prior_variance)
    return three(q)


def least_squares(x, y, prior_variance):
    precision = x.T @ x + torch.eye(4) / prior_variance
    return torch.linalg.solve(precision, x.T @ (2 * y.double() - 1)), torch.linalg.inv(precision), -10.0


def changed(mean=lambda m: m, covariance=lambda c: c, evidence=lambda e: e):
    def answer(x, y, prior_variance):
        q = bayes.probit_posterior(x, y, "ep", prior_variance)
        return mean(q.mean), covariance(q.covariance), evidence(q.log_evidence)

    return answer


def with_evidence(evidence):
    """Mean and covariance by EP, and another log evidence."""

    def answer(x, y, prior_variance):
        q = bayes.probit_posterior(x, y, "ep", prior_variance)
        return q.mean, q.covariance, evidence(x, y, prior_variance)

    return answer


WRONG_POSTERIORS = {
    "Laplace": (laplace, "If yours is the peak: the mean of a skewed density is elsewhere"),
    "one sweep": (one_sweep, "a mean is off by"),
    "the prior": (lambda x, y, v: (torch.zeros(4), v * torch.eye(4), -10.0), "a mean is off by"),
    "least squares": (least_squares, "a mean is off by"),
    "labels turned round": (
        lambda x, y, v: three(bayes.probit_posterior(x, 1 - y, "ep", v)),
        "a mean is off by",
    ),
    "always the prior variance 4": (
        lambda x, y, v: three(bayes.probit_posterior(x, y, "ep", 4.0)),
        "a mean is off by",
    ),
    "always the prior variance 1": (
        lambda x, y, v: three(bayes.probit_posterior(x, y, "ep", 1.0)),
        "a mean is off by",
    ),
    "the precision": (changed(covariance=torch.linalg.inv), "the means are right; a standard deviation is off by"),
    "no correlations": (
        changed(covariance=lambda c: c.diagonal().diag()),
        "means and standard deviations are right; a correlation is off by",
    ),
    "correlations turned round": (
        changed(covariance=lambda c: c * torch.outer(*[torch.tensor([-1.0, 1.0, 1.0, 1.0]).double()] * 2)),
        "means and standard deviations are right; a correlation is off by",
    ),
    "a covariance of the identity": (changed(covariance=torch.ones_like), "not symmetric and positive definite"),
    "half of the variance": (changed(covariance=lambda c: c / 2), "the means are right; a standard deviation is off"),
    "a triangle": (changed(covariance=torch.linalg.cholesky), "not symmetric and positive definite"),
    "standard deviations": (changed(covariance=lambda c: c.diagonal().sqrt()), "the covariance of the coefficients"),
    "Laplace's evidence": (with_evidence(lambda *a: laplace(*a)[2]), "the log evidence is off by 0.24, wanted at most"),
    "one sweep's evidence": (with_evidence(lambda *a: one_sweep(*a)[2]), "the log evidence is off by"),
    "the largest log joint": (
        with_evidence(lambda x, y, v: bayes.probit_log_joint(laplace(x, y, v)[0][None], x, y, v)[0]),
        "the log evidence is off by",
    ),
    "the likelihood at the mode": (
        with_evidence(lambda x, y, v: torch.special.log_ndtr((2 * y - 1) * (x @ laplace(x, y, v)[0])).sum()),
        "the log evidence is off by",
    ),
    "the evidence, not its logarithm": (changed(evidence=math.exp), "the log evidence is off by"),
    "minus the log evidence": (changed(evidence=lambda e: -e), "the log evidence is off by"),
    "without the prior's variance": (
        with_evidence(lambda x, y, v: bayes.probit_posterior(x, y, "ep", v).log_evidence + 2 * math.log(v)),
        "mean and covariance are right; the log evidence is off by 2.",
    ),
    "an evidence of four numbers": (changed(evidence=lambda e: torch.full((4,), e)), "expected the log evidence"),
    "no evidence": (lambda *a: laplace(*a)[:2], "expected three values"),
    "one value": (lambda x, y, v: torch.zeros(4), "expected three values"),
    "NaN": (changed(mean=lambda m: m * math.nan), "NaN"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_POSTERIORS.values(), ids=WRONG_POSTERIORS)
def test_a_wrong_posterior_is_named(ask, answer, message):
    said = ask(exercise, "my_posterior", answer)
    assert "my_posterior is open" in said
    assert message in said


def test_the_hint_at_the_peak_is_kept_for_small_errors(ask):
    said = ask(exercise, "my_posterior", lambda x, y, v: (torch.zeros(4), v * torch.eye(4), -10.0))
    assert "a mean is off by" in said
    assert "peak" not in said


def tampers(x, y, prior_variance):
    q = bayes.probit_posterior(x, y, "ep", prior_variance)
    x.zero_()
    y.zero_()
    return three(q)


def test_an_answer_that_tampers_with_its_arguments_spoils_nothing(ask):
    assert ask(exercise, "my_posterior", tampers).startswith("✓")
    assert ask(exercise, "my_posterior", laplace).startswith("○")
