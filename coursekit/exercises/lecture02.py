"""Exercises of lecture 2: perplexity, and maps that keep neighbours together."""

import math
from typing import Any

import torch
from torch import Tensor

from coursekit import datasets
from coursekit.exercises.checking import NOTHING_YET, Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.interpret import nearest_neighbours, tsne


def row_perplexity(p: Tensor) -> Tensor:
    """2^H of every row of probabilities, H its entropy in bits: (n, m) → (n,)."""
    return torch.exp(-torch.xlogy(p, p).sum(dim=1))  # the same number from H in nats


def row_precision(squared_distances: Tensor, wanted: float) -> float:
    """β with row_perplexity(softmax(−β squared_distances)) = wanted; squared_distances is (m,), 1 < wanted < m."""

    def too_wide(beta: float) -> bool:
        return row_perplexity(torch.softmax(-beta * squared_distances, dim=0)[None]).item() > wanted

    # The perplexity falls as β grows: double β until it is too low, then bisect.
    low, high = 0.0, 1.0 / squared_distances.mean().item()
    while too_wide(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_wide(middle) else (low, middle)
    return (low + high) / 2


def check_row_precision(answer: Answer) -> str:
    """The answer's β gives the wanted perplexity, however it was found."""
    generator = torch.Generator().manual_seed(0)
    distances = 5 * torch.rand(50, generator=generator, dtype=torch.float64)  # (m,)
    cases = {
        "50 neighbours": (distances, 10.0),
        "near ones": (1e-4 * distances, 30.0),
        "far ones": (1e4 * distances, 2.0),
        # Here exp(−β d) is 0 for every neighbour, unless the smallest distance is subtracted first, as a softmax does.
        "neighbours that are all far away": (1e4 + distances, 10.0),
    }
    for case, (squared, wanted) in cases.items():
        beta = _positive_number(answer(squared.clone(), wanted), case)
        got = row_perplexity(torch.softmax(-beta * squared, dim=0)[None]).item()
        if abs(got / wanted - 1) > 1e-6:
            raise Wrong(
                f"on {case}: β = {beta:.6g} gives the perplexity {got:.7g}, wanted {wanted:g}. A larger β gives a "
                "smaller perplexity; is the bracket wide enough, and are there enough steps?"
            )
    return f"right on {', '.join(cases)}"


def _positive_number(beta: Any, case: str) -> float:
    if beta is None or beta is Ellipsis:
        raise Wrong(NOTHING_YET)
    try:
        number = float(beta)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"on {case}: expected a positive β, got {type(beta).__name__}") from None
    if not (math.isfinite(number) and number > 0):
        raise Wrong(f"on {case}: expected a positive β, got {number:g}")
    return number


def my_embedding(x: Tensor) -> Tensor:
    """A map of the rows of x: (n, 64) → (n, 2)."""
    return tsne(x, perplexity=15, progress=False).embedding


def check_my_embedding(answer: Answer) -> str:
    """In the answer's map of 500 digits, the nearest point is the same digit in at least 93 % of the cases.

    The digits come in a random order, turned by a random rotation of their 64 numbers. This changes no distance between
    them, but their labels cannot be read off from their place in the data or from the nearest known image.
    """
    x, labels = _disguised_digits()
    y = require_result(answer(x.clone()), (len(x), 2), "one point for each digit").float()
    # Where points coincide, a point itself may be the second of its two nearest.
    pair = nearest_neighbours(y, y, k=2).indices  # (n, 2)
    other = torch.where(pair[:, 0] == torch.arange(len(x)), pair[:, 1], pair[:, 0])  # (n,)
    accuracy = (labels[other] == labels).double().mean().item()
    if accuracy < 0.93:
        raise Wrong(
            f"the nearest point is the same digit in {accuracy:.1%} of the cases; wanted 93 %. "
            "Does the map keep neighbours together, or only large distances? (The digits come in a random order, "
            "turned by a random rotation, so that labels learned elsewhere do not help.)"
        )
    return "the nearest point is the same digit in at least 93 % of the cases"


def _disguised_digits() -> tuple[Tensor, Tensor]:
    """500 digits (500, 64), shuffled and rotated in the space of 64 dimensions, and their labels (500,)."""
    data = datasets.digits().train
    generator = torch.Generator().manual_seed(2)
    order = torch.randperm(500, generator=generator)
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q
    return (data.images[order] - 0.5).flatten(1) @ rotation, data.labels[order]


exercise = Exercises(
    by_cases(
        row_perplexity,
        {
            "uniform rows": (torch.full((2, 4), 0.25),),
            "rows with zeros": (torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),),
            "any rows": (torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]),),
            "as many rows as columns": (torch.tensor([[0.1, 0.9], [0.5, 0.5]]),),
        },
    ),
    Exercise(row_precision, check_row_precision),
    Exercise(my_embedding, check_my_embedding),
)
