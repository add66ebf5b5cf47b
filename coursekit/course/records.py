"""What a notebook says of itself: outputs whose metadata a program can read.

The visible part of an output is for the reader. Its record is in the output's metadata, under ``coursekit``, so that
an executed notebook describes itself and a report only collects.
"""

import html
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from coursekit.errors import CourseError

Verdict = Literal["holds", "fails", "not judged"]
# What readers of a record rely on: its fields, with their types or their values.
FORMS: dict[str, dict[str, Any]] = {
    "claim": {"number": int, "statement": str, "verdict": get_args(Verdict), "bound": str | None}
    | {"controls": dict, "passes": dict},
    "check": {"number": int, "statement": str, "verdict": get_args(Verdict), "value": object},
    "exercise": {"name": str, "verdict": ("solved", "open")},
    "score": {"solved": int, "exercises": int},
    "table": {"claims": int},
    "setup": {"device": str, "seed": int, "versions": dict},
}


@dataclass(frozen=True)
class Claim:
    """A claim and its verdict. Its record is ``dataclasses.asdict(claim)``, and ``Claim.of(record)`` reads it again."""

    number: int  # from 1, in the order of the notebook
    statement: str
    verdict: Verdict
    value: Any  # what was measured, as `plain` gives it
    bound: str | None  # in words; None where the claim is a truth value
    source: str
    controls: dict[str, Any] = field(default_factory=dict)  # what must miss the bound, by name
    passes: dict[str, Any] = field(default_factory=dict)  # what must meet it
    trained: bool = False  # it is about a trained model

    @classmethod
    def of(cls, record: Any) -> "Claim":
        """The claim of a record; errors as in `require_record`."""
        try:
            claim = cls(**record)
        except TypeError as error:
            raise CourseError(f"the claim record is malformed ({error}): execute the notebook again.") from error
        require_record(vars(claim), "claim")
        return claim


@dataclass(frozen=True)
class Check:
    """An identity or a property of our own code, and its verdict; the record of a cell is the list of its checks."""

    number: int
    statement: str
    verdict: Verdict
    value: Any  # as in `Claim`; None where nothing but the truth is known
    bound: str | None


def emit(kind: str, record: dict[str, Any] | list[dict[str, Any]], text: str, markup: str | None = None) -> None:
    """Show ``text`` (and ``markup``, its HTML form) with ``record`` in the output's metadata.

    The text must be the same on every machine, because committed outputs are compared with those of a new run. Numbers
    that may differ in their last digits belong in the record and in the HTML, inside `measured`.
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


def require_record(record: Any, kind: str) -> dict[str, Any]:
    """A record of this kind, which any program may have written.

    Raises:
        CourseError: it does not have the fields in `FORMS`.
    """
    for name, form in FORMS[kind].items():
        known = isinstance(record, dict) and name in record
        if not known or not (record[name] in form if isinstance(form, tuple) else isinstance(record[name], form)):
            raise CourseError(f"the {kind} record is malformed at {name!r}: execute the notebook again.")
    return record


def measured(value: Any) -> str:
    """HTML of a measured value, in a span that the comparison of committed outputs leaves out."""
    return f'<span class="measured">{html.escape(in_words(value))}</span>'


def in_words(value: Any) -> str:
    """A decimal number with four significant digits, a list of them, or the text itself.

    >>> in_words([0.123456, 22466, "nan"])
    '0.1235, 22466, nan'
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(in_words(v) for v in value)
    if value is None or isinstance(value, bool | int | dict):
        return str(value)
    return f"{value:.4g}"


def unboxed(value: Any) -> Any:
    """Python's own numbers and lists in place of a tensor or an array; any other value unchanged."""
    return value.tolist() if hasattr(value, "tolist") else value


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: tensors and arrays become numbers and lists, NaN and infinity become text.

    Raises:
        TypeError: it is neither a number nor text nor an array of numbers.

    >>> plain((1, float("inf")))
    [1, 'inf']
    """
    value = unboxed(value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"expected a number, a text, or an array of numbers, got {type(value).__name__}")


def require_text(value: Any, name: str, advice: str) -> str:
    """Text that is not blank; ``advice`` is the message where it is.

    It stands here and not in `coursekit.validation`, which loads torch.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name}: {advice}")
    return value
