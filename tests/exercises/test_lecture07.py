import itertools
import re
from collections import Counter

import pytest
import torch

from coursekit.datasets import END, PAD, verdict
from coursekit.exercises.lecture07 import FEWEST, MOST_CALLS, bag_of_ngrams, exercise
from coursekit.recurrent import seq2seq

# --- greedy decoding that stops


def decoding(
    first=END,
    mark=lambda word, over: word.masked_fill(over, PAD),
    feed=lambda word, said: word,
    is_over=lambda over, word: over | (word == END),
    stop=lambda over: over.all(),
    within=lambda steps, limit: steps < limit,
):
    """An answer by its parts: what is said, what is fed back, which sentences are over, and when to stop."""

    def answer(decoder, state, limit):
        word, rows = torch.full((1, state.shape[1]), first), []
        over = torch.zeros_like(word, dtype=torch.bool)
        while within(len(rows), limit) and not stop(over):
            scores, state = decoder(word, state)
            best = scores.argmax(dim=2)
            rows.append(mark(best, over))
            word = feed(best, rows[-1])
            over = is_over(over, best)
        return torch.cat(rows)

    return answer


def in_a_full_table(decoder, state, limit):
    n = state.shape[1]
    table, word = torch.full((limit, n), PAD), torch.full((1, n), END)
    for t in range(limit):
        scores, state = decoder(word, state)
        word = scores.argmax(dim=2)
        table[t] = torch.where((table[:t] == END).any(dim=0), PAD, word[0])
        if (table == END).any(dim=0).all():
            break
    return table


def without_finished_sentences(decoder, state, limit):
    """Sentences that are over leave the batch."""
    left = torch.arange(state.shape[1])
    table, word = torch.full((limit, len(left)), PAD), torch.full((1, len(left)), END)
    for t in range(limit):
        scores, state = decoder(word, state)
        word = scores.argmax(dim=2)
        table[t, left] = word[0]
        goes_on = word[0] != END
        left, word, state = left[goes_on], word[:, goes_on], state[:, goes_on]
        if not len(left):
            break
    return table


RIGHT_DECODING = {
    "the package": seq2seq.greedy,
    "the parts": decoding(),
    "PAD fed back after END": decoding(feed=lambda word, said: said),
    "a full table": in_a_full_table,
    "a shrinking batch": without_finished_sentences,
}


@pytest.mark.parametrize("answer", RIGHT_DECODING.values(), ids=RIGHT_DECODING)
def test_decoding_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "greedy_to_the_end", answer).startswith("✓ greedy_to_the_end: right on one sentence, three")


def never(over):
    return False


WRONG_DECODING = {
    "the notebook's greedy": (
        decoding(mark=lambda word, over: word, stop=never),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 3 END 3 END 4; only PAD comes after END",
    ),
    "always to the limit": (decoding(stop=never), "one sentence: it asks the decoder 6 times, and 3 are enough"),
    "END is not kept": (
        decoding(mark=lambda word, over: word.masked_fill(over | (word == END), PAD)),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 3 PAD; END belongs to the sentence",
    ),
    "words after END": (
        decoding(mark=lambda word, over: word),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END 3 END; only PAD comes after END",
    ),
    "END again and again": (
        decoding(mark=lambda word, over: word.masked_fill(over, END)),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END END END; only PAD comes after END",
    ),
    "the first END stops all": (
        decoding(stop=lambda over: over.any()),
        "three sentences, limit 8: sentence 1 is 2 END, not 2",
    ),
    "only END now counts": (
        decoding(is_over=lambda over, word: word == END),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END PAD END",
    ),
    "PAD before the first word": (
        decoding(first=PAD),
        "the next input is the sentence's own last word, and END before",
    ),
    "END fed back": (
        decoding(feed=lambda word, said: torch.full_like(word, END)),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 5 5",
    ),
    "one word too many": (
        decoding(within=lambda steps, limit: steps <= limit),
        "a sentence that the limit cuts, limit 3: sentence 1 is 4 3 2, not 4 3 2 4",
    ),
    "one word too few": (
        decoding(within=lambda steps, limit: steps < limit - 1),
        "END as the last word, limit 3: sentence 1 is 2 3 END, not 2 3",
    ),
    "no end at all": (
        decoding(stop=never, within=lambda steps, limit: True),
        f"it asks the decoder more than {MOST_CALLS} times; it must stop at the limit",
    ),
    "words without a row": (
        lambda decoder, state, limit: decoder(torch.full((state.shape[1],), END), state),
        "the decoder takes words of shape (1, 1), got (1,)",
    ),
    "transposed": (
        lambda *arguments: seq2seq.greedy(*arguments).T,
        "one sentence: expected integers of shape (words, 1), got torch.int64 of shape (1, 3)",
    ),
    "scores": (
        lambda *arguments: seq2seq.greedy(*arguments).float(),
        "expected integers of shape (words, 1), got torch.float32 of shape (3, 1)",
    ),
    "a list": (lambda *arguments: seq2seq.greedy(*arguments).tolist(), "shape (words, 1), got list"),
    "nothing": (lambda *arguments: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_DECODING.values(), ids=WRONG_DECODING)
def test_wrong_decoding_is_told(ask, answer, message):
    assert message in ask(exercise, "greedy_to_the_end", answer)


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
