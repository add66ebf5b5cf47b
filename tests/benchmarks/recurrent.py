"""Forward and backward passes of our RNN, LSTM and GRU, against those of torch.nn, which runs them in C++."""

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from coursekit import recurrent

from .harness import Figure, interleave, ratio

# (T, B, H) with the number of rounds, and the most that ours may take of torch.nn's time. In the first the matrix
# products decide, in the second the number of operations.
SIZES = {(128, 64, 128): (15, 1.1), (128, 16, 32): (51, 4.0)}


def training_pass(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        layer.zero_grad()
        output, _ = layer(x)
        output.square().mean().backward()

    return run


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for (steps, batch, hidden), (rounds, most) in SIZES.items():
        x = torch.randn(steps, batch, hidden)
        for name in ("RNN", "LSTM", "GRU"):
            ours, theirs = getattr(recurrent, name)(hidden, hidden), getattr(nn, name)(hidden, hidden)
            contenders = {"ours": training_pass(ours, x), "theirs": training_pass(theirs, x)}
            seconds = interleave(contenders, rounds, time.process_time)
            value = ratio(seconds["ours"], seconds["theirs"])
            medians = [1e3 * statistics.median(seconds[who]) for who in contenders]
            what = f"{name}, T, B, H = {steps}, {batch}, {hidden}: CPU time ÷ torch.nn's"
            yield Figure(what, f"{value:.2f}", f"≤ {most}", value <= most, "{:.1f} and {:.1f} ms".format(*medians))
