"""The exercises on density estimation accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch
from scipy.fft import dct
from scipy.optimize import brentq
from scipy.stats import gaussian_kde, iqr
from sklearn.neighbors import KernelDensity

from coursekit.density import best_bandwidth, kde, least_squares_cv, likelihood_cv, mise_gaussian, rule_of_thumb
from coursekit.exercises.lecture08 import exercise

# --- the estimate


def written_out(points, data, h):
    n, d = data.shape
    u = (points[:, None] - data[None]) / h
    return torch.exp(-u.square().sum(dim=2) / 2).sum(dim=1) / (n * h**d * (2 * math.pi) ** (d / 2))


def by_logsumexp(points, data, h):
    n, d = data.shape
    log_kernels = -torch.cdist(points, data).square() / (2 * h * h)
    return (log_kernels.logsumexp(dim=1) - math.log(n) - d * math.log(h) - d / 2 * math.log(2 * math.pi)).exp()


def in_chunks(points, data, h):
    return torch.cat([written_out(points[i : i + 1], data, h) for i in range(len(points))])


def by_loops(points, data, h):
    d = data.shape[1]
    normal = torch.distributions.MultivariateNormal(torch.zeros(d, dtype=data.dtype), h**2 * torch.eye(d).to(data))
    return torch.stack([torch.stack([normal.log_prob(x - it).exp() for it in data]).mean() for x in points])


def by_products_of_axes(points, data, h):
    each = torch.exp(-((points[:, None] - data[None]) / h).square() / 2) / (h * math.sqrt(2 * math.pi))
    return each.prod(dim=2).mean(dim=1)


def by_scikit_learn(points, data, h):
    return np.exp(KernelDensity(bandwidth=h).fit(data.numpy()).score_samples(points.numpy()))


RIGHT_ESTIMATES = [written_out, by_logsumexp, in_chunks, by_loops, by_products_of_axes, by_scikit_learn, kde]


@pytest.mark.parametrize("answer", RIGHT_ESTIMATES)
def test_the_estimate_is_accepted_in_any_form(ask, answer):
    praise = "right on one dimension, two dimensions, three dimensions"
    assert ask(exercise, "kernel_density", answer) == f"✓ kernel_density: {praise}"


WRONG_ESTIMATES = {
    "h⁻¹ for h⁻ᵈ": (lambda x, y, h: written_out(x, y, h) * h ** (y.shape[1] - 1), "wrong on two dimensions"),
    "(2π)^(−1/2) in every dimension": (
        lambda x, y, h: written_out(x, y, h) * (2 * math.pi) ** ((y.shape[1] - 1) / 2),
        "wrong on two dimensions",
    ),
    "the sum for the mean": (lambda x, y, h: written_out(x, y, h) * len(y), "wrong on one dimension"),
    "n + 1": (lambda x, y, h: written_out(x, y, h) * len(y) / (len(y) + 1), "wrong on one dimension"),
    "without h⁻ᵈ": (lambda x, y, h: written_out(x, y, h) * h ** y.shape[1], "wrong on one dimension"),
    "without (2π)": (lambda x, y, h: written_out(x, y, h) * (2 * math.pi) ** (y.shape[1] / 2), "wrong on one dim"),
    "the variance is h": (lambda x, y, h: written_out(x, y, h**0.5), "wrong on one dimension"),
    "without the ½": (lambda x, y, h: written_out(x, y, h / 2**0.5) * 2 ** (-y.shape[1] / 2), "wrong on one dim"),
    "the distance is not squared": (
        lambda x, y, h: (-torch.cdist(x, y) / (2 * h)).exp().mean(dim=1) / (2 * math.pi * h * h) ** (y.shape[1] / 2),
        "wrong on one dimension",
    ),
    "points and data swapped": (lambda x, y, h: written_out(y, x, h), "expected shape"),
    "the logarithm": (lambda x, y, h: written_out(x, y, h).log(), "wrong on one dimension"),
    "the kernel of the mean": (lambda x, y, h: written_out(x, y.mean(dim=0, keepdim=True), h), "wrong on one dim"),
    "normalized over the points": (lambda x, y, h: torch.softmax(written_out(x, y, h), dim=0), "wrong on one dim"),
    "a box": (lambda x, y, h: (torch.cdist(x, y) < h).double().mean(dim=1) / (2 * h), "wrong on one dimension"),
    "nothing": (lambda x, y, h: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_ESTIMATES.values(), ids=WRONG_ESTIMATES)
def test_a_wrong_estimate_is_named(ask, answer, message):
    assert message in ask(exercise, "kernel_density", answer)


def test_an_estimate_that_is_right_on_a_line_only_is_told_why(ask):
    said = ask(exercise, "kernel_density", lambda x, y, h: written_out(x, y, h) * h ** (y.shape[1] - 1))
    assert "each axis contributes its own factor 1/h and its own factor 1/√(2π)" in said


def test_an_estimate_that_changes_its_points_is_refused(ask):
    def in_place(points, data, h):
        result = written_out(points, data, h)
        data /= h
        return result

    assert "it changes its argument in place" in ask(exercise, "kernel_density", in_place)


# --- its exact error


def formula(n, h, d):
    bracket = 1 / (n * h**d) + (1 - 1 / n) * (1 + h**2) ** (-d / 2) - 2 * (1 + h**2 / 2) ** (-d / 2) + 1
    return (4 * math.pi) ** (-d / 2) * bracket


def by_bias_and_variance(n, h, d):
    def bump(variance):  # N(0; 0, variance·I)
        return (2 * math.pi * variance) ** (-d / 2)

    bias2 = bump(2 + 2 * h * h) - 2 * bump(2 + h * h) + bump(2)
    return torch.tensor(bias2 + (bump(2 * h * h) - bump(2 + 2 * h * h)) / n)


def by_quadrature(n, h, d):
    """Parseval's theorem, in polar coordinates."""
    w = np.linspace(0, 40, 400_001)
    sphere = 2 * math.pi ** (d / 2) / math.gamma(d / 2) / (2 * math.pi) ** d
    kernel, p = np.exp(-((h * w) ** 2) / 2), np.exp(-(w**2) / 2)
    integrand = (kernel**2 * (1 - p**2) / n + (kernel - 1) ** 2 * p**2) * w ** (d - 1)
    return np.trapezoid(integrand, w) * sphere


@pytest.mark.parametrize("answer", [formula, by_bias_and_variance, by_quadrature, mise_gaussian])
def test_the_error_is_accepted_in_any_form(ask, answer):
    praise = "right on one dimension, two dimensions, three dimensions, many points"
    assert ask(exercise, "mise", answer) == f"✓ mise: {praise}"


def asymptotic(n, h, d):
    return (4 * math.pi) ** (-d / 2) * (1 / (n * h**d) + h**4 / 16 * d * (d + 2))


WRONG_ERRORS = {
    "1 for 1 − 1/n": (
        lambda n, h, d: formula(n, h, d) + (4 * math.pi) ** (-d / 2) * (1 + h**2) ** (-d / 2) / n,
        "wrong on one dimension",
    ),
    "the asymptotic formula": (asymptotic, "wrong on one dimension"),
    "relative": (lambda n, h, d: formula(n, h, d) * (4 * math.pi) ** (d / 2), "wrong on one dimension"),
    "the formula of one dimension": (lambda n, h, d: formula(n, h, 1), "right on one dimension; wrong on two"),
    "h for hᵈ": (
        lambda n, h, d: formula(n, h, d) + (4 * math.pi) ** (-d / 2) * (1 / h - h**-d) / n,
        "right on one dimension; wrong on two",
    ),
    "the variance alone": (lambda n, h, d: (4 * math.pi) ** (-d / 2) / (n * h**d), "wrong on one dimension"),
    "the bias alone": (lambda n, h, d: formula(10**9, h, d), "wrong on one dimension"),
    "the product once, not twice": (
        lambda n, h, d: formula(n, h, d) + (4 * math.pi) ** (-d / 2) * (1 + h**2 / 2) ** (-d / 2),
        "wrong on one dimension",
    ),
    "its root": (lambda n, h, d: formula(n, h, d) ** 0.5, "wrong on one dimension"),
    "the least error": (lambda n, h, d: formula(n, best_bandwidth(n, d), d), "wrong on one dimension"),
    "nothing": (lambda n, h, d: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_ERRORS.values(), ids=WRONG_ERRORS)
def test_a_wrong_error_is_named(ask, answer, message):
    assert message in ask(exercise, "mise", answer)


def test_a_wrong_error_is_told_why(ask):
    assert "are all four terms there?" in ask(exercise, "mise", asymptotic)
    assert "which powers are right on a line only?" in ask(exercise, "mise", lambda n, h, d: formula(n, h, 1))


# --- its height at the peak


def by_quadrature_along_an_axis(h, d):
    x = np.linspace(-12, 12, 24_001)
    product = np.exp(-((x / h) ** 2) / 2 - x**2 / 2) / (h * math.sqrt(2 * math.pi))  # a kernel with p ÷ its peak
    return np.trapezoid(product, x) ** d


RIGHT_HEIGHTS = {
    "the formula": lambda h, d: (1 + h**2) ** (-d / 2),
    "a ratio of densities": lambda h, d: torch.tensor(
        (2 * math.pi * (1 + h * h)) ** (-d / 2) * (2 * math.pi) ** (d / 2)
    ),
    "a quadrature": by_quadrature_along_an_axis,
}


@pytest.mark.parametrize("answer", RIGHT_HEIGHTS.values(), ids=RIGHT_HEIGHTS)
def test_the_height_is_accepted_in_any_form(ask, answer):
    praise = "right on one dimension, three dimensions, ten dimensions"
    assert ask(exercise, "height_at_peak", answer) == f"✓ height_at_peak: {praise}"


WRONG_HEIGHTS = {
    "the factor of one axis": (lambda h, d: (1 + h**2) ** -0.5, "right on one dimension; wrong on three"),
    "half the variance": (lambda h, d: (1 + h**2 / 2) ** (-d / 2), "wrong on one dimension"),
    "d for d/2": (lambda h, d: (1 + h**2) ** -d, "wrong on one dimension"),
    "h for h²": (lambda h, d: (1 + h) ** (-d / 2), "wrong on one dimension"),
    "not divided by the peak": (lambda h, d: (2 * math.pi * (1 + h**2)) ** (-d / 2), "wrong on one dimension"),
    "the height of a kernel": (lambda h, d: h**-d, "wrong on one dimension"),
    "nothing": (lambda h, d: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_HEIGHTS.values(), ids=WRONG_HEIGHTS)
def test_a_wrong_height_is_named(ask, answer, message):
    assert message in ask(exercise, "height_at_peak", answer)


# --- a bandwidth


def candidates(data):
    return [rule_of_thumb(data, "silverman") * 0.85**k for k in range(-3, 22)]


def by_likelihood(data):
    return max(candidates(data), key=lambda h: likelihood_cv(data, h))


def by_least_squares(data):
    return min(candidates(data), key=lambda h: least_squares_cv(data, h))


def by_two_halves(data):
    """The likelihood of each half under the estimate from the other."""
    a, b = data[::2], data[1::2]
    return max(candidates(data), key=lambda h: (kde(a, b, h).log().mean() + kde(b, a, h).log().mean()).item())


def by_plug_in(data):
    """The fixed point of Botev, Grotowski and Kroese (2010), by the cosine transform of a histogram."""
    x, n = data[:, 0].numpy(), len(data)
    low, high = x.min() - np.ptp(x) / 4, x.max() + np.ptp(x) / 4
    a2 = (dct(np.histogram(x, 2**12, (low, high))[0] / n)[1:] / 2) ** 2
    k2 = np.arange(1, 2**12) ** 2.0

    def gap(t):  # between the square of a bandwidth and what seven stages of plug-in make of it
        f = 2 * np.pi**14 * (k2**7 * a2 * np.exp(-k2 * np.pi**2 * t)).sum()
        for s in range(6, 1, -1):
            odd = np.prod(np.arange(1, 2 * s, 2)) / math.sqrt(2 * np.pi)
            pilot = (2 * (1 + 0.5 ** (s + 0.5)) / 3 * odd / (n * f)) ** (2 / (3 + 2 * s))
            f = 2 * np.pi ** (2 * s) * (k2**s * a2 * np.exp(-k2 * np.pi**2 * pilot)).sum()
        return t - (2 * n * math.sqrt(np.pi) * f) ** -0.4

    steps = np.geomspace(1e-8, 0.1, 300)
    below = next(i for i in range(299) if gap(steps[i]) < 0 <= gap(steps[i + 1]))
    return math.sqrt(brentq(gap, steps[below], steps[below + 1])) * (high - low)


def by_sheather_jones(data):
    """The plug-in bandwidth of Sheather and Jones (1991), which solves an equation."""
    x, n = data[:, 0].numpy(), len(data)
    apart2 = (x[:, None] - x) ** 2

    def mean(polynomial, g, power):  # over all pairs, of a derivative of the normal density
        u2 = apart2 / g**2
        return (polynomial(u2) * np.exp(-u2 / 2)).sum() / (math.sqrt(2 * math.pi) * n * (n - 1) * g**power)

    def fourth(g):
        return mean(lambda u2: u2**2 - 6 * u2 + 3, g, 5)

    def sixth(g):
        return mean(lambda u2: u2**3 - 15 * u2**2 + 45 * u2 - 15, g, 7)

    spread = min(x.std(ddof=1), iqr(x) / 1.349)
    ratio = 1.357 * (fourth(1.24 * spread * n ** (-1 / 7)) / -sixth(1.23 * spread * n ** (-1 / 9))) ** (1 / 7)
    return brentq(
        lambda h: (2 * math.sqrt(math.pi) * n * fourth(ratio * h ** (5 / 7))) ** -0.2 - h, 0.01 * spread, 2 * spread
    )


def as_a_tensor(data):
    return torch.tensor(by_likelihood(data))


RIGHT_BANDWIDTHS = [by_likelihood, by_least_squares, by_two_halves, by_plug_in, by_sheather_jones, as_a_tensor]


@pytest.mark.parametrize("answer", RIGHT_BANDWIDTHS)
def test_bandwidths_that_ask_the_data_are_accepted(ask, answer):
    praise = "on three densities the median of ∫(p̂ − p)² ÷ its least value is at most 1.7"
    assert ask(exercise, "my_bandwidth", answer) == f"✓ my_bandwidth: {praise}"


def in_sample_likelihood(data):
    return max(candidates(data), key=lambda h: kde(data, data, h).log().mean().item())


def robust_rule(data):
    return 0.9 * min(data.std().item(), iqr(data.numpy()) / 1.34) * len(data) ** -0.2


WRONG_BANDWIDTHS = {
    "Silverman's rule": lambda data: rule_of_thumb(data, "silverman"),
    "Scott's rule": lambda data: rule_of_thumb(data, "scott"),
    "the smaller of deviation and quartiles": robust_rule,
    "scipy's default": lambda data: gaussian_kde(data[:, 0].numpy()).factor * data.std().item(),
    "best for N(0, 1)": lambda data: best_bandwidth(len(data)),
    "best for a normal density of this spread": lambda data: best_bandwidth(len(data)) * data.std().item(),
    "a number": lambda data: 0.2,
    "the deviation": lambda data: data.std().item(),
    "the likelihood of the data themselves": in_sample_likelihood,
    "the worst by cross-validation": lambda data: max(candidates(data), key=lambda h: least_squares_cv(data, h)),
    "the mean distance of neighbours": lambda data: data.sort(dim=0).values.diff(dim=0).mean().item(),
    "a table by the spread": lambda data: 3.0 if data.std() > 5 else 0.17 if data.std() > 1 else 0.012,
    "a quarter of Silverman's rule": lambda data: rule_of_thumb(data, "silverman") / 4,
    "least squares on a grid that leaves off": lambda data: min(
        np.geomspace(0.2, 2.0, 9).tolist(), key=lambda h: least_squares_cv(data, h)
    ),
    "least squares on the notebook's grid": lambda data: min(
        np.geomspace(0.005, 2.0, 26).tolist(), key=lambda h: least_squares_cv(data, h)
    ),
    "least squares on a grid by the spread about 0": lambda data: min(
        (data.square().mean().sqrt().item() * 0.85**k for k in range(20)), key=lambda h: least_squares_cv(data, h)
    ),
    "a tenth of the range": lambda data: 0.1 * (data.max() - data.min()).item(),
}


@pytest.mark.parametrize("answer", WRONG_BANDWIDTHS.values(), ids=WRONG_BANDWIDTHS)
def test_bandwidths_that_know_the_spread_alone_or_nothing_are_refused(ask, answer):
    said = ask(exercise, "my_bandwidth", answer)
    assert "my_bandwidth is open: on data of" in said
    assert "the median of ∫(p̂ − p)² ÷ its least value is" in said
    assert "wanted at most 1.7." in said


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda data: None, "it returns nothing yet"),
        (lambda data: 0.0, "expected a bandwidth > 0, got 0 for data of one mode"),
        (lambda data: -1.0, "expected a bandwidth > 0, got -1"),
        (lambda data: math.nan, "NaN or infinite"),
        (lambda data: data[:, 0], r"expected one number, shape (), got Tensor of shape (150,)"),
        (lambda data: "scott", "expected one number"),
        (lambda data: data.no_such_method(), "it raises AttributeError"),
    ],
)
def test_what_is_not_a_bandwidth_is_told(ask, answer, message):
    assert message in ask(exercise, "my_bandwidth", answer)


def test_spoiling_the_data_changes_nothing(ask):
    def spoil(data):
        h = by_likelihood(data)
        data.zero_()
        return h

    for _ in range(2):
        assert ask(exercise, "my_bandwidth", spoil).startswith("✓")
