"""Numbers in English words and in Korean syllables, both by rule: a small world for machine translation.

English names groups of three digits (thousand, million), Korean groups of four (만 man = 10⁴, 억 eok = 10⁸), so a
translation of five digits or more cannot go word by word.
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from coursekit.datasets.vocabulary import Vocabulary
from coursekit.validation import require_integer

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]  # from 20 on
GROUPS_OF_THREE = ("", "thousand", "million")
DIGITS = "영일이삼사오육칠팔구"
PLACES = ("", "십", "백", "천")  # 1, 10, 100, 1000
GROUPS_OF_FOUR = ("", "만", "억")
LARGEST = 10**9 - 1  # of numbers with a name

ENGLISH = Vocabulary((*ONES, *TENS, "hundred", *GROUPS_OF_THREE[1:]))
KOREAN = Vocabulary((*DIGITS, *PLACES[1:], *GROUPS_OF_FOUR[1:]))
ROMANIZED = dict(
    zip(
        KOREAN.words,
        ["yeong", "il", "i", "sam", "sa", "o", "yuk", "chil", "pal", "gu", "sip", "baek", "cheon", "man", "eok"],
        strict=True,
    )
)


def english_name(number: int) -> list[str]:
    """The number in English words, without "and" and without hyphens.

    >>> " ".join(english_name(12345))
    'twelve thousand three hundred forty five'
    """
    number = require_integer(number, "number", low=0, high=LARGEST)
    if number == 0:
        return ["zero"]
    words: list[str] = []
    for k in reversed(range(len(GROUPS_OF_THREE))):
        if group := number // 1000**k % 1000:
            words += _below_a_thousand(group) + [GROUPS_OF_THREE[k]] * (k > 0)
    return words


def korean_name(number: int) -> str:
    """The number in Sino-Korean syllables.

    일 (one) is not said before 십, 백 and 천, nor before 만 if the number begins with it: 10 is 십, and 10 000 is 만.
    It is said before 억, and in 십일만 (110 000).

    >>> korean_name(12345)
    '만이천삼백사십오'
    """
    number = require_integer(number, "number", low=0, high=LARGEST)
    if number == 0:
        return DIGITS[0]
    syllables = ""
    for k in reversed(range(len(GROUPS_OF_FOUR))):
        if group := number // 10000**k % 10000:
            alone = k == 1 and group == 1 and not syllables  # 만, not 일만
            syllables += ("" if alone else _below_ten_thousand(group)) + GROUPS_OF_FOUR[k]
    return syllables


def english_value(words: Sequence[str]) -> int:
    """The number that an English name means: the inverse of `english_name`.

    Raises:
        ValueError: it is not the name of a number.
    """
    total = group = 0
    for word in words:
        if word in ONES:
            group += ONES.index(word)
        elif word in TENS:
            group += 10 * (TENS.index(word) + 2)
        elif word == "hundred":
            group *= 100
        elif word in GROUPS_OF_THREE[1:]:
            total, group = total + group * 1000 ** GROUPS_OF_THREE.index(word), 0
        else:
            raise ValueError(f"words: {word!r} is not part of the name of a number")
    value = total + group
    if value > LARGEST or english_name(value) != list(words):
        raise ValueError(f"words: {' '.join(words)!r} is not the name of a number")
    return value


def korean_value(syllables: str) -> int:
    """The number that a Korean name means: the inverse of `korean_name`.

    >>> korean_value("만이천삼백사십오")
    12345

    Raises:
        ValueError: it is not the name of a number.
    """
    total = group = digit = 0
    for syllable in syllables:
        if syllable in DIGITS:
            digit = DIGITS.index(syllable)
        elif syllable in PLACES:
            group, digit = group + max(digit, 1) * 10 ** PLACES.index(syllable), 0
        elif syllable in GROUPS_OF_FOUR:
            total, group, digit = total + max(group + digit, 1) * 10000 ** GROUPS_OF_FOUR.index(syllable), 0, 0
        else:
            raise ValueError(f"syllables: {syllable!r} is not part of the name of a number")
    value = total + group + digit
    if value > LARGEST or korean_name(value) != syllables:
        raise ValueError(f"syllables: {syllables!r} is not the name of a number")
    return value


def draw_numbers(
    count: int, digits: int, seed: int = 0, without: Collection[int] = (), fewest: int = 1
) -> Int[Tensor, " n"]:
    """Random numbers of ``fewest`` to ``digits`` digits, all numbers of digits equally often; numbers can repeat.

    Uniform numbers below 100 000 would have five digits nine times out of ten.

    Args:
        count: how many numbers.
        digits: the most digits of a number, at most 9.
        seed: another one gives other numbers.
        without: numbers that must not be drawn, such as those that a net has learned from.
        fewest: the fewest digits of a number.

    Raises:
        ValueError: for some number of digits every number is excluded.

    >>> draw_numbers(6, digits=3)
    tensor([  9,  73, 513,   9,  68, 812])
    """
    count = require_integer(count, "count", low=1)
    digits = require_integer(digits, "digits", low=1, high=len(str(LARGEST)))
    fewest = require_integer(fewest, "fewest", low=1, high=digits)
    seed = require_integer(seed, "seed", low=0)
    excluded = torch.tensor(sorted({require_integer(number, "without") for number in without}), dtype=torch.int64)
    for k in range(fewest, digits + 1):
        low, high = _range_of(k)
        if ((excluded >= low) & (excluded < high)).sum() >= high - low:
            raise ValueError(f"without: every number of {k} {'digit' if k == 1 else 'digits'} is excluded")
    generator = torch.Generator().manual_seed(seed)
    # Numbers of digits take turns, so that any first numbers are balanced too.
    length = fewest + torch.arange(count) % (digits - fewest + 1)  # (count,)
    bounds = torch.tensor([_range_of(k) for k in range(1, digits + 1)])  # (digits, 2)
    low, high = bounds[length - 1].T  # (count,) each
    numbers = torch.full((count,), -1)
    open_places = torch.ones(count, dtype=torch.bool)
    while open_places.any():  # draw again what is excluded
        drawn = low + (torch.rand(count, generator=generator, dtype=torch.float64) * (high - low)).long()
        numbers = torch.where(open_places, drawn, numbers)
        open_places = torch.isin(numbers, excluded)
    return numbers


def _range_of(digits: int) -> tuple[int, int]:
    """The first number of so many digits, and the first with more; 0 has one digit."""
    return (0 if digits == 1 else 10 ** (digits - 1)), 10**digits


def _below_a_thousand(number: int) -> list[str]:
    hundreds, rest = divmod(number, 100)
    words = [ONES[hundreds], "hundred"] if hundreds else []
    if 0 < rest < 20:
        words.append(ONES[rest])
    elif rest:
        words.append(TENS[rest // 10 - 2])
        words += [ONES[rest % 10]] if rest % 10 else []
    return words


def _below_ten_thousand(number: int) -> str:
    syllables = ""
    for k in reversed(range(4)):
        if digit := number // 10**k % 10:
            syllables += ("" if digit == 1 and k > 0 else DIGITS[digit]) + PLACES[k]
    return syllables
