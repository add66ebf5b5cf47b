"""The exercises on what made a net decide accept what is right and say what is wrong."""

import re

import pytest
import torch

from coursekit.exercises.lecture03 import exercise
from coursekit.interpret import input_gradient, saliency


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


@pytest.mark.parametrize(
    ("name", "answer", "praise"),
    [
        ("relu_backward", rules, "right on gradient, deconvnet, guided"),
        ("occlusion_drops", drops, "right on a linear score"),
        (
            "my_saliency",
            lambda net, images, labels: (input_gradient(net, images, labels) * images).sum(dim=1),
            "it points at the shape itself in at least 85 %",
        ),
    ],
)
def test_a_right_answer_is_praised(ask, name, answer, praise):
    assert ask(exercise, name, answer).startswith(f"✓ {name}: {praise}")


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("relu_backward", lambda f, r, rule: r * (f > 0), "deconvnet"),  # the slides' rule
        ("occlusion_drops", lambda score, image, window: -drops(score, image, window), "a linear score"),
        ("my_saliency", lambda net, images, labels: saliency(net, images, labels), r"wanted at least 85 %"),
        (
            "my_saliency",
            lambda net, images, labels: images,
            r"expected one map for each image, shape \(100, 32, 32\), got .*\(100, 3, 32, 32\)",
        ),
        ("my_saliency", lambda net, images, labels: 3, "got int 3"),
        ("my_saliency", lambda net, images, labels: images[:, 0] * torch.nan, "NaN or infinite"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, function, message):
    assert re.match(f"✗ {name}: .*{message}", ask(exercise, name, function))


def test_the_students_function_may_spoil_its_copy_of_the_net(ask):
    def spoil(net, images, labels):
        for p in net.parameters():
            p.data.zero_()
        return images[:, 0]

    ask(exercise, "my_saliency", spoil)
    solution = exercise.by_name["my_saliency"].solution
    assert ask(exercise, "my_saliency", solution).startswith("✓")
