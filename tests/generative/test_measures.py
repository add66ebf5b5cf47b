"""Measures of samples equal their definitions, know their blind spots, and name wrong arguments."""

import math

import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from coursekit import datasets
from coursekit.generative import (
    coverage,
    frechet_distance,
    mode_coverage,
    nearer_to_training,
    precision_recall,
    sharpness,
)

F64 = torch.float64


def cloud(*shape):
    return torch.randn(*shape, dtype=F64)


def test_a_perfect_sampler():
    data = datasets.grid(100_000)
    found = mode_coverage(data.points, data.modes, data.std)
    assert found.captured == 25
    assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert found.kl_to_uniform < 1e-3
    assert found.shares.sum().item() == pytest.approx(1)


def test_one_mode_and_none():
    data = datasets.ring(500)
    one = mode_coverage(data.modes[:1].expand(100, 2), data.modes, data.std)
    assert (one.captured, one.high_quality) == (1, 1.0)
    assert one.kl_to_uniform == pytest.approx(math.log(8), rel=1e-6)
    none = mode_coverage(data.modes + 5, data.modes, data.std)
    assert (none.captured, none.high_quality) == (0, 0.0)
    assert math.isnan(none.kl_to_uniform)


def test_a_mode_counts_only_if_a_good_point_is_nearest():
    modes = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    found = mode_coverage(torch.tensor([[0.31, 0.0], [0.02, 0.02]]), modes, std=0.1)  # 0.31 is beyond three σ
    assert (found.captured, found.high_quality) == (1, 0.5)


def test_the_frechet_distance():
    a, b = cloud(200, 4), cloud(300, 4) @ cloud(4, 4) + 1
    (ma, ca), (mb, cb) = ((x.mean(0).numpy(), x.T.cov().numpy()) for x in (a, b))
    expected = ((ma - mb) ** 2).sum() + (ca + cb - 2 * sqrtm(ca @ cb).real).trace()
    assert frechet_distance(a, b).item() == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(a, a).item() == pytest.approx(0, abs=1e-10)


def test_it_does_not_see_a_ring_in_a_gaussian():
    """Equal means and covariances: blind."""
    angle = 2 * math.pi * torch.arange(1000, dtype=F64) / 1000
    ring = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()], dim=1)
    gaussian = cloud(1000, 2)
    gaussian = (gaussian - gaussian.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(gaussian.T.cov()).T)
    assert frechet_distance(ring, gaussian).item() < 1e-3
    assert coverage(gaussian, ring) < 0.5


def test_precision_recall_and_coverage_by_scikit_learn():
    real, fake = cloud(60, 3), cloud(50, 3) * 0.7 + 0.3

    def reach(x, k):
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, -1]

    between = torch.cdist(fake, real)
    near_real = (between <= torch.from_numpy(reach(real, 3))).any(1).double().mean().item()
    near_fake = (torch.from_numpy(reach(fake, 3)) >= between.T).any(1).double().mean().item()
    assert precision_recall(real, fake) == (near_real, near_fake)
    assert coverage(real, fake) == (between.amin(0) <= torch.from_numpy(reach(real, 5))).double().mean().item()
    assert precision_recall(real, real) == (1, 1)
    assert coverage(real, real) == 1


def test_blocks_do_not_change_the_result(monkeypatch):
    real, fake = cloud(40, 2), cloud(30, 2)
    whole = precision_recall(real, fake), coverage(real, fake)
    monkeypatch.setattr("coursekit.generative.measures.ROWS", 7)
    assert (precision_recall(real, fake), coverage(real, fake)) == whole


def test_a_memorizer_and_an_honest_sampler():
    training, held_out, honest = cloud(400, 5), cloud(400, 5), cloud(400, 5)
    assert nearer_to_training(training, training, held_out) == 1
    assert nearer_to_training(held_out, training, held_out) == 0
    assert nearer_to_training(honest, training, held_out) == pytest.approx(0.5, abs=0.1)
    assert nearer_to_training(honest, training, training) == 0.5


def test_sharpness():
    images = torch.rand(4, 1, 12, 12)
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1)
    assert (sharpness(blurred) < sharpness(images)).all()
    image = images[0, 0]
    laplacian = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:] - 4 * image[1:-1, 1:-1]
    torch.testing.assert_close(sharpness(images[:1])[0], laplacian.var(unbiased=False))
    assert sharpness(image[None, None, :3, :3]).isfinite().all()


X = torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: mode_coverage(X, X, std=0), ValueError, "std: expected a number > 0"),
        (lambda: mode_coverage(X.long(), X, std=1), TypeError, "samples: expected float32 or float64, got int64"),
        (lambda: mode_coverage(X, X[:, :1], 1), ValueError, "samples, modes: expected rows of one length, got 2 and 1"),
        (lambda: frechet_distance(X, X[:1]), ValueError, "b: expected at least 2 rows, got 1"),
        (lambda: frechet_distance(X, X.double()), TypeError, "a, b: expected one dtype"),
        (lambda: precision_recall(X[:3], X), ValueError, "real: expected at least 4 rows, got 3"),
        (lambda: coverage(X, X), ValueError, "real: expected at least 6 rows, got 4"),
        (lambda: coverage(X, X, k=0), ValueError, "k: expected an integer from 1 on"),
        (lambda: nearer_to_training(X, X, X[:2]), ValueError, "expected as many points in both, got 4 and 2"),
        (lambda: nearer_to_training(X * math.nan, X, X), ValueError, "samples: 8 of 8 numbers are NaN"),
        (lambda: sharpness(torch.rand(2, 3, 8, 8)), ValueError, "expected grey images of at least 3 × 3 pixels"),
    ],
)
def test_wrong_arguments(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_modes_far_from_the_origin_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    samples = 100 + 0.01 * torch.randn(4000, 2, generator=generator)
    assert mode_coverage(samples, torch.tensor([[100.0, 100.0]]), std=0.01).high_quality == pytest.approx(
        0.989, abs=0.006
    )
