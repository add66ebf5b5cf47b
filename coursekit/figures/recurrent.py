"""A diagram of the LSTM's cell, in which one step of the computation is lit."""

from typing import Literal, get_args

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from coursekit.figures.style import COLOURS, INK
from coursekit.validation import require_choice

Step = Literal["forget", "write", "remember", "show"]
FAINT = "#c9ced6"
FORMULAS: dict[str, str] = {
    "forget": r"$f_t \odot c_{t-1}$",
    "write": r"$i_t \odot \tilde c_t$",
    "remember": r"$c_t = f_t \odot c_{t-1} + i_t \odot \tilde c_t$",
    "show": r"$h_t = o_t \odot \tanh c_t$",
}
# By step, the lines with an arrow at their end, through points (x, y).
ARROWS: dict[str, list[list[tuple[float, float]]]] = {
    "forget": [[(0, 5), (1.75, 5)], [(0, 0.6), (2, 0.6), (2, 1.75)], [(2, 2.65), (2, 4.73)]],
    "write": [
        [(0, 0.6), (3.8, 0.6), (3.8, 1.75)],
        [(0, 0.6), (5.8, 0.6), (5.8, 1.75)],
        [(3.8, 2.65), (3.8, 3.7), (4.53, 3.7)],
        [(5.8, 2.65), (5.8, 3.7), (5.07, 3.7)],
        [(4.8, 3.97), (4.8, 4.73)],
    ],
    "remember": [[(0, 5), (1.73, 5)], [(2.27, 5), (4.53, 5)], [(5.07, 5), (10, 5)]],
    "show": [
        [(0, 0.6), (7.6, 0.6), (7.6, 1.75)],
        [(8.9, 5), (8.9, 4.15)],
        [(8.9, 3.25), (8.9, 2.47)],
        [(8.05, 2.2), (8.63, 2.2)],
        [(9.17, 2.2), (10, 2.2)],
    ],
}
# Boxes with a layer or a function, and circles with an operation: the text and the place of the centre.
BOXES: dict[str, list[tuple[str, float, float]]] = {
    "forget": [("$f_t$", 2, 2.2)],
    "write": [("$i_t$", 3.8, 2.2), (r"$\tilde c_t$", 5.8, 2.2)],
    "show": [("$o_t$", 7.6, 2.2), ("tanh", 8.9, 3.7)],
}
FUNCTIONS: dict[str, str] = {"$i_t$": "σ", "$f_t$": "σ", "$o_t$": "σ", r"$\tilde c_t$": "tanh"}  # of the layers
CIRCLES: dict[str, list[tuple[str, float, float]]] = {
    "forget": [("×", 2, 5)],
    "write": [("×", 4.8, 3.7), ("+", 4.8, 5)],
    "remember": [("×", 2, 5), ("+", 4.8, 5)],
    "show": [("×", 8.9, 2.2)],
}


def lstm_cell(ax: Axes, lit: Step) -> Axes:
    """Draw the cell of the LSTM, with one step of its computation in colour and the rest in grey.

    The memory c runs along the top, the state h and the input x_t come in below. Below each of the four layers stands
    its function, σ or tanh. The diagram is the same for all four steps: "forget", "write", "remember" and "show".
    """
    require_choice(lit, "lit", get_args(Step))
    # The lit step last, so that it covers what it shares with others.
    for step in sorted(get_args(Step), key=lambda it: it == lit):
        _draw_step(ax, step, lit == step)
    for text, x, y, side in (("$c_{t-1}$", 0, 5, "right"), ("$c_t$", 10, 5, "left"), ("$h_t$", 10, 2.2, "left")):
        ax.text(x - 0.15 if side == "right" else x + 0.15, y, text, ha=side, va="center", fontsize=15, color=INK)
    ax.text(-0.15, 0.6, "$h_{t-1},\\ x_t$", ha="right", va="center", fontsize=15, color=INK)
    ax.set(xlim=(-1.9, 10.9), ylim=(0.1, 5.7), aspect="equal")
    ax.set_axis_off()
    ax.set_title(f"{lit}:  {FORMULAS[lit]}")
    return ax


def _draw_step(ax: Axes, step: str, lit: bool) -> None:
    """The arrows, boxes and circles of one step."""
    colour, width, above = (COLOURS[0], 3.2, 2) if lit else (FAINT, 1.6, 0)
    for points in ARROWS[step]:
        x, y = zip(*points, strict=True)
        ax.plot(x, y, color=colour, linewidth=width, solid_joinstyle="round", zorder=1 + above)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": width, "mutation_scale": 16, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", points[-1], points[-2], arrowprops=arrow, zorder=1 + above)
    face, ink = (colour, "white") if lit else ("white", "#8a93a0")
    for text, cx, cy in BOXES.get(step, []):
        shape = FancyBboxPatch((cx - 0.4, cy - 0.4), 0.8, 0.8, "round,pad=0.05", zorder=2 + above)
        shape.set(facecolor=face, edgecolor=colour, linewidth=width / 2)
        ax.add_patch(shape)
        ax.text(cx, cy, text, ha="center", va="center", fontsize=11 if text == "tanh" else 16, color=ink, zorder=6)
        if text in FUNCTIONS:
            ax.text(cx - 0.3, cy - 0.85, FUNCTIONS[text], ha="right", va="center", color=colour if lit else "#8a93a0")
    for text, cx, cy in CIRCLES[step]:
        ax.add_patch(Circle((cx, cy), 0.27, facecolor=face, edgecolor=colour, linewidth=width / 2, zorder=2 + above))
        ax.text(cx, cy - 0.02, text, ha="center", va="center", fontsize=14, color=ink, zorder=2.5 + above)
