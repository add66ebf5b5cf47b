"""Points around known modes: their law is what is said, they repeat themselves, and wrong arguments are named."""

import pytest
import torch

from coursekit.datasets import grid, parallel_lines, ring


@pytest.mark.parametrize("make", [ring, grid])
def test_points_are_gaussian_around_equally_likely_modes(make):
    data = make(40_000)
    distance, nearest = torch.cdist(data.points, data.modes).min(dim=1)
    share = nearest.bincount(minlength=len(data.modes)) / 40_000
    assert (share * len(data.modes) - 1).abs().max() < 0.15
    assert distance.square().mean().sqrt().item() == pytest.approx(data.std * 2**0.5, rel=0.02)


def test_the_settings_of_pacgan():
    assert ring().points.shape == grid().points.shape == (2500, 2)
    assert ring().std == 0.01
    assert grid().std == 0.05
    torch.testing.assert_close(ring().modes.norm(dim=1), torch.ones(8))
    assert grid().modes.unique().tolist() == [-4, -2, 0, 2, 4]


def test_a_seed_repeats_itself():
    assert torch.equal(ring(9, seed=3).points, ring(9, seed=3).points)
    assert not torch.equal(ring(9, seed=3).points, ring(9, seed=4).points)


def test_the_parallel_lines():
    data, model = parallel_lines(-0.5, n=1000)
    assert data[:, 0].unique().tolist() == [0]
    assert model[:, 0].unique().tolist() == [-0.5]
    for heights in (data[:, 1], model[:, 1]):
        assert heights.min() >= 0
        assert heights.max() <= 1
        assert heights.mean().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(data[:, 1], model[:, 1])


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: ring(0), ValueError, "n: expected an integer from 1 on, got 0"),
        (lambda: ring(10, modes=0), ValueError, "modes: expected an integer from 1 on"),
        (lambda: ring(10, std=0), ValueError, "std: expected a number > 0"),
        (lambda: ring(10, radius=-1), ValueError, "radius: expected a number ≥ 0"),
        (lambda: grid(10, spacing=0), ValueError, "spacing: expected a number > 0"),
        (lambda: grid(10, seed=-1), ValueError, "seed: expected an integer from 0"),
        (lambda: parallel_lines(float("inf")), ValueError, "theta: expected a finite number"),
        (lambda: parallel_lines(1.0, n=2.5), TypeError, "n: expected an integer, got float"),
    ],
)
def test_wrong_arguments(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()
