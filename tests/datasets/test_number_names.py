import pytest
import torch

from coursekit import datasets
from coursekit.datasets import number_names
from coursekit.datasets.number_names import draw_numbers, english_name, english_value, korean_name, korean_value

KNOWN = {
    0: ("zero", "영"),
    1: ("one", "일"),
    10: ("ten", "십"),
    11: ("eleven", "십일"),
    20: ("twenty", "이십"),
    21: ("twenty one", "이십일"),
    100: ("one hundred", "백"),
    101: ("one hundred one", "백일"),
    110: ("one hundred ten", "백십"),
    111: ("one hundred eleven", "백십일"),
    1000: ("one thousand", "천"),
    1001: ("one thousand one", "천일"),
    2018: ("two thousand eighteen", "이천십팔"),
    9999: ("nine thousand nine hundred ninety nine", "구천구백구십구"),
    10000: ("ten thousand", "만"),
    10001: ("ten thousand one", "만일"),
    11000: ("eleven thousand", "만천"),
    12345: ("twelve thousand three hundred forty five", "만이천삼백사십오"),
    20000: ("twenty thousand", "이만"),
    99999: ("ninety nine thousand nine hundred ninety nine", "구만구천구백구십구"),
    100000: ("one hundred thousand", "십만"),
    110000: ("one hundred ten thousand", "십일만"),
    1000000: ("one million", "백만"),
    10000000: ("ten million", "천만"),
    12345678: (
        "twelve million three hundred forty five thousand six hundred seventy eight",
        "천이백삼십사만오천육백칠십팔",
    ),
    100000000: ("one hundred million", "일억"),
    100010000: ("one hundred million ten thousand", "일억일만"),
}


@pytest.mark.parametrize(("number", "names"), KNOWN.items())
def test_names_that_everybody_knows(number, names):
    english, korean = names
    assert " ".join(english_name(number)) == english
    assert korean_name(number) == korean


def some_numbers():
    return [*range(12_000), *range(12_000, 10**9, 999_983), 10**9 - 1, *(10**k for k in range(9))]


def test_names_and_values_are_inverse():
    for number in some_numbers():
        assert english_value(english_name(number)) == number
        assert korean_value(korean_name(number)) == number


def test_no_two_numbers_share_a_name():
    names = {korean_name(number) for number in range(100_000)}
    assert len(names) == 100_000


@pytest.mark.parametrize(
    "name", ["일백", "일십", "일천", "일만", "", "영일", "이삼", "백만백만", "만억", "십영", "일이", "억"]
)
def test_what_is_no_korean_name_has_no_value(name):
    with pytest.raises(ValueError, match=r"syllables: .* is not the name of a number"):
        korean_value(name)


@pytest.mark.parametrize("name", ["", "one one", "hundred", "twenty zero", "one thousand thousand", "ten hundred"])
def test_what_is_no_english_name_has_no_value(name):
    with pytest.raises(ValueError, match=r"words: .* is not the name of a number"):
        english_value(name.split())


def test_a_word_of_another_language_is_named():
    with pytest.raises(ValueError, match="'elf' is not part of the name of a number"):
        english_value(["elf"])
    with pytest.raises(ValueError, match="'x' is not part of the name of a number"):
        korean_value("십x")


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (-1, ValueError, "number: expected an integer from 0 to 999999999, got -1"),
        (10**9, ValueError, "number: expected an integer from 0 to 999999999, got 1000000000"),
        (1.5, TypeError, "number: expected an integer, got float 1.5"),
        (True, TypeError, "number: expected an integer, got bool True"),
    ],
)
@pytest.mark.parametrize("name", [english_name, korean_name])
def test_what_has_no_name_is_refused(without_annotations, name, number, error, message):
    with pytest.raises(error, match=message):
        name(number)


def test_the_vocabularies_hold_every_word_and_no_other():
    said = {word for number in some_numbers() for word in english_name(number)}
    assert said == set(number_names.ENGLISH.words)
    said = {syllable for number in some_numbers() for syllable in korean_name(number)}
    assert said == set(number_names.KOREAN.words) == set(number_names.ROMANIZED)


def test_the_dictionary_up_to_five_digits_has_thirty_words():
    assert len({word for number in range(100_000) for word in english_name(number)}) == 30


def test_numbers_of_digits_are_equally_frequent():
    numbers = draw_numbers(5000, digits=5)
    assert torch.bincount(torch.tensor([len(str(n)) for n in numbers.tolist()])).tolist() == [0, *[1000] * 5]
    assert 0 in numbers.tolist()
    five = numbers[numbers >= 10_000].double()
    assert 53_000 < five.mean() < 57_000


def test_fewer_digits_can_be_left_out():
    assert draw_numbers(30, digits=4, fewest=3).min() >= 100


def test_excluded_numbers_are_never_drawn():
    without = set(range(100, 990))
    numbers = draw_numbers(300, digits=3, without=without)
    assert not without & set(numbers.tolist())
    assert (numbers >= 990).sum() == 100


def test_numbers_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    assert torch.equal(draw_numbers(50, 5, seed=3), draw_numbers(50, 5, seed=3))
    assert not torch.equal(draw_numbers(50, 5, seed=3), draw_numbers(50, 5, seed=4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count: expected an integer from 1 on, got 0"),
        ({"digits": 10}, ValueError, "digits: expected an integer from 1 to 9, got 10"),
        ({"fewest": 4}, ValueError, "fewest: expected an integer from 1 to 3, got 4"),
        ({"without": range(10)}, ValueError, "without: every number of 1 digit is excluded"),
        ({"without": range(10, 100)}, ValueError, "without: every number of 2 digits is excluded"),
        ({"seed": -1}, ValueError, "seed: expected an integer from 0"),
    ],
)
def test_numbers_that_cannot_be_drawn_are_refused(without_annotations, arguments, error, message):
    with pytest.raises(error, match=message):
        draw_numbers(**{"count": 3, "digits": 3} | arguments)


def test_they_are_exported():
    assert datasets.korean_name(10) == "십"


@pytest.mark.parametrize("wrong", [7.5, "7", True])
def test_excluded_numbers_are_integers(wrong, without_annotations):
    with pytest.raises(TypeError, match="without: expected an integer"):
        draw_numbers(4, 1, without=[0, wrong])
    assert 7 not in draw_numbers(500, 1, without=[torch.tensor(7)])
