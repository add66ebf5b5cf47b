"""Each check returns a right value as it is, and refuses every kind of wrong one in words that begin with its name."""

import math
import re

import numpy as np
import pytest
import torch

from coursekit.validation import (
    count_nonfinite,
    require_choice,
    require_covariance,
    require_flag,
    require_fraction,
    require_function,
    require_images,
    require_instance,
    require_integer,
    require_labels,
    require_mask,
    require_number,
    require_same_shape,
    require_tensor,
    require_unit_range,
)

pytestmark = pytest.mark.usefixtures("without_annotations")
NAN, INF = math.nan, math.inf


def images(*shape):
    return torch.rand(shape or (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda x: require_tensor(x, "x"), torch.tensor(1.5)),
        (lambda x: require_tensor(x, "x", "n d"), torch.ones(2, 3, dtype=torch.float64)),
        (lambda x: require_tensor(x, "x", "n 3"), torch.ones(2, 3)),
        (lambda x: require_tensor(x, "x", "n ..."), torch.ones(2)),
        (lambda x: require_tensor(x, "x", "n ..."), torch.ones(2, 3, 4)),
        (lambda x: require_tensor(x, "x", empty=True), torch.ones(0, 3)),
        (lambda x: require_tensor(x, "x", finite=False), torch.tensor([NAN, INF])),
        (lambda x: require_tensor(x, "x"), torch.full((3,), 3e38)),  # the sum overflows, the numbers do not
        (require_images, images() * 9 - 4),
        (lambda x: require_images(x, unit_range=True), images()),
        (lambda x: require_unit_range(x, "x"), torch.tensor([0.0, 1.0])),
        (lambda x: require_mask(x, "m", "n h w"), torch.ones(1, 2, 2, dtype=torch.bool)),
        (lambda x: require_labels(x, "y", count=3), torch.tensor([0, 500, 1])),
        (lambda x: require_labels(x, "y", count=2, classes=10), torch.tensor([0, 9], dtype=torch.uint8)),
        (lambda x: require_labels(x, "y", count=0), torch.tensor([], dtype=torch.int64)),
        (lambda x: require_choice(x, "rule", ("a", "b")), "b"),
        (lambda x: require_instance(x, "net", torch.nn.Module), torch.nn.ReLU()),
    ],
)
def test_a_right_value_comes_back_as_it_is(check, value):
    assert check(value) is value


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), torch.tensor(3).byte()])
def test_integers_of_every_library_are_python_integers_afterwards(value):
    checked = require_integer(value, "k", low=3, high=3)
    assert (checked, type(checked)) == (3, int)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5)])
def test_numbers_of_every_library_are_python_numbers_afterwards(value):
    checked = require_number(value, "t", above=0, low=0.5, below=1, high=0.5)
    assert (checked, type(checked)) == (0.5, float)


def test_an_integer_is_a_number_and_a_fraction_has_both_ends():
    assert require_number(10, "t") == 10
    assert type(require_number(10, "t")) is float
    assert [require_fraction(end, "p") for end in (0, 1)] == [0, 1]


@pytest.mark.parametrize("value", [True, np.True_, np.array(True), torch.tensor(True)])
def test_truth_values_of_every_library_are_python_truth_values_afterwards(value):
    assert require_flag(value, "full") is True


def test_a_singular_covariance_passes_and_so_does_one_with_rounding_errors():
    assert require_covariance(torch.zeros(2, 2), "C").sum() == 0
    a = torch.randn(40, 3)
    require_covariance(a @ a.T, "C", 40)  # of rank 3, in float32


def test_tensors_of_the_same_shape_pass():
    require_same_shape(torch.ones(2, 3), torch.zeros(2, 3), "x and y")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        # tensors
        (lambda: require_tensor([1.0], "x"), "x: expected a tensor, got list; torch.as_tensor(x) makes one"),
        (lambda: require_tensor(np.ones(2), "x"), "x: expected a tensor, got ndarray; torch.as_tensor(x) makes one"),
        (lambda: require_tensor(2.5, "x"), "x: expected a tensor, got float 2.5; torch.as_tensor(x) makes one"),
        (
            lambda: require_tensor(torch.ones(2).half(), "x"),
            "x: expected float32 or float64, got float16; x.float() converts it",
        ),
        (
            lambda: require_tensor(torch.ones(2).bool(), "x"),
            "x: expected float32 or float64, got bool; x.float() converts it",
        ),
        (
            lambda: require_images((images() * 255).byte()),
            "images: expected float32 or float64, got uint8; images.float() / 255 converts it",
        ),
        (
            lambda: require_images(images().tolist(), "x"),
            "x: expected a tensor, got list; torch.as_tensor(x) makes one",
        ),
        (
            lambda: require_unit_range(torch.tensor([0, 1]), "x"),
            "x: expected float32 or float64, got int64; x.float() converts it",
        ),
        (
            lambda: require_mask(torch.ones(2), "m"),
            "m: expected truth values (torch.bool), got float32; compare it with a number",
        ),
        (
            lambda: require_tensor(torch.eye(2).to_sparse(), "x"),
            "x: expected a dense tensor, got layout torch.sparse_coo; use .to_dense()",
        ),
        (
            lambda: require_labels(torch.zeros(2, dtype=torch.long, device="meta"), "y", count=2),
            "y: expected a dense tensor, got a meta tensor, which holds no numbers",
        ),
        (lambda: require_flag("no", "full"), "full: expected True or False, got str 'no'"),
        (lambda: require_flag(0, "full"), "full: expected True or False, got int 0"),
        (lambda: require_flag(torch.tensor([True]), "full"), "full: expected True or False, got Tensor"),
        (lambda: require_function("relu", "f"), "f: expected a function, got str 'relu'"),
        (lambda: require_mask([True], "m"), "m: expected a tensor, got list; torch.as_tensor(m) makes one"),
        (
            lambda: require_labels([0, 1], "y", count=2),
            "y: expected a tensor, got list; torch.as_tensor(y) makes one",
        ),
        (
            lambda: require_labels(torch.tensor([0.0, 1.0]), "y", count=2),
            "y: expected integers, got float32; y.long() converts it",
        ),
        (
            lambda: require_labels(torch.tensor([True]), "y", count=1),
            "y: expected integers, got bool; y.long() converts it",
        ),
        (
            lambda: require_labels(torch.tensor([1j]), "y", count=1),
            "y: expected integers, got complex64; y.long() converts it",
        ),
        # numbers and words
        (lambda: require_integer(2.0, "k"), "k: expected an integer, got float 2.0"),
        (lambda: require_integer(True, "k"), "k: expected an integer, got bool True"),
        (lambda: require_integer(np.True_, "k"), "k: expected an integer, got bool True"),
        (lambda: require_integer("3", "k"), "k: expected an integer, got str '3'"),
        (lambda: require_integer(None, "k"), "k: expected an integer, got NoneType"),
        (lambda: require_integer(torch.tensor(2.5), "k"), "k: expected an integer, got float 2.5"),
        (lambda: require_integer(torch.tensor(True), "k"), "k: expected an integer, got bool True"),
        (lambda: require_integer(torch.tensor([1, 2]), "k"), "k: expected an integer, got Tensor"),
        (lambda: require_number("3", "t"), "t: expected a number, got str '3'"),
        (lambda: require_number(False, "t"), "t: expected a number, got bool False"),
        (lambda: require_number(np.True_, "t"), "t: expected a number, got bool True"),
        (lambda: require_number(1j, "t"), "t: expected a number, got complex"),
        (lambda: require_number(torch.tensor(1j), "t"), "t: expected a number, got complex"),
        (lambda: require_number([1], "t"), "t: expected a number, got list"),
        (lambda: require_fraction(None, "p"), "p: expected a number, got NoneType"),
        (lambda: require_instance("net", "net", torch.nn.Module), "net: expected Module, got str 'net'"),
        (lambda: require_choice(1, "rule", ["a", "b"]), "rule: expected one of 'a', 'b', got int 1"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_type_error(check, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        check()


@pytest.mark.parametrize(
    ("check", "message"),
    [
        # tensors
        (lambda: require_tensor(torch.ones(3), "x", "n d"), "x: expected shape (n, d), got (3,)"),
        (lambda: require_tensor(torch.ones(2, 3), "x", "n 2"), "x: expected shape (n, 2), got (2, 3)"),
        (lambda: require_tensor(torch.ones(2), "x", "n d ..."), "x: expected shape (n, d, ...), got (2,)"),
        (lambda: require_tensor(torch.ones(0, 3), "x"), "x: expected at least one element, got shape (0, 3)"),
        (lambda: require_tensor(torch.tensor([1, NAN, -INF]), "x"), "x: 2 of 3 numbers are NaN or infinite"),
        (lambda: require_tensor(torch.tensor([INF, -INF]), "x"), "x: 2 of 2 numbers are NaN or infinite"),
        (
            lambda: require_images(images(3, 4, 5)),
            "images: expected a batch (n, c, h, w), got shape (3, 4, 5); pass images[None]",
        ),
        (lambda: require_images(images(4, 5), "x"), "x: expected shape (n, c, h, w), got (4, 5)"),
        (lambda: require_images(images(0, 3, 4, 5)), "images: expected at least one element, got shape (0, 3, 4, 5)"),
        (lambda: require_images(images() * NAN), "images: 120 of 120 numbers are NaN or infinite"),
        (
            lambda: require_images(255 * torch.ones(1, 1, 2, 2), unit_range=True),
            "images: expected numbers in [0, 1], got 255 to 255",
        ),
        (
            lambda: require_unit_range(torch.tensor([-0.25, 0.5]), "x"),
            "x: expected numbers in [0, 1], got -0.25 to 0.5",
        ),
        (lambda: require_unit_range(torch.ones(0), "x"), "x: expected at least one element, got shape (0,)"),
        (lambda: require_unit_range(torch.tensor([NAN]), "x"), "x: 1 of 1 numbers are NaN or infinite"),
        (
            lambda: require_mask(torch.ones(2, 2).bool(), "m", "n h w"),
            "m: expected shape (n, h, w), got (2, 2)",
        ),
        (
            lambda: require_labels(torch.tensor([0, 1]), "y", count=3),
            "y: expected one class for each item, shape (3,), got (2,)",
        ),
        (
            lambda: require_labels(torch.tensor([0, 10, -1, 10]), "y", count=4, classes=10),
            "y: expected classes from 0 to 9, got [-1, 10]",
        ),
        (
            lambda: require_labels(torch.tensor([-2, 1]), "y", count=2),
            "y: expected classes from 0 on, got [-2]",
        ),
        (
            lambda: require_labels(torch.arange(100), "y", count=100, classes=2),
            "y: expected classes from 0 to 1, got [2, 3, 4, 5, 6, 7, ...]",
        ),
        (
            lambda: require_same_shape(torch.ones(2, 1), torch.ones(2), "x and y"),
            "x and y: expected one shape, got (2, 1) and (2,)",
        ),
        # numbers and words
        (lambda: require_integer(0, "k", low=1), "k: expected an integer from 1 on, got 0"),
        (lambda: require_integer(2**63, "k", low=1), f"k: expected an integer from 1 to {2**63 - 1}, got {2**63}"),
        (lambda: require_number(10**309, "t", low=0), f"t: expected a number ≥ 0, got {10**309}"),
        (
            lambda: require_covariance(torch.ones(2, 3), "C"),
            "C and its transpose: expected one shape, got (2, 3) and (3, 2)",
        ),
        (lambda: require_covariance(torch.eye(3), "C", 2), "C: expected shape (2, 2), got (3, 3)"),
        (
            lambda: require_covariance(torch.tensor([[2.0, 0.5], [1.0, 2.0]]), "C"),
            "C: expected a symmetric matrix, got opposite entries 0.5 apart",
        ),
        (
            lambda: require_covariance(torch.tensor([[0.0, 3.0], [3.0, 0.0]]), "C"),
            "C: expected no negative eigenvalue, got -3",
        ),
        (lambda: require_integer(4, "k", high=3), "k: expected an integer up to 3, got 4"),
        (lambda: require_integer(np.int64(-1), "k", low=0, high=9), "k: expected an integer from 0 to 9, got -1"),
        (lambda: require_number(NAN, "t"), "t: expected a finite number, got nan"),
        (lambda: require_number(NAN, "t", low=0), "t: expected a number ≥ 0, got nan"),
        (lambda: require_number(INF, "t", above=0), "t: expected a number > 0, got inf"),
        (lambda: require_number(0, "t", above=0), "t: expected a number > 0, got 0"),
        (
            lambda: require_number(torch.tensor(1.5), "t", low=0, below=1.5),
            "t: expected a number ≥ 0 and < 1.5, got 1.5",
        ),
        (lambda: require_number(-0.5, "t", low=0), "t: expected a number ≥ 0, got -0.5"),
        (lambda: require_number(2, "t", high=1), "t: expected a number ≤ 1, got 2"),
        (lambda: require_fraction(1.01, "p"), "p: expected a number ≥ 0 and ≤ 1, got 1.01"),
        (lambda: require_choice("gradiant", "rule", ["gradient"]), "unknown rule 'gradiant': did you mean gradient?"),
        (lambda: require_choice("zzz", "rule", ["a", "b"]), "unknown rule 'zzz': there are a, b."),
    ],
)
def test_another_wrong_value_is_a_value_error(check, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check()


@pytest.mark.parametrize(
    ("values", "count"),
    [([], 0), ([1.0, 2.0], 0), ([NAN, 1.0, INF, -INF], 3), ([3e38, 3e38], 0)],
)
def test_what_is_not_finite_is_counted(values, count):
    assert count_nonfinite(torch.tensor(values)) == count


def test_integers_and_truth_values_are_finite():
    assert count_nonfinite(torch.tensor([1, 2])) == count_nonfinite(torch.tensor([True])) == 0
