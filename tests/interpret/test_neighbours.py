"""Nearest neighbours against brute force, and where rounding or ties could mislead."""

import numpy as np
import pytest
import torch

from coursekit.interpret import neighbours
from coursekit.interpret.neighbours import nearest_neighbours, squared_distances


def brute_force(queries, bank, k):
    """One pair at a time, in double precision; Python's sort is stable."""
    found = []
    for q in queries.double():
        distance = [(q - b).square().sum().sqrt().item() for b in bank.double()]
        order = sorted(range(len(bank)), key=lambda j: (distance[j], j))[:k]
        found.append(([distance[j] for j in order], order))
    distances, indices = zip(*found, strict=True)
    return torch.tensor(distances), torch.tensor(indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_equals_brute_force_for_rows_of_any_shape(dtype, k):
    queries, bank = torch.rand(7, 2, 3, 4, dtype=dtype), torch.rand(30, 2, 3, 4, dtype=dtype)
    distances, indices = brute_force(queries, bank, k)
    found = nearest_neighbours(queries, bank, k)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances.to(dtype))
    assert found.distances.dtype == dtype


def test_hand_worked_answer():
    bank = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    distances, indices = nearest_neighbours(torch.zeros(1, 2), bank, 3)
    assert indices.tolist() == [[1, 0, 2]]
    assert distances.tolist() == [[1.0, 5.0, 10.0]]


def test_of_equally_near_rows_the_first_comes_first():
    bank = torch.randint(0, 3, (200, 3)).float()  # 27 different rows, each many times
    queries = torch.randint(0, 3, (20, 3)).float()
    assert torch.equal(nearest_neighbours(queries, bank, 50).indices, brute_force(queries, bank, 50)[1])


def test_a_row_of_the_bank_finds_itself_at_distance_0_far_from_the_origin():
    bank = 1e4 + torch.rand(50, 100)  # single-precision ‖a‖² + ‖b‖² − 2ab would be off by about 1000
    found = nearest_neighbours(bank, bank, 2)
    assert torch.equal(found.indices[:, 0], torch.arange(50))
    assert (found.distances[:, 0] == 0).all()
    assert torch.equal(found.indices, brute_force(bank, bank, 2)[1])


def test_near_duplicates_are_told_apart_by_their_exact_distances():
    """The rows differ by less than the rounding of a product of matrices."""
    bank = torch.zeros(20, 3, dtype=torch.float64)
    bank[:, 0] = 1e-9 * torch.randperm(20)
    bank = torch.cat([bank, torch.full((1, 3), 1e3, dtype=torch.float64)])
    query = torch.zeros(1, 3, dtype=torch.float64)
    assert torch.equal(nearest_neighbours(query, bank, 20).indices, brute_force(query, bank, 20)[1])


def test_small_blocks_change_nothing(monkeypatch):
    queries, bank = torch.randint(0, 4, (9, 5)).float(), torch.randint(0, 4, (40, 5)).float()
    expected = nearest_neighbours(queries, bank, 6)
    monkeypatch.setattr(neighbours, "BLOCK", 50)
    found = nearest_neighbours(queries, bank, 6)
    assert torch.equal(found.indices, expected.indices)
    assert torch.equal(found.distances, expected.distances)


def test_squared_distances_are_those_of_differences():
    a, b = 100 + torch.rand(6, 4, dtype=torch.float64), 100 + torch.rand(8, 4, dtype=torch.float64)
    torch.testing.assert_close(squared_distances(a, b), (a[:, None] - b).square().sum(dim=2), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("queries", "bank", "k", "message"),
    [
        (torch.rand(2, 3), torch.rand(5, 3), 6, "k: expected an integer from 1 to 5, got 6"),
        (torch.rand(2, 3), torch.rand(5, 3), 0, "k: expected an integer from 1 to 5, got 0"),
        (torch.rand(2, 3), torch.rand(5, 4), 1, r"queries and bank: expected rows of one shape, got \(3,\) and \(4,\)"),
        (torch.rand(3), torch.rand(5, 3), 1, r"queries: expected shape \(n, d, ...\), got \(3,\)"),
        (torch.rand(0, 3), torch.rand(5, 3), 1, r"queries: expected at least one element, got shape \(0, 3\)"),
        (torch.rand(2, 3), torch.rand(0, 3), 1, r"bank: expected at least one element, got shape \(0, 3\)"),
        (torch.tensor([[0.0, torch.nan]]), torch.rand(5, 2), 1, "queries: 1 of 2 numbers are NaN or infinite"),
        (torch.rand(1, 2), torch.tensor([[0.0, torch.inf]]), 1, "bank: 1 of 2 numbers are NaN or infinite"),
    ],
)
def test_bad_input_is_named(queries, bank, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(queries, bank, k)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(2, 3).byte(), "expected float32 or float64, got uint8"),  # where 0 − 200 would be 56
        (torch.zeros(2, 3).long(), "expected float32 or float64, got int64"),
        (torch.zeros(2, 3).bool(), "expected float32 or float64, got bool"),
        (torch.zeros(2, 3).half(), "expected float32 or float64, got float16"),
        (torch.zeros(2, 3).cfloat(), "expected float32 or float64, got complex64"),
        (np.zeros((2, 3)), "expected a tensor, got ndarray"),
        ([[0.0, 0.0, 0.0]], "expected a tensor, got list"),
    ],
)
def test_what_is_not_a_tensor_of_decimal_numbers_is_refused(wrong, message, without_annotations):
    with pytest.raises(TypeError, match=f"queries: {message}"):
        nearest_neighbours(wrong, torch.rand(5, 3), 1)
    with pytest.raises(TypeError, match=f"bank: {message}"):
        nearest_neighbours(torch.rand(2, 3), wrong, 1)


@pytest.mark.parametrize("k", [1.0, "1", True, None])
def test_k_is_an_integer(k, without_annotations):
    with pytest.raises(TypeError, match="k: expected an integer, got"):
        nearest_neighbours(torch.rand(2, 3), torch.rand(5, 3), k)
