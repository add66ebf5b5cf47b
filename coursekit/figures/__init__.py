"""The one home of matplotlib: style, image grids, curves, dots, points, diagrams. A function returns its axis."""

from coursekit.figures.automata import automaton
from coursekit.figures.drawing import curves, dots, heat_map, image_grid, image_rows, map_table, panels, points
from coursekit.figures.recurrent import gru_cell, lstm_cell
from coursekit.figures.sequences import aligned, wiring
from coursekit.figures.style import COLOURS, INK, use_style

__all__ = [
    "COLOURS",
    "INK",
    "aligned",
    "automaton",
    "curves",
    "dots",
    "gru_cell",
    "heat_map",
    "image_grid",
    "image_rows",
    "lstm_cell",
    "map_table",
    "panels",
    "points",
    "use_style",
    "wiring",
]
