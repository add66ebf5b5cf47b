import math
import re

import numpy as np
import pytest
import torch

from coursekit import datasets
from coursekit.datasets.sequences import REBER_SYMBOLS, LabelledSequences


def generates(automaton, string, state=0):
    """Whether an automaton written as lists of (symbol, state) accepts the string."""
    if not string:
        return state == "end"
    return state != "end" and any(
        generates(automaton, string[1:], after) for symbol, after in automaton[state] if symbol == string[0]
    )


BY_HAND = {
    0: [("B", 1)],
    1: [("T", 2), ("P", 3)],
    2: [("S", 2), ("X", 4)],
    3: [("T", 3), ("V", 5)],
    4: [("X", 3), ("S", 6)],
    5: [("P", 4), ("V", 6)],
    6: [("E", "end")],
}

# --- adding


def test_the_target_is_the_sum_of_the_two_marked_numbers():
    data = datasets.adding(200, length=11)
    numbers, marks = data.inputs.unbind(dim=2)
    assert torch.equal(marks.sum(dim=1), torch.full((200,), 2.0))
    assert torch.equal(marks[:, :5].sum(dim=1), torch.ones(200))  # one in each half
    assert torch.allclose((numbers * marks).sum(dim=1), data.targets)
    assert marks.sum(dim=0).min() > 0  # every step is marked sometimes


def test_the_mean_has_an_error_of_one_sixth():
    targets = datasets.adding(20_000, length=4).targets
    assert (targets - 1).square().mean() == pytest.approx(1 / 6, abs=0.005)


@pytest.mark.parametrize("make", [lambda n, s: datasets.adding(n, 9, s), lambda n, s: datasets.copying(n, 4, s)])
def test_a_larger_set_keeps_the_first_sequences_and_another_seed_gives_others(make):
    few, many, others = make(5, 0), make(30, 0), make(5, 1)
    assert torch.equal(few.inputs, many.inputs[:5])
    assert torch.equal(few.targets, many.targets[:5])
    assert not torch.equal(few.inputs, others.inputs)


def test_the_global_generators_are_left_alone():
    before = torch.get_rng_state()
    datasets.adding(3)
    datasets.copying(3, delay=2)
    datasets.reber(3)
    assert torch.equal(before, torch.get_rng_state())


# --- copying


def test_the_symbols_return_after_the_sign():
    data = datasets.copying(50, delay=7, symbols=4, count=3)
    seen = data.inputs.argmax(dim=2)
    assert data.inputs.shape == (50, 13, 6)
    assert torch.equal(data.inputs.sum(dim=2), torch.ones(50, 13))
    assert torch.equal(seen[:, :3], data.targets[:, -3:])
    assert set(seen[:, :3].flatten().tolist()) == {1, 2, 3, 4}
    assert torch.equal((seen == 5).nonzero()[:, 1], torch.full((50,), 9))  # the sign, 7 steps after the last symbol
    assert seen[:, 3:9].eq(0).all()
    assert seen[:, 10:].eq(0).all()
    assert data.targets[:, :-3].eq(0).all()


def test_another_delay_has_the_same_symbols():
    assert torch.equal(datasets.copying(5, 2).targets[:, -10:], datasets.copying(5, 30).targets[:, -10:])


def test_whoever_remembers_nothing_pays_what_the_docstring_says():
    data = datasets.copying(20, delay=5, count=4)
    scores = torch.zeros(20, 13, 9)  # certain of the blanks, and of nothing about the symbols
    scores[:, :9, 0], scores[:, 9:, 0] = 50.0, -50.0
    loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), data.targets.flatten())
    assert loss.item() == pytest.approx(4 * math.log(8) / (5 + 2 * 4), rel=1e-5)


# --- Reber


@pytest.mark.parametrize("least", [5, 9, 20])
def test_every_string_is_accepted_by_an_automaton_written_by_hand(least):
    for string in datasets.reber(60, least=least):
        assert generates(BY_HAND, string)
        assert len(string) >= least
        assert datasets.is_reber(string)


@pytest.mark.parametrize("least", [5, 30])
def test_embedded_strings_hold_a_reber_string_between_two_equal_symbols(least):
    strings = datasets.reber(80, embedded=True, least=least)
    for string in strings:
        assert re.fullmatch(r"B([TP])\w+\1E", string)
        assert generates(BY_HAND, string[2:-2])
        assert len(string[2:-2]) >= least
        assert datasets.is_reber(string, embedded=True)
    assert {string[1] for string in strings} == {"T", "P"}


def test_corrupted_strings_are_rejected():
    for string in datasets.reber(40, embedded=True, least=6):
        other = {"T": "P", "P": "T"}[string[-2]]
        assert not datasets.is_reber(f"{string[:-2]}{other}E", embedded=True)
        assert not datasets.is_reber(string[:-1], embedded=True)
        assert not datasets.is_reber(f"{string}E", embedded=True)
        assert not datasets.is_reber(string)
        for i, symbol in enumerate(string):
            for wrong in set(REBER_SYMBOLS) - {symbol}:
                changed = string[:i] + wrong + string[i + 1 :]
                # A changed inner symbol can give another string of the grammar; the automaton by hand decides.
                inner = changed[2:-2]
                legal = re.fullmatch(r"B([TP])\w+\1E", changed) is not None and generates(BY_HAND, inner)
                assert datasets.is_reber(changed, embedded=True) == legal


def test_the_shortest_strings_are_those_of_five_symbols():
    words = {string for string in datasets.reber(12) if len(string) == 5}
    assert words == {"BTXSE", "BPVVE"}


def test_no_string_occurs_twice_and_none_is_an_excluded_one():
    train = datasets.reber(200, embedded=True)
    test = datasets.reber(200, seed=1, embedded=True, exclude=train)
    assert len(set(train)) == len(set(test)) == 200
    assert not set(train) & set(test)
    assert datasets.reber(20, embedded=True) == train[:20]


def test_plain_draws_repeat_short_strings():
    draws = datasets.reber(1000, distinct=False)
    assert len(set(draws)) < 300
    assert draws.count("BPVVE") / 1000 == pytest.approx(1 / 8, abs=0.04)
    assert "BPVVE" not in datasets.reber(50, distinct=False, exclude={"BPVVE"})


def test_both_symbols_are_equally_likely_where_length_allows():
    strings = datasets.reber(2000, seed=3, embedded=True, least=30)
    assert sum(string[1] == "T" for string in strings) / 2000 == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("prefix", "embedded", "legal"),
    [
        ("", False, "B"),
        ("B", False, "TP"),
        ("BTX", False, "XS"),
        ("BPVP", False, "XS"),
        ("BPVV", False, "E"),
        ("BPVVE", False, ""),
        ("BT", True, "B"),
        ("BPBPVVE", True, "P"),
        ("BTBPVVET", True, "E"),
        ("BTBPVVETE", True, ""),
    ],
)
def test_what_may_follow(prefix, embedded, legal):
    assert set(datasets.reber_successors(prefix, embedded=embedded)) == set(legal)


def test_a_prefix_that_no_string_has_is_named():
    with pytest.raises(ValueError, match=r"no Reber string begins with 'BX': after 'B' only T, P may follow"):
        datasets.reber_successors("BX")
    with pytest.raises(ValueError, match=r"no embedded Reber string begins with 'BTBPVVEP': .* only T may follow"):
        datasets.reber_successors("BTBPVVEP", embedded=True)
    with pytest.raises(ValueError, match="after 'BPVVE' nothing may follow"):
        datasets.reber_successors("BPVVEE")


def test_sequences_hold_each_symbol_and_the_next_one():
    strings = datasets.reber(30, embedded=True)
    data = datasets.reber_sequences(strings)
    for string, inputs, targets in zip(strings, data.inputs, data.targets, strict=True):
        t = len(string) - 1
        assert "".join(REBER_SYMBOLS[k] for k in inputs[:t].argmax(dim=1)) == string[:-1]
        assert "".join(REBER_SYMBOLS[k] for k in targets[:t]) == string[1:]
        assert torch.equal(inputs.sum(dim=1), (torch.arange(len(inputs)) < t).float())
        assert (targets[t:] == -100).all()


# --- the type, and wrong arguments


def test_an_index_selects_sequences_with_their_targets():
    data = datasets.adding(6, length=4)
    for index in (slice(2, 5), torch.tensor([4, 0]), data.targets > 1):
        assert torch.equal(data[index].inputs, data.inputs[index])
        assert torch.equal(data[index].targets, data.targets[index])
    assert repr(datasets.copying(2, 3, count=2)) == "2 sequences of 7×10, a target for each step"
    assert torch.equal(data.to("cpu").targets, data.targets)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LabelledSequences(torch.rand(4, 5, 2), torch.rand(3)), ValueError, r"targets: expected shape \(4,\)"),
        (lambda: LabelledSequences(torch.rand(4, 5), torch.rand(4)), ValueError, "inputs: expected shape"),
        (lambda: LabelledSequences(torch.rand(4, 5, 2), [1.0] * 4), TypeError, "targets: expected Tensor"),
        (lambda: datasets.adding(3, 4)[0], TypeError, "index: expected a slice or a tensor, got int"),
        (lambda: datasets.adding(0), ValueError, "n: expected an integer from 1 on"),
        (lambda: datasets.adding(2, length=1), ValueError, "length: expected an integer from 2 on"),
        (lambda: datasets.adding(2.0), TypeError, "n: expected an integer"),
        (lambda: datasets.adding(2, seed=-1), ValueError, "seed: expected an integer from 0"),
        (lambda: datasets.copying(2, delay=0), ValueError, "delay: expected an integer from 1 on"),
        (lambda: datasets.copying(2, 3, symbols=1), ValueError, "symbols: expected an integer from 2 on"),
        (lambda: datasets.copying(2, 3, count=0), ValueError, "count: expected an integer from 1 on"),
        (lambda: datasets.reber(2, least=4), ValueError, "least: expected an integer from 5 on"),
        (lambda: datasets.reber(2, exclude="BPVVE"), TypeError, "exclude: expected several strings, got str"),
        (lambda: datasets.reber_sequences("BPVVE"), TypeError, "strings: expected several strings, got 'BPVVE'"),
        (lambda: datasets.reber_sequences([]), TypeError, "strings: expected several strings"),
        (lambda: datasets.reber_sequences(["BPQ"]), ValueError, "symbols BTPSXVE, got 'BPQ'"),
        (lambda: datasets.reber_sequences(["B"]), ValueError, "two or more of the symbols"),
        (lambda: datasets.reber_successors(3), TypeError, "prefix: expected str, got int 3"),
    ],
)
def test_wrong_arguments_are_named(without_annotations, call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("wrong", ["no", None, 1])
def test_which_grammar_and_whether_distinct_are_truth_values(wrong, without_annotations):
    with pytest.raises(TypeError, match="embedded: expected True or False"):
        datasets.reber(1, embedded=wrong)
    with pytest.raises(TypeError, match="distinct: expected True or False"):
        datasets.reber(1, distinct=wrong)
    with pytest.raises(TypeError, match="embedded: expected True or False"):
        datasets.is_reber("BTXSE", embedded=wrong)


def test_seeds_may_come_from_numpy(without_annotations):
    assert datasets.reber(3, seed=np.int64(5)) == datasets.reber(3, seed=5)
    assert torch.equal(datasets.shapes(2, 16, seed=np.uint8(5)).images, datasets.shapes(2, 16, seed=5).images)
