"""Diagrams of the LSTM's and the GRU's cell, in which one step of the computation is lit."""

from dataclasses import dataclass
from typing import Literal, get_args

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from coursekit.figures.style import COLOURS, INK
from coursekit.validation import require_choice

LSTMStep = Literal["forget", "write", "remember", "show"]
GRUStep = Literal["keep", "propose", "update"]
Place = tuple[str, float, float]  # a text and its centre (x, y)
Line = list[tuple[float, float]]  # a line through points (x, y), with an arrow at its end
FAINT = "#c9ced6"


@dataclass(frozen=True)
class StepDiagram:
    """What one step of the computation adds to the diagram of a cell."""

    formula: str
    arrows: list[Line]
    boxes: list[Place]  # a layer or a function
    circles: list[Place]  # an operation


LSTM_STEPS: dict[str, StepDiagram] = {
    "forget": StepDiagram(
        formula=r"$f_t \odot c_{t-1}$",
        arrows=[[(0, 5), (1.75, 5)], [(0, 0.6), (2, 0.6), (2, 1.75)], [(2, 2.65), (2, 4.73)]],
        boxes=[("$f_t$", 2, 2.2)],
        circles=[("×", 2, 5)],
    ),
    "write": StepDiagram(
        formula=r"$i_t \odot \tilde c_t$",
        arrows=[
            [(0, 0.6), (3.8, 0.6), (3.8, 1.75)],
            [(0, 0.6), (5.8, 0.6), (5.8, 1.75)],
            [(3.8, 2.65), (3.8, 3.7), (4.53, 3.7)],
            [(5.8, 2.65), (5.8, 3.7), (5.07, 3.7)],
            [(4.8, 3.97), (4.8, 4.73)],
        ],
        boxes=[("$i_t$", 3.8, 2.2), (r"$\tilde c_t$", 5.8, 2.2)],
        circles=[("×", 4.8, 3.7), ("+", 4.8, 5)],
    ),
    "remember": StepDiagram(
        formula=r"$c_t = f_t \odot c_{t-1} + i_t \odot \tilde c_t$",
        arrows=[[(0, 5), (1.73, 5)], [(2.27, 5), (4.53, 5)], [(5.07, 5), (10, 5)]],
        boxes=[],
        circles=[("×", 2, 5), ("+", 4.8, 5)],
    ),
    "show": StepDiagram(
        formula=r"$h_t = o_t \odot \tanh c_t$",
        arrows=[
            [(0, 0.6), (7.6, 0.6), (7.6, 1.75)],
            [(8.9, 5), (8.9, 4.15)],
            [(8.9, 3.25), (8.9, 2.47)],
            [(8.05, 2.2), (8.63, 2.2)],
            [(9.17, 2.2), (10, 2.2)],
        ],
        boxes=[("$o_t$", 7.6, 2.2), ("tanh", 8.9, 3.7)],
        circles=[("×", 8.9, 2.2)],
    ),
}
GRU_STEPS: dict[str, StepDiagram] = {
    "keep": StepDiagram(
        formula=r"$u_t \odot h_{t-1}$",
        arrows=[[(0, 5), (1.73, 5)], [(0, 0.6), (2, 0.6), (2, 1.75)], [(2, 2.65), (2, 4.73)]],
        boxes=[("$u_t$", 2, 2.2)],
        circles=[("×", 2, 5)],
    ),
    "propose": StepDiagram(
        formula=r"$\tilde h_t$, with $r_t \odot (w^h h_{t-1})$",
        arrows=[
            [(0, 0.6), (4.2, 0.6), (4.2, 1.75)],
            [(0, 0.6), (6.6, 0.6), (6.6, 1.75)],
            [(4.65, 2.2), (6.15, 2.2)],
        ],
        boxes=[("$r_t$", 4.2, 2.2), (r"$\tilde h_t$", 6.6, 2.2)],
        circles=[],
    ),
    "update": StepDiagram(
        formula=r"$h_t = u_t \odot h_{t-1} + (1 - u_t) \odot \tilde h_t$",
        arrows=[
            [(2, 3.7), (3.75, 3.7)],
            [(4.65, 3.7), (6.33, 3.7)],
            [(6.6, 2.65), (6.6, 3.43)],
            [(6.6, 3.97), (6.6, 4.73)],
            [(2.27, 5), (6.33, 5)],
            [(6.87, 5), (7.9, 5)],
        ],
        boxes=[("1−", 4.2, 3.7)],
        circles=[("×", 6.6, 3.7), ("+", 6.6, 5)],
    ),
}
# The function of each layer.
FUNCTIONS = {"$i_t$": "σ", "$f_t$": "σ", "$o_t$": "σ", r"$\tilde c_t$": "tanh"}
FUNCTIONS |= {"$u_t$": "σ", "$r_t$": "σ", r"$\tilde h_t$": "tanh"}


def lstm_cell(ax: Axes, lit: LSTMStep) -> Axes:
    """Draw the cell of the LSTM, with one step of its computation in colour and the rest in grey.

    The memory c runs along the top, the state h and the input x_t come in below. Below each of the four layers stands
    its function, σ or tanh. The diagram is the same for all four steps: "forget", "write", "remember" and "show".
    """
    require_choice(lit, "lit", get_args(LSTMStep))
    _draw_steps(ax, LSTM_STEPS, lit)
    _label_ends(ax, "$c_{t-1}$", [("$c_t$", 10, 5), ("$h_t$", 10, 2.2)])
    return ax


def gru_cell(ax: Axes, lit: GRUStep) -> Axes:
    """Draw the GRU, with one step of its computation in colour and the rest in grey.

    The state h runs along the top; with the input x_t it also comes in below, for the gates and the proposal. Below
    each of these three layers stands its function. The diagram is the same for all three steps: "keep", "propose" and
    "update".
    """
    require_choice(lit, "lit", get_args(GRUStep))
    _draw_steps(ax, GRU_STEPS, lit)
    _label_ends(ax, "$h_{t-1}$", [("$h_t$", 7.9, 5)])
    return ax


def _draw_steps(ax: Axes, steps: dict[str, StepDiagram], lit: str) -> None:
    """All steps, the lit one last, so that it covers what it shares with others."""
    for name in sorted(steps, key=lambda it: it == lit):
        _draw_step(ax, steps[name], name == lit)
    ax.set_title(f"{lit}:  {steps[lit].formula}")


def _label_ends(ax: Axes, upper_input: str, outputs: list[Place]) -> None:
    """Name what comes in at the left and goes out at the right, and fit the axis."""
    for text, y in ((upper_input, 5), ("$h_{t-1},\\ x_t$", 0.6)):
        ax.text(-0.15, y, text, ha="right", va="center", fontsize=15, color=INK)
    for text, x, y in outputs:
        ax.text(x + 0.15, y, text, ha="left", va="center", fontsize=15, color=INK)
    ax.set(xlim=(-1.9, max(x for _, x, _ in outputs) + 0.9), ylim=(0.1, 5.7), aspect="equal")
    ax.set_axis_off()


def _draw_step(ax: Axes, step: StepDiagram, lit: bool) -> None:
    """The arrows, boxes and circles of one step."""
    colour, width, above = (COLOURS[0], 3.2, 2) if lit else (FAINT, 1.6, 0)
    for points in step.arrows:
        x, y = zip(*points, strict=True)
        ax.plot(x, y, color=colour, linewidth=width, solid_joinstyle="round", zorder=1 + above)
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": width, "mutation_scale": 16, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", points[-1], points[-2], arrowprops=arrow, zorder=1 + above)
    face, ink = (colour, "white") if lit else ("white", "#8a93a0")
    for text, cx, cy in step.boxes:
        shape = FancyBboxPatch((cx - 0.4, cy - 0.4), 0.8, 0.8, "round,pad=0.05", zorder=2 + above)
        shape.set(facecolor=face, edgecolor=colour, linewidth=width / 2)
        ax.add_patch(shape)
        ax.text(cx, cy, text, ha="center", va="center", fontsize=11 if text == "tanh" else 16, color=ink, zorder=6)
        if text in FUNCTIONS:
            ax.text(cx - 0.3, cy - 0.85, FUNCTIONS[text], ha="right", va="center", color=colour if lit else "#8a93a0")
    for text, cx, cy in step.circles:
        ax.add_patch(Circle((cx, cy), 0.27, facecolor=face, edgecolor=colour, linewidth=width / 2, zorder=2 + above))
        ax.text(cx, cy - 0.02, text, ha="center", va="center", fontsize=14, color=ink, zorder=2.5 + above)
