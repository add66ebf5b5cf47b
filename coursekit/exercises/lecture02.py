"""Exercises of the lecture on neighbours and t-SNE."""

import math
from collections.abc import Callable

import torch

from coursekit import datasets
from coursekit.exercises.checking import NOTHING_YET, Exercises, Wrong, against
from coursekit.interpret import nearest_neighbours


def _perplexity(p: torch.Tensor) -> torch.Tensor:
    return torch.exp(-torch.xlogy(p, p).sum(dim=1))


def _precision(function: Callable[[torch.Tensor, float], float]) -> str:
    """The student's β must give the wanted perplexity, however it was found."""
    generator = torch.Generator().manual_seed(0)
    distances = 5 * torch.rand(50, generator=generator, dtype=torch.float64)
    cases = {
        "50 neighbours": (distances, 10.0),
        "near ones": (1e-4 * distances, 30.0),
        "far ones": (1e4 * distances, 2.0),
    }
    for case, (squared, wanted) in cases.items():
        beta = function(squared.clone(), wanted)
        if beta is None:
            raise Wrong(NOTHING_YET)
        beta = float(beta)
        if not (math.isfinite(beta) and beta > 0):
            raise Wrong(f"on {case}: expected a positive β, got {beta}")
        got = _perplexity(torch.softmax(-beta * squared, dim=0)[None]).item()
        if abs(got / wanted - 1) > 1e-6:
            raise Wrong(
                f"on {case}: β = {beta:.6g} gives the perplexity {got:.7g}, wanted {wanted:g}. A larger β gives a "
                "smaller perplexity; is the bracket wide enough, and are there steps enough?"
            )
    return f"right on {', '.join(cases)}"


def _my_embedding(function: Callable[[torch.Tensor], torch.Tensor]) -> str:
    digits = datasets.digits().train[:500]
    x, labels = digits.images.flatten(1), digits.labels
    found = function(x.clone())
    if found is None:
        raise Wrong(NOTHING_YET)
    y = torch.as_tensor(found).detach().float()
    if y.shape != (500, 2):
        raise Wrong(f"expected a map of shape (500, 2), got {tuple(y.shape)}")
    if not y.isfinite().all():
        raise Wrong("the map holds NaN or infinite numbers")
    pair = nearest_neighbours(y, y, k=2).indices  # the point itself and another, in any order if they coincide
    other = torch.where(pair[:, 0] == torch.arange(500), pair[:, 1], pair[:, 0])
    accuracy = (labels[other] == labels).double().mean().item()
    if accuracy < 0.93:
        raise Wrong(
            f"the nearest point is the same digit in {accuracy:.1%} of the cases; wanted 93 %. "
            "Does the map keep neighbours together, or only large distances?"
        )
    return "the nearest point is the same digit in at least 93 % of the cases"


exercise = Exercises(
    row_perplexity=against(
        _perplexity,
        {
            "uniform rows": (torch.full((2, 4), 0.25),),
            "rows with zeros": (torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),),
            "any rows": (torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]),),
        },
    ),
    row_precision=_precision,
    my_embedding=_my_embedding,
)
