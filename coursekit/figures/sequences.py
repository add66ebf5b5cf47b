"""Diagrams of nets that read and speak step by step, and of words that belong together in two languages."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from coursekit.figures.style import COLOURS, INK

Link = tuple[int, int]  # the number of a word above, and that of one below
INPUT, STATE, OUTPUT = range(3)  # the rows, from below
FAINT = "#9aa3ad"


def wiring(
    ax: Axes,
    left: float,
    inputs: Collection[int],
    outputs: Collection[int],
    steps: int,
    fed: Collection[int] = (),
    words: Mapping[tuple[int, int], str] | None = None,
    second: int | None = None,
) -> Axes:
    """Draw a net in time, from ``left`` on: a box for each state, with its input below and its output above.

    Args:
        ax: the axis; several nets may stand on it.
        left: the x of the first state.
        inputs: the steps that have an input.
        outputs: the steps that have an output.
        steps: how many states there are.
        fed: the steps that also get the output of the step before, by a dotted arrow.
        words: (step, row) → what stands in a box; rows are 0 for inputs, 1 for states and 2 for outputs.
        second: the first step of a second net, whose states have another colour.
    """
    for k in range(steps):
        x = left + k
        rows = [(STATE, COLOURS[2 if second is None or k < second else 3])]
        rows += [(INPUT, COLOURS[1])] * (k in inputs) + [(OUTPUT, COLOURS[0])] * (k in outputs)
        for y, colour in rows:
            ax.add_patch(Rectangle((x - 0.3, y - 0.28), 0.6, 0.56, color=colour))
            ax.text(x, y, (words or {}).get((k, y), ""), color="white", ha="center", va="center", fontweight="bold")
        arrows = [((x, 0.3), (x, 0.7), "-")] * (k in inputs) + [((x, 1.3), (x, 1.7), "-")] * (k in outputs)
        arrows += [((x - 0.7, 1), (x - 0.32, 1), "-")] * (k > 0)
        arrows += [((x - 0.72, 1.75), (x - 0.29, 1.24), ":")] * (k in fed)
        for start, end, dash in arrows:
            style = {"arrowstyle": "->", "color": INK, "linewidth": 1.6, "linestyle": dash}
            ax.annotate("", end, start, arrowprops=style)
    ax.set_axis_off()
    return ax


def aligned(ax: Axes, above: Sequence[str], below: Sequence[str], links: Sequence[Link]) -> Axes:
    """Write words above and below, and join those that belong together; lines that cross another are orange."""
    for y, words in ((1, above), (0, below)):
        for k, word in enumerate(words):
            ax.text((k + 0.5) / len(words), y, word, ha="center", va="bottom" if y else "top", fontsize=12, color=INK)
    for a, b in links:
        crosses = any((a - c) * (b - d) < 0 for c, d in links)
        ends = [(a + 0.5) / len(above), (b + 0.5) / len(below)]
        ax.plot(ends, [0.94, 0.06], color=COLOURS[1] if crosses else FAINT, linewidth=2.2)
    ax.set(ylim=(-0.6, 1.25), xlim=(0, 1))
    ax.set_axis_off()
    return ax
