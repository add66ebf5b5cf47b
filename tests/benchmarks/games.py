"""Ten seeds of a GAN at once against one, and the package's step against a plain loop of equal maths."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from coursekit.datasets import ring
from coursekit.generative import GAN, Draws, stacked
from coursekit.nets.blocks import fully_connected

from .harness import Figure, interleave, ratio, spread

STEPS = 100  # in a round
N = 64  # points of a batch
HIDDEN = 64  # units of each of the two hidden layers


def seeds_at_once(seeds: range, data: torch.Tensor, steps: int = STEPS) -> Callable[[], None]:
    """Some steps of the game for all seeds, where the data are."""
    draws = Draws(seeds, data.device)
    g, d = (stacked([2, HIDDEN, HIDDEN, end], seeds).to(data.device) for end in (2, 1))
    up, down = (torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999), fused=True) for net in (d, g))

    def run() -> None:
        for _ in range(steps):
            x, fake = draws.rows(data, N), g(draws.normal(N, 2))
            loss = (F.softplus(-d(x)) + F.softplus(d(fake.detach()))).mean(dim=(1, 2)).sum()
            up.zero_grad()
            loss.backward()
            up.step()
            loss = F.softplus(-d(fake)).mean(dim=(1, 2)).sum()
            down.zero_grad()
            loss.backward(inputs=list(g.parameters()))
            down.step()

    return run


def nets() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return fully_connected([2, HIDDEN, HIDDEN, 2]), fully_connected([2, HIDDEN, HIDDEN, 1])


def packaged(batches: torch.Tensor) -> tuple[Callable[[], None], nn.Module]:
    g, d = nets()
    game = GAN(g, d, noise=2, lr=1e-3)

    def run() -> None:
        for x in batches:
            game(x)

    return run, g


def plain(batches: torch.Tensor) -> tuple[Callable[[], None], nn.Module]:
    """The loop as it is often written: Adam as it comes, and a full backward pass for each player."""
    g, d = nets()
    up, down = (torch.optim.Adam(net.parameters(), 1e-3, (0.5, 0.999)) for net in (d, g))

    def run() -> None:
        for x in batches:
            fake = g(torch.randn(len(x), 2)).detach()
            up.zero_grad()
            (F.softplus(-d(x)).mean() + F.softplus(d(fake)).mean()).backward()
            up.step()
            down.zero_grad()
            F.softplus(-d(g(torch.randn(len(x), 2)))).mean().backward()
            down.step()

    return run, g


def measure() -> list[Figure]:
    torch.set_num_threads(1)
    batches = ring(STEPS * N).points.view(STEPS, N, 2)

    # Equal maths first: the same generator after the same batches.
    (ours, our_g), (theirs, their_g) = packaged(batches), plain(batches)
    torch.manual_seed(1)
    ours()
    torch.manual_seed(1)
    theirs()
    pairs = zip(our_g.parameters(), their_g.parameters(), strict=True)
    gap = max((a - b).abs().max().item() for a, b in pairs)
    rows = [Figure("weights of GAN − those of the plain loop", f"{gap:.1e}", "≤ 1e-4", gap <= 1e-4)]

    seconds = interleave({"ours": ours, "plain": theirs}, rounds=9, clock=time.process_time)
    value = ratio(seconds["plain"], seconds["ours"])
    detail = f"{spread(seconds['ours'])} s and {spread(seconds['plain'])} s for {STEPS} steps"
    rows.append(Figure("steps per second of GAN ÷ plain loop", f"{value:.2f}", "≥ 1.15", value >= 1.15, detail))

    points = ring(10_000).points
    runs = {"ten": seeds_at_once(range(10), points), "one": seeds_at_once(range(1), points)}
    seconds = interleave(runs, rounds=9, clock=time.process_time)
    value = ratio(seconds["ten"], seconds["one"])
    detail = f"{spread(seconds['ten'])} s and {spread(seconds['one'])} s for {STEPS} steps"
    rows.append(Figure("CPU time of ten seeds at once ÷ one", f"{value:.2f}", "≤ 3.5", value <= 3.5, detail))
    return rows
