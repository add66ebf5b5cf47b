"""Exercises of lecture 0: nearest means, and a classifier without a net."""

import torch
from torch import Tensor

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

POINTS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -4.0], [5.0, 1.0]])
MEANS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, -3.0]])


def class_means(x: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean of the rows of x (n, d) with each label 0 … classes − 1: (classes, d)."""
    one_hot = torch.nn.functional.one_hot(labels, classes).to(x.dtype)  # (n, classes)
    return one_hot.T @ x / one_hot.sum(dim=0)[:, None]


def nearest_mean(x: Tensor, means: Tensor) -> Tensor:
    """For every row of x (n, d) the index of the nearest row of means (c, d): (n,)."""
    return torch.cdist(x, means).argmin(dim=1)


def my_classifier(x: Tensor, labels: Tensor, unseen: Tensor) -> Tensor:
    """Labels (m,) for the unseen images (m, 64), learned from x (n, 64) with labels (n,): three neighbours vote."""
    nearest = torch.cdist(unseen, x).topk(3, dim=1, largest=False).indices  # (m, 3)
    return labels[nearest].mode(dim=1).values


def check_my_classifier(answer: Answer) -> str:
    """The answer labels at least 96 % of the test digits correctly."""
    data = datasets.digits()
    x, unseen = data.train.images.flatten(1), data.test.images.flatten(1)  # (n, 64), (m, 64)
    found = require_result(answer(x, data.train.labels, unseen), (len(unseen),), "one label for each image")
    accuracy = (found == data.test.labels).double().mean().item()
    if accuracy < 0.96:
        raise Wrong(
            f"{accuracy:.1%} of the unseen digits right; wanted at least 96 %. Do nearby images share their label?"
        )
    return "at least 96 % of the unseen digits right"


exercise = Exercises(
    by_cases(
        class_means,
        {
            "two classes": (POINTS, torch.tensor([0, 0, 1, 1]), 2),
            "labels in any order": (POINTS, torch.tensor([2, 0, 1, 0]), 3),
        },
    ),
    by_cases(
        nearest_mean,
        {
            "four points and three means": (POINTS, MEANS),
            "means of unequal length": (torch.tensor([[6.0, 0.0]]), MEANS),
        },
    ),
    Exercise(my_classifier, check_my_classifier),
)
