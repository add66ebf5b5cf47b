"""Kernel density estimates equal their definition and two libraries; their error is exact; bandwidths are best."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

from coursekit.density import (
    best_bandwidth,
    kde,
    least_squares_cv,
    likelihood_cv,
    log_kde,
    log_leave_one_out,
    mise_gaussian,
    rule_of_thumb,
)

F64 = torch.float64


def cloud(n, d, dtype=F64):
    return torch.randn(n, d, dtype=dtype)


# --- the estimate


@pytest.mark.parametrize("d", [1, 2, 7])
def test_the_estimate_is_the_mean_of_normal_densities(d):
    x, data, h = cloud(5, d), cloud(40, d), 0.7
    each = [torch.distributions.MultivariateNormal(it, h**2 * torch.eye(d, dtype=F64)).log_prob(x).exp() for it in data]
    torch.testing.assert_close(kde(x, data, h), torch.stack(each).mean(dim=0))


def test_it_equals_scikit_learn():
    x, data = cloud(30, 3), cloud(200, 3)
    theirs = KernelDensity(bandwidth=0.4, rtol=0).fit(data.numpy()).score_samples(x.numpy())
    np.testing.assert_allclose(log_kde(x, data, 0.4), theirs, rtol=1e-10)


def test_it_equals_scipy():
    # scipy's kernel has the covariance of the data times the square of a factor: on a line, a bandwidth.
    x, data = cloud(30, 1), cloud(200, 1)
    theirs = gaussian_kde(data[:, 0].numpy(), bw_method=0.3)
    h = 0.3 * data.std().item()
    np.testing.assert_allclose(kde(x, data, h), theirs(x[:, 0].numpy()), rtol=1e-10)


@pytest.mark.parametrize("kernel", ["gaussian", "fourth-order"])
@pytest.mark.parametrize("d", [1, 2])
def test_the_estimate_integrates_to_one(kernel, d):
    grid = torch.arange(-6, 6, 0.1, dtype=F64)
    points = torch.cartesian_prod(*[grid] * d).view(-1, d)
    assert kde(points, 0.5 * cloud(20, d), 0.4, kernel).sum().item() * 0.1**d == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("d", [1, 2])
def test_the_kernel_of_order_4_has_no_second_moments_and_a_fourth(d):
    grid = torch.arange(-9, 9, 0.1, dtype=F64)
    points = torch.cartesian_prod(*[grid] * d).view(-1, d)
    kernel = kde(points, torch.zeros(1, d, dtype=F64), 1.0, "fourth-order")
    moments = [(kernel * points[:, 0] ** k).sum().item() * 0.1**d for k in range(5)]
    assert moments == pytest.approx([1, 0, 0, 0, -3], abs=1e-6)
    assert kernel.min() < 0


def test_blocks_make_no_difference(monkeypatch):
    x, data = cloud(50, 2), cloud(30, 2)
    whole = kde(x, data, 0.3), log_leave_one_out(data, 0.3), kde(x, data, 0.3, "fourth-order")
    monkeypatch.setattr("coursekit.density.BLOCK", 7 * 30)  # seven points at a time: the last block has one
    pieces = kde(x, data, 0.3), log_leave_one_out(data, 0.3), kde(x, data, 0.3, "fourth-order")
    for a, b in zip(whole, pieces, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kernel", ["gaussian", "fourth-order"])
def test_products_and_differences_give_the_same(monkeypatch, kernel):
    x, data = cloud(40, 3) + 1, cloud(50, 3)
    by_products = kde(x, data, 0.2, kernel), log_leave_one_out(data, 0.2)
    monkeypatch.setattr("coursekit.density.ROUNDING", 0.0)
    by_differences = kde(x, data, 0.2, kernel), log_leave_one_out(data, 0.2)
    for a, b in zip(by_products, by_differences, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=0)


def test_the_memory_of_a_block_is_used_again():
    """10⁵ against 10³ points: all distances would take 0.8 GB, and so would freed blocks that are never used again."""
    program = """
import resource, torch
from coursekit.density import kde
data = torch.randn(100_000, 2, dtype=torch.float64)
kde(data[:10], data, 0.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kde(data[:1000], data, 0.5)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000 * (1024 if sys.platform == "darwin" else 1)  # in kilobytes, on macOS in bytes


def test_far_from_the_data_the_logarithm_stays_finite():
    far = torch.tensor([[1e4, 0.0]], dtype=F64)
    data = torch.zeros(1, 2, dtype=F64)
    assert kde(far, data, 1.0).item() == 0
    assert log_kde(far, data, 1.0).item() == pytest.approx(-5e7 - math.log(2 * math.pi))


def test_in_many_dimensions_neither_factor_overflows():
    # At distance r, h⁻ᵈ overflows and the kernel underflows, but their product is an ordinary number.
    d, h = 400, 0.05
    log_h = -d * math.log(h) - d / 2 * math.log(2 * math.pi)
    x = torch.zeros(1, d, dtype=F64)
    x[0, 0] = math.sqrt(2 * log_h) * h
    assert log_h > 800
    assert kde(x, torch.zeros(1, d, dtype=F64), h).item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("h", [1e-30, 1e-200])
def test_a_tiny_bandwidth_leaves_the_point_itself(h):
    data = torch.tensor([[0.0], [1.0]])
    here, between = log_kde(torch.tensor([[0.0], [0.5]]), data, h).tolist()
    assert here == pytest.approx(-math.log(2 * h * math.sqrt(2 * math.pi)))
    assert between < -1e37


def test_a_small_bandwidth_far_from_the_origin_is_exact():
    # The expanded square ‖x‖² − 2xᵀX + ‖X‖² would be wrong by more than h² here.
    data = torch.tensor([[5000.0], [5000.25], [5001.0]])
    near = kde(data - 5000, data - 5000, 0.125)
    torch.testing.assert_close(kde(data, data, 0.125), near)


@pytest.mark.parametrize("rounding", [1e-11, 0.0])
def test_its_gradient_is_that_of_the_definition(monkeypatch, rounding):
    monkeypatch.setattr("coursekit.density.ROUNDING", rounding)
    x, data = cloud(4, 3).requires_grad_(), cloud(10, 3)
    for kernel in ("gaussian", "fourth-order"):
        assert torch.autograd.gradcheck(lambda it, kernel=kernel: kde(it, data, 0.8, kernel), x)
    assert torch.autograd.gradcheck(lambda it: log_kde(it, data, 0.8), x)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_result_has_the_dtype_of_the_points(dtype):
    x = cloud(3, 2, dtype)
    assert kde(x, x, 0.5).dtype == log_kde(x, x, 0.5).dtype == log_leave_one_out(x, 0.5).dtype == dtype


def test_noncontiguous_points_are_the_same_points():
    x = cloud(2, 9)
    torch.testing.assert_close(kde(x.T, x.T, 0.5), kde(x.T.contiguous(), x.T.contiguous(), 0.5))


def test_leaving_one_out_is_an_estimate_from_the_others():
    data = cloud(12, 2)
    others = [torch.cat([data[:i], data[i + 1 :]]) for i in range(len(data))]
    by_hand = torch.cat([log_kde(data[i : i + 1], rest, 0.3) for i, rest in enumerate(others)])
    torch.testing.assert_close(log_leave_one_out(data, 0.3), by_hand)


# --- its error


def test_the_formula_is_the_published_one():
    n, h = 100, 0.4
    bracket = 1 / (n * h) + (1 - 1 / n) * (1 + h * h) ** -0.5 - 2 * 2**0.5 * (2 + h * h) ** -0.5 + 1
    assert mise_gaussian(n, h) == pytest.approx(bracket / (2 * math.pi**0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "least"), [(10**2, 5.41e-3), (10**3, 1.03e-3), (10**4, 1.81e-4), (10**5, 3.04e-5), (10**6, 4.99e-6)]
)
def test_the_least_errors_are_the_published_ones(n, least):
    assert mise_gaussian(n, best_bandwidth(n)) == pytest.approx(least, abs=5.1e-3 * 10 ** math.floor(math.log10(least)))


def local_slope(d, kernel="gaussian", low=10**2, high=10**4):
    a, b = (mise_gaussian(n, best_bandwidth(n, d, kernel), d, kernel) for n in (low, high))
    return math.log(b / a) / math.log(high / low)


@pytest.mark.parametrize(("d", "slope"), [(1, -0.738), (2, -0.624), (5, -0.383), (10, -0.170)])
def test_the_slopes_for_small_n_are_flatter_than_the_rate(d, slope):
    assert local_slope(d) == pytest.approx(slope, abs=6e-4)
    assert local_slope(d) > -4 / (4 + d)


@pytest.mark.parametrize(("kernel", "beta"), [("gaussian", 2), ("fourth-order", 4)])
def test_for_large_n_the_slopes_tend_to_the_rate(kernel, beta):
    assert local_slope(1, kernel, 10**9, 10**10) == pytest.approx(-2 * beta / (2 * beta + 1), abs=0.015)


@pytest.mark.parametrize("kernel", ["gaussian", "fourth-order"])
@pytest.mark.parametrize(("n", "h", "d"), [(50, 0.4, 1), (50, 1.5, 1), (40, 0.5, 2)])
def test_the_mean_error_of_simulated_estimates_is_the_formula(kernel, n, h, d):
    grid = torch.arange(-6, 6, 0.2, dtype=F64)
    points = torch.cartesian_prod(*[grid] * d).view(-1, d)
    p = torch.exp(-points.square().sum(dim=1) / 2) / (2 * math.pi) ** (d / 2)
    errors = [(kde(points, cloud(n, d), h, kernel) - p).square().sum() * 0.2**d for _ in range(200)]
    errors = torch.stack(errors)
    standard_error = errors.std().item() / len(errors) ** 0.5
    assert standard_error < 0.1 * mise_gaussian(n, h, d, kernel)
    assert abs(errors.mean().item() - mise_gaussian(n, h, d, kernel)) < 3 * standard_error


@pytest.mark.parametrize("kernel", ["gaussian", "fourth-order"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 10), (100, 1), (1000, 5), (10**6, 2), (10**9, 10)])
def test_no_other_bandwidth_is_better(kernel, n, d):
    found = mise_gaussian(n, best_bandwidth(n, d, kernel), d, kernel)
    others = [mise_gaussian(n, h, d, kernel) for h in np.geomspace(0.003, 20, 500)]
    assert found <= min(others) * (1 + 1e-9)


# --- rules and cross-validation


@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("d", [1, 3])
def test_the_rules_are_scipys(rule, d):
    data = cloud(60, d)
    data *= 2 / data.std(dim=0)  # one spread in all directions
    assert rule_of_thumb(data, rule) == pytest.approx(2 * gaussian_kde(data.T.numpy(), bw_method=rule).factor)


def test_silvermans_rule_minimizes_the_asymptotic_error():
    data = cloud(500, 4)
    sigma, n, d = data.var(dim=0).mean().sqrt().item(), *data.shape

    def asymptotic(h):
        return 1 / (n * h**d) + h**4 / 4 * d * (d + 2) / 4 * sigma ** (-d - 4) * sigma**d

    h = rule_of_thumb(data, "silverman")
    assert asymptotic(h) < min(asymptotic(0.99 * h), asymptotic(1.01 * h))


def test_least_squares_is_an_unbiased_estimate_of_the_error():
    n, h, d = 30, 0.5, 2
    estimates = torch.tensor([least_squares_cv(cloud(n, d), h) for _ in range(400)])
    wanted = mise_gaussian(n, h, d) - (4 * math.pi) ** (-d / 2)
    assert abs(estimates.mean().item() - wanted) < 3 * estimates.std().item() / 20


def test_likelihood_is_the_mean_of_the_points_left_out():
    data = cloud(20, 2)
    assert likelihood_cv(data, 0.5) == pytest.approx(log_leave_one_out(data, 0.5).mean().item())


def test_cross_validation_finds_a_good_bandwidth_where_the_rule_of_thumb_does_not():
    data = torch.cat([cloud(200, 1) - 8, cloud(200, 1) + 8])
    bandwidths = np.geomspace(0.05, 6, 25)
    by_likelihood = max(bandwidths, key=lambda h: likelihood_cv(data, h))
    by_squares = min(bandwidths, key=lambda h: least_squares_cv(data, h))
    best = best_bandwidth(200)
    assert 0.5 * best < by_likelihood < 2 * best
    assert 0.5 * best < by_squares < 2 * best
    assert rule_of_thumb(data, "silverman") > 4 * best


# --- bad arguments

X = torch.zeros(3, 2)
BAD = {
    "h is 0": (lambda: kde(X, X, 0), ValueError, "bandwidth: expected a number > 0, got 0"),
    "h is negative": (lambda: log_kde(X, X, -1.0), ValueError, "bandwidth: expected a number > 0, got -1.0"),
    "h is NaN": (lambda: kde(X, X, math.nan), ValueError, "bandwidth: expected a number > 0, got nan"),
    "h is infinite": (lambda: kde(X, X, math.inf), ValueError, "bandwidth: expected a number > 0, got inf"),
    "h is text": (lambda: kde(X, X, "scott"), TypeError, "bandwidth: expected a number, got str 'scott'"),
    "h is a list": (lambda: kde(X, X, [0.1]), TypeError, "bandwidth: expected a number, got list"),
    "NaN in points": (lambda: kde(X * math.nan, X, 1), ValueError, "points: 6 of 6 numbers are NaN or infinite"),
    "NaN in data": (lambda: kde(X, X * math.nan, 1), ValueError, "data: 6 of 6 numbers are NaN or infinite"),
    "other d": (
        lambda: kde(X, torch.zeros(3, 1), 1),
        ValueError,
        r"points, data: expected rows of one length, got 2 and 1",
    ),
    "no data": (
        lambda: kde(X, torch.zeros(0, 2), 1),
        ValueError,
        r"data: expected at least one element, got shape \(0, 2\)",
    ),
    "no points": (
        lambda: kde(torch.zeros(0, 2), X, 1),
        ValueError,
        r"points: expected at least one element, got shape \(0, 2\)",
    ),
    "no dimension": (lambda: kde(torch.zeros(3, 0), X, 1), ValueError, r"got shape \(3, 0\)"),
    "one axis of data": (
        lambda: kde(X, torch.zeros(5), 1),
        ValueError,
        r"data: expected a point in each row, shape \(n, d\), got \(5,\); data\[:, None\] has shape \(5, 1\)",
    ),
    "one axis of points": (lambda: kde(torch.zeros(4), X, 1), ValueError, r"points\[:, None\] has shape \(4, 1\)"),
    "a scalar": (lambda: kde(torch.tensor(1.0), X, 1), ValueError, r"points: expected shape \(n, d\), got \(\)"),
    "three axes": (lambda: kde(torch.zeros(2, 3, 4), X, 1), ValueError, r"points: expected shape \(n, d\), got"),
    "integers": (
        lambda: kde(X.long(), X, 1),
        TypeError,
        r"points: expected float32 or float64, got int64; points.float\(\)",
    ),
    "half precision": (lambda: kde(X, X.half(), 1), TypeError, "data: expected float32 or float64, got float16"),
    "two dtypes": (
        lambda: kde(X, X.double(), 1),
        TypeError,
        "points, data: expected one dtype, got float32 and float64",
    ),
    "NumPy": (
        lambda: kde(X.numpy(), X, 1),
        TypeError,
        r"points: expected a tensor, got ndarray; torch.as_tensor\(points\) makes one",
    ),
    "a list": (lambda: kde(X, [[1.0, 2.0]], 1), TypeError, r"data: expected a tensor, got list"),
    "an unknown kernel": (
        lambda: kde(X, X, 1, "gausian"),
        ValueError,
        "unknown kernel 'gausian': did you mean gaussian",
    ),
    "a kernel that is no name": (lambda: kde(X, X, 1, 4), TypeError, "kernel: expected one of 'gaussian', 'fourth-o"),
    "one point left out": (
        lambda: log_leave_one_out(X[:1], 1),
        ValueError,
        "data: expected at least 2 rows, got 1",
    ),
    "leave out, h is 0": (lambda: likelihood_cv(X, 0), ValueError, "bandwidth: expected a number > 0, got 0"),
    "squares, h is text": (lambda: least_squares_cv(X, "x"), TypeError, "bandwidth: expected a number, got str 'x'"),
    "squares, one axis": (lambda: least_squares_cv(X[0], 1), ValueError, r"data\[:, None\] has shape \(2, 1\)"),
    "n is 0": (lambda: mise_gaussian(0, 1.0), ValueError, "n: expected an integer from 1 on, got 0"),
    "n is no integer": (lambda: mise_gaussian(10.0, 1.0), TypeError, "n: expected an integer, got float 10.0"),
    "d is 0": (lambda: mise_gaussian(10, 1.0, 0), ValueError, "d: expected an integer from 1 on, got 0"),
    "error, h is 0": (lambda: mise_gaussian(10, 0.0), ValueError, "bandwidth: expected a number > 0, got 0.0"),
    "error, unknown kernel": (lambda: mise_gaussian(10, 1.0, 1, "box"), ValueError, "unknown kernel 'box'"),
    "best, n is 0": (lambda: best_bandwidth(0), ValueError, "n: expected an integer from 1 on, got 0"),
    "best, d is text": (lambda: best_bandwidth(10, "2"), TypeError, "d: expected an integer, got str '2'"),
    "best, unknown kernel": (lambda: best_bandwidth(10, 1, "box"), ValueError, "unknown kernel 'box'"),
    "unknown rule": (lambda: rule_of_thumb(X, "scot"), ValueError, "unknown rule 'scot': did you mean scott"),
    "one row": (lambda: rule_of_thumb(X[:1], "scott"), ValueError, "data: expected at least 2 rows, got 1"),
    "equal rows": (lambda: rule_of_thumb(X, "scott"), ValueError, "data: expected rows that differ, got equal ones"),
}


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_a_number_of_numpy_or_torch_is_a_bandwidth(number):
    assert torch.equal(kde(X, X, number), kde(X, X, 0.5))
    assert mise_gaussian(np.int64(10), number) == mise_gaussian(10, 0.5)


def test_an_overflow_is_an_error_and_not_a_density():
    data, far = torch.tensor([[-3.0], [3.0]]), torch.tensor([[0.0], [3e25]])
    with pytest.raises(ValueError, match=r"points, data: their distances, in bandwidths, overflow torch\.float32"):
        kde(far, data, bandwidth=1.0)
    assert kde(far.double(), data.double(), bandwidth=1.0)[1] == 0
