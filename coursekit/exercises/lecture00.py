"""Exercises of the first notebook."""

from collections.abc import Callable

import torch

from coursekit import datasets
from coursekit.exercises.checking import NOTHING_YET, Exercises, Wrong, against


def _class_means(x: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    one_hot = torch.nn.functional.one_hot(labels, classes).to(x.dtype)  # (n, classes)
    return one_hot.T @ x / one_hot.sum(dim=0)[:, None]


def _nearest_mean(x: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x, means).argmin(dim=1)


def _my_classifier(function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]) -> str:
    data = datasets.digits()
    x, unseen = data.train.images.flatten(1), data.test.images.flatten(1)
    found = function(x, data.train.labels, unseen)
    if found is None:
        raise Wrong(NOTHING_YET)
    found = torch.as_tensor(found)
    if found.shape != (len(unseen),):
        raise Wrong(f"expected one label a picture, shape ({len(unseen)},), got shape {tuple(found.shape)}")
    accuracy = (found == data.test.labels).double().mean().item()
    if accuracy < 0.96:
        raise Wrong(
            f"{accuracy:.1%} of the unseen digits right; wanted at least 96 %. Do nearby pictures share their label?"
        )
    return "at least 96 % of the unseen digits right"


_x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -4.0], [5.0, 1.0]])
_means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, -3.0]])

exercise = Exercises(
    class_means=against(
        _class_means,
        {
            "two classes": (_x, torch.tensor([0, 0, 1, 1]), 2),
            "labels in any order": (_x, torch.tensor([2, 0, 1, 0]), 3),
        },
    ),
    nearest_mean=against(
        _nearest_mean,
        {
            "four points and three means": (_x, _means),
            "means of unequal length": (torch.tensor([[6.0, 0.0]]), _means),
        },
    ),
    my_classifier=_my_classifier,
)
