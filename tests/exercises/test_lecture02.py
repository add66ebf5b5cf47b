"""The exercises on neighbours and t-SNE accept what is right and say what is wrong."""

import math
import re

import pytest
import torch

from coursekit.exercises.lecture02 import exercise
from coursekit.interpret import tsne


def perplexity(p):
    return 2 ** -(torch.xlogy(p, p).sum(dim=1) / math.log(2))


def precision(squared, wanted):
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        wide = perplexity(torch.softmax(-middle * squared, dim=0)[None]).item() > wanted
        low, high = (middle, high) if wide else (low, middle)
    return middle


def principal_components(x):
    centred = x - x.mean(dim=0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


@pytest.mark.parametrize(
    ("name", "function", "praise"),
    [
        ("row_perplexity", perplexity, "right on uniform rows, rows with zeros"),
        ("row_precision", precision, "right on 50 neighbours, near ones, far ones"),
        ("my_embedding", lambda x: tsne(x, perplexity=15, progress=False).embedding, "in at least 93 % of the cases"),
    ],
)
def test_a_right_answer_is_praised(ask, name, function, praise):
    assert re.match(f"✓ {name}: .*{praise}", ask(exercise, name, function))


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("row_perplexity", lambda p: None, "returns nothing yet"),
        (
            "row_perplexity",
            lambda p: 2 ** -(p * p.log2()).sum(dim=1),
            "right on uniform rows; wrong on rows with",
        ),
        ("row_perplexity", lambda p: -(p.log2() * p).sum(dim=1), "wrong on uniform rows.*expected 4, got 2"),
        ("row_precision", lambda d, k: None, "returns nothing yet"),
        ("row_precision", lambda d, k: "one", "on 50 neighbours: expected a positive β, got str"),
        ("row_precision", lambda d, k: -1.0, "on 50 neighbours: expected a positive β, got -1"),
        ("row_precision", lambda d, k: 1 / d.mean(), "on 50 neighbours: β = .* wanted 10. A larger β gives a smaller"),
        ("my_embedding", lambda x: None, "returns nothing yet"),
        ("my_embedding", lambda x: x, r"expected one point for each digit, shape \(500, 2\), got .*\(500, 64\)"),
        ("my_embedding", lambda x: x[:, :2] * torch.nan, "NaN or infinite"),
        ("my_embedding", principal_components, "wanted 93 %. Does the map keep neighbours together"),
        ("my_embedding", lambda x: torch.zeros(500, 2), "wanted 93 %"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, function, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, function))
