"""The exercises on mean field accept what is right in any form, and say what is wrong."""

import math

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

from coursekit.bayes import mean_field_gaussian
from coursekit.exercises.lecture11 import exercise

# --- a sweep of coordinate ascent


def sweep(mu, Lambda, m, order=None):
    m = m.clone()
    for i in range(len(m)) if order is None else order:
        others = sum(Lambda[i, j] * (m[j] - mu[j]) for j in range(len(m)) if j != i)
        m[i] = mu[i] - others / Lambda[i, i]
    return m


def backwards(mu, Lambda, m):
    return sweep(mu, Lambda, m, reversed(range(len(m))))


def in_a_random_order(mu, Lambda, m):
    return sweep(mu, Lambda, m, torch.randperm(len(m)).tolist())


def as_gauss_seidel(mu, Lambda, m):
    """The sweep solves Λ(m − μ) = 0 by its lower triangle: (D + L) (m' − μ) = −U (m − μ)."""
    lower, upper = Lambda.tril(), Lambda.triu(1)
    return mu - torch.linalg.solve_triangular(lower, (upper @ (m - mu))[:, None], upper=False)[:, 0]


def by_the_package(mu, Lambda, m):
    return mean_field_gaussian(mu, Lambda, m, sweeps=1).mean


def in_lists(mu, Lambda, m):
    return sweep(mu, Lambda, m).tolist()


def in_numpy(mu, Lambda, m):
    return sweep(mu, Lambda, m).numpy()


@pytest.mark.parametrize(
    "answer", [sweep, backwards, in_a_random_order, as_gauss_seidel, by_the_package, in_lists, in_numpy]
)
def test_a_sweep_is_accepted_in_any_order_and_form(ask, answer):
    assert ask(exercise, "cavi_step", answer) == "✓ cavi_step: right for two and three variables"


def with_a_mask(mu, Lambda, m):
    m = m.clone()
    for i in range(len(m)):
        others = torch.ones(len(m))
        others[i] = 0
        m[i] = mu[i] - Lambda[i] @ (others * (m - mu)) / Lambda[i, i]
    return m


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_a_sweep_may_make_tensors_of_the_default_type(ask, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)  # the notebook does so after the import
    try:
        told = ask(exercise, "cavi_step", with_a_mask)
    finally:
        torch.set_default_dtype(before)
    assert told == "✓ cavi_step: right for two and three variables"


def all_at_once(mu, Lambda, m):
    return m - Lambda @ (m - mu) / Lambda.diagonal()


def with_covariance(mu, Lambda, m):
    return sweep(mu, torch.linalg.inv(Lambda), m)


def forgets_mu(mu, Lambda, m):
    return sweep(torch.zeros_like(mu), Lambda, m)


def wrong_sign(mu, Lambda, m):
    m = m.clone()
    for i in range(len(m)):
        m[i] = mu[i] + (Lambda[i] @ (m - mu) - Lambda[i, i] * (m[i] - mu[i])) / Lambda[i, i]
    return m


def includes_itself(mu, Lambda, m):
    m = m.clone()
    for i in range(len(m)):
        m[i] = mu[i] - Lambda[i] @ (m - mu) / Lambda[i, i]
    return m


def unscaled(mu, Lambda, m):
    m = m.clone()
    for i in range(len(m)):
        m[i] = mu[i] - (Lambda[i] @ (m - mu) - Lambda[i, i] * (m[i] - mu[i]))
    return m


def in_place(mu, Lambda, m):
    m.copy_(sweep(mu, Lambda, m))
    return m


WRONG_SWEEPS = {
    "simultaneous": (all_at_once, "updated at once"),
    "Σ for Λ": (with_covariance, "it uses the covariance Σ in place of the precision Λ"),
    "μ forgotten": (forgets_mu, "on two variables: at index"),
    "wrong sign": (wrong_sign, "on two variables: at index"),
    "j = i in the sum": (includes_itself, "on two variables: at index"),
    "not divided by Λᵢᵢ": (unscaled, "on two variables: at index"),
    "the end of all sweeps": (lambda mu, Lambda, m: mu, "on two variables: at index"),
    "two sweeps": (lambda mu, Lambda, m: sweep(mu, Lambda, sweep(mu, Lambda, m)), "on two variables: at index"),
    "one factor only": (lambda mu, Lambda, m: sweep(mu, Lambda, m, [0]), "on two variables: at index"),
    "two variables only": (lambda mu, Lambda, m: sweep(mu, Lambda, m, [0, 1]), "on three variables: at index"),
    "half of the way": (lambda mu, Lambda, m: (m + sweep(mu, Lambda, m)) / 2, "on two variables: at index"),
    "in place": (in_place, "it changes its arguments in place"),
    "one mean": (lambda mu, Lambda, m: sweep(mu, Lambda, m)[0], "expected one mean for each variable, shape (2,)"),
    "nothing": (lambda mu, Lambda, m: None, "it returns nothing yet"),
    "NaN": (lambda mu, Lambda, m: m * math.nan, "NaN"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_SWEEPS.values(), ids=WRONG_SWEEPS)
def test_a_wrong_sweep_is_named(ask, answer, message):
    assert message in ask(exercise, "cavi_step", answer)


# --- mean and precision


def moments(x, mu0, lambda0):
    """n, n + λ₀, m, and the squares about m, those of the prior included."""
    n, total = len(x), len(x) + lambda0
    m = (lambda0 * mu0 + x.sum()) / total
    return n, total, m, ((x - m) ** 2).sum() + lambda0 * (m - mu0) ** 2


def iterated(x, mu0=0.0, lambda0=0.0, a0=0.0, b0=0.0, one=1, sweeps=200):
    n, total, m, squares = moments(x, mu0, lambda0)
    a, expected = a0 + (n + one) / 2, 1.0
    for _ in range(sweeps):
        precision = total * expected
        b = b0 + (squares + total / precision) / 2
        expected = a / b
    return m, precision, a, b


def on_paper(x, mu0=0.0, lambda0=0.0, a0=0.0, b0=0.0):
    """E[τ] = (2a₀ + N)/(2b₀ + squares) at the fixed point."""
    n, total, m, squares = moments(x, mu0, lambda0)
    a, expected = a0 + (n + 1) / 2, (2 * a0 + n) / (2 * b0 + squares)
    return m, total * expected, a, a / expected


@pytest.mark.parametrize("answer", [iterated, on_paper])
def test_mean_and_precision_are_accepted_in_any_form(ask, answer):
    told = "✓ normal_gamma: right on three observations, ten observations, observations far from 0, a prior"
    assert ask(exercise, "normal_gamma", answer) == told


def variance_for_precision(x, *prior):
    m, precision, a, b = iterated(x, *prior)
    return m, 1 / precision, a, b


def scale_for_rate(x, *prior):
    m, precision, a, b = iterated(x, *prior)
    return m, precision, a, 1 / b


def about_zero(x, *prior):
    n, squares = len(x), (x**2).sum()
    return x.mean(), n * n / squares, (n + 1) / 2, (n + 1) / 2 * squares / n


def without_uncertainty_of_mu(x, *prior):
    n, squares = len(x), ((x - x.mean()) ** 2).sum()
    return x.mean(), n * (n + 1) / squares, (n + 1) / 2, squares / 2


WRONG_MOMENTS = {
    "a = N/2": (
        lambda x, *prior: iterated(x, *prior, one=0),
        "value 3: expected 2, got 1.5",
    ),
    "one sweep": (lambda x, *prior: iterated(x, *prior, sweeps=1), "wrong on three observations: value 2"),
    "not yet converged": (lambda x, *prior: iterated(x, *prior, sweeps=4), "wrong on three observations: value 2"),
    "1/ℓ for ℓ": (variance_for_precision, "the values are m, ℓ, a, b; p(μ | τ) brings √τ"),
    "1/b for b": (scale_for_rate, "value 4"),
    "squares about 0": (about_zero, "value 2"),
    "μ taken as known": (without_uncertainty_of_mu, "value 2"),
    "three values": (lambda x, *prior: iterated(x)[:3], "expected 4 values"),
    "nothing": (lambda x, *prior: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MOMENTS.values(), ids=WRONG_MOMENTS)
def test_wrong_mean_or_precision_is_named(ask, answer, message):
    assert message in ask(exercise, "normal_gamma", answer)


def prior_of_mu_not_in_b(x, mu0=0.0, lambda0=0.0, a0=0.0, b0=0.0):
    n, total, m, _ = moments(x, mu0, lambda0)
    expected = 1.0
    for _ in range(200):
        precision = total * expected
        b = b0 + (((x - m) ** 2).sum() + n / precision) / 2
        expected = (a0 + (n + 1) / 2) / b
    return m, precision, a0 + (n + 1) / 2, b


def prior_of_mu_without_its_spread(x, mu0=0.0, lambda0=0.0, a0=0.0, b0=0.0):
    """The mean is uncertain under the observations only: λ₀ (m − μ₀)² for λ₀ E(μ − μ₀)²."""
    n, total, m, squares = moments(x, mu0, lambda0)
    expected = 1.0
    for _ in range(200):
        precision = total * expected
        b = b0 + (squares + n / precision) / 2
        expected = (a0 + (n + 1) / 2) / b
    return m, precision, a0 + (n + 1) / 2, b


def prior_not_scaled_by_tau(x, mu0=0.0, lambda0=0.0, a0=0.0, b0=0.0):
    """With μ ~ N(μ₀, 1/λ₀), independent of τ, which a √τ from the prior contradicts."""
    n, squares, average = len(x), ((x - x.mean()) ** 2).sum(), x.mean()
    a, expected = a0 + (n + 1) / 2, 1.0
    for _ in range(200):
        precision = lambda0 + n * expected
        m = (lambda0 * mu0 + n * expected * average) / precision
        b = b0 + (squares + n * ((average - m) ** 2 + 1 / precision)) / 2
        expected = a / b
    return m, precision, a, b


WRONG_PRIORS = {
    "prior ignored": (lambda x, *prior: iterated(x), "value 1"),
    "μ₀ ignored": (lambda x, mu0=0, *prior: iterated(x, 0.0, *prior), "value 1"),
    "λ₀ ignored": (lambda x, mu0=0, lambda0=0, *prior: iterated(x, mu0, 0.0, *prior), "value 1"),
    "a₀ ignored": (lambda x, mu0=0, lambda0=0, a0=0, b0=0: iterated(x, mu0, lambda0, 0.0, b0), "value 2"),
    "b₀ ignored": (lambda x, mu0=0, lambda0=0, a0=0, b0=0: iterated(x, mu0, lambda0, a0), "value 2"),
    "prior of μ not in b": (prior_of_mu_not_in_b, "value 2"),
    "(m − μ₀)² for E(μ − μ₀)²": (prior_of_mu_without_its_spread, "value 2"),
    "μ independent of τ": (prior_not_scaled_by_tau, "value 1"),
}


@pytest.mark.parametrize(("answer", "value"), WRONG_PRIORS.values(), ids=WRONG_PRIORS)
def test_a_wrong_prior_is_named(ask, answer, value):
    told = ask(exercise, "normal_gamma", answer)
    assert f"wrong on a prior: {value}" in told
    assert "the prior of μ also enters b" in told


def test_an_answer_without_a_prior_is_told_so(ask):
    assert "on a prior" in ask(exercise, "normal_gamma", lambda x: iterated(x))


# --- the number of components


def best_of(x, fit, bonus, starts=3, pick=max, most=5):
    scores = [pick([fit(x, K, seed) for seed in range(starts)]) + bonus(K) for K in range(1, most + 1)]
    return 1 + scores.index(max(scores))


def log_factorial(K):
    return math.lgamma(K + 1)


def as_a_tensor(x, fit):
    elbo = torch.tensor([[fit(x, K, seed) for seed in range(3)] for K in range(1, 6)])
    return 1 + (elbo.amax(dim=1) + torch.arange(1.0, 6).log().cumsum(dim=0)).argmax()


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, fit: best_of(x, fit, log_factorial),
        lambda x, fit: best_of(x, fit, lambda K: sum(math.log(k) for k in range(2, K + 1)), starts=4),
        lambda x, fit: best_of(x, fit, log_factorial, starts=6),
        lambda x, fit: best_of(x, lambda x, K, seed: fit(x, K, seed + 1), log_factorial),
        as_a_tensor,
    ],
    ids=["log K!", "four starts", "six starts", "seeds 1 to 3", "a tensor"],
)
def test_the_number_of_components_is_found_by_the_elbo(ask, answer):
    message = "✓ choose_components: it finds the number of clusters in at least 4 of 5 data sets, by the ELBO"
    assert ask(exercise, "choose_components", answer) == message


def by_bic(x, fit):
    bic = [GaussianMixture(K, random_state=0).fit(x.numpy()).bic(x.numpy()) for K in range(1, 6)]
    return 1 + bic.index(min(bic))


def on_noise(x, fit):
    return best_of(torch.randn_like(x), fit, log_factorial, starts=1)


def by_silhouette(x, fit):
    """The k-means clusters with the best silhouette; fit is never called."""
    points = x.numpy()
    scores = {K: silhouette_score(points, KMeans(K, n_init=3, random_state=0).fit_predict(points)) for K in range(2, 6)}
    return max(scores, key=scores.get)


NOT_BY_THE_ELBO = {
    "the points only": by_silhouette,
    "K": lambda x, fit: best_of(x, fit, lambda K: K),
    "1.5 K": lambda x, fit: best_of(x, fit, lambda K: 1.5 * K),
    "2 log K": lambda x, fit: best_of(x, fit, lambda K: 2 * math.log(K)),
    "K log K − K": lambda x, fit: best_of(x, fit, lambda K: K * math.log(K) - K),
}


@pytest.mark.parametrize("answer", NOT_BY_THE_ELBO.values(), ids=NOT_BY_THE_ELBO)
def test_the_right_numbers_for_a_wrong_reason_are_named(ask, answer):
    assert "data sets, but not by the ELBO: where fit gives" in ask(exercise, "choose_components", answer)


def mean(elbos):
    return sum(elbos) / len(elbos)


NOT_THE_BEST_START = {
    "one start": lambda x, fit: best_of(x, fit, log_factorial, starts=1),
    "the worst start": lambda x, fit: best_of(x, fit, log_factorial, pick=min),
    "the mean of the starts": lambda x, fit: best_of(x, fit, log_factorial, pick=mean),
    "at most four components": lambda x, fit: best_of(x, fit, log_factorial, most=4),
}


@pytest.mark.parametrize("answer", NOT_THE_BEST_START.values(), ids=NOT_THE_BEST_START)
def test_the_best_of_three_starts_is_needed_for_all_five_numbers(ask, answer):
    message = ask(exercise, "choose_components", answer)
    assert "where only the third start finds the best optimum for K = 5, it chooses 4 and not 5" in message


WRONG_CHOICES = {
    "log K! ignored": (lambda x, fit: best_of(x, fit, lambda K: 0.0), "in 1 of 5 data sets; wanted at least 4"),
    "log K": (lambda x, fit: best_of(x, fit, math.log), "in 2 of 5 data sets"),
    "log K! twice": (lambda x, fit: best_of(x, fit, lambda K: 2 * log_factorial(K)), "in 2 of 5 data sets"),
    "log K! subtracted": (lambda x, fit: best_of(x, fit, lambda K: -log_factorial(K)), "of 5 data sets"),
    "by the number of points": (lambda x, fit: len(x) // 10, "in 2 of 5 data sets"),
    "the worst ELBO": (lambda x, fit: 1 + min(range(5), key=lambda k: fit(x, k + 1, 0)), "in 0 of 5 data sets"),
    "always 3": (lambda x, fit: 3, "in 2 of 5 data sets"),
    "always the most": (lambda x, fit: 5, "in 0 of 5 data sets"),
    "counted from 0": (lambda x, fit: best_of(x, fit, log_factorial) - 1, "in 0 of 5 data sets"),
    "BIC of EM": (by_bic, "of 5 data sets"),
    "other points": (on_noise, "of 5 data sets"),
    "too many": (lambda x, fit: 12, "expected a number of components between 1 and 5, got 12"),
    "no integer": (lambda x, fit: 2.5, "expected a number of components between 1 and 5, got 2.5"),
    "all scores": (lambda x, fit: [fit(x, K, 0) for K in (1, 2)], "expected one number of components, shape ()"),
    "nothing": (lambda x, fit: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_CHOICES.values(), ids=WRONG_CHOICES)
def test_a_wrong_choice_is_named(ask, answer, message):
    assert message in ask(exercise, "choose_components", answer)


def test_the_points_cannot_be_changed(ask):
    def spoils(x, fit):
        K = best_of(x, fit, log_factorial)
        x.zero_()
        return K

    for _ in range(2):
        assert ask(exercise, "choose_components", spoils).startswith("✓")
