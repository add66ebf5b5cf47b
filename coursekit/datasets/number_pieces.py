"""A translator without a net: it keeps tables of pieces of number names, and joins what it finds in them."""

from collections.abc import Iterable, Sequence
from itertools import takewhile

from coursekit.datasets.number_names import LARGEST, TENS, english_name, korean_name
from coursekit.validation import require_flag, require_integer

Piece = tuple[str, ...]


class PieceTable:
    """Translates by pieces learned from numbers: a name cut after "thousand", and after the tens if ``tens_too``.

    A beginning, such as "twelve thousand", stands for what the Korean names of all its numbers begin with; an ending
    for what is left of the first name in which it occurred. Words in which no piece was learned give "".

    >>> translate = PieceTable([7, 345, 12007, 12345, 12800, 13800])
    >>> translate(["twelve", "thousand", "eight", "hundred"])
    '만이천팔백'
    """

    def __init__(self, numbers: Iterable[int], tens_too: bool = False) -> None:
        each = dict.fromkeys(require_integer(number, "numbers", low=0, high=LARGEST) for number in numbers)
        self.tens_too = require_flag(tens_too, "tens_too")
        pairs = [(_cut(english_name(number)), korean_name(number)) for number in each]
        names: dict[Piece, list[str]] = {}
        for (beginning, _), korean in pairs:
            names.setdefault(beginning, []).append(korean)
        self.beginnings = {beginning: _shared(its) if beginning else "" for beginning, its in names.items()}
        self.endings: dict[Piece, str] = {}
        for (beginning, ending), korean in pairs:
            self.endings.setdefault(ending, korean.removeprefix(self.beginnings[beginning]))
        thousands: dict[str, list[str]] = {}  # thirty → the beginnings of thirty-one, thirty-two … thousand
        for beginning, korean in self.beginnings.items():
            if len(beginning) == 3 and beginning[0] in TENS:
                thousands.setdefault(beginning[0], []).append(korean)
        self.tens = {word: _shared(its) for word, its in thousands.items()}  # thirty → 삼만

    def __call__(self, words: Sequence[str]) -> str:
        """The Korean name, or "" where a piece was never learned."""
        beginning, ending = _cut(words)
        if ending not in self.endings:
            return ""
        if self.tens_too and len(beginning) == 3 and beginning[0] in self.tens and beginning[1:] in self.beginnings:
            return self.tens[beginning[0]] + self.beginnings[beginning[1:]] + self.endings[ending]
        return self.beginnings[beginning] + self.endings[ending] if beginning in self.beginnings else ""


def _cut(words: Sequence[str]) -> tuple[Piece, Piece]:
    """The words up to "thousand", and those after it."""
    at = list(words).index("thousand") + 1 if "thousand" in words else 0
    return tuple(words[:at]), tuple(words[at:])


def _shared(names: Iterable[str]) -> str:
    """The beginning that names have in common."""
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    return "".join(column[0] for column in columns)
