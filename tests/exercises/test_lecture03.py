"""The exercises on what made a net decide accept what is right and tell what is wrong."""

import pytest
import torch

from coursekit.exercises.checking import ExerciseOpen
from coursekit.exercises.lecture03 import exercise
from coursekit.interpret import input_gradient, saliency


def ask(name, function):
    function.__name__ = name
    exercise(function)


def drops(score, image, window):
    _, h, w = image.shape
    result = torch.empty(h // window, w // window)
    for i in range(0, h, window):
        for j in range(0, w, window):
            covered = image.clone()
            covered[:, i : i + window, j : j + window] = 0
            result[i // window, j // window] = score(image[None])[0] - score(covered[None])[0]
    return result


def rules(f, r, rule):
    return {"gradient": r * (f > 0), "deconvnet": r.clamp(min=0), "guided": r.clamp(min=0) * (f > 0)}[rule]


def test_the_right_answers_are_accepted(capsys):
    ask("relu_backward", rules)
    ask("occlusion_drops", drops)
    ask("my_saliency", lambda net, images, labels: (input_gradient(net, images, labels) * images).sum(dim=1))
    said = capsys.readouterr().out
    assert said.count("✓") == 3
    assert "it points at the shape itself in at least 85 %" in said


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("relu_backward", lambda f, r, rule: r * (f > 0), "deconvnet"),  # the slides' rule
        ("occlusion_drops", lambda score, image, window: -drops(score, image, window), "a linear score"),
        ("my_saliency", lambda net, images, labels: saliency(net, images, labels), r"wanted at least 85 %"),
        (
            "my_saliency",
            lambda net, images, labels: images,
            r"expected one map for each picture, shape \(100, 32, 32\)",
        ),
        ("my_saliency", lambda net, images, labels: 3, "got a int"),
        ("my_saliency", lambda net, images, labels: images[:, 0] * torch.nan, "NaN or infinite"),
    ],
)
def test_wrong_answers_are_told(name, function, message):
    with pytest.raises(ExerciseOpen, match=message):
        ask(name, function)
