"""Claims: sentences of the lecture as computations that must hold."""

import html
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from coursekit.course import session
from coursekit.course.records import Claim, Verdict, emit, in_words, measured, plain, require_text, unboxed

SIGNS: dict[Verdict, str] = {"holds": "✓", "fails": "✗", "not judged": "○"}


class ClaimFailed(AssertionError):
    """A sentence of the lecture did not hold in this run."""


@dataclass(frozen=True)
class Bound:
    """A condition on the measured value, and its words."""

    words: str
    test: Callable[[float], bool]

    def __call__(self, value: Any) -> bool:
        """Whether every number in ``value`` meets the bound; NaN never does.

        Raises:
            ValueError: ``value`` holds no number.
            TypeError: ``value`` holds something else.
        """
        numbers = list(_numbers_in(value))
        if not numbers:
            raise ValueError(f"a bound ({self.words}) needs at least one number, got none")
        return all(map(self.test, numbers))


def at_most(limit: float) -> Bound:
    """The bound value ≤ limit.

    >>> at_most(0.1)([0.05, 0.1])
    True
    """
    return Bound(f"≤ {_number(limit, 'limit')}", lambda value: value <= limit)


def at_least(limit: float) -> Bound:
    """The bound value ≥ limit."""
    return Bound(f"≥ {_number(limit, 'limit')}", lambda value: value >= limit)


def between(low: float, high: float) -> Bound:
    """The bound low ≤ value ≤ high.

    Raises:
        ValueError: low > high.
    """
    words = f"in [{_number(low, 'low')}, {_number(high, 'high')}]"
    if low > high:
        raise ValueError(f"low, high: expected low ≤ high, got {low} and {high}")
    return Bound(words, lambda value: low <= value <= high)


def within(target: float, tolerance: float) -> Bound:
    """The bound |value − target| ≤ tolerance.

    >>> within(2, 0.1).words
    '2 ± 0.1'
    """
    words = f"{_number(target, 'target')} ± {_number(tolerance, 'tolerance', low=0)}"
    return Bound(words, lambda value: abs(value - target) <= tolerance)


def claim(statement: str, holds: object, value: Any, source: str, *, trained: bool = False) -> None:
    """State a sentence of the lecture, show what was measured, and fail the notebook if it does not hold.

    Args:
        statement: the sentence, with its bound in words.
        holds: a bound on ``value`` (``at_most(1.01)``, ``within(0.5, 1e-6)``, …), or a truth value where the claim is
            not about one number.
        value: what was measured: a number, an array, or a short text.
        source: the erratum (``"E23"``), the paper, or the section of the lecture that the sentence comes from.
        trained: the claim is about a trained model. At profile ``smoke`` nothing is trained long enough to tell, so
            such a claim is listed as *not judged*.

    Raises:
        ClaimFailed: the claim does not hold. Its record is in the output all the same.
        TypeError: ``holds`` is neither a truth value nor a bound, or ``value`` is neither numbers nor text.
        ValueError: ``statement`` or ``source`` is blank.
        RuntimeError: `setup` was not called yet.
    """
    require_text(statement, "statement", "a claim needs a sentence that can be true or false")
    require_text(source, "source", "a claim needs a source: an erratum, a paper, or a section of the lecture")
    if isinstance(holds, Bound):
        bound, true = holds.words, holds(value)
    elif isinstance(true := unboxed(holds), bool):
        bound = None
    else:
        raise TypeError(f"expected a truth value or a bound such as at_most(0.1) as `holds`, got {holds!r}")

    course = session.current()
    verdict: Verdict = "holds" if true else "fails"
    if trained and course.profile == "smoke":
        verdict = "not judged"
    made = Claim(len(course.claims) + 1, statement, verdict, plain(value), bound, source)
    course.claims.append(made)
    emit("claim", asdict(made), text=_line(made), markup=_markup(made))
    if verdict == "fails":
        wanted = f"expected {bound}, measured" if bound else "measured"
        raise ClaimFailed(f"claim {made.number}: {statement}: {wanted} {in_words(made.value)} ({source})")


def claims_table() -> None:
    """Show every claim that this notebook has made so far."""
    claims = session.current().claims
    head = "".join(f"<th>{title}</th>" for title in ("", "claim", "measured", "bound", "source"))
    table = f"<table><tr>{head}</tr>{''.join(map(_row, claims))}</table>"
    emit("table", {"claims": len(claims)}, "\n".join(map(_line, claims)), table)


def _line(claim: Claim) -> str:
    bound = f" [{claim.bound}]" if claim.bound else ""
    sign = SIGNS[claim.verdict]
    return f"{sign} claim {claim.number} {claim.verdict}: {claim.statement}{bound} ({claim.source})"


def _markup(claim: Claim) -> str:
    bound = f", bound {html.escape(claim.bound)}" if claim.bound else ""
    return (
        f"<p>{SIGNS[claim.verdict]} <b>Claim {claim.number} {claim.verdict}.</b> "
        f"{html.escape(claim.statement)}<br>"
        f"<small>measured {measured(claim.value)}{bound} · {html.escape(claim.source)}</small></p>"
    )


def _row(claim: Claim) -> str:
    return (
        f"<tr><td>{SIGNS[claim.verdict]} {claim.verdict}</td>"
        f'<td style="text-align:left">{claim.number}. {html.escape(claim.statement)}</td>'
        f"<td>{measured(claim.value)}</td><td>{html.escape(claim.bound or '')}</td>"
        f'<td style="text-align:left">{html.escape(claim.source)}</td></tr>'
    )


def _number(value: Any, name: str, low: float | None = None) -> str:
    """A limit of a bound in words; it must be a finite number."""
    from coursekit.validation import require_number  # loads torch, which importing this package must not

    require_number(value, name, low=low)
    return in_words(value)


def _numbers_in(value: Any) -> Iterator[float]:
    """Every number in a number, a tensor, an array, or lists of these."""
    value = unboxed(value)
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers_in(part)
    elif isinstance(value, int | float):
        yield float(value)
    else:
        raise TypeError(f"a bound needs numbers, got {type(value).__name__} {value!r}")
