"""The exercises on generating and fooling accept what is right and tell what is wrong."""

import pytest
import torch
import torch.nn.functional as F

from coursekit.exercises.checking import ExerciseOpen
from coursekit.exercises.lecture04 import exercise


def ask(name, function):
    function.__name__ = name
    exercise(function)


def steps(size, count):
    """Gradient steps of a given length until the answer changes."""

    def attack(net, images, labels):
        z = images
        for _ in range(count):
            z = z.detach().requires_grad_()
            output = net(z)
            (slope,) = torch.autograd.grad(F.cross_entropy(output, labels, reduction="sum"), z)
            slope = slope / slope.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None, None]
            right = (output.argmax(dim=1) == labels)[:, None, None, None]
            z = torch.where(right, (z + size * slope).clamp(0, 1), z)
        return z

    return attack


def test_the_right_answers_are_accepted(capsys):
    ask("ascent_step", lambda x, slope, lr, penalty: (1 - 2 * lr * penalty) * x + lr * slope)
    ask("least_change", lambda x, w, b, m: -((x @ w + b) * (1 + m / (x @ w + b).abs()) / w.norm() ** 2)[:, None] * w)
    ask("my_attack", steps(0.05, 100))
    said = capsys.readouterr().out
    assert said.count("✓") == 3
    assert "by at most 40 % of the way" in said


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("ascent_step", lambda x, slope, lr, penalty: x + lr * slope, "right on no penalty; wrong on no slope"),
        ("ascent_step", lambda x, slope, lr, penalty: x - lr * (slope - 2 * penalty * x), "wrong on no penalty"),
        ("least_change", lambda x, w, b, m: -(x @ w + b)[:, None] * w / w.norm(), "wrong on positive log odds"),
        ("least_change", lambda x, w, b, m: -(x @ w + b)[:, None] * w / w.norm() ** 2, "both signs; wrong on a margin"),
        (
            "least_change",
            lambda x, w, b, m: -((x @ w + b + m) / w.norm() ** 2)[:, None] * w,
            "both signs; wrong on a margin",
        ),
        ("my_attack", lambda net, images, labels: None, "got a NoneType"),
        (
            "my_attack",
            lambda net, images, labels: images[0],
            r"expected pictures of shape \(50, 1, 8, 8\), got shape \(1,",
        ),
        ("my_attack", lambda net, images, labels: images + 0.5, r"must stay in \[0, 1\]; these go from 0.5 to 1.5"),
        ("my_attack", lambda net, images, labels: images, "still reads 50 of the 50 digits correctly"),
        ("my_attack", steps(2.0, 20), "wanted at most 40 %. Many small steps"),
    ],
)
def test_wrong_answers_hear_what_differs(name, body, message):
    with pytest.raises(ExerciseOpen, match=message):
        ask(name, body)
