"""Guesses: the reader commits to a number or a choice before the notebook measures it."""

import html
from collections.abc import Sequence
from typing import Any

from coursekit.course import session
from coursekit.course.display import WIDGET_VIEW
from coursekit.course.records import emit, in_words, plain, require_text


class Guess:
    """A question, and what the reader said: None until the control is used, and in a run without a reader."""

    def __init__(self, question: str, options: list[str], low: float, high: float, unit: str) -> None:
        self.question, self.options = question, options
        self.low, self.high, self.unit = low, high, unit
        self.said: str | float | None = None

    def reveal(self, value: Any) -> None:
        """Show what was measured beside what the reader said.

        Args:
            value: one of the options, or a number. A number beyond the limits of the guess is shown with a remark.

        Raises:
            TypeError, ValueError: it is neither.
            RuntimeError: a drawing function asks for it.
        """
        session.current()
        value = plain(value)
        if self.options and value not in self.options:
            raise ValueError(f"expected one of {', '.join(map(repr, self.options))}, got {value!r}")
        if not self.options and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"expected a number, got {value!r}")
        record = {"question": self.question, "said": self.said, "measured": self._words(value)}
        said = "" if self.said is None else f"You said {self._words(self.said)}. "
        remark = " ✓" if self.options and self.said == value else ""
        if not self.options and not self.low <= value <= self.high:
            remark = f", beyond the numbers to choose from, {self._limits()}"
        answer = f'<b><span class="measured">{html.escape(self._words(value))}</span></b>'
        emit(
            "answer",
            record,
            text=f"{said}The answer: {self._words(value)}{remark}",
            markup=f"<p><small>{html.escape(self.question)}</small><br>"
            f"{html.escape(said)}The answer: {answer}{html.escape(remark)}",
        )

    def _words(self, value: Any) -> str:
        return f"{in_words(value)} {self.unit}".rstrip()

    def _limits(self) -> str:
        return f"{self._words(self.low)} to {self._words(self.high)}"

    def _number(self, text: str) -> float | None:
        """The number that the reader typed, with or without the unit; None if it is none within the limits."""
        try:
            number = float(text.strip().removesuffix(self.unit))
        except ValueError:
            return None
        return number if self.low <= number <= self.high else None


def guess(
    question: str, options: Sequence[str] = (), *, low: float | None = None, high: float | None = None, unit: str = ""
) -> Guess:
    """Ask the reader for a choice among ``options``, or for a number from ``low`` to ``high``.

    The answer is kept in the `Guess` that is returned; a later cell shows it with ``.reveal(value)``. A run without a
    reader goes on without an answer.

    Args:
        question: one question, with its question mark.
        options: two or more answers to choose from.
        low: the least number that can be said.
        high: the greatest one.
        unit: of the number, ``"%"`` for example.

    Raises:
        TypeError: the question, an option or the unit is not text, or a limit is not a number.
        ValueError: the question is blank; neither options nor limits, or both, or only one; low ≥ high; options with a
            unit.
        RuntimeError: `setup` was not called yet.
    """
    from coursekit.validation import require_number  # loads torch, which importing this package must not

    require_text(question, "question", "a guess needs a question")
    if isinstance(options, str):
        raise TypeError(f"options: expected a list of answers, got str {options!r}")
    for option in options:
        require_text(option, "options", "an answer needs words")
    limits = [limit for limit in (low, high) if limit is not None]
    if bool(options) == bool(limits) or len(options) == 1 or len(limits) == 1 or len(set(options)) < len(options):
        raise ValueError("a guess needs two or more different options, or both low and high")
    for limit in limits:
        require_number(limit, "low, high")
    if limits and limits[0] >= limits[1]:
        raise ValueError(f"low, high: expected low < high, got {low} and {high}")
    if unit != "":
        require_text(unit, "unit", "leave it out where a number has none")
        if options:
            raise ValueError("unit: only a number has one; write it into the options")
    session.current()

    least, greatest = limits or (0.0, 0.0)
    made = Guess(question, list(options), least, greatest, unit)
    _ask(made)
    return made


def _ask(made: Guess) -> None:
    """Show the question with its control; where no widget can live, with the answers to choose from."""
    from IPython import get_ipython
    from IPython.display import display

    choice = " · ".join(made.options) or f"a number from {made._limits()}"
    text = f"Your guess: {made.question} ({choice})"
    if get_ipython() is None:
        print(text)
        return
    markup = f"<p><b>Your guess.</b> {html.escape(made.question)}<br><small>{html.escape(choice)}</small></p>"
    live = {"version_major": 2, "version_minor": 0, "model_id": _widget(made).model_id}
    record = {"question": made.question, "options": made.options}
    display(
        {WIDGET_VIEW: live, "text/plain": text, "text/html": markup},
        raw=True,
        metadata={"coursekit": {"guess": record}},
    )


def _widget(made: Guess) -> Any:
    """The question above a row of buttons or a field for a number; using it is the answer."""
    from ipywidgets import HTML, RadioButtons, Text, VBox

    if made.options:
        advice = "choose"
        control = RadioButtons(options=made.options, value=None, layout={"width": "max-content"})
    else:
        # Not a slider: ipywidgets gives a slider no name that a screen reader could say. Not a box for numbers: it
        # begins with a number, to which nobody could commit. The text counts when the reader presses Enter or leaves.
        advice = f"type a number from {made._limits()} and press Enter"
        control = Text(description="your guess", continuous_update=False)
    said = HTML(f"<small>{html.escape(advice)} before you run on</small>")

    def commit(change: Any) -> None:
        made.said = change["new"] if made.options else made._number(change["new"])
        words = (
            f"expected a number from {made._limits()}" if made.said is None else f"you said {made._words(made.said)}"
        )
        said.value = f"<small>{html.escape(words)}</small>"

    control.observe(commit, names="value")
    return VBox([HTML(f"<b>Your guess.</b> {html.escape(made.question)}"), control, said])
