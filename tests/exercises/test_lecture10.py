"""The exercises on variational inference accept what is right in any form, and say what is wrong."""

import math
import re

import pytest
import torch
from scipy.optimize import minimize
from torch.distributions import Normal

from coursekit.bayes import fit_gaussian
from coursekit.exercises import lecture10
from coursekit.exercises.lecture10 import LINE, MIXTURES, exercise, mixture

# --- the evidence lower bound on a grid


def integrand(log_joint, q, dz):
    return torch.where(q > 0, q * (log_joint - q.log()), 0).sum() * dz


def joint_and_entropy(log_joint, q, dz):
    return (q * log_joint).sum() * dz - torch.xlogy(q, q).sum() * dz


def evidence_minus_kl(log_joint, q, dz):
    """log p(x) − KL(q‖p(z|x)), both on the grid."""
    log_p = log_joint.logsumexp(dim=0) + math.log(dz)
    return log_p - (torch.xlogy(q, q) - q * (log_joint - log_p)).sum() * dz


def by_loop(log_joint, q, dz):
    return sum(b * (a - math.log(b)) * dz for a, b in zip(log_joint.tolist(), q.tolist(), strict=True) if b > 0)


@pytest.mark.parametrize("answer", [integrand, joint_and_entropy, evidence_minus_kl, by_loop])
def test_the_bound_is_accepted_in_any_form(ask, answer):
    said = "✓ elbo: right on a Gaussian q, the posterior, another grid, a q that is 0 in places"
    assert ask(exercise, "elbo", answer) == said


WRONG_BOUNDS = {
    "the sign of the entropy": lambda log_p, q, dz: (q * log_p + torch.xlogy(q, q)).sum() * dz,
    "KL instead": lambda log_p, q, dz: -integrand(log_p, q, dz),
    "no entropy": lambda log_p, q, dz: (q * log_p).sum() * dz,
    "no spacing": lambda log_p, q, dz: integrand(log_p, q, 1.0),
    "averaged over p": lambda log_p, q, dz: torch.nan_to_num(log_p.exp() * (log_p - q.log())).sum() * dz,
    "log p(x)": lambda log_p, q, dz: log_p.logsumexp(dim=0) + math.log(dz),
    "the mean over the grid": lambda log_p, q, dz: torch.where(q > 0, q * (log_p - q.log()), 0).mean(),
}


@pytest.mark.parametrize("answer", WRONG_BOUNDS.values(), ids=WRONG_BOUNDS)
def test_a_wrong_bound_is_wrong_on_a_gaussian(ask, answer):
    assert "elbo is open: wrong on a Gaussian q: expected" in ask(exercise, "elbo", answer)


def test_zero_times_minus_infinity_is_told(ask):
    said = ask(exercise, "elbo", lambda log_p, q, dz: (q * (log_p - q.log())).sum() * dz)
    right = "right on a Gaussian q, the posterior, another grid"
    assert said == f"○ elbo is open: {right}; wrong on a q that is 0 in places: the result holds NaN"


def test_the_courses_bound_leaves_out_where_q_is_zero_and_nothing_is_possible():
    log_joint, q = torch.tensor([-math.inf, -1.0, -3.0]), torch.tensor([0.0, 0.5, 0.5])
    assert lecture10.elbo(log_joint, q, 1.0).item() == pytest.approx(math.log(2) - 2)


def test_a_constant_spacing_is_wrong_on_another_grid(ask):
    said = ask(exercise, "elbo", lambda log_p, q, dz: integrand(log_p, q, 0.025))
    assert "right on a Gaussian q, the posterior; wrong on another grid" in said


# --- the reparameterized gradient in σ


def by_samples(slope, noise, mu, sigma):
    z = mu + sigma * noise
    return slope(z) * (z - mu) / sigma


def by_autograd_in_sigma(slope, noise, mu, sigma):
    s = torch.full_like(noise, sigma).requires_grad_()
    z = mu + s * noise
    return torch.autograd.grad(z, s, slope(z.detach()))[0]


def one_by_one(slope, noise, mu, sigma):
    return torch.stack([slope(mu + sigma * e) * e for e in noise])


@pytest.mark.parametrize("answer", [by_samples, by_autograd_in_sigma, one_by_one])
def test_terms_in_sigma_are_accepted_in_any_form(ask, answer):
    said = ask(exercise, "sigma_terms", answer)
    assert said == (
        "✓ sigma_terms: right on x², N(1.3, 0.7²), x², N(-0.5, 2²), cos 2x, N(1.3, 0.7²), cos 2x, N(-0.5, 2²)"
    )


WRONG_TERMS = {
    "as printed in E26": lambda slope, e, m, s: slope(m + s * e) * e.abs(),
    "the derivative in μ": lambda slope, e, m, s: slope(m + s * e),
    "ε/σ": lambda slope, e, m, s: slope(m + s * e) * e / s,
    "z for ε": lambda slope, e, m, s: slope(m + s * e) * (m + s * e),
    "the slope at ε": lambda slope, e, m, s: slope(e) * e,
    "the score": lambda slope, e, m, s: slope(m + s * e) * (e**2 - 1) / s,
}


@pytest.mark.parametrize("answer", WRONG_TERMS.values(), ids=WRONG_TERMS)
def test_wrong_terms_in_sigma_are_refused(ask, answer):
    assert "sigma_terms is open: wrong on x², N(1.3, 0.7²): " in ask(exercise, "sigma_terms", answer)


# --- the score-function gradient


def with_baseline(b):
    return lambda values, z, mu, sigma: (values - b) * (z - mu) / sigma**2


def leave_one_out(values, z, mu, sigma):
    baseline = torch.stack([torch.cat([values[:i], values[i + 1 :]]).mean() for i in range(len(values))])
    return (values - baseline) * (z - mu) / sigma**2


def neighbour(values, z, mu, sigma):
    """The baseline is f at half of the other samples, or at one of them, and so has a larger variance."""
    n = len(values)
    rolled = torch.stack([values.roll(k + 1) for k in range(max(n // 2, 1) if n < 10 else 9)]).mean(dim=0)
    return (values - rolled) * (z - mu) / sigma**2


def previous(values, z, mu, sigma):
    """The baseline is f at one other sample."""
    return (values - values.roll(1)) * (z - mu) / sigma**2


def by_autograd(values, z, mu, sigma):
    m = torch.full_like(z, mu).requires_grad_()
    (score,) = torch.autograd.grad(Normal(m, sigma).log_prob(z).sum(), m)
    return (values - (values.sum() - values) / (len(values) - 1)) * score


def in_numpy(values, z, mu, sigma):
    return lecture10.score_gradient(values, z, mu, sigma).numpy()


@pytest.mark.parametrize(
    "answer",
    [lecture10.score_gradient, leave_one_out, previous, neighbour, by_autograd, in_numpy],
    ids=["leave one out", "a loop", "the one before", "some others", "autograd", "NumPy"],
)
def test_unbiased_gradients_of_low_variance_are_accepted(ask, answer):
    said = "✓ score_gradient: unbiased, and for x² and x² + 100 the mean of n terms has a variance of at most 26/n"
    assert ask(exercise, "score_gradient", lambda *given: answer(*given)) == said


def test_a_loop_agrees_with_the_closed_form():
    torch.manual_seed(0)
    z = torch.randn(7, dtype=torch.float64)
    given = z.exp(), z, 0.3, 1.5
    torch.testing.assert_close(leave_one_out(*given), lecture10.score_gradient(*given))


def own_mean(values, z, mu, sigma):
    return (values - values.mean()) * (z - mu) / sigma**2


def fitted(values, z, mu, sigma):
    """The best constant, estimated from the same samples."""
    score = (z - mu) / sigma**2
    return (values - (values * score**2).sum() / (score**2).sum()) * score


def regression(values, z, mu, sigma):
    """The slope of the least-squares line of f through μ, as every term."""
    return (values * (z - mu)).sum() / (z - mu).square().sum() * torch.ones_like(z)


def told_by_length(values, z, mu, sigma):
    """No baseline for few samples, where the mean is exact, and the gradient of x² + c for many."""
    return values * (z - mu) / sigma**2 if len(z) < 4 else torch.full_like(z, 2 * mu)


def own_mean_of_many(values, z, mu, sigma):
    """No baseline for few samples, and the mean of all values for many."""
    return own_mean(values, z, mu, sigma) if len(z) > 3 else values * (z - mu) / sigma**2


def regression_of_many(values, z, mu, sigma):
    """No baseline for few samples, and the slope of the line of f around its mean for many."""
    slope = ((values - values.mean()) * (z - mu)).sum() / (z - mu).square().sum()
    return torch.full_like(z, slope) if len(z) > 3 else values * (z - mu) / sigma**2


MANY = r"for f = sin 2z, N\(0.3, 1\) and 50 samples .* but the gradient is 0\.2234"
BIASED = {
    "baseline from the same sample": (own_mean, "the baseline of a sample must not contain its own value"),
    "best baseline from the same sample": (fitted, "and 2 samples the mean of your estimate is"),
    "the median": (lambda f, z, m, s: (f - f.median()) * (z - m) / s**2, "the mean of your estimate is"),
    "sign": (lambda f, z, m, s: f * (m - z) / s**2, "look at the sign"),
    "not centred": (lambda f, z, m, s: f * z / s**2, r"for f = 1, N\(1, 1²\) and 2 samples"),
    "σ for σ²": (lambda f, z, m, s: f * (z - m) / s, r"N\(-0.5, 2²\) .*right mean and scale"),
    "the derivative in σ": (lambda f, z, m, s: f * (((z - m) / s) ** 2 - 1) / s, "the mean of your estimate is"),
    "the sum for the mean": (lambda f, z, m, s: len(f) * f * (z - m) / s**2, "the mean of your estimate is"),
    "the regression of f on z": (regression, r"for f = z³, N\(1, 1²\) and 2 samples"),
    "another estimate for many samples": (told_by_length, MANY),
    "its own value in the baseline, for many samples": (own_mean_of_many, MANY),
    "the regression of f on z, for many samples": (regression_of_many, MANY),
    "the baseline added to the product": (lambda f, z, m, s: f * (z - m) / s**2 - f.mean(), "for f = 1"),
}


@pytest.mark.parametrize(("answer", "message"), BIASED.values(), ids=BIASED)
def test_a_biased_gradient_is_named(ask, answer, message):
    assert re.search(f"score_gradient is open: .*{message}", ask(exercise, "score_gradient", answer))


@pytest.mark.parametrize("b", [0.0, 9.0, -4.0])
def test_a_poor_baseline_is_told_by_its_variance(ask, b):
    said = ask(exercise, "score_gradient", with_baseline(b))
    found = re.search(
        r"but for x² and N\(1, 1\) the mean of n terms has variance ([\d.]+)/n; wanted at most 26/n", said
    )
    assert found, said
    assert float(found[1]) == pytest.approx(30 - 8 * b + b**2, rel=0.1)


@pytest.mark.parametrize("b", [1.0, 2.0, 4.0], ids=["f(μ)", "the mean", "the best constant"])
def test_a_constant_for_the_lectures_function_does_not_follow_another(ask, b):
    said = ask(exercise, "score_gradient", with_baseline(b))
    found = re.search(r"but for x² \+ 100 and N\(1, 1\) the mean of n terms has variance ([\d.]+)/n", said)
    assert found, said
    assert float(found[1]) == pytest.approx(30 - 8 * (b - 100) + (b - 100) ** 2, rel=0.1)


def test_equal_terms_do_not_hide_the_variance(ask):
    """Without a baseline, each term replaced by their mean: the terms of one call have no variance."""
    said = ask(exercise, "score_gradient", lambda f, z, m, s: (f * (z - m) / s**2).mean() * torch.ones_like(z))
    assert "score_gradient is open: it is unbiased, but" in said


def test_one_number_is_no_term_for_each_sample(ask):
    said = ask(exercise, "score_gradient", lambda f, z, m, s: (f * (z - m)).mean())
    assert re.search(r"expected one term for each sample, shape \(2,\), got Tensor of shape \(\)", said)


# --- all local optima

Z = torch.linspace(-20, 20, 801, dtype=torch.float64)


def descend(log_p, mean, sd):
    """Nelder and Mead's search, which needs no derivatives."""
    target = log_p(Z)

    def divergence(phi):
        log_q = Normal(phi[0], math.exp(phi[1])).log_prob(Z)
        return float((log_q.exp() * (log_q - target)).sum() * 0.05)

    found = minimize(divergence, [mean, math.log(sd)], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9})
    return float(found.x[0]), math.exp(found.x[1])


def distinct(found):
    kept = []
    for q in found:
        if all(abs(q[0] - other[0]) > 0.1 for other in kept):
            kept.append(q)
    return kept


def from_many_starts(log_p):
    return distinct([descend(log_p, mean, sd) for mean in range(-8, 9, 2) for sd in (0.4, 3.0)])


def as_a_tensor(log_p):
    return torch.tensor(lecture10.local_optima(log_p))


@pytest.mark.parametrize("answer", [from_many_starts, as_a_tensor])
def test_all_optima_are_accepted_in_any_form(ask, answer):
    said = "✓ local_optima: all local optima of 4 densities, each once"
    assert ask(exercise, "local_optima", answer) == said


def test_forgotten_optima_are_counted(ask):
    one_start = ask(exercise, "local_optima", lambda log_p: [descend(log_p, 0.1, 1.0)])
    assert "on two modes that are far apart it misses 2 of 3 local optima. A descent ends in one of them" in one_start
    best = ask(exercise, "local_optima", lambda log_p: [q for q in lecture10.local_optima(log_p) if abs(q[0]) > 0.5])
    assert "on a density with one mode it misses 1 of 1 local optima" in best
    nothing = ask(exercise, "local_optima", lambda log_p: [])
    assert "on a density with one mode it misses 1 of 1 local optima" in nothing


def test_what_is_no_optimum_is_shown(ask):
    more = ask(exercise, "local_optima", lambda log_p: [*lecture10.local_optima(log_p), (3.0, 1.0)])
    assert "on a density with one mode 1 of its answers are no local optimum, such as mean 3 and sd 1" in more


def test_repeated_optima_are_refused(ask):
    twice = ask(exercise, "local_optima", lambda log_p: 2 * lecture10.local_optima(log_p))
    assert "it lists 2 optima, but only 1 of them are different" in twice


def test_forward_optimum_is_refused(ask):
    forward = ask(
        exercise,
        "local_optima",
        lambda log_p: [(q.mean.item(), q.covariance.item() ** 0.5) for q in fit_gaussian(log_p, "forward", grid=LINE)],
    )
    said = "none of your answers is a local optimum of KL(q‖p) (within 0.03): which divergence do you minimize?"
    assert f"local_optima is open: on two modes that are far apart {said}" in forward


def test_nothing_yet_is_told(ask):
    assert "returns nothing yet" in ask(exercise, "local_optima", lambda log_p: None)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_listed_starts_reach_the_optima_of_a_dense_search(name):
    """Starts at every integer, narrow and wide, find no more than the few starts of the check."""
    dense = lecture10.local_optima(mixture(name).log_prob)
    few = lecture10._optima(name)
    assert sorted(round(m, 2) + 0.0 for m, _ in dense) == sorted(round(m, 2) + 0.0 for m in few[:, 0].tolist())
