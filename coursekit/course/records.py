"""What a notebook says of itself: an output whose metadata a program can read.

The visible part of the output is for the reader. The record lies in the output's metadata, under ``coursekit``,
so that an executed notebook describes itself and a report only collects.
"""

import html
import math
from typing import Any


def emit(kind: str, record: dict[str, Any], text: str, markup: str | None = None) -> None:
    """Show ``text`` (and ``markup``, its HTML form) with ``record`` in the output's metadata.

    ``text`` must be the same on every machine: numbers that differ in their last digits belong into
    ``markup`` (inside ``measured``) and into the record.
    """
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:  # plain Python: a script or a test
        print(text)
        return
    data = {"text/plain": text}
    if markup is not None:
        data["text/html"] = markup
    display(data, raw=True, metadata={"coursekit": {kind: record}})


def measured(value: Any) -> str:
    """HTML of a measured value; the comparison of committed outputs leaves this span out."""
    return f'<span class="measured">{html.escape(in_words(value))}</span>'


def in_words(value: Any) -> str:
    """A number with four significant digits, a list of them, or the text itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(in_words(v) for v in value)
    if isinstance(value, bool | int):
        return str(value)
    return f"{value:.4g}"


def unboxed(value: Any) -> Any:
    """Python's own numbers and lists in place of a tensor or an array; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: tensors and arrays become numbers and lists, NaN and infinity text."""
    value = unboxed(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"expected a number, a text, or an array of numbers, got {type(value).__name__}")
