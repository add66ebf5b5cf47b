"""Exercises of lecture 0: nearest means, and a classifier without a net."""

import torch
from torch import Tensor

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

# In both cases below, mean, median and midrange of a class differ.
POINTS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -4.0], [7.0, 8.0], [5.0, 1.0], [6.0, 2.0], [5.0, 9.0], [0.0, 1.0]])
# From the origin the nearest mean is (4, 1), by the sum of the coordinates (4.5, 0), by the largest one (3, 3).
QUERIES = torch.tensor([[0.0, 0.0], [5.0, 0.0], [2.0, 4.0], [0.0, -4.0]])
SOLID = torch.arange(15.0).view(5, 3) ** 2 / 3
MEANS = torch.tensor([[3.0, 3.0], [4.5, 0.0], [4.0, 1.0]])


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
    """The answer labels at least 96 % of 360 digits correctly that it has not seen."""
    # So that no label can be looked up, the digits are split anew, lie on their side, and have other numbers.
    data = datasets.digits()
    generator = torch.Generator().manual_seed(0)
    images = torch.cat([data.train.images, data.test.images]).rot90(dims=(2, 3)).flatten(1)  # (n, 64)
    labels = torch.randperm(10, generator=generator)[torch.cat([data.train.labels, data.test.labels])]  # (n,)
    unseen, seen = torch.randperm(len(images), generator=generator).split([360, len(images) - 360])

    given = images[seen], labels[seen], images[unseen]
    kept = [it.clone() for it in given]
    found = answer(*given)
    if not all(map(torch.equal, given, kept)):
        raise Wrong("it changes its arguments in place; make copies instead")
    found = require_result(found, (len(unseen),), "one label for each image")
    accuracy = (found == labels[unseen]).double().mean().item()
    if accuracy < 0.96:
        raise Wrong(
            f"{accuracy:.1%} of the unseen digits right; wanted at least 96 %. Plain distance to one mean per class is "
            "too coarse: compare with several examples, or with their neighbours"
        )
    return "at least 96 % of the unseen digits right"


exercise = Exercises(
    by_cases(
        class_means,
        {
            "two classes": (POINTS, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2),
            "labels in any order": (POINTS, torch.tensor([2, 0, 1, 0, 0, 1, 2, 2]), 3),
            "three dimensions": (SOLID, torch.tensor([1, 0, 1, 1, 0]), 2),
        },
    ),
    by_cases(
        nearest_mean,
        {
            "four points and three means": (QUERIES, MEANS),
            "means of unequal length": (
                torch.tensor([[2.0, 0.0]]),
                torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, -3.0]]),
            ),
            "points beside the midpoint": (
                torch.tensor([[0.9, 0.0], [1.1, 0.0]]),
                torch.tensor([[0.0, 0.0], [2.0, 0.0]]),
            ),
        },
    ),
    Exercise(my_classifier, check_my_classifier),
)
