"""The exercises on filters accept what is right and say what is wrong."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.exercises.lecture01 import exercise


def soft_threshold(u, t):
    return torch.relu(u - t) - torch.relu(-u - t)


def by_places(u, t):
    z = torch.zeros_like(u)
    z[u > t] = u[u > t] - t
    z[u < -t] = u[u < -t] + t
    return z


def in_float32(u, t):
    z = torch.zeros(u.shape)
    z[u > t] = u[u > t] - t
    z[u < -t] = u[u < -t] + t
    return z


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


def top_images_in_numpy(maps, k):
    best = maps.numpy().max(axis=(2, 3)).T
    images = np.argsort(-best, axis=1)[:, :k]
    return np.take_along_axis(best, images, axis=1), images


def several_from_one_image(maps, k):
    n, c, h, w = maps.shape
    values, places = maps.transpose(0, 1).reshape(c, n * h * w).topk(k, dim=1)
    return values, places // (h * w)


def stack(*layers):
    return lambda: nn.Sequential(*layers)


dilated = stack(*(nn.Conv2d(1, 1, 3, dilation=2**i, bias=False) for i in range(5)))

pairs = stack(*(nn.Conv2d(1, 1, 2, dilation=d, bias=False) for d in (1, 2, 4, 8, 16, 31)))


def one_pair():
    return nn.Sequential(*[nn.Conv2d(1, 1, 2, bias=False)] * 62)


class OneFilter(nn.Module):
    """One 3×3 filter, used 31 times; the module holds no layers."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.randn(1, 1, 3, 3))

    def forward(self, x):
        for _ in range(31):
            x = F.conv2d(x, self.filter).relu()
        return x


class Shortcuts(nn.Module):
    """Each convolution adds to what it gets; the layers are registered in another order than they run."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1, 1, 3, padding=2**i, dilation=2**i) for i in range(5))
        self.last = nn.Identity()

    def forward(self, x):
        for layer in reversed(self.layers):
            x = self.last(x) + layer(x).relu()
        return x


class Shifted(nn.Module):
    """Convolutions that add to a corner of what they get."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(1, 1, 2, dilation=d) for d in (1, 2, 4, 8, 16, 31))

    def forward(self, x):
        for layer in self.layers:
            d = layer.dilation[0]
            x = x[..., d:, d:] + layer(x)
        return x


class Pooled(nn.Module):
    """Functional pooling, which no list of layers shows."""

    def forward(self, x):
        return F.avg_pool2d(x, 63, stride=1)


class Outer(nn.Module):
    """One 63×63 filter, the product of two vectors."""

    def __init__(self):
        super().__init__()
        self.u, self.v = nn.Parameter(torch.randn(63, 1)), nn.Parameter(torch.randn(1, 63))

    def forward(self, x):
        return F.conv2d(x, (self.u @ self.v)[None, None])


rows_apart = stack(*(nn.Conv2d(1, 1, 3, stride=(2, 1), dilation=(1, 2**i), bias=False) for i in range(5)))

few_units = stack(*(nn.Conv2d(1, 1, 3, stride=s, bias=False) for s in (2, 2, 2, 2, 4)))

separable = stack(nn.Conv2d(1, 1, (63, 1)), nn.BatchNorm2d(1), nn.Conv2d(1, 1, (1, 63)))


@pytest.mark.parametrize(
    ("name", "answer", "praise"),
    [
        ("soft_threshold", soft_threshold, "right on numbers above t"),
        ("soft_threshold", lambda u, t: u - u.clamp(-t, t), "t = 0"),
        ("soft_threshold", by_places, "t = 0"),
        ("field_side", field_side, "right on one layer"),
        ("top_images", top_images, "an image that holds all the largest values"),
        ("wide_view", dilated, "see all of 63×63 pixels with 45 weights; 24 are enough"),
        ("wide_view", pairs, "see all of 63×63 pixels with 24 weights$"),
        ("wide_view", one_pair, "see all of 63×63 pixels with 4 weights$"),
        ("wide_view", separable, "see all of 63×63 pixels with 130 weights"),
        ("wide_view", OneFilter, "see all of 63×63 pixels with 9 weights"),
        ("wide_view", Shortcuts, "see all of 63×63 pixels with 50 weights"),
        ("wide_view", stack(nn.Conv2d(1, 1, 7), nn.ReLU(), nn.Conv2d(1, 1, 9, dilation=7)), "with 132 weights"),
        (
            "wide_view",
            stack(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 1, 3), *(nn.Conv2d(1, 1, 3, dilation=d) for d in (2, 4, 8, 15))),
            "63×63",
        ),
    ],
)
def test_a_right_answer_is_praised(ask, name, answer, praise):
    assert re.match(f"✓ {name}: .*{praise}", ask(exercise, name, answer))


@pytest.mark.parametrize(
    ("name", "answer", "message"),
    [
        ("soft_threshold", lambda u, t: None, "returns nothing yet"),
        ("soft_threshold", lambda u, t: (u.abs() - t).clamp_min(0), "wrong on negative numbers"),
        ("soft_threshold", lambda u, t: (u - t).clamp_min(0), "wrong on negative numbers"),
        ("soft_threshold", lambda u, t: torch.where(u.abs() > t, u, 0.0), "wrong on numbers above t"),
        ("soft_threshold", lambda u, t: u.sign() * (u.abs() - t), "wrong on numbers below t"),
        ("soft_threshold", lambda u, t: u.sign() * (u.abs() - 1).clamp_min(0), "wrong on a matrix"),
        ("soft_threshold", in_float32, "it raises RuntimeError"),
        (
            "soft_threshold",
            lambda u, t: np.where(u > t, u - t, np.where(u < -t, u + t, 0)),
            "but it returns ndarray, and the notebook goes on with tensors",
        ),
        (
            "soft_threshold",
            lambda u, t: (u - u.clamp(-t, t)).float(),
            "but it turns torch.float64 into torch.float32; torch.zeros_like",
        ),
        ("field_side", lambda k, s: sum(k), "wrong on two layers without stride: expected 5, got 6"),
        (
            "field_side",
            lambda k, s: 1 + sum(k) - len(k),
            "wrong on AlexNet's first three windows: expected 51, got 17",
        ),
        ("field_side", stride_first, "wrong on AlexNet's first three windows: expected 51"),
        ("top_images", several_from_one_image, r"wrong on an image that holds all.*value 1: at index \(0, 2\)"),
        ("top_images", top_images_in_numpy, "but it returns ndarray"),
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
        ("wide_view", stack(), "see 1×1 pixels, wanted 63×63"),
        ("wide_view", stack(nn.Conv2d(1, 1, 61)), "see 61×61 pixels, wanted 63×63"),
        ("wide_view", stack(nn.Conv2d(1, 1, (63, 1))), "see 63×1 pixels, wanted 63×63"),
        ("wide_view", stack(nn.Conv2d(1, 1, 63)), "it has 3970 weights, wanted at most 200"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3, dilation=31)), "63×63 pixels with holes: 3960 pixels"),
        ("wide_view", stack(nn.Conv2d(1, 1, 2, dilation=30), nn.Conv2d(1, 1, 9, dilation=4)), "with holes"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)), "joins pixels .* use convolutions only"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3, stride=3), nn.Conv2d(1, 1, 3)), "3 pixels apart; do without stride"),
        ("wide_view", rows_apart, "32 pixels apart; do without stride"),
        ("wide_view", few_units, "its map has only 2×2 units; do without stride"),
        ("wide_view", stack(nn.MaxPool2d(63, stride=1)), "joins pixels without weights"),
        ("wide_view", stack(nn.AvgPool2d(63, stride=1)), "joins pixels without weights"),
        ("wide_view", Pooled, "joins pixels without weights"),
        ("wide_view", Shifted, "joins pixels without weights of its own, as pooling or a shifted skip connection does"),
        ("wide_view", Outer, "filters of other parameters; .* 63×1 and then 1×63"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3), nn.MaxPool2d(61, stride=1)), "joins pixels without weights"),
        ("wide_view", stack(nn.Conv2d(1, 2, 3)), r"expected one map from each image, .* got shape \(2, 2,"),
        ("wide_view", stack(nn.Conv2d(3, 1, 3)), "it raises RuntimeError"),
        ("wide_view", stack(nn.Conv2d(1, 1, 3), nn.Flatten()), "expected one map from each image"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, answer, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, answer), re.DOTALL)
