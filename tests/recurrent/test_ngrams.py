"""The n-gram model mixes counts by two rules: by hand, by counting in dictionaries, and on a known text."""

import math
from collections import Counter
from typing import get_args

import pytest
import torch

from coursekit import datasets
from coursekit.recurrent import NGrams
from coursekit.recurrent.ngrams import Smoothing

TEXT = "abracadabra, abracadabra and abacus "
VALIDATION = "a cab and a crab"


def by_dictionaries(train, context, text, characters):
    """The mean of −log p with one dictionary of counters, and recursion on the context."""
    followers = {}
    for k in range(context + 1):
        for i in range(k, len(train)):
            followers.setdefault(train[i - k : i], Counter())[train[i]] += 1

    def p(character, before):
        shorter = p(character, before[1:]) if before else 1 / len(characters)
        seen = followers.get(before)
        return shorter if seen is None else (seen[character] + len(seen) * shorter) / (seen.total() + len(seen))

    losses = [-math.log(p(text[i], text[max(0, i - context) : i])) for i in range(len(text))]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("context", range(6))
def test_cross_entropy_is_that_of_counting_in_dictionaries(context):
    characters = "".join(sorted(set(TEXT)))
    expected = by_dictionaries(TEXT, context, VALIDATION, characters)
    assert NGrams(context).fit(TEXT).cross_entropy(VALIDATION) == pytest.approx(expected, rel=1e-12)
    assert NGrams(5).fit(TEXT).cross_entropy(VALIDATION, context) == pytest.approx(expected, rel=1e-12)


def test_without_context_it_is_worked_out_by_hand():
    # "aab": N = 3, D = 2, and V = 2: p(a) = (2 + 2/2) / 5, p(b) = (1 + 2/2) / 5.
    model = NGrams(0).fit("aab")
    torch.testing.assert_close(model.probabilities(""), torch.tensor([0.6, 0.4], dtype=torch.float64))
    assert model.cross_entropy("ab") == pytest.approx(-(math.log(0.6) + math.log(0.4)) / 2)


def kneser_ney_by_dictionaries(train, context, text, characters):
    """The mean of −log p by the rule of Kneser and Ney, from sets of what stands before each gram."""

    def counted(gram):
        """N of a gram: how often it occurs if it is of full length, else how many characters occur before it."""
        at = [i for i in range(len(train)) if train.startswith(gram, i)]
        return len(at) if len(gram) == context + 1 else len({train[i - 1] for i in at if i})

    def p(character, before):
        shorter = p(character, before[1:]) if before else 1 / len(characters)
        counts = {c: n for c in characters if (n := counted(before + c))}
        if not counts:
            return shorter
        d = discounts[len(before)]
        return (max(counts.get(character, 0) - d, 0) + d * len(counts) * shorter) / sum(counts.values())

    discounts = []
    for k in range(context + 1):
        grams = {train[i : i + k + 1] for i in range(len(train) - k)}
        n = Counter(map(counted, grams))
        discounts.append(n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else 0.5)
    losses = [-math.log(p(text[i], text[max(0, i - context) : i])) for i in range(len(text))]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("context", range(5))
def test_kneser_and_ney_count_what_stands_before(context):
    characters = "".join(sorted(set(TEXT)))
    expected = kneser_ney_by_dictionaries(TEXT, context, VALIDATION, characters)
    model = NGrams(context, "Kneser-Ney").fit(TEXT)
    assert model.cross_entropy(VALIDATION) == pytest.approx(expected, rel=1e-12)
    assert NGrams(5, "Kneser-Ney").fit(TEXT).cross_entropy(VALIDATION, context) == pytest.approx(expected, rel=1e-12)


def test_the_rule_of_kneser_and_ney_is_worked_out_by_hand():
    # "aabab", one letter of context. The pairs aa, ab and ba occur once, twice and once: d = 2 / (2 + 2·1) = ½.
    # Without context, a stands behind a and b, and b behind a: counts 2 and 1 of 3, and d = 1 / (1 + 2·1) = ⅓.
    model = NGrams(1, smoothing="Kneser-Ney").fit("aabab")
    a = (2 - 1 / 3 + 2 / 3 / 2) / 3  # ⅔
    torch.testing.assert_close(model.probabilities(""), torch.tensor([a, 1 - a], dtype=torch.float64))
    behind_a = (1 - 1 / 2 + 2 / 2 * a) / 3
    torch.testing.assert_close(model.probabilities("a"), torch.tensor([behind_a, 1 - behind_a], dtype=torch.float64))
    behind_b = 1 - 1 / 2 + 1 / 2 * a
    torch.testing.assert_close(model.probabilities("b"), torch.tensor([behind_b, 1 - behind_b], dtype=torch.float64))


def test_kneser_and_ney_do_not_expect_a_character_that_always_stands_in_one_context():
    text = "xyxyxyxyxyxyxyxy" + "azbzcza"  # y is frequent, but occurs behind x alone; z behind a, b and c
    witten_bell, kneser_ney = (NGrams(1, rule).fit(text).probabilities("") for rule in get_args(Smoothing))
    y, z = text_numbers(text, "yz")
    assert witten_bell[y] > witten_bell[z]
    assert kneser_ney[y] < kneser_ney[z]


def text_numbers(text, characters):
    return [sorted(set(text)).index(character) for character in characters]


@pytest.mark.parametrize("smoothing", get_args(Smoothing))
@pytest.mark.parametrize("before", ["", "a", "ab", "abr", "racad", "dnadna", "abracadabra"])
def test_probabilities_are_positive_and_add_up_to_one(before, smoothing):
    p = NGrams(4, smoothing).fit(TEXT).probabilities(before)
    assert p.min() > 0
    assert p.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", get_args(Smoothing))
def test_probabilities_of_all_characters_are_those_of_the_losses(smoothing):
    model = NGrams(3, smoothing).fit(TEXT)
    text = "abacada"
    losses = [
        -model.probabilities(text[:i])[model.alphabet.characters.index(text[i])].log().item() for i in range(len(text))
    ]
    assert model.losses(text).tolist() == pytest.approx(losses)
    assert model.cross_entropy(text) == pytest.approx(sum(losses) / len(text))


def test_characters_that_never_occurred_may_be_given():
    model = NGrams(2).fit("abab", "abc")
    assert model.probabilities("ab").shape == (3,)
    assert math.isfinite(model.cross_entropy("c"))


def test_samples_come_from_the_alphabet_and_from_the_counts():
    model = NGrams(1).fit("ab" * 1000)
    generator = torch.Generator().manual_seed(0)
    sampled = model.sample("b", 400, generator)
    assert len(sampled) == 400
    assert set(sampled) == {"a", "b"}
    assert sampled.count("ab") > 190  # 2 of 1002 times another letter follows
    assert sampled == model.sample("b", 400, torch.Generator().manual_seed(0))


def test_it_must_count_before_it_is_asked():
    for ask in (lambda m: m.cross_entropy("a"), lambda m: m.probabilities("a"), lambda m: m.sample("a", 1)):
        with pytest.raises(RuntimeError, match="counted nothing yet: call fit first"):
            ask(NGrams(2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: NGrams(-1), ValueError, "context: expected an integer from 0 to 8, got -1"),
        (lambda: NGrams(9), ValueError, "context: expected an integer from 0 to 8, got 9"),
        (lambda: NGrams(1.0), TypeError, "context: expected an integer, got float"),
        (lambda: NGrams(1, "Kneser"), ValueError, "unknown smoothing 'Kneser'"),
        (lambda: NGrams(1, None), TypeError, "smoothing: expected one of 'Witten-Bell', 'Kneser-Ney', got NoneType"),
        (lambda: NGrams(1, 2), TypeError, "smoothing: expected one of 'Witten-Bell', 'Kneser-Ney', got int"),
        (lambda: NGrams(2).fit("ab"), ValueError, "text: expected more than 2 characters, got 2"),
        (lambda: NGrams(2).fit(["ab"]), TypeError, "text: expected str, got list"),
        (lambda: NGrams(0).fit("aaa"), ValueError, "characters: expected two or more different characters"),
        (lambda: NGrams(0).fit("abc", "ab"), ValueError, "text: expected characters of the alphabet, got 'c'"),
        (lambda: NGrams(0).fit("ab").cross_entropy("ax"), ValueError, "alphabet, got 'x'"),
        (lambda: NGrams(0).fit("ab").cross_entropy(""), ValueError, "text: expected at least one character, got none"),
        (lambda: NGrams(0).fit("ab").cross_entropy("a", 1), ValueError, "context: expected an integer from 0 to 0"),
        (lambda: NGrams(0).fit("ab").sample("a", 0), ValueError, "length: expected an integer from 1 on, got 0"),
        (lambda: NGrams(0).fit("ab").sample(None, 1), TypeError, "prompt: expected str, got NoneType"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(call, error, message, without_annotations):
    with pytest.raises(error, match=message):
        call()


def test_eight_characters_of_a_large_alphabet_fit_into_a_number():
    characters = "".join(map(chr, range(32, 160)))
    text = characters[::-1] * 2
    model = NGrams(8).fit(text, characters)
    assert model.probabilities(text[:8]).argmax() == characters.index(text[8])


def test_tiny_shakespeare_costs_what_was_measured(real_data):
    real_data("tinyshakespeare")
    data = datasets.tiny_shakespeare()
    model = NGrams(5).fit(data.train, data.characters)
    measured = [model.cross_entropy(data.validation, context) for context in range(6)]
    assert measured == pytest.approx([3.347, 2.486, 2.049, 1.774, 1.669, 1.698], abs=5e-4)
