import math

import pytest
import torch

from coursekit.interpret import gabor_fit


def gabor(size, centre, widths, direction, frequency, phase, amplitudes):
    """The function of the docstring, written out pixel by pixel."""
    filter_ = torch.zeros(len(amplitudes), *size, dtype=torch.float64)
    for y in range(size[0]):
        for x in range(size[1]):
            dy, dx = y - centre[0], x - centre[1]
            u = math.cos(direction) * dx + math.sin(direction) * dy
            v = math.cos(direction) * dy - math.sin(direction) * dx
            window = math.exp(-(u**2) / (2 * widths[0] ** 2) - v**2 / (2 * widths[1] ** 2))
            for k, amplitude in enumerate(amplitudes):
                filter_[k, y, x] = amplitude * window * math.cos(2 * math.pi * frequency * u + phase)
    return filter_


GABORS = {
    "an edge": gabor((7, 7), (3, 3), (1.5, 2.5), 0.4, 0.2, math.pi / 2, (1, 1, 1)),
    "a bar of two colours off the centre": gabor((7, 7), (2, 4.3), (1.2, 2), 2.2, 0.15, 0.3, (1, -0.7, 0)),
    "a colour blob": gabor((7, 7), (3.2, 2.7), (1.8, 1.3), 1.0, 0, 0, (-1, 0.2, 1)),
    "a fine grating": gabor((7, 7), (3, 3), (2, 3), 0.8, 0.42, 1.0, (0.5, 0.5, 0.4)),
}


@pytest.mark.parametrize("name", GABORS)
def test_a_gabor_function_is_explained_in_full(name):
    fit = gabor_fit(GABORS[name][None])
    assert fit.r2.item() > 0.9999
    torch.testing.assert_close(fit.fitted[0], GABORS[name], rtol=0, atol=0.02)


def test_a_grey_filter_that_is_not_square_is_explained_in_full():
    grey = gabor((5, 9), (2, 4), (1.5, 1.5), 0.3, 0.2, 1.2, (1,))
    assert gabor_fit(grey).r2.item() > 0.9999
    assert gabor_fit(grey).fitted.shape == (1, 5, 9)


def test_the_smallest_filters_can_be_fitted():
    """Sobel's filter is an edge: a derivative, smoothed along the edge."""
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    assert gabor_fit(sobel[None]).r2.item() > 0.999


def test_white_noise_is_hardly_explained():
    noise = torch.randn(5, 3, 7, 7, dtype=torch.float64)
    r2 = gabor_fit(noise).r2
    assert r2.max() < 0.3
    assert r2.min() > 1 / 147  # more than one free parameter explains of 147 numbers


def test_two_colours_with_different_patterns_are_not_one_gabor_function():
    """All colours share one wave, which cannot fit both an edge in red and the same edge turned by 90° in green."""
    edge = gabor((7, 7), (3, 3), (2, 2), 0, 0.2, math.pi / 2, (1,))[0]
    crossed = torch.stack([edge, edge.T, torch.zeros_like(edge)])
    assert gabor_fit(crossed[None]).r2.item() == pytest.approx(0.5, abs=0.1)


def test_scale_sign_and_the_order_of_colours_do_not_matter():
    filters = torch.stack([*GABORS.values()])[:1] + 0.3 * torch.randn(1, 3, 7, 7, dtype=torch.float64)
    r2 = gabor_fit(filters).r2
    for other in (1e3 * filters, -1e-5 * filters, filters[:, [2, 0, 1]]):
        torch.testing.assert_close(gabor_fit(other).r2, r2, rtol=1e-3, atol=0)


def test_the_fit_and_its_residual_are_orthogonal():
    """At a least-squares solution ‖filter‖² = ‖fitted‖² + ‖residual‖²."""
    filters = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    fit = gabor_fit(filters)
    explained = fit.fitted.square().sum(dim=(1, 2, 3)) / filters.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(fit.r2, explained, rtol=0, atol=1e-9)


def test_the_result_has_the_dtype_of_the_filters_and_leaves_them_alone():
    weight = torch.nn.Parameter(torch.randn(2, 3, 5, 5))
    before = weight.detach().clone()
    fit = gabor_fit(weight)
    assert fit.r2.dtype == fit.fitted.dtype == torch.float32
    assert not fit.r2.requires_grad
    assert torch.equal(weight, before)


@pytest.mark.parametrize("shape", [(0, 3, 7, 7), (4, 3, 2, 7), (2, 2, 2, 7, 7)])
def test_filters_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"filters: expected \(N, c, h, w\) or \(N, h, w\) of at least 3×3"):
        gabor_fit(torch.ones(shape))


def test_filters_without_a_pattern_are_refused():
    filters = torch.ones(3, 1, 3, 3)
    filters[1] = 0
    with pytest.raises(ValueError, match=r"filters: \[1\] are entirely 0"):
        gabor_fit(filters)
    filters[1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        gabor_fit(filters)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (torch.ones(2, 5, 5).long(), "filters: expected float32 or float64, got int64"),
        (torch.ones(2, 5, 5).half(), "filters: expected float32 or float64, got float16"),
        (torch.ones(2, 5, 5).tolist(), "filters: expected a tensor, got list"),
        (torch.ones(2, 5, 5).numpy(), "filters: expected a tensor, got ndarray"),
    ],
)
def test_filters_of_another_type_are_refused(without_annotations, filters, message):
    with pytest.raises(TypeError, match=message):
        gabor_fit(filters)
