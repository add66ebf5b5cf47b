"""A bar in a terminal, a live curve in a notebook, nothing in a log."""

import html
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from coursekit.training.history import History

INTERVAL = 0.5  # seconds between two looks at the losses
DELAY = 1.0  # a run shorter than that shows no motion
COLORS = "#0072b2", "#d55e00", "#009e73", "#cc79a7"  # told apart by colour-blind readers too
WIDTH, HEIGHT = 480, 120
POINTS = 160


def watch(history: History, epochs: int, shown: bool) -> "TerminalBar | LiveCurve":
    """The display for where this process runs: ``update`` it at leisure, ``close`` it once."""
    if shown and _in_notebook():
        return LiveCurve(history, epochs)
    return TerminalBar(history, epochs, shown)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; a process that never imported IPython is none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class TerminalBar:
    """tqdm's bar on stderr while the run lasts, if stderr is a terminal."""

    def __init__(self, history: History, epochs: int, shown: bool) -> None:
        self.epochs = epochs
        self.bar = tqdm(
            total=epochs * history.steps_per_epoch,
            initial=history.steps,
            unit="step",
            delay=DELAY,
            mininterval=0.0,  # the loop updates it seldom
            leave=False,
            disable=None if shown else True,
        )

    def update(self, history: History) -> None:
        self.bar.set_description_str(_epoch(history, self.epochs), refresh=False)
        self.bar.set_postfix_str(_latest(history), refresh=False)
        self.bar.update(history.steps - self.bar.n)

    def close(self, history: History) -> None:
        self.bar.close()


class LiveCurve:
    """One output: how far the run is and its losses so far; in the end a line that is the same each time."""

    def __init__(self, history: History, epochs: int) -> None:
        self.epochs = epochs
        self.started, self.first = time.perf_counter(), history.steps
        self.handle: Any = None

    def update(self, history: History) -> None:
        elapsed = time.perf_counter() - self.started
        if elapsed < DELAY:
            return
        total = self.epochs * history.steps_per_epoch
        left = elapsed * (total - history.steps) / (history.steps - self.first)
        text = f"{_epoch(history, self.epochs)} · {_latest(history)} · {elapsed:.0f} s, about {left:.0f} s left"
        bar = f'<progress value="{history.steps}" max="{total}" aria-label="training"></progress>'
        page = f"<div>{bar} {html.escape(text)}</div>{curve_svg(history.losses)}"
        self._show({"text/html": page, "text/plain": text})

    def close(self, history: History) -> None:
        self._show({"text/plain": repr(history)})

    def _show(self, content: dict[str, str]) -> None:
        from IPython.display import display

        if self.handle is None:
            self.handle = display(content, raw=True, display_id=True)
        else:
            self.handle.update(content, raw=True)


def _epoch(history: History, epochs: int) -> str:
    return f"epoch {min(history.epochs + 1, epochs)}/{epochs}"


def _latest(history: History) -> str:
    return ", ".join(f"{name} {values[-1]:.4g}" for name, values in history.losses.items())


def curve_svg(losses: Mapping[str, Float64[np.ndarray, " steps"]]) -> str:
    """The losses over the steps as SVG, each a mean over at most `POINTS` stretches of the run.

    The axis is logarithmic where the losses are positive and span more than 1 : 30.
    """
    curves = {
        name: np.array([stretch.mean() for stretch in np.array_split(values, min(len(values), POINTS))])
        for name, values in losses.items()
    }
    low, high = min(map(np.min, curves.values())), max(map(np.max, curves.values()))
    logarithmic = low > 0 and high > 30 * low
    scale = np.log if logarithmic else np.asarray
    span = scale(high) - scale(low) or 1.0
    lines = []
    for color, (name, values) in zip(COLORS * len(curves), curves.items(), strict=False):
        x = np.linspace(0, WIDTH, len(values))
        y = HEIGHT * (1 - (scale(values) - scale(low)) / span)
        points = " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(x, y, strict=True))
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2">'
            f"<title>{html.escape(name)}</title></polyline>"
        )
    steps = max(map(len, losses.values()))
    kind = ", logarithmic scale" if logarithmic else ""
    label = f"{', '.join(losses)} over {steps} steps, from {low:.3g} to {high:.3g}{kind}"
    names = "".join(
        f'<tspan fill="{color}"> {html.escape(name)} </tspan>'
        for color, name in zip(COLORS * len(curves), curves, strict=False)
    )
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{WIDTH + 70}" height="{HEIGHT + 30}" '
        f'viewBox="-8 -8 {WIDTH + 70} {HEIGHT + 30}" font-size="12" fill="currentColor">'
        f'<path d="M0,0 V{HEIGHT} H{WIDTH}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
        f'{"".join(lines)}<text x="{WIDTH + 6}" y="8">{high:.3g}</text>'
        f'<text x="{WIDTH + 6}" y="{HEIGHT}">{low:.3g}</text>'
        f'<text y="{HEIGHT + 16}">{names}– {steps} steps{kind}</text></svg>'
    )
