"""Claims: sentences of the lecture as computations that must hold. Checks: identities of our own code."""

import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from coursekit.course import session
from coursekit.course.records import Check, Claim, Verdict, emit, in_words, measured, plain, require_text, unboxed

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


def claim(
    statement: str,
    holds: object,
    value: Any,
    source: str,
    *,
    trained: bool = False,
    controls: Mapping[str, Any] | None = None,
    passes: Mapping[str, Any] | None = None,
) -> None:
    """State a sentence of the lecture, show what was measured, and fail the notebook if it does not hold.

    A claim that its strongest cheap explanation meets as well says nothing. So a claim names its *controls*, which must
    miss the bound, and a claim that something fails names what *passes* the same test. Both are shown beside the value.

    Args:
        statement: the sentence, with its bound in words.
        holds: a bound on ``value`` (``at_most(1.01)``, ``within(0.5, 1e-6)``, …), or a truth value where the claim is
            not about one number.
        value: what was measured: a number, an array, or a short text.
        source: the erratum (``"E23"``), the paper, or the section of the lecture that the sentence comes from.
        trained: the claim is about a trained model. At profile ``smoke`` nothing is trained long enough to tell, so
            such a claim is listed as *not judged*.
        controls: values that must miss the bound, by what they belong to: ``{"untrained net": 0.21}``. Of several
            numbers, one that misses is enough.
        passes: values that must meet the bound: ``{"two good nets": 0.09}``.

    Raises:
        ClaimFailed: the claim does not hold, a control meets its bound, or a pass misses it. The record is in the
            output all the same.
        TypeError: ``holds`` is neither a truth value nor a bound, or a value is neither numbers nor text; controls
            and passes without a bound.
        ValueError: ``statement``, ``source`` or the name of a control is blank.
        RuntimeError: `setup` was not called yet.
    """
    require_text(statement, "statement", "a claim needs a sentence that can be true or false")
    from coursekit.validation import require_flag  # loads torch, which importing this package must not

    require_text(source, "source", "a claim needs a source: an erratum, a paper, or a section of the lecture")
    bound, true = _judged(holds, value)
    controls, passes = _named(controls, "controls", holds), _named(passes, "passes", holds)
    for name, it in controls.items():
        if not all(map(math.isfinite, _numbers_in(it))):
            raise ValueError(f"controls: {name!r} is {_words(it)}: a control that could not be computed proves nothing")
    wrong = [] if true else [_missed(bound, value)]
    if isinstance(holds, Bound):
        wrong += [
            f"the control {name!r} meets the bound as well, with {_words(it)}: the claim says nothing"
            for name, it in controls.items()
            if holds(it)
        ]
        wrong += [
            f"{name!r} was to pass the same test: {_missed(bound, it)}" for name, it in passes.items() if not holds(it)
        ]

    course = session.current()
    trained = require_flag(trained, "trained")
    verdict: Verdict = "fails" if wrong else "holds"
    if trained and course.profile == "smoke":
        verdict = "not judged"
    made = Claim(
        number=_number_of(statement, course.claims),
        statement=statement,
        verdict=verdict,
        value=plain(value),
        bound=bound,
        source=source,
        controls={name: plain(it) for name, it in controls.items()},
        passes={name: plain(it) for name, it in passes.items()},
        trained=trained,
    )
    _put(made, course.claims)
    emit("claim", asdict(made), text=_line(made), markup=_markup(made))
    if verdict == "fails":
        raise ClaimFailed(f"claim {made.number}: {statement}: {'; '.join(wrong)} ({source})")


def check(statement: str, holds: object, value: Any = None) -> None:
    """Verify an identity or a property of our own code, and fail the notebook if it does not hold.

    A check is no statement about the world, so it needs no control and no source. The checks of a cell are shown
    together, in one compact table at its end, and are counted apart from claims.

    Args:
        statement: the identity in words: ``"the package's occlusion gives the same map"``.
        holds: a bound on ``value``, or a truth value.
        value: what was measured, if it is a number.

    Raises:
        ClaimFailed: it does not hold.
        TypeError: ``holds`` is neither a truth value nor a bound, or ``value`` is neither numbers nor text.
        ValueError: ``statement`` is blank.
        RuntimeError: `setup` was not called yet.
    """
    require_text(statement, "statement", "a check needs a sentence that can be true or false")
    bound, true = _judged(holds, value)
    course = session.current()
    made = Check(
        number=_number_of(statement, course.checks),
        statement=statement,
        verdict="holds" if true else "fails",
        value=None if value is None else plain(value),
        bound=bound,
    )
    _put(made, course.checks)
    course.unshown.append(made)
    _at_end_of_cell(course)
    if not true:
        raise ClaimFailed(f"check: {statement}: {_missed(bound, value)}")


def claims_table() -> None:
    """Show every claim that this notebook has made so far, and how many checks it has passed."""
    course = session.current()
    claims, checks = course.claims, course.checks
    head = "".join(f"<th>{title}</th>" for title in ("", "claim", "measured", "bound", "controls", "source"))
    table = f"<table><tr>{head}</tr>{''.join(map(_row, claims))}</table>"
    lines = [_line(made) for made in claims]
    if checks:
        held = f"{sum(it.verdict == 'holds' for it in checks)} of {len(checks)} checks hold."
        table, lines = f"{table}<p>{held}</p>", [*lines, held]
    emit("table", {"claims": len(claims)}, "\n".join(lines), table)


Made = TypeVar("Made", Claim, Check)


def _number_of(statement: str, made: Sequence[Claim | Check]) -> int:
    """Its number: the old one if the cell runs again, else the next."""
    return next((it.number for it in made if it.statement == statement), len(made) + 1)


def _put(new: Made, made: list[Made]) -> None:
    """Enter a claim or a check, in place of the one with the same number."""
    made[new.number - 1 : new.number] = [new]


def _judged(holds: object, value: Any) -> tuple[str | None, bool]:
    """The bound in words, if there is one, and whether it is met."""
    if isinstance(holds, Bound):
        return holds.words, holds(value)
    if isinstance(true := unboxed(holds), bool):
        return None, true
    raise TypeError(f"expected a truth value or a bound such as at_most(0.1) as `holds`, got {holds!r}")


def _missed(bound: str | None, value: Any) -> str:
    wanted = f"expected {bound}, " if bound else ""
    return "it is false" if value is None else f"{wanted}measured {_words(value)}"


def _words(value: Any) -> str:
    return in_words(plain(value))


def _named(values: Mapping[str, Any] | None, argument: str, holds: object) -> dict[str, Any]:
    """Controls or passes, which mean something only beside a bound."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise TypeError(f"{argument}: expected values by name, {{'untrained net': 0.2}}, got {type(values).__name__}")
    if not isinstance(holds, Bound):
        raise TypeError(f"{argument}: only a bound such as at_most(0.1) can judge them, and this claim has none")
    for name in values:
        require_text(name, f"a name in {argument}", "say what the value belongs to")
    return dict(values)


def _at_end_of_cell(course: session.Session) -> None:
    """Have the checks of the running cell shown when the cell ends, as matplotlib does with its figures."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is None:  # plain Python: at once
        _show_checks(course)
    elif len(course.unshown) == 1:  # the first check of this cell

        def show(*_: Any) -> None:
            shell.events.unregister("post_execute", show)
            _show_checks(course)

        shell.events.register("post_execute", show)


def _show_checks(course: session.Session) -> None:
    """Show the checks that no table shows yet, in one output."""
    made = course.unshown.copy()
    course.unshown.clear()
    rows = "".join(
        f'<tr><td>{SIGNS[it.verdict]}</td><td style="text-align:left">{html.escape(it.statement)}</td>'
        f"<td>{'' if it.value is None else measured(it.value)}</td><td>{html.escape(it.bound or '')}</td></tr>"
        for it in made
    )
    lines = [f"{SIGNS[it.verdict]} {it.statement}" + (f" [{it.bound}]" if it.bound else "") for it in made]
    emit("checks", [asdict(it) for it in made], "\n".join(lines), f'<table style="font-size:smaller">{rows}</table>')


def _line(claim: Claim) -> str:
    bound = f" [{claim.bound}]" if claim.bound else ""
    compared = f"; controls: {', '.join(claim.controls)}" if claim.controls else ""
    compared += f"; also pass: {', '.join(claim.passes)}" if claim.passes else ""
    sign = SIGNS[claim.verdict]
    return f"{sign} claim {claim.number} {claim.verdict}: {claim.statement}{bound} ({claim.source}){compared}"


def _comparison(claim: Claim) -> str:
    """HTML of the controls and passes of a claim with their values: ``controls: untrained net 0.21``."""
    parts = [
        f"{title}: " + ", ".join(f"{html.escape(name)} {measured(it)}" for name, it in values.items())
        for title, values in (("controls", claim.controls), ("passes", claim.passes))
        if values
    ]
    return " · ".join(parts)


def _markup(claim: Claim) -> str:
    bound = f", bound {html.escape(claim.bound)}" if claim.bound else ""
    controls = f"{shown} · " if (shown := _comparison(claim)) else ""
    return (
        f"<p>{SIGNS[claim.verdict]} <b>Claim {claim.number} {claim.verdict}.</b> "
        f"{html.escape(claim.statement)}<br>"
        f"<small>measured {measured(claim.value)}{bound} · {controls}{html.escape(claim.source)}</small></p>"
    )


def _row(claim: Claim) -> str:
    return (
        f"<tr><td>{SIGNS[claim.verdict]} {claim.verdict}</td>"
        f'<td style="text-align:left">{claim.number}. {html.escape(claim.statement)}</td>'
        f"<td>{measured(claim.value)}</td><td>{html.escape(claim.bound or '')}</td>"
        f'<td style="text-align:left">{_comparison(claim)}</td>'
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
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)
    else:
        raise TypeError(f"a bound needs numbers, got {type(value).__name__} {value!r}")
