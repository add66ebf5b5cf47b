"""The exercises on nearest means accept what is right in any form, and say what is wrong."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.svm import SVC

from coursekit import datasets
from coursekit.exercises.lecture00 import exercise

# --- right answers, of other forms than the course's own


def means(x, labels, classes):
    return torch.stack([x[labels == c].mean(dim=0) for c in range(classes)])


def means_by_loops(x, labels, classes):
    sums, counts = [[0.0] * x.shape[1] for _ in range(classes)], [0] * classes
    for row, label in zip(x.tolist(), labels.tolist(), strict=True):
        counts[label] += 1
        sums[label] = [a + b for a, b in zip(sums[label], row, strict=True)]
    return torch.tensor([[a / count for a in row] for row, count in zip(sums, counts, strict=True)])


def means_by_index(x, labels, classes):
    sums = torch.zeros(classes, x.shape[1]).index_add(0, labels, x)
    return sums / torch.bincount(labels, minlength=classes)[:, None]


def means_by_scatter(x, labels, classes):
    index = labels[:, None].expand_as(x)
    return torch.zeros(classes, x.shape[1]).scatter_reduce(0, index, x, "mean", include_self=False)


def means_by_one_hot(x, labels, classes):
    weights = F.one_hot(labels, classes).double()
    return (weights / weights.sum(dim=0)).T @ x.double()


def means_in_numpy(x, labels, classes):
    return np.stack([x.numpy()[labels.numpy() == c].mean(axis=0) for c in range(classes)])


def nearest(x, means):
    return (means.square().sum(dim=1) - 2 * x @ means.T).argmin(dim=1)


def nearest_by_loops(x, means):
    return torch.tensor([min(range(len(means)), key=lambda c: (row - means[c]).norm().item()) for row in x])


def nearest_of_unsquared(x, means):
    return (x[:, None] - means).norm(dim=2).argmin(dim=1)


def nearest_of_squared(x, means):
    return (x[:, None] - means).square().sum(dim=2).min(dim=1).indices


def nearest_in_numpy(x, means):
    return ((x.numpy()[:, None] - means.numpy()) ** 2).sum(axis=2).argmin(axis=1)


def one_neighbour(x, labels, unseen):
    return labels[torch.cdist(unseen, x).argmin(dim=1)]


def support_vectors(x, labels, unseen):
    return SVC().fit(x.numpy(), labels.numpy()).predict(unseen.numpy())


RIGHT_MEANS = (means, means_by_loops, means_by_index, means_by_scatter, means_by_one_hot, means_in_numpy)
RIGHT_NEAREST = (nearest, nearest_by_loops, nearest_of_unsquared, nearest_of_squared, nearest_in_numpy)


@pytest.mark.parametrize("answer", RIGHT_MEANS)
def test_means_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "class_means", answer).startswith("✓ class_means: right on two classes, ")


@pytest.mark.parametrize("answer", RIGHT_NEAREST)
def test_the_nearest_mean_is_accepted_in_any_form(ask, answer):
    praise = "right on four points and three means, means of unequal length, points beside the midpoint"
    assert ask(exercise, "nearest_mean", answer) == f"✓ nearest_mean: {praise}"


@pytest.mark.parametrize(
    "answer", [one_neighbour, lambda *data: one_neighbour(*data).tolist(), support_vectors], ids=["1", "list", "SVC"]
)
def test_any_good_classifier_is_accepted(ask, answer):
    assert ask(exercise, "my_classifier", answer) == "✓ my_classifier: at least 96 % of the unseen digits right"


# --- plausible wrong answers


def by_class(reduce):
    return lambda x, labels, classes: torch.stack([reduce(x[labels == c]) for c in range(classes)])


WRONG_MEANS = {
    "median": by_class(lambda rows: rows.median(dim=0).values),
    "median between two": by_class(lambda rows: rows.quantile(0.5, dim=0)),
    "midrange": by_class(lambda rows: (rows.amin(dim=0) + rows.amax(dim=0)) / 2),
    "sum": by_class(lambda rows: rows.sum(dim=0)),
    "n - 1": by_class(lambda rows: rows.sum(dim=0) / (len(rows) - 1)),
    "n of all": lambda x, y, c: by_class(lambda rows: rows.sum(dim=0))(x, y, c) / len(x),
    "one mean of all coordinates": by_class(lambda rows: rows.mean().expand(2)),
    "the first of each class": by_class(lambda rows: rows[0]),
    "labels as an index": lambda x, y, c: torch.stack([x[y][k::c].mean(dim=0) for k in range(c)]),
    "every c-th row": lambda x, y, c: torch.stack([x[k::c].mean(dim=0) for k in range(c)]),
}


@pytest.mark.parametrize("answer", WRONG_MEANS.values(), ids=WRONG_MEANS)
def test_what_is_not_the_mean_is_wrong_on_the_first_case(ask, answer):
    assert "class_means is open: wrong on two classes: " in ask(exercise, "class_means", answer)


WRONG_NEAREST = {
    "L1": lambda x, m: torch.cdist(x, m, p=1).argmin(dim=1),
    "largest coordinate": lambda x, m: torch.cdist(x, m, p=torch.inf).argmin(dim=1),
    "farthest": lambda x, m: torch.cdist(x, m).argmax(dim=1),
    "dot product": lambda x, m: (x @ m.T).argmax(dim=1),
    "cosine": lambda x, m: F.cosine_similarity(x[:, None], m, dim=2).argmax(dim=1),
    "half of the dot product": lambda x, m: (m.square().sum(dim=1) - x @ m.T).argmin(dim=1),
    "signed differences": lambda x, m: (x[:, None] - m).sum(dim=2).argmin(dim=1),
    "first coordinate": lambda x, m: torch.cdist(x[:, :1], m[:, :1]).argmin(dim=1),
    "nearest point to each mean": lambda x, m: torch.cdist(x, m).argmin(dim=0),
    "the distances": lambda x, m: torch.cdist(x, m).amin(dim=1),
    "the means": lambda x, m: m[torch.cdist(x, m).argmin(dim=1)],
    "counted from 1": lambda x, m: torch.cdist(x, m).argmin(dim=1) + 1,
}


@pytest.mark.parametrize("answer", WRONG_NEAREST.values(), ids=WRONG_NEAREST)
def test_what_is_not_the_nearest_is_wrong_on_the_first_case(ask, answer):
    said = ask(exercise, "nearest_mean", answer)
    assert "nearest_mean is open: wrong on four points and three means: " in said


WRONG_WEIGHTS = {  # of the two terms of x·m − ½‖m‖²
    "mean for sum": lambda x, m: (x @ m.T - m.square().mean(dim=1) / 2).argmax(dim=1),
    "three quarters": lambda x, m: (x @ m.T - 0.75 * m.square().sum(dim=1)).argmax(dim=1),
    "a third": lambda x, m: (x @ m.T - m.square().sum(dim=1) / 3).argmax(dim=1),
    "four products": lambda x, m: (4 * x @ m.T - m.square().sum(dim=1)).argmax(dim=1),
}


@pytest.mark.parametrize("answer", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_only_half_of_the_squared_length_puts_the_border_in_the_middle(ask, answer):
    said = ask(exercise, "nearest_mean", answer)
    assert said.startswith(
        "○ nearest_mean is open: right on four points and three means, means of unequal length; wrong on "
    )


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("class_means", lambda x, y, c: x.view(c, -1, 2).mean(dim=1), "right on two classes; on labels in any order"),
        ("my_classifier", lambda x, y, t: None, "returns nothing yet"),
        ("my_classifier", lambda x, y, t: y[:5], r"for each image, shape \(360,\), got Tensor of shape \(5,\)"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, answer, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, answer))


# --- classifiers that do not learn


def look_up(x, labels, unseen):
    """The label of the nearest of all digits that come with the course, the test digits among them."""
    data = datasets.digits()
    images = torch.cat([data.train.images, data.test.images]).flatten(1)
    return torch.cat([data.train.labels, data.test.labels])[torch.cdist(unseen, images).argmin(dim=1)]


POOR_CLASSIFIERS = {
    "always 0": lambda x, y, t: torch.zeros(len(t)),
    "the test labels": lambda x, y, t: datasets.digits().test.labels,
    "looked up": look_up,
    "index of the neighbour": lambda x, y, t: torch.cdist(t, x).argmin(dim=1),
    "nearest mean": lambda x, y, t: nearest(t, means(x, y, 10)),
    "dot product": lambda x, y, t: y[(t @ x.T).argmax(dim=1)],
    "farthest": lambda x, y, t: y[torch.cdist(t, x).argmax(dim=1)],
}


@pytest.mark.parametrize("answer", POOR_CLASSIFIERS.values(), ids=POOR_CLASSIFIERS)
def test_who_has_not_learned_misses_the_bound(ask, answer):
    said = ask(exercise, "my_classifier", answer)
    assert re.match(r"○ my_classifier is open: \d+\.\d% of the unseen digits right; wanted at least 96 %", said)


def test_the_data_of_the_check_cannot_be_spoiled(ask):
    def spoil(x, labels, unseen):
        for given in (x, labels, unseen):
            given.zero_()
        return torch.zeros(len(unseen))

    ask(exercise, "my_classifier", spoil)
    assert ask(exercise, "my_classifier", one_neighbour).startswith("✓")


def test_an_unwritten_open_exercise_is_open(ask):
    def unwritten(x, labels, unseen):
        raise NotImplementedError

    assert ask(exercise, "my_classifier", unwritten) == "○ my_classifier is open: not written yet"


def test_a_classifier_that_changes_its_arguments_is_refused(ask):
    def spoils_them(x, labels, unseen):
        answer = one_neighbour(x.clone(), labels, unseen)
        x.zero_()
        return answer

    assert "changes its arguments in place" in ask(exercise, "my_classifier", spoils_them)


def test_means_that_hold_in_two_dimensions_only_are_refused(ask):
    def two_columns(x, labels, classes):
        total = torch.zeros(classes, 2)
        return total.index_add(0, labels, x[:, :2].float()) / torch.bincount(labels, minlength=classes)[:, None]

    assert "three dimensions" in ask(exercise, "class_means", two_columns)
