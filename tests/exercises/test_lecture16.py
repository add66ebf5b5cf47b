"""The exercises on distances accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from coursekit.distances import wasserstein, wasserstein_1d
from coursekit.exercises.lecture16 import exercise, witness

# --- total variation

RIGHT_TV = {
    "half of the absolute differences": lambda p, q: (p - q).abs().sum() / 2,
    "the best event": lambda p, q: p[p > q].sum() - q[p > q].sum(),
    "1 − the common mass": lambda p, q: 1 - torch.minimum(p, q).sum(),
    "NumPy": lambda p, q: np.abs(p.numpy() - q.numpy()).sum() / 2,
    "all events": lambda p, q: max(
        ((p - q)[[i for i in range(len(p)) if event >> i & 1]]).sum() for event in range(2 ** len(p))
    ),
}


@pytest.mark.parametrize("answer", RIGHT_TV.values(), ids=RIGHT_TV)
def test_total_variation_in_any_form(ask, answer):
    assert ask(exercise, "tv", answer) == "✓ tv: right on four outcomes, three outcomes, no common outcome"


WRONG_TV = {
    "signed": lambda p, q: (p - q).sum() / 2,
    "without the half": lambda p, q: (p - q).abs().sum(),
    "the largest difference of one outcome": lambda p, q: (p - q).abs().max(),
    "the mean": lambda p, q: (p - q).abs().mean() / 2,
    "only the events {1, …, k}": lambda p, q: (p - q).cumsum(0).abs().max(),
    "twice the mean, as if all laws had four outcomes": lambda p, q: 2 * (p - q).abs().mean(),
    "the root of squares": lambda p, q: (p - q).square().sum().sqrt() / 2,
    "the common mass": lambda p, q: torch.minimum(p, q).sum(),
    "a cumulated difference": lambda p, q: (p - q).cumsum(0).abs().sum(),
    "nothing": lambda p, q: None,
}


@pytest.mark.parametrize("answer", WRONG_TV.values(), ids=WRONG_TV)
def test_a_wrong_total_variation_is_open(ask, answer):
    assert "tv is open" in ask(exercise, "tv", answer)


# --- W₁ between samples of numbers


def by_linear_program(x, y):
    n, m = len(x), len(y)
    cost = (x[:, None] - y).abs().flatten().numpy()
    ends = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost, A_eq=ends, b_eq=masses).fun


def by_repeating(x, y):
    """Each sample repeated, so that both have one size."""
    size = math.lcm(len(x), len(y))
    x, y = (it.sort().values.repeat_interleave(size // len(it)) for it in (x, y))
    return (x - y).abs().mean()


RIGHT_W1 = {
    "the package": wasserstein_1d,
    "the exact distance": lambda x, y: wasserstein(x[:, None], y[:, None]).distance,
    "SciPy": lambda x, y: wasserstein_distance(x.numpy(), y.numpy()),
    "a linear program": by_linear_program,
    "repeated samples": by_repeating,
}


@pytest.mark.parametrize("answer", RIGHT_W1.values(), ids=RIGHT_W1)
def test_w1_in_any_form(ask, answer):
    praise = "right on samples of one size, more points in x, more points in y, numbers below zero"
    assert ask(exercise, "w1", answer) == f"✓ w1: {praise}"


def without_steps(x, y):
    places = torch.cat([x, y]).sort().values
    f, g = ((it[:, None] <= places).double().mean(dim=0) for it in (x, y))
    return (f - g).abs().mean()


WRONG_W1 = {
    "equal sizes only": (lambda x, y: (x.sort().values - y.sort().values).abs().mean(), "it raises RuntimeError"),
    "unsorted": (lambda x, y: (x[:, None] - y).abs().mean(), "wrong on samples of one size"),
    "the shorter of both": (
        lambda x, y: (x.sort().values[: len(y)] - y.sort().values[: len(x)]).abs().mean(),
        "right on samples of one size; wrong on more points in x",
    ),
    "the difference of means": (lambda x, y: (x.mean() - y.mean()).abs(), "wrong on samples of one size"),
    "the sum": (lambda x, y: wasserstein_1d(x, y) * len(x), "wrong on samples of one size"),
    "W₂": (lambda x, y: wasserstein_1d(x, y, 2), "wrong on samples of one size"),
    "the distance of the distribution functions": (without_steps, "wrong on samples of one size"),
    "nothing": (lambda x, y: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_W1.values(), ids=WRONG_W1)
def test_a_wrong_w1_is_open(ask, answer, message):
    assert message in ask(exercise, "w1", answer)


# --- a witness


def by_dual_program(x, y):
    n, m = len(x), len(y)
    pairs = np.hstack([np.kron(np.eye(n), np.ones((m, 1))), -np.kron(np.ones((n, 1)), np.eye(m))])
    found = linprog(
        np.concatenate([np.full(n, -1 / n), np.full(m, 1 / m)]),
        A_ub=pairs,
        b_ub=torch.cdist(x, y).flatten().numpy(),
        bounds=(None, None),
    )
    g = torch.from_numpy(found.x[n:])
    return lambda points: (g + torch.cdist(points, y)).amin(dim=1)


def from_the_other_side(x, y):
    """The least function of slope 1 above the values at x, instead of the largest one below those at y."""
    values = by_dual_program(x, y)(x)
    return lambda points: (values - torch.cdist(points, x)).amax(dim=1)


def shifted(x, y):
    f = witness(x, y)
    return lambda points: f(points) + 7


def in_numpy(x, y):
    f = witness(x, y)
    return lambda points: f(points).numpy()


@pytest.mark.parametrize("answer", [witness, by_dual_program, from_the_other_side, shifted, in_numpy])
def test_witnesses_of_any_form(ask, answer):
    praise = "slope at most 1, and 90% of W₁ or more on four pairs of samples"
    assert ask(exercise, "witness", answer) == f"✓ witness: {praise}"


def along_the_means(x, y):
    direction = x.mean(dim=0) - y.mean(dim=0)
    return lambda points: points @ direction / direction.norm()


def best_of_three_formulas(x, y):
    """One function for each way in which the first three pairs differ; no plan and no prices."""
    direction, middle = x.mean(dim=0) - y.mean(dim=0), y.mean(dim=0)
    formulas = (
        lambda points: points @ direction / direction.norm(),
        lambda points: (points - middle).norm(dim=1),
        lambda points: (points[:, 0].abs() - points[:, 1].abs()) / math.sqrt(2),
    )
    both = [*formulas, *(lambda points, f=f: -f(points) for f in formulas)]
    return max(both, key=lambda f: (f(x).mean() - f(y).mean()).item())


def divided_by_the_slope_of_the_call(x, y):
    f = witness(x, y)

    def divided(points):
        values = 5 * f(points)
        distance = torch.cdist(points, points).fill_diagonal_(torch.inf).clamp(min=1e-3)
        return values / ((values[:, None] - values).abs() / distance).max()

    return divided


def steep_far_away(x, y):
    f = witness(x, y)
    return lambda points: f(points) + 6 * (points.norm(dim=1) - 12).clamp(min=0)


def nearest(x, y):
    return lambda points: torch.cdist(points, y).amin(dim=1)


WRONG_WITNESSES = {
    "the difference of means": (along_the_means, "for a ring and its centre, the means"),
    "the distance from the middle of y": (
        lambda x, y: lambda points: (points - y.mean(dim=0)).norm(dim=1),
        "the means of f over x and y differ",
    ),
    "three memorized formulas": (best_of_three_formulas, "for two samples of one law, the means of f over x and y"),
    "the distance to the nearest y": (nearest, "wanted at least 90% of it"),
    "twice as steep": (
        lambda x, y: lambda points: 2 * witness(x, y)(points),
        "differ by 2 times their distance; wanted at most 1",
    ),
    "divided by the largest slope of the call": (divided_by_the_slope_of_the_call, "changes with the other points"),
    "steep far away": (steep_far_away, "times their distance; wanted at most 1"),
    "a step": (
        lambda x, y: lambda points: (torch.cdist(points, x).amin(dim=1) < torch.cdist(points, y).amin(dim=1)).double(),
        "times their distance; wanted at most 1",
    ),
    "the wrong way round": (lambda x, y: lambda points: -witness(x, y)(points), "it should be the other way round"),
    "a constant": (lambda x, y: lambda points: torch.zeros(len(points)), "the means of f over x and y differ"),
    "a number": (lambda x, y: 1.0, "expected a function of points, got float"),
    "one value for all": (lambda x, y: lambda points: points.sum(), "expected one value for each point"),
    "nothing": (lambda x, y: None, "expected a function of points, got NoneType"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_WITNESSES.values(), ids=WRONG_WITNESSES)
def test_a_wrong_witness_is_open(ask, answer, message):
    assert message in ask(exercise, "witness", answer)


# --- a mean over pairs


def with_a_mask(k):
    return k[..., ~torch.eye(k.shape[-1], dtype=torch.bool)].mean(dim=-1)


def upper_triangle(k):
    n = k.shape[-1]
    return 2 * k.triu(diagonal=1).sum(dim=(-2, -1)) / (n * (n - 1))


def in_loops(k):
    if k.dim() > 2:
        return torch.stack([in_loops(it) for it in k])
    n = len(k)
    return sum(k[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))


RIGHT_MEAN_OVER_PAIRS = {
    "without the trace": lambda k: (
        (k.sum(dim=(-2, -1)) - k.diagonal(dim1=-2, dim2=-1).sum(dim=-1)) / (k.shape[-1] * (k.shape[-1] - 1))
    ),
    "a mask": with_a_mask,
    "the upper triangle, twice": upper_triangle,
    "loops": in_loops,
    "NumPy": lambda k: with_a_mask(k).numpy(),
}


@pytest.mark.parametrize("answer", RIGHT_MEAN_OVER_PAIRS.values(), ids=RIGHT_MEAN_OVER_PAIRS)
def test_a_mean_over_pairs_in_any_form(ask, answer):
    praise = "right on one sample, a kernel that is not 1 on the diagonal, three samples at once"
    assert ask(exercise, "mean_over_pairs", answer) == f"✓ mean_over_pairs: {praise}"


def without_n(k):
    n = k.shape[-1]
    return (k.sum(dim=(-2, -1)) - n) / (n * (n - 1))


WRONG_MEAN_OVER_PAIRS = {
    "all entries": (lambda k: k.mean(dim=(-2, -1)), "wrong on one sample"),
    "without the diagonal, but by n²": (
        lambda k: (k.sum(dim=(-2, -1)) - k.diagonal(dim1=-2, dim2=-1).sum(dim=-1)) / k.shape[-1] ** 2,
        "wrong on one sample",
    ),
    "with the diagonal, by n (n − 1)": (
        lambda k: k.sum(dim=(-2, -1)) / (k.shape[-1] * (k.shape[-1] - 1)),
        "wrong on one sample",
    ),
    "half of the triangle": (lambda k: upper_triangle(k) / 2, "wrong on one sample"),
    "n instead of the diagonal": (without_n, "wrong on a kernel that is not 1 on the diagonal"),
    "one number for all samples": (lambda k: with_a_mask(k).mean(), "wrong on three samples at once"),
    "one matrix only": (lambda k: (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1)), "three samples at once"),
    "nothing": (lambda k: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MEAN_OVER_PAIRS.values(), ids=WRONG_MEAN_OVER_PAIRS)
def test_a_wrong_mean_over_pairs_is_open(ask, answer, message):
    assert message in ask(exercise, "mean_over_pairs", answer)
