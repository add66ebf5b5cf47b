"""Seconds of sampling 10 000 characters, compared with the same loop around torch.nn's layers."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from coursekit.datasets.text import PRINTABLE
from coursekit.recurrent import CharModel, sample
from coursekit.recurrent.char_model import Kind

from .harness import Figure, interleave, ratio

MOST = 1.2
LENGTH, HIDDEN = 10_000, 128


@torch.no_grad()
def theirs(layer: nn.Module, readout: nn.Linear, letters: Tensor) -> Tensor:
    """``LENGTH`` characters behind the first one, each drawn after a call of torch.nn's layer with the last state."""
    output, state = layer(letters[:1, None])
    drawn = []
    for _ in range(LENGTH):
        drawn.append(torch.multinomial(readout(output[-1]).softmax(dim=1), 1))  # (1, 1)
        output, state = layer(letters[drawn[-1]], state)
    return torch.cat(drawn)


def compare(kind: Kind) -> Figure:
    model = CharModel(PRINTABLE, HIDDEN, kind)
    layer = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}[kind](len(PRINTABLE), HIDDEN)
    layer.load_state_dict(model.recurrent.state_dict())
    letters = torch.eye(len(PRINTABLE))
    contenders = {
        "ours": lambda: sample(model, "\n", LENGTH),
        "torch.nn": lambda: theirs(layer, model.readout, letters),
    }
    seconds = interleave(contenders, rounds=5, clock=time.process_time)
    value = ratio(seconds["ours"], seconds["torch.nn"])
    detail = f"ours {min(seconds['ours']):.2f} s, torch.nn {min(seconds['torch.nn']):.2f} s"
    return Figure(f"{kind}: {LENGTH} characters ÷ torch.nn", f"{value:.2f}", f"≤ {MOST}", value <= MOST, detail)


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for kind in ("RNN", "LSTM", "GRU"):
        yield compare(kind)
