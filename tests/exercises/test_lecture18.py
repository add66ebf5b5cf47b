"""The exercises on Wasserstein autoencoders accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch

from coursekit import distances
from coursekit.exercises.lecture18 import choose_weight, exercise

# --- the kernel

RIGHT_KERNELS = {
    "the package": lambda squared, k, sigma: distances.imq(2 * k * sigma**2)(squared),
    "divided": lambda squared, k, sigma: 1 / (1 + squared / (2 * k * sigma**2)),
    "NumPy": lambda squared, k, sigma: 1 / (1 + squared.numpy() / (2 * k * sigma**2)),
}


@pytest.mark.parametrize("answer", RIGHT_KERNELS.values(), ids=RIGHT_KERNELS)
def test_kernel_in_any_form(ask, answer):
    assert ask(exercise, "imq", answer).startswith("✓ imq: right on eight dimensions, two dimensions, a wide prior")


WRONG_KERNELS = {
    "no σ²": (lambda squared, k, sigma: 2 * k / (2 * k + squared), "two dimensions; wrong on a wide prior"),
    "σ for σ²": (lambda squared, k, sigma: 2 * k * sigma / (2 * k * sigma + squared), "wrong on a wide prior"),
    "no dimensions": (lambda squared, k, sigma: sigma**2 / (sigma**2 + squared), "wrong on eight dimensions"),
    "the distance": (lambda squared, k, sigma: 2 * k * sigma**2 / (2 * k * sigma**2 + squared.sqrt()), "wrong on"),
    "not 1 at 0": (lambda squared, k, sigma: 1 / (2 * k * sigma**2 + squared), "wrong on eight dimensions"),
    "its root": (lambda squared, k, sigma: (1 + squared / (2 * k * sigma**2)) ** -0.5, "wrong on eight dimensions"),
    "nothing": (lambda squared, k, sigma: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_KERNELS.values(), ids=WRONG_KERNELS)
def test_a_wrong_kernel_is_open(ask, answer, message):
    assert message in ask(exercise, "imq", answer)


# --- MMD²


def by_loops(x, y, kernel):
    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum(kernel((a[i] - b[j]).square().sum()) for i, j in pairs) / len(pairs)

    return mean(x, x, True) - 2 * mean(x, y, False) + mean(y, y, True)


RIGHT_MMD = {
    "the package": distances.mmd2,
    "loops": by_loops,
    "a number": lambda x, y, kernel: distances.mmd2(x, y, kernel).item(),
    "NumPy": lambda x, y, kernel: np.float64(distances.mmd2(x, y, kernel)),
}


@pytest.mark.parametrize("answer", RIGHT_MMD.values(), ids=RIGHT_MMD)
def test_mmd_in_any_form(ask, answer):
    assert ask(exercise, "mmd2", answer) == "✓ mmd2: right on unequal sizes, more draws, near samples"


def with_distances(x, y, kernel):
    return distances.mmd2(x, y, lambda squared: kernel(squared.sqrt()))


WRONG_MMD = {
    "diagonal kept": (lambda x, y, kernel: distances.mmd2(x, y, kernel, unbiased=False), "wrong on unequal sizes"),
    "clipped at 0": (
        lambda x, y, kernel: distances.mmd2(x, y, kernel).clamp(min=0),
        "right on unequal sizes, more draws; wrong on near samples",
    ),
    "its root": (lambda x, y, kernel: distances.mmd2(x, y, kernel).clamp(min=0).sqrt(), "wrong on unequal sizes"),
    "distances not squared": (with_distances, "wrong on unequal sizes"),
    "one mean between": (
        lambda x, y, kernel: distances.mmd2(x, y, kernel) + kernel(torch.cdist(x, y).square()).mean(),
        "wrong on unequal sizes",
    ),
    "nothing": (lambda x, y, kernel: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MMD.values(), ids=WRONG_MMD)
def test_a_wrong_mmd_is_open(ask, answer, message):
    assert message in ask(exercise, "mmd2", answer)


# --- the weight


def five_errors(train):
    return 100 * train(0.0)[0]


@pytest.mark.parametrize("answer", [lambda train: choose_weight(train), five_errors])
def test_weights_of_any_rule(ask, answer):
    assert ask(exercise, "choose_weight", answer).startswith("✓ choose_weight: MMD² at most 0.01")


WRONG_WEIGHTS = {
    "none": (lambda train: 0.0, "Raise λ"),
    "collapse": (lambda train: 1e6, "lower λ"),
    "the λ of a paper": (lambda train: 10.0, "in a unit thirty times as small"),
    "negative": (lambda train: -1.0, "expected a number λ ≥ 0, got -1.0"),
    "infinite": (lambda train: math.inf, "expected a number λ ≥ 0, got inf"),
    "a text": (lambda train: "10", "expected a number λ ≥ 0, got '10'"),
    "nothing": (lambda train: None, "expected a number λ ≥ 0, got None"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_wrong_weight_is_open(ask, answer, message):
    assert message in ask(exercise, "choose_weight", answer)
