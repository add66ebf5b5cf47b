"""Divergences equal their definitions, also where masses are 0, and refuse what is no probability vector."""

import math

import pytest
import torch
from scipy.special import rel_entr

from coursekit.distances import js, kl, total_variation

F64 = torch.float64


def laws(*shape):
    return torch.rand(*shape, dtype=F64).softmax(dim=-1)


def test_they_equal_their_definitions():
    p, q = laws(3, 7), laws(3, 7)
    m = (p + q) / 2
    torch.testing.assert_close(kl(p, q), torch.from_numpy(rel_entr(p.numpy(), q.numpy())).sum(-1))
    torch.testing.assert_close(js(p, q), (kl(p, m) + kl(q, m)) / 2)
    torch.testing.assert_close(total_variation(p, q), (p - q).clamp(min=0).sum(-1))  # the largest event


def test_without_common_mass():
    p, q = torch.tensor([0.5, 0.5, 0.0], dtype=F64), torch.tensor([0.0, 0.0, 1.0], dtype=F64)
    assert total_variation(p, q) == 1
    assert kl(p, q) == math.inf
    assert js(p, q).item() == pytest.approx(math.log(2), abs=1e-15)
    assert kl(p, p) == js(p, p) == total_variation(p, p) == 0


def test_masses_that_are_nearly_zero():
    tiny = torch.tensor([5e-324, 1.0], dtype=F64)  # the smallest number there is
    assert js(tiny, tiny) == 0
    assert kl(tiny, tiny) == 0
    assert js(tiny, tiny.flip(0)).item() == pytest.approx(math.log(2), abs=1e-15)


def test_pinsker_and_the_bounds_of_js():
    p, q = laws(200, 5), laws(200, 5)
    assert (total_variation(p, q) <= (kl(p, q) / 2).sqrt()).all()
    assert (js(p, q) <= math.log(2) * total_variation(p, q)).all()


def test_gradients():
    logits = torch.randn(2, 4, dtype=F64, requires_grad=True)
    for distance in (kl, js, total_variation):
        assert torch.autograd.gradcheck(lambda z, d=distance: d(*z.softmax(-1)), logits)


@pytest.mark.parametrize("distance", [kl, js, total_variation])
@pytest.mark.parametrize(
    ("p", "kind", "said"),
    [
        ([0.5, 0.5], TypeError, "p: expected a tensor, got list"),
        (torch.tensor([0, 1]), TypeError, "p: expected float32 or float64, got int64"),
        (torch.tensor([0.5, 0.6]), ValueError, r"p: expected a sum of 1, got 1.1; p / p.sum\(\) has it"),
        (torch.tensor([-0.5, 1.5]), ValueError, "p: expected probabilities ≥ 0, got -0.5"),
        (torch.tensor([math.nan, 1.0]), ValueError, "p: 1 of 2 numbers are NaN or infinite"),
        (torch.tensor(1.0), ValueError, "p: expected a vector of probabilities, got a single number"),
        (torch.tensor([0.2, 0.3, 0.5]), ValueError, r"p, q: expected one shape, got \(3,\) and \(2,\)"),
        (torch.tensor([0.5, 0.5], dtype=F64), TypeError, "p, q: expected one dtype, got float64 and float32"),
    ],
)
def test_what_is_no_pair_of_laws_is_refused(without_annotations, distance, p, kind, said):
    with pytest.raises(kind, match=said):
        distance(p, torch.tensor([0.5, 0.5]))


@pytest.mark.parametrize("divergence", [total_variation, kl, js])
@pytest.mark.parametrize("q", [[0.25, 0.75, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
def test_zeros_of_p_leave_no_nan_in_the_gradient(divergence, q):
    p, q = torch.tensor([0.5, 0.5, 0.0], requires_grad=True), torch.tensor(q, requires_grad=True)
    gradients = torch.autograd.grad(divergence(p, q), [p, q])
    assert all(gradient.isfinite().all() for gradient in gradients)
