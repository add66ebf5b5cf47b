"""Exercises of lecture 16: total variation, W₁ of numbers, a function that tells samples apart, a mean over pairs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.distances import rbf, wasserstein
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

REACH = 0.9  # the least difference of means, as a multiple of W₁
STEEPEST = 1.001  # the largest slope that is accepted: 1, and rounding


def tv(p: Tensor, q: Tensor) -> Tensor:
    """The total variation between probability vectors (k,): the largest difference of the probabilities of an event."""
    return (p - q).clamp(min=0).sum()


def w1(x: Tensor, y: Tensor) -> Tensor:
    """W₁ between samples of numbers (n,) and (m,), all points of one sample with the same mass: ∫|F − G|."""
    places = torch.cat([x, y]).sort().values  # (n + m,)
    f = torch.searchsorted(x.sort().values, places, right=True) / len(x)
    g = torch.searchsorted(y.sort().values, places, right=True) / len(y)
    return ((f - g).abs()[:-1] * places.diff()).sum()


def witness(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """A function f of points (k, 2) → (k,) with slope ≤ 1 and a mean over x that exceeds its mean over y by W₁."""
    # Along the optimal plan, f falls by the distance moved: f(yⱼ) ≤ f(xᵢ) − ‖xᵢ − yⱼ‖ for the pairs of the plan, and
    # nowhere faster. The smallest such values at y are shortest paths (Bellman and Ford).
    partner = wasserstein(x, y).plan.argmax(dim=1)  # (n,): xᵢ goes to y[partnerᵢ]
    moved = torch.cdist(x, y)  # (n, m)
    at_y = x.new_zeros(len(y))
    for _ in range(len(y)):
        at_x = at_y[partner] + (x - y[partner]).norm(dim=1)  # (n,)
        at_y = torch.maximum(at_y, (at_x[:, None] - moved).amax(dim=0))  # no pair may be steeper than 1
    return lambda points: (at_y + torch.cdist(points, y)).amin(dim=1)


def mean_over_pairs(k: Tensor) -> Tensor:
    """The mean of kernel matrices (…, n, n) over the pairs of two different points: (…)."""
    different = ~torch.eye(k.shape[-1], dtype=torch.bool)
    return k[..., different].mean(dim=-1)


def _pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Samples of the plane, 60 points each: three pairs that differ in one way each, and one that differs by chance."""
    generator = torch.Generator().manual_seed(16)

    def cloud(spread: float = 0.2) -> Tensor:
        return spread * torch.randn(60, 2, generator=generator, dtype=torch.float64)

    angle = 2 * math.pi * torch.rand(60, generator=generator, dtype=torch.float64)
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    side = torch.where(torch.arange(60) < 30, -1.0, 1.0).double()
    across, along = (torch.stack(it, dim=1) for it in ((side, 0 * side), (0 * side, side)))
    return {
        "a cloud and the same cloud elsewhere": (cloud() + 1, cloud() - torch.tensor([1.0, 0.0])),
        "a ring and its centre": (1.5 * ring + cloud(0.1), cloud(0.1)),
        "two clusters across and two along": (across + cloud(), along + cloud()),
        "two samples of one law": (cloud(1.0), cloud(1.0)),  # where no formula is near W₁
    }


def check_witness(answer: Answer) -> str:
    """On four pairs of samples, the function has no slope above 1 and reaches nine tenths of W₁."""
    for name, (x, y) in _pairs().items():
        f = answer(x.clone(), y.clone())
        if not callable(f):
            raise Wrong(f"expected a function of points, got {type(f).__name__}; end with `return f`")
        generator = torch.Generator().manual_seed(1)
        around = 2.5 * torch.randn(600, 2, generator=generator, dtype=torch.float64)
        near = around + 1e-3 * torch.randn(600, 2, generator=generator, dtype=torch.float64)
        far = 30 * torch.randn(100, 2, generator=generator, dtype=torch.float64)
        places = torch.cat([x, y, around, near, far])
        values = require_result(f(places.clone()), (len(places),), "one value for each point").double()
        few = require_result(f(places[:5].clone()), (5,), "one value for each point").double()
        if (few - values[:5]).abs().max() > 1e-4:
            raise Wrong("the value at a point changes with the other points of the call; f must look at each by itself")
        steepest = _steepest(places, values)
        if steepest > STEEPEST:
            raise Wrong(
                f"for {name}, its values at two points differ by {steepest:.4g} times their distance; wanted at most "
                "1. Which function of slope at most 1 continues the values at y? Try min over j of value + distance"
            )
        gain = (values[: len(x)].mean() - values[len(x) : len(x) + len(y)].mean()).item()
        best = wasserstein(x, y).distance
        if gain <= -REACH * best:
            raise Wrong(
                f"for {name}, the mean of f over y exceeds the mean over x; it should be the other way round. Return −f"
            )
        if gain < REACH * best:
            raise Wrong(
                f"for {name}, the means of f over x and y differ by {gain:.3g}; W₁ is {best:.3g}, wanted at least "
                f"{REACH:.0%} of it. Which points of y do the points of x go to in the best plan, and how fast may f "
                "fall on the way?"
            )
    return f"slope at most 1, and {REACH:.0%} of W₁ or more on four pairs of samples"


def _steepest(places: Tensor, values: Tensor) -> float:
    """The largest |f(a) − f(b)| ÷ ‖a − b‖ over all pairs that are not too close for rounding."""
    distance = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    difference = (values[:, None] - values).abs()
    return (difference / distance.masked_fill(distance < 1e-4, torch.inf)).max().item()


P = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
X = torch.tensor([3.0, -1.0, 0.5, 2.0], dtype=torch.float64)
Y = torch.tensor([0.0, 5.0, 1.0, 1.0], dtype=torch.float64)
K4, K5 = (rbf(2.0)((z[:, None] - z).square()) for z in (X, torch.cat([X, Y[1:2]])))  # (4, 4) and (5, 5)

exercise = Exercises(
    by_cases(
        tv,
        {
            "four outcomes": (P[[0, 2, 1, 3]], Q[[0, 2, 1, 3]]),  # p − q changes sign three times
            "three outcomes": (P[:3], P.new_tensor([0.1, 0.3, 0.6])),
            "no common outcome": (P[[3, 0, 1, 2]], P.new_tensor([1.0, 0, 0, 0])),
        },
    ),
    by_cases(
        w1,
        {
            "samples of one size": (X, Y),
            "more points in x": (torch.cat([X, 2 * Y - 1]), Y),
            "more points in y": (X[:3], torch.cat([Y, X]) + 0.3),
            "numbers below zero": (-X - 4, Y[:2] - 9),
        },
    ),
    Exercise(witness, check_witness),
    by_cases(
        mean_over_pairs,
        {
            "one sample": (K5,),
            "a kernel that is not 1 on the diagonal": (3 * K4,),
            "three samples at once": (torch.stack([K4, K4**2, K4**4]),),
        },
        {"a kernel that is not 1 on the diagonal": "take away the diagonal itself, not n"},
    ),
)
