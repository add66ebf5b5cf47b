"""The exercises on autoencoders accept what is right and say what is wrong."""

import re

import pytest
import torch
from torch import nn

from coursekit.exercises.lecture09 import exercise


def highest(z, k):
    """The highest entries, not those of largest magnitude: what the lecture's code keeps."""
    places = z.topk(k, dim=1).indices
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, W: None, "returns nothing yet"),
        (lambda x, W: ..., "returns nothing yet"),
        (lambda x, W: (x @ W @ W.T).T, r"expected shape \(2, 3\), got \(3, 2\)"),
        (lambda x, W: x @ W @ W.T * torch.nan, "the result holds NaN"),
        (lambda x, W: 3.0, r"expected a tensor of shape \(2, 3\), got float 3.0"),
        (lambda x, W: W @ W, "on a projection it raises RuntimeError"),
        (lambda x, W: x.mul_(0) + torch.arange(6.0).view(2, 3) @ W @ W.T, "changes its argument in place"),
        (lambda x, W: x @ torch.linalg.qr(W).Q @ torch.linalg.qr(W).Q.T, "right on a projection; wrong on columns"),
    ],
)
def test_a_wrong_reconstruction_hears_what_is_wrong(ask, answer, message):
    assert re.match(f"○ tied_reconstruction is open: .*{message}", ask(exercise, "tied_reconstruction", answer))


def test_a_right_reconstruction_is_praised_by_case(ask):
    said = ask(exercise, "tied_reconstruction", lambda x, W: x @ W @ W.T)
    assert said.startswith("✓ tied_reconstruction: right on a projection, columns that")


def test_the_highest_are_not_the_largest_in_magnitude(ask):
    expected = r"right on positive entries; wrong on negative entries: at index \(0, 1\) expected -5, got 0"
    assert re.search(expected, ask(exercise, "keep_largest", highest))


class Parts(nn.Module):
    """An encoder and a decoder of linear layers, of any width, right or wrong."""

    def __init__(self, code, output):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, code), nn.Linear(code, output)

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Bypass(Parts):
    """Copies its input past its code."""

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: None, "returns nothing yet"),
        (lambda: 3, "expected a torch module, got int 3"),
        (lambda: nn.Linear(64, 64), "has no .encoder"),
        (lambda: Parts(9, 64), r"codes of five digits, shape \(5, 8\), got Tensor of shape \(5, 9\)"),
        (lambda: Parts(8, 32), r"reconstructions of five digits, shape \(5, 64\), got Tensor of shape \(5, 32\)"),
        (lambda: Parts(8, 64), r"wanted at most 60 %"),
        (lambda: Bypass(8, 64), "nothing may bypass the code"),
    ],
)
def test_an_autoencoder_must_have_its_parts_and_beat_pca(ask, build, message):
    assert re.match(f"○ my_autoencoder is open: .*{message}", ask(exercise, "my_autoencoder", build))


def test_an_unwritten_open_exercise_is_open(ask):
    def unwritten():
        raise NotImplementedError

    assert ask(exercise, "my_autoencoder", unwritten) == "○ my_autoencoder is open: not written yet"
