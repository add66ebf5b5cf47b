"""The exercises on filters accept what is right and say what is wrong."""

import re

import pytest
from torch import nn

from coursekit.exercises.lecture01 import exercise


def field_side(kernels, strides):
    side, jump = 1, 1
    for k, s in zip(kernels, strides, strict=True):
        side, jump = side + (k - 1) * jump, jump * s
    return side


def stride_first(kernels, strides):
    side, jump = 1, 1
    for k, s in zip(kernels, strides, strict=True):
        jump *= s
        side += (k - 1) * jump
    return side


def top_images(maps, k):
    return tuple(part.T for part in maps.amax(dim=(2, 3)).topk(k, dim=0))


def several_from_one_image(maps, k):
    n, c, h, w = maps.shape
    values, places = maps.transpose(0, 1).reshape(c, n * h * w).topk(k, dim=1)
    return values, places // (h * w)


def stack(*layers):
    return lambda: nn.Sequential(*layers)


dilated = stack(*(nn.Conv2d(1, 1, 3, dilation=2**i, bias=False) for i in range(5)))


@pytest.mark.parametrize(
    ("name", "answer", "praise"),
    [
        ("field_side", field_side, "right on one layer"),
        ("top_images", top_images, "an image that holds all the largest values"),
        ("wide_view", dilated, "see 63×63 pixels with 45 weights"),
    ],
)
def test_a_right_answer_is_praised(ask, name, answer, praise):
    assert re.match(f"✓ {name}: .*{praise}", ask(exercise, name, answer))


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("field_side", lambda k, s: sum(k), "wrong on two layers without stride: expected 5, got 6"),
        (
            "field_side",
            lambda k, s: 1 + sum(k) - len(k),
            "wrong on AlexNet's first three windows: expected 51, got 17",
        ),
        ("field_side", stride_first, "wrong on AlexNet's first three windows: expected 51"),
        ("top_images", several_from_one_image, r"wrong on an image that holds all.*value 1: at index \(0, 2\)"),
        ("top_images", lambda m, k: top_images(m, k)[0], "expected 2 values, got Tensor"),
        ("top_images", lambda m, k: top_images(m.abs(), k), "value 1"),
        ("top_images", lambda m, k: tuple(p.T for p in m.amax((2, 3)).topk(k, dim=0)[::-1]), "value 1"),
        (
            "top_images",
            lambda m, k: m.amax((2, 3)).topk(k, dim=0),
            r"(expected 2 values|expected shape \(3, 1\))",
        ),
        ("wide_view", lambda: None, "returns nothing yet"),
        ("wide_view", lambda: 63, "expected a torch module, got int 63"),
        ("wide_view", stack(), "holds no layers"),
        ("wide_view", stack(nn.Conv2d(1, 1, 61)), "see 61×61 pixels, wanted 63×63"),
        ("wide_view", stack(nn.Conv2d(1, 1, 63)), "it has 3970 weights, wanted at most 200"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)), "2 pixels apart; do without stride"),
        ("wide_view", stack(nn.Conv2d(3, 1, 3)), "cannot take images of shape"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3), nn.Flatten()), "'1' has no receptive field"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, answer, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, answer), re.DOTALL)
