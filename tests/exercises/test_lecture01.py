"""The checks of the lecture on filters accept right answers and say what differs in wrong ones."""

import pytest
from torch import nn

from coursekit.exercises.checking import ExerciseOpen
from coursekit.exercises.lecture01 import exercise


def named(name, function):
    function.__name__ = name
    return function


def solved(name, function, capsys):
    exercise(named(name, function))
    return capsys.readouterr().out


def refused(name, function, message):
    with pytest.raises(ExerciseOpen, match=message):
        exercise(named(name, function))


def field_side(kernels, strides):
    side, jump = 1, 1
    for k, s in zip(kernels, strides, strict=True):
        side, jump = side + (k - 1) * jump, jump * s
    return side


def test_the_side_of_the_field(capsys):
    assert "✓ field_side: right on one layer" in solved("field_side", field_side, capsys)

    def stride_first(kernels, strides):
        side, jump = 1, 1
        for k, s in zip(kernels, strides, strict=True):
            jump *= s
            side += (k - 1) * jump
        return side

    refused("field_side", lambda k, s: sum(k), "wrong on two layers without stride: expected 5, got 6")
    refused(
        "field_side", lambda k, s: 1 + sum(k) - len(k), "wrong on AlexNet's first three windows: expected 51, got 17"
    )
    refused("field_side", stride_first, "wrong on AlexNet's first three windows: expected 51")


def test_the_images_of_the_largest_activations(capsys):
    def right(maps, k):
        return tuple(part.T for part in maps.amax(dim=(2, 3)).topk(k, dim=0))

    def several_from_one_image(maps, k):
        n, c, h, w = maps.shape
        values, places = maps.transpose(0, 1).reshape(c, n * h * w).topk(k, dim=1)
        return values, places // (h * w)

    assert "an image that holds all the largest values" in solved("top_images", right, capsys)
    refused("top_images", several_from_one_image, r"wrong on an image that holds all.*value 1: at index \(0, 2\)")
    refused("top_images", lambda m, k: right(m, k)[0], "expected 2 values, got a Tensor")
    refused("top_images", lambda m, k: right(m.abs(), k), "value 1")
    refused("top_images", lambda m, k: tuple(p.T for p in m.amax((2, 3)).topk(k, dim=0)[::-1]), "value 1")
    refused("top_images", lambda m, k: m.amax((2, 3)).topk(k, dim=0), r"expected 2 values|expected shape \(3, 1\)")


def stack(*layers):
    return lambda: nn.Sequential(*layers)


def test_a_wide_view(capsys):
    dilated = [nn.Conv2d(1, 1, 3, dilation=2**i, bias=False) for i in range(5)]
    assert "see 63×63 pixels with 45 weights" in solved("wide_view", stack(*dilated), capsys)
    refused("wide_view", lambda: None, "expected a torch module, got NoneType")
    refused("wide_view", stack(), "holds no layers")
    refused("wide_view", stack(nn.Conv2d(1, 1, 61)), "see 61×61 pixels, wanted 63×63")
    refused("wide_view", stack(nn.Conv2d(1, 1, 63)), "it has 3970 weights, wanted at most 200")
    refused("wide_view", stack(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)), "2 pixels apart; do without stride")
    refused("wide_view", stack(nn.Conv2d(3, 1, 3)), "cannot take images of shape")
    refused("wide_view", stack(nn.Conv2d(1, 1, 3), nn.Flatten()), "'1' has no receptive field")
