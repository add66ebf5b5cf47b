"""Exercises of lecture 7: bags of groups of words, two sentences that fool bigrams, and Korean number names."""

import copy
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from coursekit.datasets import korean_name, sentences, verdict
from coursekit.exercises.checking import NOTHING_YET, Answer, Exercise, Exercises, Wrong

Bag = Counter[tuple[str, ...]]
REVIEWS = {
    "one sentence": ([["not", "good", "but", "not", "bad"]], 2),
    "single words": ([["not", "good", "but", "not", "bad"]], 1),
    "two sentences": ([["not", "good"], ["bad", "not", "good"]], 2),
    "groups longer than a sentence": ([["fine"], ["not", "at", "all", "fine"]], 4),
    "no sentence": ([], 3),
    "a sentence twice": ([["so", "good"], ["so", "good"]], 2),
    "groups of up to eight": ([["all", "in", "all", "it", "is", "not", "at", "all"]], 8),
}
NUMBERS = {  # in this order, so that a message names the rule that is broken
    "digits": range(1, 10),
    "0": (0,),
    "tens": (20, 35, 99),
    "10 to 19": range(10, 20),
    "hundreds": (100, 111, 200, 350, 905, 110),
    "thousands": (1000, 1001, 1111, 2018, 9050, 3100),
    "10 000": (10000,),
    "five digits": (10001, 11000, 12345, 20000, 20010, 90909, 99999),
}
FEWEST = 6  # words in the shortest sentence that fools bigrams; a test looks at all shorter ones


def bag_of_ngrams(review: list[list[str]], n: int) -> Bag:
    """How often each group of 1 to n words occurs within the sentences of a review."""
    bag: Bag = Counter()
    for words in review:
        for start in range(len(words)):
            bag.update(tuple(words[start:end]) for end in range(start + 1, min(start + n, len(words)) + 1))
    return bag


def korean(number: int) -> str:
    """The Korean name of a number from 0 to 99 999."""
    if number >= 10000:
        above, below = divmod(number, 10000)
        return (korean(above) if above > 1 else "") + "만" + (korean(below) if below else "")
    name = ""
    for value, place in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit, number = divmod(number, value)
        name += "" if digit == 0 else place if digit == 1 and place else "일이삼사오육칠팔구"[digit - 1] + place
    return name or "영"


def fool_bigrams() -> tuple[str, str]:
    """The shortest two sentences with the same words and bigrams of which one praises."""
    return "so not good but so good", "so good but so not good"


def check_bag_of_ngrams(answer: Answer) -> str:
    """Equal to the solution on every review, in any container."""
    for case, (review, n) in REVIEWS.items():
        wanted = bag_of_ngrams(review, n)
        given = copy.deepcopy(review)
        got = _as_bag(answer(given, n))
        if given != review:
            raise Wrong(f"{case}: it changes the review it is given; work on a copy")
        for group in sorted(wanted.keys() | got.keys(), key=lambda it: (len(it), it)):
            if wanted[group] != got[group]:
                hint = _crosses(group, review)
                raise Wrong(f"{case}: {' '.join(group)!r} occurs {wanted[group]} times, not {got[group]}{hint}")
    return f"right on {', '.join(REVIEWS)}"


def check_korean(answer: Answer) -> str:
    """Equal to the names by rule: on numbers that each show one rule, then on 500 random ones."""
    chance = random.Random(0)
    for case, numbers in {**NUMBERS, "random numbers": [chance.randrange(100_000) for _ in range(500)]}.items():
        for number in numbers:
            got, wanted = answer(number), korean_name(number)
            if got is None or got is Ellipsis:
                raise Wrong(NOTHING_YET)
            said = got if isinstance(got, str) else "".join(map(str, got)) if isinstance(got, list | tuple) else None
            if said is None:
                raise Wrong(f"expected a name as a string, got {type(got).__name__}")
            said = said.replace(" ", "")  # one is often written behind 만
            if said != wanted:
                raise Wrong(
                    f"wrong on {case}: {number} is {wanted}, not {said or 'an empty name'}{_rule(said, number)}"
                )
    return f"right on {', '.join(NUMBERS)} and 500 random numbers"


def check_fool_bigrams(answer: Answer) -> str:
    """Two sentences with the same words and bigrams, of which exactly one praises, and as short as possible."""
    pair = answer()
    if pair is None or pair is Ellipsis:
        raise Wrong(NOTHING_YET)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise Wrong(f"expected two sentences, got {type(pair).__name__}")
    first, second = (_words(sentence) for sentence in pair)
    praises = [_verdict(words) for words in (first, second)]
    if praises[0] == praises[1]:
        raise Wrong(f"both sentences {'praise' if praises[0] else 'blame'}: their verdicts must differ")
    for n, name in ((1, "words"), (2, "bigrams")):
        a, b = (bag_of_ngrams([words], n) for words in (first, second))
        if a != b:
            group = min((a - b) or (b - a))
            raise Wrong(
                f"the {name} differ: {' '.join(group)!r} occurs {a[group]} times in one and {b[group]} in the other"
            )
    if len(first) > FEWEST:
        raise Wrong(f"this pair fools bigrams, with {len(first)} words; there is a pair with fewer")
    return f"two sentences of {FEWEST} words with the same bigrams and opposite verdicts; no shorter pair exists"


def _as_bag(got: Any) -> Bag:
    """Counts by group, from a mapping or from all groups one by one."""
    if got is None or got is Ellipsis:
        raise Wrong(NOTHING_YET)
    if isinstance(got, Mapping):
        return Counter({_group(key): count for key, count in got.items() if count})
    if not isinstance(got, Iterable) or isinstance(got, str):
        raise Wrong(f"expected how often each group occurs, got {type(got).__name__}")
    return Counter(map(_group, got))


def _group(key: Any) -> tuple[str, ...]:
    """A group as a tuple of words; it may be written as a string."""
    if isinstance(key, str):
        return tuple(key.split())
    if isinstance(key, tuple | list) and all(isinstance(word, str) for word in key):
        return tuple(key)
    raise Wrong(f"expected groups of words, such as ('not', 'good'), got {key!r}")


def _crosses(group: tuple[str, ...], review: list[list[str]]) -> str:
    """A hint where a group begins in one sentence and ends in the next."""
    inside = any(group in bag_of_ngrams([words], len(group)) for words in review)
    joined = bag_of_ngrams([[word for words in review for word in words]], len(group))
    return "; no group spans two sentences" if group in joined and not inside else ""


def _rule(said: str, number: int) -> str:
    """The rule that a wrong name breaks, where it is a common one."""
    if number == 10000 and said == "일만":
        return "; 일 is not said before 만 if the name begins with it"
    if any(f"일{place}" in said for place in "십백천"):
        return "; 일 is not said before 십, 백 and 천"
    return "; 영 is said for 0 only" if "영" in said and number else ""


def _words(sentence: Any) -> list[str]:
    """The words of a sentence, which may have capital letters, commas and a full stop."""
    words = re.findall(r"\w[\w'’-]*", sentence.lower()) if isinstance(sentence, str) else sentence
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise Wrong(f"expected a sentence as a string, got {type(sentence).__name__}")
    return list(words)


def _verdict(words: list[str]) -> bool:
    if not any(word in sentences.CONTRASTS for word in words):
        raise Wrong(f"{' '.join(words)!r} has no contrast: one of {' and '.join(sentences.CONTRASTS)} is wanted")
    try:
        return verdict(words)
    except ValueError as error:
        raise Wrong(f"the course's rule cannot read it: {error}") from error


exercise = Exercises(
    Exercise(bag_of_ngrams, check_bag_of_ngrams),
    Exercise(fool_bigrams, check_fool_bigrams),
    Exercise(korean, check_korean),
)
