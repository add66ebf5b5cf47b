import pytest

from coursekit.datasets import PieceTable
from coursekit.datasets.number_names import english_name, korean_name

HIDDEN = 37  # its thousands are never learned


@pytest.fixture(scope="module")
def numbers():
    return [n for n in range(0, 100_000, 17) if n // 1000 != HIDDEN]


def test_numbers_of_known_pieces_are_right(numbers):
    table = PieceTable(numbers)
    tried = [n for n in range(0, 100_000, 101) if n // 1000 != HIDDEN]
    assert all(table(english_name(n)) == korean_name(n) for n in tried)


def test_thousands_that_were_never_learned_need_a_cut_after_the_tens(numbers):
    tried = range(1000 * HIDDEN, 1000 * HIDDEN + 1000, 7)
    table, smaller = PieceTable(numbers), PieceTable(numbers, tens_too=True)
    assert {table(english_name(n)) for n in tried} == {""}
    assert all(smaller(english_name(n)) == korean_name(n) for n in tried)


@pytest.mark.parametrize("tens_too", [False, True])
def test_an_ending_that_was_never_learned_has_no_translation(tens_too):
    table = PieceTable([7, 345, 31007, 31345, 32345, 7345], tens_too)
    assert table(english_name(31345)) == korean_name(31345)
    assert table(english_name(31346)) == table(english_name(346)) == ""


def test_only_the_beginning_that_all_names_share_is_kept():
    table = PieceTable([12345, 12306, 345, 306])
    assert table.beginnings["twelve", "thousand"] == "만이천삼백"
    assert table(english_name(12345)) == "만이천삼백사십오"


def test_numbers_may_come_one_by_one():
    table = PieceTable(n for n in (7, 345, 12007, 12345))
    assert table(english_name(12345)) == korean_name(12345)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([-1],), ValueError, "numbers: expected an integer from 0 to 999999999, got -1"),
        (([1.5],), TypeError, "numbers: expected an integer, got float 1.5"),
        (([1], "yes"), TypeError, "tens_too: expected True or False"),
    ],
)
def test_what_is_no_table_is_refused(without_annotations, arguments, error, message):
    with pytest.raises(error, match=message):
        PieceTable(*arguments)
