"""As a script: ``coursekit train`` with a tiny recipe in double precision beside the course's own, or what is refused.

``CURVE`` names a file for the losses. ``KILL`` is a step before which the second process kills itself, unless torchrun
has started it again.
"""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import mse_loss

from coursekit import cli
from coursekit.errors import CourseError
from coursekit.nets.recipes import RECIPES, Recipe, follow
from coursekit.training import Descent, fit
from coursekit.training.parallel import is_first, joined

STEPS = 48  # 8 epochs of 6: the last batch of each holds 5 samples, which two processes cannot halve


def examples():
    x = torch.randn(45, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x, x[:, :1] - x[:, 1:2]


def start(net, steps):
    """Noise in the inputs, a clipped gradient and a schedule."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    descent = Descent(net, lambda x, y: mse_loss(net(x), y), optimizer=optimizer, clip=0.5)

    def step(x, y):
        losses = descent(x + 0.01 * torch.randn_like(x), y)
        schedule.step()
        return losses

    return step, {"net": net, "optimizer": optimizer, "schedule": schedule}


TINY = Recipe(
    name="tiny",
    about="the difference of two numbers",
    data="none",
    load=examples,
    samples=lambda data: data,
    build=lambda: nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)).double(),
    start=start,
    epochs=8,
    batch_size=8,
    measure=lambda net, data: {"error": mse_loss(net(data[0]), data[1]).item()},
    summary="error {error:.4f}",
    settings={},
)


def fit_and_note(step, *data, **settings):
    """`fit` with a checkpoint after every step, the losses written to a file, and the killing of a process."""
    calls = 0

    def fatal_step(*batch):
        nonlocal calls
        calls += 1
        victim = os.environ.get("RANK") == "1" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if victim and calls == int(os.environ.get("KILL", 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*batch)

    history = fit(fatal_step, *data, **settings, checkpoint_every=0.0)
    if is_first() and "CURVE" in os.environ:
        Path(os.environ["CURVE"]).write_text(json.dumps(history.losses["loss"].tolist()), encoding="utf-8")
    return history


def refusals():
    """Train in ways that several processes cannot share, and print what they are told."""
    torch.manual_seed(0)
    x, y = examples()

    def descent(net, loss):
        return Descent(net.double(), partial(loss, net))

    def alone(x, y):  # an update of its own, as of a game
        return mse_loss(line(x), y)

    line = nn.Linear(6, 1).double()
    cases = {
        "batch normalization": (descent(nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 1)), error_of), 8),
        "dropout": (descent(nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1)), error_of), 8),
        "sum": (descent(nn.Linear(6, 1), lambda net, x, y: (net(x) - y).square().sum()), 8),
        "spread": (descent(nn.Linear(6, 1), lambda net, x, y: net(x).var(correction=0) + error_of(net, x, y)), 8),
        "own step": (alone, 8),
        "one sample": (descent(nn.Linear(6, 1), error_of), 44),
    }
    for name, (step, batch_size) in cases.items():
        try:
            fit(step, (x, y), epochs=1, batch_size=batch_size, device="cpu", progress=False)
        except CourseError as error:
            if is_first():
                print(f"{name}: {error}")
        else:
            raise AssertionError(f"{name} was not refused")


def error_of(net, x, y):
    return mse_loss(net(x), y)


if __name__ == "__main__":
    if sys.argv[1] == "refusals":
        with joined("cpu", Path("none")):
            refusals()
    else:
        follow.fit = fit_and_note
        RECIPES["tiny"] = TINY
        cli.main()
