import itertools
import re
from collections import Counter

import pytest

from coursekit.datasets import korean_name, verdict
from coursekit.exercises.lecture07 import FEWEST, bag_of_ngrams, exercise

# --- bags of groups of words


def groups(words, n):
    return zip(*(words[i:] for i in range(n)), strict=False)


def by_zip(review, n):
    return Counter(group for k in range(1, n + 1) for words in review for group in groups(words, k))


def in_a_dict(review, n):
    counts = {}
    for words in review:
        for k in range(1, n + 1):
            for i in range(len(words) - k + 1):
                group = tuple(words[i : i + k])
                counts[group] = counts.get(group, 0) + 1
    return counts


RIGHT_BAGS = {
    "Counter": by_zip,
    "dict": in_a_dict,
    "strings": lambda review, n: {" ".join(group): count for group, count in by_zip(review, n).items()},
    "a list of all": lambda review, n: list(by_zip(review, n).elements()),
    "a list of lists": lambda review, n: [list(group) for group in by_zip(review, n).elements()],
    "a generator": lambda review, n: (" ".join(group) for group in by_zip(review, n).elements()),
    "with zeros": lambda review, n: {**by_zip(review, n), ("ugly",): 0},
}


@pytest.mark.parametrize("answer", RIGHT_BAGS.values(), ids=RIGHT_BAGS)
def test_bags_are_accepted_in_any_container(ask, answer):
    assert ask(exercise, "bag_of_ngrams", answer).startswith("✓ bag_of_ngrams: right on one sentence, single words")


def joined(review, n):
    return by_zip([[word for words in review for word in words]], n)


def emptying(review, n):
    bag = by_zip(review, n)
    for words in review:
        words.clear()
    return bag


WRONG_BAGS = {
    "empties its sentences": (emptying, "one sentence: it changes the review it is given; work on a copy"),
    "empties the review": (
        lambda review, n: Counter(g for _ in range(len(review)) for g in by_zip([review.pop()], n).elements()),
        "one sentence: it changes the review it is given; work on a copy",
    ),
    "crosses sentences": (joined, "'good bad' occurs 0 times, not 1; no group spans two sentences"),
    "n only": (
        lambda review, n: Counter(g for words in review for g in groups(words, n)),
        "one sentence: 'bad' occurs 1 times, not 0",
    ),
    "up to n − 1": (lambda review, n: by_zip(review, n - 1), "'but not' occurs 1 times, not 0"),
    "up to n + 1": (lambda review, n: by_zip(review, n + 1), "'but not bad' occurs 0 times, not 1"),
    "presence": (lambda review, n: dict.fromkeys(by_zip(review, n), 1), "'not' occurs 2 times, not 1"),
    "a set": (lambda review, n: set(by_zip(review, n)), "'not' occurs 2 times, not 1"),
    "without order": (
        lambda review, n: Counter(tuple(sorted(g)) for g in by_zip(review, n).elements()),
        "one sentence: 'bad not' occurs 0 times, not 1",
    ),
    "the last group is missing": (
        lambda review, n: by_zip([words[:-1] for words in review], n),
        "'bad' occurs 1 times",
    ),
    "a repeated sentence once": (
        lambda review, n: by_zip({tuple(words) for words in review}, n),
        "a sentence twice: 'good' occurs 2 times, not 1",
    ),
    "up to four words": (
        lambda review, n: by_zip(review, min(n, 4)),
        "groups of up to eight: .* occurs 1 times, not 0",
    ),
    "skips words": (
        lambda review, n: Counter(
            g for words in review for k in range(1, n + 1) for g in itertools.combinations(words, k)
        ),
        "occurs",
    ),
    "a number": (lambda review, n: 3, "expected how often each group occurs, got int"),
    "numbers": (lambda review, n: [3, 4, 5], "expected groups of words, such as .*, got 3"),
    "nothing": (lambda review, n: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_BAGS.values(), ids=WRONG_BAGS)
def test_a_wrong_bag_is_told(ask, answer, message):
    assert re.search(message, ask(exercise, "bag_of_ngrams", answer))


# --- Korean names


def by_table(number):
    names = {0: "영"}
    digits = ["", *"일이삼사오육칠팔구"]
    if number in names:
        return names[number]
    groups = [number // 10000, number % 10000]
    texts = []
    for group in groups:
        text = ""
        for place, value in (("천", 1000), ("백", 100), ("십", 10), ("", 1)):
            digit = group // value % 10
            text += (digits[digit] if digit != 1 or not place else "") + (place if digit else "")
        texts.append(text)
    high = ("" if groups[0] == 1 else texts[0]) + "만" if groups[0] else ""
    return high + texts[1]


def with_all_ones(number):
    """일 before every place."""
    if number == 0:
        return "영"
    text = ""
    for place, value in (("만", 10000), ("천", 1000), ("백", 100), ("십", 10), ("", 1)):
        if digit := number // value % 10:
            text += "일이삼사오육칠팔구"[digit - 1] + place
    return text


RIGHT_NAMES = {
    "a table": by_table,
    "the package": korean_name,
    "replaced": lambda n: re.sub("일(?=[십백천])|^일(?=만)", "", with_all_ones(n)),
    "with a space": lambda n: by_table(n).replace("만", "만 "),
    "a list of syllables": lambda n: list(by_table(n)),
}


@pytest.mark.parametrize("answer", RIGHT_NAMES.values(), ids=RIGHT_NAMES)
def test_names_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "korean", answer).startswith("✓ korean: right on digits, 0, tens")


WRONG_NAMES = {
    "일십": (with_all_ones, "10 to 19: 10 is 십, not 일십; 일 is not said before 십, 백 and 천"),
    "일백": (
        lambda n: korean_name(n).replace("백", "일백") if n == 100 else korean_name(n),
        "hundreds: 100 is 백, not 일백; 일 is not said before 십, 백 and 천",
    ),
    "0 is empty": (lambda n: korean_name(n) if n else "", "wrong on 0: 0 is 영, not an empty name"),
    "일만": (
        lambda n: ("일" if 10000 <= n < 20000 else "") + korean_name(n),
        "10 000: 10000 is 만, not 일만; 일 is not said before 만 if the name begins with it",
    ),
    "십천": (
        lambda n: korean_name(n // 1000) + "천" + korean_name(n % 1000).strip("영") if n >= 10000 else korean_name(n),
        "10 000: 10000 is 만, not 십천",
    ),
    "0 is said within": (
        lambda n: korean_name(n) + ("영" if n > 9 and n % 10 == 0 else ""),
        "tens: 20 is 이십, not 이십영; 영 is said for 0 only",
    ),
    "an integer": (lambda n: n, "expected a name as a string, got int"),
    "nothing": (lambda n: None, "it returns nothing yet"),
    "the dictionary": (
        lambda n: korean_name(n) if n < 10000 else korean_name(n).replace("만", "십천"),
        "wrong on 10 000",
    ),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_a_wrong_name_is_told(ask, answer, message):
    assert message in ask(exercise, "korean", answer)


# --- two sentences that fool bigrams

RIGHT_PAIRS = [
    ("so not good but so good", "so good but so not good"),
    ("So not good but so good", "So good but so not good"),
    ("So not good, but so good.", "So good, but so not good."),
    ("so good although so not good", "so not good although so good"),
    (["very", "hardly", "bad", "but", "very", "bad"], ["very", "bad", "but", "very", "hardly", "bad"]),
]


@pytest.mark.parametrize("pair", RIGHT_PAIRS)
def test_pairs_are_accepted(ask, pair):
    assert "✓ fool_bigrams: two sentences of 6 words" in ask(exercise, "fool_bigrams", lambda: pair)


WRONG_PAIRS = {
    "different words": (("so good but bad", "so bad but fine"), "the words differ: 'good' occurs 1 times in one and 0"),
    "other bigrams": (("good but bad", "bad but good"), "the bigrams differ: 'but bad' occurs 1 times in one and 0"),
    "one verdict": (
        ("so good but so good", "so good but so good"),
        "both sentences praise: their verdicts must differ",
    ),
    "longer than need be": (
        ("it is so not good but it is so good", "it is so good but it is so not good"),
        "this pair fools bigrams, with 10 words; there is a pair with fewer",
    ),
    "no contrast": (("not good", "good not"), "'not good' has no contrast: one of but and although is wanted"),
    "no adjective": (("so but good", "good but so"), "the course's rule cannot read it: words: expected one adjective"),
    "two contrasts": (("good but bad but good", "bad but good but good"), "expected one of but and although at most"),
    "one sentence": (("so good but so bad",), "expected two sentences, got tuple"),
    "a string": ("so good but so bad", "expected two sentences, got str"),
    "numbers": ((1, 2), "expected a sentence as a string, got int"),
    "nothing": (None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("pair", "message"), WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_a_wrong_pair_is_told(ask, pair, message):
    assert message in ask(exercise, "fool_bigrams", lambda: pair)


def test_no_shorter_pair_exists():
    """All sentences of fewer words, where one word stands for all that play the same part.

    Two adjectives of each sign and two negations would add nothing: with other words the two sentences differ in more
    bigrams. Words without a meaning: two different ones.
    """
    words = ("good", "fine", "bad", "dull", "not", "hardly", "but", "although", "so", "very")
    verdicts = {}
    for length in range(3, FEWEST):
        for sentence in itertools.product(words, repeat=length):
            if sum(word in ("but", "although") for word in sentence) != 1:
                continue
            try:
                praise = verdict(sentence)
            except ValueError:
                continue
            bag = frozenset(bag_of_ngrams([list(sentence)], 2).items())
            verdicts.setdefault(bag, set()).add(praise)
    assert len(verdicts) > 500
    assert all(len(it) == 1 for it in verdicts.values())
