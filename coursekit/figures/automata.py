"""The diagram of a small automaton: states, and arrows with the symbols that lead from one to the next."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from coursekit.figures.style import COLOURS

ARROW = {"arrowstyle": "-|>", "color": "#5f6b7a", "shrinkA": 8, "shrinkB": 8}


def automaton(ax: Axes, moves: Sequence[Mapping[str, int]], places: Sequence[tuple[float, float]]) -> Axes:
    """Draw an automaton: a dot for each state, and an arrow with its symbol for each move.

    Args:
        moves: for each state, the symbols that may follow, each with the state to which it leads. A move that leads
            back to its own state becomes a loop, above the state where that lies above 0, else below.
        places: the (x, y) of each state.

    >>> import matplotlib.pyplot as plt
    >>> figure, ax = plt.subplots()
    >>> ax = automaton(ax, ({"a": 0, "b": 1}, {}), [(0, 1), (2, 0)])
    >>> [(text.get_text(), text.get_position()) for text in ax.texts if text.get_text()]
    [('a', (0, 2)), ('b', (1.0, 0.5))]
    >>> plt.close(figure)
    """
    if len(places) != len(moves):
        raise ValueError(f"places: expected one for each of {len(moves)} states, got {len(places)}")
    for here, symbols in zip(places, moves, strict=True):
        for symbol, state in symbols.items():
            _move(ax, symbol, here, places[state])
    ax.plot(*zip(*places, strict=True), "o", color=COLOURS[0], markersize=12)
    return ax


def _move(ax: Axes, symbol: str, here: tuple[float, float], there: tuple[float, float]) -> None:
    """An arrow from one place to the other, with its symbol in the middle."""
    (x, y), (to_x, to_y) = here, there
    tail, head, bend, middle = here, there, 0.0, ((x + to_x) / 2, (y + to_y) / 2)
    if here == there:
        side = 1 if y > 0 else -1
        tail, head, bend, middle = (x - 0.1, y), (x + 0.1, y), -3.0 * side, (x, y + side)
    ax.annotate("", head, tail, arrowprops=ARROW | {"connectionstyle": f"arc3,rad={bend}"})
    box = {"color": "white", "pad": 1}
    ax.text(*middle, symbol, bbox=box, ha="center", va="center", fontsize=15, weight="bold")
