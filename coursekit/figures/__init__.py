"""The one home of matplotlib: style, image grids, curves, points. Functions take an axis and give it back."""

from coursekit.figures.drawing import curves, heat_map, image_grid, image_rows, map_rows, points
from coursekit.figures.style import COLOURS, INK, use_style

__all__ = ["COLOURS", "INK", "curves", "heat_map", "image_grid", "image_rows", "map_rows", "points", "use_style"]
