"""How a run shows its progress: a bar in a terminal, a live curve in a notebook, nothing in a log."""

import html
import itertools
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from tqdm import tqdm

from coursekit.training.history import History

INTERVAL = 0.5  # seconds between two looks at the losses
DELAY = 1.0  # seconds before anything is shown; shorter runs show only their result
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # that colour-blind readers tell apart
WIDTH, HEIGHT = 480, 120
POINTS = 160  # at most, of a curve


def watch(history: History, epochs: int, shown: bool) -> "TerminalBar | LiveCurve":
    """The display for the place where this process runs: ``update`` it now and then, ``close`` it at the end."""
    if shown and _in_notebook():
        return LiveCurve(history, epochs)
    return TerminalBar(history, epochs, shown)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process; kernels have imported IPython."""
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
            mininterval=0.0,  # the loop itself updates it seldom
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
    """One output of a notebook: progress and losses during the run, and in the end a line without timings."""

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
    """The losses over the steps as SVG, each a line through the means of at most `POINTS` pieces of the run.

    The axis is logarithmic where the losses are positive and the largest is more than 30 times the smallest.
    """
    # Average pieces of each curve.
    curves = {
        name: np.array([piece.mean() for piece in np.array_split(values, min(len(values), POINTS))])
        for name, values in losses.items()
    }
    # Choose the axis; heights go from 0 at the lowest loss to 1 at the highest.
    low, high = min(map(np.min, curves.values())), max(map(np.max, curves.values()))
    logarithmic = low > 0 and high > 30 * low
    scale = np.log if logarithmic else np.asarray
    span = scale(high) - scale(low) or 1.0
    heights = {name: (scale(values) - scale(low)) / span for name, values in curves.items()}
    # Draw.
    coloured = list(zip(itertools.cycle(COLOURS), heights.items(), strict=False))
    lines = "".join(_polyline(name, height, colour) for colour, (name, height) in coloured)
    names = "".join(f'<tspan fill="{colour}"> {html.escape(name)} </tspan>' for colour, (name, _) in coloured)
    steps = max(map(len, losses.values()))
    kind = ", logarithmic scale" if logarithmic else ""
    label = f"{', '.join(losses)} over {steps} steps, from {low:.3g} to {high:.3g}{kind}"
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{WIDTH + 70}" height="{HEIGHT + 30}" '
        f'viewBox="-8 -8 {WIDTH + 70} {HEIGHT + 30}" font-size="12" fill="currentColor">'
        f'<path d="M0,0 V{HEIGHT} H{WIDTH}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
        f'{lines}<text x="{WIDTH + 6}" y="8">{high:.3g}</text>'
        f'<text x="{WIDTH + 6}" y="{HEIGHT}">{low:.3g}</text>'
        f'<text y="{HEIGHT + 16}">{names}– {steps} steps{kind}</text></svg>'
    )


def _polyline(name: str, heights: Float64[np.ndarray, " points"], colour: str) -> str:
    """A curve from the left to the right edge; heights lie between 0 (bottom) and 1 (top)."""
    x = np.linspace(0, WIDTH, len(heights))
    y = HEIGHT * (1 - heights)
    points = " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(x, y, strict=True))
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
        f"<title>{html.escape(name)}</title></polyline>"
    )
