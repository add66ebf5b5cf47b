"""Claims: sentences of the lecture as computations that must hold."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coursekit.course import session
from coursekit.course.records import emit, in_words, measured, plain, unboxed

SIGNS = {"holds": "✓", "fails": "✗", "not judged": "○"}


class ClaimFailed(AssertionError):
    """A sentence of the lecture did not hold in this run."""


@dataclass(frozen=True)
class Bound:
    """A condition on the measured value, and its words."""

    words: str
    test: Callable[[float], bool]

    def __call__(self, value: Any) -> bool:
        """Whether every number in ``value`` meets the bound; NaN never does."""
        numbers = plain(value)
        flat = numbers if isinstance(numbers, list) else [numbers]
        if not flat:
            raise ValueError(f"a bound ({self.words}) needs at least one number, got none")
        return all(self.test(float(number)) for number in flat)


def at_most(limit: float) -> Bound:
    """The bound value ≤ limit."""
    return Bound(f"≤ {in_words(limit)}", lambda value: value <= limit)


def at_least(limit: float) -> Bound:
    """The bound value ≥ limit."""
    return Bound(f"≥ {in_words(limit)}", lambda value: value >= limit)


def between(low: float, high: float) -> Bound:
    """The bound low ≤ value ≤ high."""
    return Bound(f"in [{in_words(low)}, {in_words(high)}]", lambda value: low <= value <= high)


def within(target: float, tolerance: float) -> Bound:
    """The bound |value − target| ≤ tolerance."""
    return Bound(f"{in_words(target)} ± {in_words(tolerance)}", lambda value: abs(value - target) <= tolerance)


_claims: list[dict[str, Any]] = []


def forget() -> None:
    """Start counting again, as ``setup`` does."""
    _claims.clear()


def claim(statement: str, holds: object, value: Any, source: str, *, trained: bool = False) -> None:
    """State a sentence of the lecture, show what was measured, and fail the notebook if it does not hold.

    Parameters
    ----------
    statement
        The sentence, with its bound in words.
    holds
        A bound on ``value`` (``at_most(1.01)``, ``within(0.5, 1e-6)``, …), or a truth value where the claim
        is not about one number.
    value
        What was measured: a number, an array, or a short text.
    source
        The erratum (``"E23"``), the paper, or the section of the lecture that the sentence comes from.
    trained
        The claim is about a trained model. At profile ``smoke`` nothing is trained long enough to tell, so
        such a claim is listed as *not judged*.

    Raises
    ------
    ClaimFailed
        The claim does not hold. Its record is in the output all the same.
    TypeError
        ``holds`` is neither a truth value nor a bound.
    """
    if isinstance(holds, Bound):
        bound, verdict = holds.words, holds(value)
    elif not isinstance(verdict := unboxed(holds), bool):
        raise TypeError(f"expected a truth value or a bound such as at_most(0.1) as `holds`, got {holds!r}")
    else:
        bound = None
    judged = not (trained and session.current().profile == "smoke")
    record = {
        "number": len(_claims) + 1,
        "statement": statement,
        "verdict": ("holds" if verdict else "fails") if judged else "not judged",
        "value": plain(value),
        "bound": bound,
        "source": source,
    }
    _claims.append(record)
    emit("claim", record, text=_line(record), markup=_markup(record))
    if record["verdict"] == "fails":
        wanted = f"expected {bound}, measured" if bound else "measured"
        raise ClaimFailed(f"claim {record['number']}: {statement}: {wanted} {in_words(record['value'])} ({source})")


def claims_table() -> None:
    """Show every claim that this notebook has made so far."""
    head = "".join(f"<th>{title}</th>" for title in ("", "claim", "measured", "bound", "source"))
    rows = "".join(
        f"<tr><td>{SIGNS[c['verdict']]} {c['verdict']}</td>"
        f'<td style="text-align:left">{c["number"]}. {html.escape(c["statement"])}</td>'
        f"<td>{measured(c['value'])}</td><td>{html.escape(c['bound'] or '')}</td>"
        f'<td style="text-align:left">{html.escape(c["source"])}</td></tr>'
        for c in _claims
    )
    count = {"claims": len(_claims)}
    emit("table", count, "\n".join(map(_line, _claims)), f"<table><tr>{head}</tr>{rows}</table>")


def _line(record: dict[str, Any]) -> str:
    bound = f" [{record['bound']}]" if record["bound"] else ""
    sign = SIGNS[record["verdict"]]
    return f"{sign} claim {record['number']} {record['verdict']}: {record['statement']}{bound} ({record['source']})"


def _markup(record: dict[str, Any]) -> str:
    bound = f", bound {html.escape(record['bound'])}" if record["bound"] else ""
    return (
        f"<p>{SIGNS[record['verdict']]} <b>Claim {record['number']} {record['verdict']}.</b> "
        f"{html.escape(record['statement'])}<br>"
        f"<small>measured {measured(record['value'])}{bound} · {html.escape(record['source'])}</small></p>"
    )
