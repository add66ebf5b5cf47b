"""The exercises on nearest means accept what is right and say what is wrong."""

import re

import pytest
import torch

from coursekit.exercises.lecture00 import exercise


def means(x, labels, classes):
    return torch.stack([x[labels == c].mean(dim=0) for c in range(classes)])


def nearest(x, means):
    return (means.square().sum(dim=1) - 2 * x @ means.T).argmin(dim=1)


def one_neighbour(x, labels, unseen):
    return labels[torch.cdist(unseen, x).argmin(dim=1)]


@pytest.mark.parametrize(
    ("name", "answer", "praise"),
    [
        ("class_means", means, "right on two classes, labels in any order"),
        ("nearest_mean", nearest, "right on four points and three means, means of unequal length"),
        ("my_classifier", one_neighbour, "at least 96 % of the unseen digits right"),
        ("my_classifier", lambda *data: one_neighbour(*data).numpy(), "at least 96 % of the unseen digits right"),
    ],
)
def test_a_right_answer_is_praised(ask, name, answer, praise):
    assert ask(exercise, name, answer) == f"✓ {name}: {praise}"


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("class_means", lambda x, y, c: means(x, y, c) * c, "wrong on two classes"),
        ("class_means", lambda x, y, c: x.view(c, -1, 2).mean(dim=1), "right on two classes; on labels in any order"),
        ("nearest_mean", lambda x, m: (x @ m.T).argmax(dim=1), "wrong on four points and three means"),
        ("my_classifier", lambda x, y, t: None, "returns nothing yet"),
        (
            "my_classifier",
            lambda x, y, t: y[:5],
            r"for each image, shape \(360,\), got Tensor of shape \(5,\)",
        ),
        ("my_classifier", lambda x, y, t: torch.zeros(len(t)), "of the unseen digits right; wanted at least 96 %"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, answer, message):
    assert re.match(f"✗ {name}: .*{message}", ask(exercise, name, answer))


def test_an_unwritten_open_exercise_is_open(ask):
    def unwritten(x, labels, unseen):
        raise NotImplementedError

    assert ask(exercise, "my_classifier", unwritten) == "✗ my_classifier: not written yet"
