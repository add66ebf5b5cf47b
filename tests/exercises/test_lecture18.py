"""The exercises on Wasserstein autoencoders accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch

from coursekit import distances
from coursekit.exercises.lecture18 import choose_weight, exercise, fitted_gaussian, new_codes

# --- the kernel

RIGHT_KERNELS = {
    "the package": lambda squared, k, sigma: distances.imq(2 * k * sigma**2)(squared),
    "divided": lambda squared, k, sigma: 1 / (1 + squared / (2 * k * sigma**2)),
    "in single precision": lambda squared, k, sigma: 1 / (1 + squared.float() / (2 * k * sigma**2)),
}


@pytest.mark.parametrize("answer", RIGHT_KERNELS.values(), ids=RIGHT_KERNELS)
def test_kernel_in_any_form(ask, answer):
    assert ask(exercise, "imq", answer).startswith("✓ imq: right on eight dimensions, two dimensions, a wide prior")


NO_GRADIENT = "right numbers, but no gradient passes through it"  # so that no encoder could learn

WRONG_KERNELS = {
    "no σ²": (lambda squared, k, sigma: 2 * k / (2 * k + squared), "two dimensions; wrong on a wide prior"),
    "σ for σ²": (lambda squared, k, sigma: 2 * k * sigma / (2 * k * sigma + squared), "wrong on a wide prior"),
    "no dimensions": (lambda squared, k, sigma: sigma**2 / (sigma**2 + squared), "wrong on eight dimensions"),
    "the distance": (lambda squared, k, sigma: 2 * k * sigma**2 / (2 * k * sigma**2 + squared.sqrt()), "wrong on"),
    "not 1 at 0": (lambda squared, k, sigma: 1 / (2 * k * sigma**2 + squared), "wrong on eight dimensions"),
    "its root": (lambda squared, k, sigma: (1 + squared / (2 * k * sigma**2)) ** -0.5, "wrong on eight dimensions"),
    "NumPy": (lambda squared, k, sigma: 1 / (1 + squared.numpy() / (2 * k * sigma**2)), NO_GRADIENT),
    "detached": (lambda squared, k, sigma: 1 / (1 + squared.detach() / (2 * k * sigma**2)), NO_GRADIENT),
    "the root of 0": (
        lambda squared, k, sigma: 1 / (1 + squared.sqrt().square() / (2 * k * sigma**2)),
        "right numbers, but a wrong gradient",
    ),
    "nothing": (lambda squared, k, sigma: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_KERNELS.values(), ids=WRONG_KERNELS)
def test_a_wrong_kernel_is_open(ask, answer, message):
    assert message in ask(exercise, "imq", answer)


# --- MMD²


def by_loops(x, y, kernel):
    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum(kernel((a[i] - b[j]).square().sum()) for i, j in pairs) / len(pairs)

    return mean(x, x, True) - 2 * mean(x, y, False) + mean(y, y, True)


def by_products(x, y, kernel):
    """Without cdist: ‖a − b‖² = ‖a‖² − 2ab + ‖b‖²."""

    def values(a, b):
        return kernel(a.square().sum(dim=1)[:, None] - 2 * a @ b.T + b.square().sum(dim=1))

    def within(a):
        return values(a, a).masked_fill(torch.eye(len(a), dtype=torch.bool), 0).sum() / (len(a) * (len(a) - 1))

    return within(x) - 2 * values(x, y).mean() + within(y)


RIGHT_MMD = {"the package": distances.mmd2, "loops": by_loops, "products": by_products}


@pytest.mark.parametrize("answer", RIGHT_MMD.values(), ids=RIGHT_MMD)
def test_mmd_in_any_form(ask, answer):
    assert ask(exercise, "mmd2", answer) == "✓ mmd2: right on unequal sizes, more draws, near samples, a sum of kernels"


def with_distances(x, y, kernel):
    return distances.mmd2(x, y, lambda squared: kernel(squared.sqrt()))


@torch.no_grad()
def without_gradient(x, y, kernel):
    return distances.mmd2(x, y, kernel)


def by_roots(x, y, kernel):
    """Distances by a root, whose slope at 0 is infinite: a point and itself make the gradient NaN."""

    def values(a, b):
        return kernel((a[:, None] - b).square().sum(dim=2).sqrt().square())

    def within(a):
        return (values(a, a).sum() - values(a, a).diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) - 2 * values(x, y).mean() + within(y)


def as_if_1_at_0(x, y, kernel):
    def within(a):
        return (kernel(torch.cdist(a, a).square()).sum() - len(a)) / (len(a) * (len(a) - 1))

    return within(x) - 2 * kernel(torch.cdist(x, y).square()).mean() + within(y)


WRONG_MMD = {
    "k(0) = 1 taken for granted": (as_if_1_at_0, "near samples; wrong on a sum of kernels"),
    "diagonal kept": (lambda x, y, kernel: distances.mmd2(x, y, kernel, unbiased=False), "wrong on unequal sizes"),
    "clipped at 0": (
        lambda x, y, kernel: distances.mmd2(x, y, kernel).clamp(min=0),
        "right on unequal sizes, more draws; wrong on near samples",
    ),
    "its root": (lambda x, y, kernel: distances.mmd2(x, y, kernel).clamp(min=0).sqrt(), "wrong on unequal sizes"),
    "distances not squared": (with_distances, "wrong on unequal sizes"),
    "one mean between": (
        lambda x, y, kernel: distances.mmd2(x, y, kernel) + kernel(torch.cdist(x, y).square()).mean(),
        "wrong on unequal sizes",
    ),
    "a number": (lambda x, y, kernel: distances.mmd2(x, y, kernel).item(), NO_GRADIENT),
    "NumPy": (lambda x, y, kernel: np.float64(distances.mmd2(x, y, kernel)), NO_GRADIENT),
    "without a gradient": (without_gradient, NO_GRADIENT),
    "half detached": (
        lambda x, y, kernel: by_loops(x, y, kernel) / 2 + by_loops(x, y, kernel).detach() / 2,
        "right numbers, but a wrong gradient",
    ),
    "a root at 0": (by_roots, "right numbers, but a wrong gradient"),
    "nothing": (lambda x, y, kernel: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MMD.values(), ids=WRONG_MMD)
def test_a_wrong_mmd_is_open(ask, answer, message):
    assert message in ask(exercise, "mmd2", answer)


# --- the weight


def five_errors(train):
    return 100 * train(0.0)[0]


def powers_of_ten(train):
    """It returns a number of NumPy."""
    plain = train(0.0)[0]
    for weight in 10 ** np.arange(8):
        error, mmd = train(weight)
        if mmd <= 0.01 and error <= 1.5 * plain:
            return weight
    return weight


def in_single_precision(train):
    return np.float32(five_errors(train))


@pytest.mark.parametrize("answer", [choose_weight, five_errors, powers_of_ten, in_single_precision])
def test_weights_of_any_rule(ask, answer):
    assert ask(exercise, "choose_weight", answer).startswith("✓ choose_weight: MMD² at most 0.01")


WRONG_WEIGHTS = {
    "none": (lambda train: 0.0, "Raise λ"),
    "collapse": (lambda train: 1e6, "lower λ"),
    "the λ of a paper": (lambda train: 10.0, "in a unit a thousand times as small"),
    "negative": (lambda train: -1.0, "expected a number λ ≥ 0, got -1.0"),
    "infinite": (lambda train: math.inf, "expected a number λ ≥ 0, got inf"),
    "a text": (lambda train: "10", "expected a number λ ≥ 0, got '10'"),
    "nothing": (lambda train: None, "expected a number λ ≥ 0, got None"),
}


@pytest.mark.parametrize("power", range(8))
def test_no_constant_fits_both_units(ask, power):
    message = "in a unit a thousand times as small" if power < 2 else "in the unit of the data"
    assert message in ask(exercise, "choose_weight", lambda train: 10.0**power)


@pytest.mark.parametrize(("answer", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_a_wrong_weight_is_open(ask, answer, message):
    assert message in ask(exercise, "choose_weight", answer)


# --- a density of the codes


def kernel_density(codes, n, width=0.25):
    return codes[torch.randint(len(codes), (n,))] + width * torch.randn(n, codes.shape[1])


def in_double_precision(codes, n):
    chosen = codes[torch.randint(len(codes), (n,))].double()
    return chosen + 0.25 * torch.randn(n, codes.shape[1], dtype=torch.float64)


def mixture(parts, spread=1.0):
    """A mixture of Gaussians, fitted by k-means from centres far apart; ``spread`` scales their widths."""

    def answer(codes, n):
        centres = codes[:1]
        for _ in range(parts - 1):
            centres = torch.cat([centres, codes[torch.cdist(codes, centres).amin(dim=1).argmax()][None]])
        for _ in range(10):
            part = torch.cdist(codes, centres).argmin(dim=1)
            centres = torch.stack([codes[part == i].mean(dim=0) for i in range(parts)])
        roots = torch.stack([torch.linalg.cholesky(codes[part == i].T.cov()) for i in range(parts)])
        chosen = part[torch.randint(len(codes), (n,))]
        return centres[chosen] + spread * (roots[chosen] @ torch.randn(n, codes.shape[1], 1))[:, :, 0]

    return answer


RIGHT_DENSITIES = {
    "a kernel density": kernel_density,
    "in double precision": in_double_precision,
    "a narrow kernel": lambda codes, n: kernel_density(codes, n, 0.15),
    "five parts": mixture(5),
    "eight parts": mixture(8),
    "the course's": lambda codes, n: new_codes(codes, n),
}


@pytest.mark.parametrize("answer", RIGHT_DENSITIES.values(), ids=RIGHT_DENSITIES)
def test_a_density_in_any_form(ask, answer):
    assert ask(exercise, "new_codes", answer).endswith("of the fitted Gaussian's, and the codes are no copies")


def fixed(codes, n):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(n, codes.shape[1], generator=generator)
    return codes[torch.randint(len(codes), (n,), generator=generator)] + 0.25 * noise


TOO_FAR, COPIES = "wanted at most a third", "copies, not draws"

WRONG_DENSITIES = {
    "one Gaussian": (fitted_gaussian, TOO_FAR),
    "the prior": (lambda codes, n: torch.randn(n, codes.shape[1]), TOO_FAR),
    "a box": (lambda codes, n: codes.amin(dim=0) + torch.rand(n, 2) * (codes.amax(dim=0) - codes.amin(dim=0)), TOO_FAR),
    "two parts": (mixture(2), TOO_FAR),
    "the means of the parts": (mixture(5, 0.0), TOO_FAR),
    "nearly the means": (mixture(5, 0.05), TOO_FAR),
    "a wide kernel": (lambda codes, n: kernel_density(codes, n, 1.2), TOO_FAR),
    "between two codes": (
        lambda codes, n: torch.lerp(*codes[torch.randint(len(codes), (2, n))], torch.rand(n, 1)),
        TOO_FAR,
    ),
    "one cluster": (lambda codes, n: kernel_density(codes[torch.cdist(codes[:1], codes)[0] < 1.5], n), TOO_FAR),
    "resampled": (lambda codes, n: codes[torch.randint(len(codes), (n,))], COPIES),
    "nearly copies": (lambda codes, n: kernel_density(codes, n, 0.02), COPIES),
    "always the same": (fixed, "two calls return the same codes"),
    "as many as given": (lambda codes, n: kernel_density(codes, len(codes)), "shape (1000, 2), got (400, 2)"),
    "not finite": (lambda codes, n: kernel_density(codes, n) * math.nan, "a code is not finite"),
    "only in the plane": (
        lambda codes, n: codes[torch.randint(len(codes), (n,))] + 0.25 * torch.randn(n, 2),
        "codes of 3 numbers",
    ),
    "always in the plane": (lambda codes, n: kernel_density(codes[:, :2], n), "codes of 3 numbers"),
    "nothing": (lambda codes, n: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_DENSITIES.values(), ids=WRONG_DENSITIES)
def test_a_wrong_density_is_open(ask, answer, message):
    assert message in ask(exercise, "new_codes", answer)
