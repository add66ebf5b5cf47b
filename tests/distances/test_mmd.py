"""MMD² equals its definition and closed forms; it needs little memory; wrong arguments are named."""

import math
import subprocess
import sys

import pytest
import torch

from coursekit.distances import imq, mmd2, rbf

F64 = torch.float64


def cloud(*shape):
    return torch.randn(*shape, dtype=F64)


def by_definition(x, y, kernel, unbiased):
    xx, xy, yy = (kernel(torch.cdist(a, b).square()) for a, b in ((x, x), (x, y), (y, y)))
    if unbiased:
        n, m = len(x), len(y)
        return (xx.sum() - n) / n / (n - 1) - 2 * xy.mean() + (yy.sum() - m) / m / (m - 1)
    return xx.mean() - 2 * xy.mean() + yy.mean()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("kernel", [rbf(0.7), imq(8.0)], ids=["rbf", "imq"])
@pytest.mark.parametrize("block", [2**18, 30])
def test_it_equals_its_definition(monkeypatch, kernel, unbiased, block):
    monkeypatch.setattr("coursekit.distances.mmd.BLOCK", block)  # 30 distances: blocks of one or a few rows
    x, y = cloud(23, 4) + 100, cloud(10, 4) + 101
    torch.testing.assert_close(mmd2(x, y, kernel, unbiased), by_definition(x, y, kernel, unbiased), atol=1e-12, rtol=0)


def test_the_u_statistic_is_unbiased_and_the_v_statistic_is_not():
    """RBF with σ = 1, N(0, 1) against N(1, 1): MMD² = 2/√3 · (1 − e^(−1/6)) = .177268."""
    exact = 2 / math.sqrt(3) * (1 - math.exp(-1 / 6))
    assert exact == pytest.approx(0.177268, abs=1e-6)
    x, y = cloud(400, 50, 1), cloud(400, 50, 1) + 1
    u = torch.stack([mmd2(a, b, rbf(1.0)) for a, b in zip(x, y, strict=True)])
    v = torch.stack([mmd2(a, b, rbf(1.0), unbiased=False) for a, b in zip(x, y, strict=True)])
    standard_error = u.std().item() / 20
    assert abs(u.mean().item() - exact) < 3 * standard_error
    assert v.mean().item() - exact > 3 * standard_error


def test_the_value_for_the_imq_kernel():
    """d = 8, C = 16, N(0, I) against N(0, 4I): .11839, with a standard error of .0017 for samples of this size."""
    x, y = cloud(5_000, 8), 2 * cloud(5_000, 8)
    assert mmd2(x, y, imq(16.0)).item() == pytest.approx(0.11839, abs=0.006)


def test_gradients():
    x, y = cloud(6, 2).requires_grad_(), cloud(4, 2).requires_grad_()
    for unbiased in (True, False):
        assert torch.autograd.gradcheck(lambda x, y, u=unbiased: mmd2(x, y, imq(2.0), u), (x, y))


def test_memory():
    """Ten thousand points against ten thousand need less than 1 GiB in all, where three matrices need 1.1 GiB alone."""
    code = """
import resource, sys, torch
from coursekit.distances import mmd2, rbf
torch.set_num_threads(1)
unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, kilobytes elsewhere
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mmd2(torch.randn(10_000, 10), torch.randn(10_000, 10), rbf(1.0))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(said) < 200  # MiB


X = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: rbf(0), ValueError, "bandwidth: expected a number > 0, got 0"),
        (lambda: imq(-1.0), ValueError, "c: expected a number > 0, got -1"),
        (lambda: rbf("wide"), TypeError, "bandwidth: expected a number, got str 'wide'"),
        (lambda: mmd2(X[:1], X, rbf(1)), ValueError, "x: expected at least 2 rows, got 1"),
        (lambda: mmd2(X, X.long(), rbf(1)), TypeError, "y: expected float32 or float64, got int64"),
        (lambda: mmd2(X.numpy(), X, rbf(1)), TypeError, "x: expected a tensor, got ndarray"),
        (lambda: mmd2(X, torch.zeros(3, 1), rbf(1)), ValueError, "x, y: expected rows of one length, got 2 and 1"),
    ],
)
def test_wrong_arguments(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_one_point_will_do_for_the_v_statistic():
    assert mmd2(X[:1], X, rbf(1.0), unbiased=False) == 0


def test_samples_that_are_far_apart_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    x, y = (0.1 * torch.randn(40, 2, generator=generator) + place for place in (1000.0, -1000.0))
    exact = mmd2(x.double(), y.double(), rbf(0.1))
    assert mmd2(x, y, rbf(0.1)).item() == pytest.approx(exact.item(), rel=1e-3)


def test_a_kernel_is_a_function(without_annotations):
    with pytest.raises(TypeError, match="kernel: expected a function of squared distances"):
        mmd2(torch.rand(3, 1), torch.rand(3, 1), "rbf")


def test_a_tiny_bandwidth_tells_every_two_points_apart():
    assert mmd2(torch.rand(3, 1), torch.rand(3, 1), rbf(1e-200)).item() == 0


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        (lambda squared: squared[:-1], ValueError, r"squared, kernel\(squared\): expected one shape"),
        (lambda squared: squared.long(), TypeError, r"kernel\(squared\): expected float32 or float64, got int64"),
        (lambda squared: squared < 1, TypeError, r"kernel\(squared\): expected float32 or float64, got bool"),
        (lambda squared: squared.sum(), ValueError, r"squared, kernel\(squared\): expected one shape"),
    ],
)
def test_a_kernel_gives_one_number_for_each_distance(kernel, error, message):
    with pytest.raises(error, match=message):
        mmd2(torch.rand(4, 1), torch.rand(5, 1), kernel)


def test_whether_it_is_unbiased_is_a_truth_value(without_annotations):
    with pytest.raises(TypeError, match="unbiased: expected True or False, got str 'False'"):
        mmd2(torch.rand(4, 1), torch.rand(5, 1), rbf(1.0), "False")
