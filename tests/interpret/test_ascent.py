"""Gradient ascent arrives where a closed form says, and the regularizers do what the paper says."""

import pytest
import torch
from torch import nn

from coursekit.interpret.ascent import (
    Unit,
    activation_maximization,
    blur,
    clip_small_contribution,
    clip_small_norm,
    decay,
    gaussian_blur,
)


@pytest.fixture
def linear():
    """Three linear scores of images 2×3×3."""
    return nn.Sequential(nn.Flatten(), nn.Linear(18, 3)).double()


def rows(model):
    return model[1].weight.detach().view(3, 2, 3, 3)


def zeros(n, *shape):
    return torch.zeros(n, *shape, dtype=torch.float64)


def test_the_maximizer_of_a_linear_score_is_w_over_two_lambda(linear):
    found = activation_maximization(linear, torch.arange(3), zeros(3, 2, 3, 3), lr=0.4, penalty=0.7)
    torch.testing.assert_close(found.images, rows(linear) / 1.4, rtol=1e-12, atol=0)


def test_a_step_follows_the_score_and_the_penalty(linear):
    start = torch.rand(1, 2, 3, 3, dtype=torch.float64)
    found = activation_maximization(linear, 1, start, steps=1, lr=0.5, penalty=0.3)
    torch.testing.assert_close(found.images, start + 0.5 * (rows(linear)[1:2] - 2 * 0.3 * start))


def test_without_a_penalty_a_linear_score_grows_for_ever(linear):
    found = activation_maximization(linear, 1, zeros(1, 2, 3, 3), steps=100)
    torch.testing.assert_close(found.images, 100 * rows(linear)[1:2])


def test_the_history_is_the_penalized_score_of_the_start_and_after_each_step(linear):
    start = torch.rand(2, 2, 3, 3, dtype=torch.float64)
    found = activation_maximization(linear, 0, start, steps=7, lr=0.1, penalty=0.2)
    assert found.history.shape == (8, 2)
    for x, value in ((start, found.history[0]), (found.images, found.history[-1])):
        torch.testing.assert_close(value, linear(x)[:, 0].detach() - 0.2 * x.square().sum(dim=(1, 2, 3)))


def test_small_steps_climb_a_net_and_images_do_not_touch_each_other(residual, images, unchanged):
    with unchanged(residual), torch.no_grad():
        found = activation_maximization(residual, 2, images, steps=20, lr=0.01, penalty=0.01)
    assert (found.history.diff(dim=0) > 0).all()
    alone = activation_maximization(residual, 2, images[1:2], steps=20, lr=0.01, penalty=0.01)
    torch.testing.assert_close(alone.images, found.images[1:2])


def test_a_unit_is_climbed_as_the_function_of_the_net_cut_behind_it(tiny, images):
    cut = tiny[:4]  # up to conv2: (N, 4, 4, 4)
    for unit, value in (
        (Unit("conv2", 3), lambda h: h[:, 3].mean(dim=(1, 2))),
        (Unit("conv2", 1, (2, 0)), lambda h: h[:, 1, 2, 0]),
    ):
        found = activation_maximization(tiny, unit, images, steps=5)
        expected = activation_maximization(cut, value, images, steps=5)
        torch.testing.assert_close(found.images, expected.images, rtol=1e-12, atol=0)
        torch.testing.assert_close(found.history, expected.history, rtol=1e-12, atol=0)


def test_the_start_stays_as_it_was_and_float32_stays_float32(tiny):
    start = torch.rand(2, 2, 8, 8)
    kept = start.clone()
    found = activation_maximization(tiny.float(), 0, start, steps=3)
    assert torch.equal(start, kept)
    assert not start.requires_grad
    assert found.images.dtype == found.history.dtype == torch.float32


def test_decay_pulls_a_linear_score_to_a_multiple_of_w(linear):
    """X = (1 − θ)(X + ηw) at rest."""
    found = activation_maximization(linear, 1, zeros(1, 2, 3, 3), steps=300, lr=0.5, regularizers=[decay(0.2)])
    torch.testing.assert_close(found.images, 0.5 * 0.8 / 0.2 * rows(linear)[1:2])


def test_regularizers_are_applied_in_order_after_the_step(linear):
    seen = []

    def note(x, gradient, step):
        seen.append((x.clone(), gradient, step))
        return x

    regularizers = [note, decay(0.5), note]
    found = activation_maximization(linear, 1, zeros(1, 2, 3, 3), steps=2, lr=1.0, regularizers=regularizers)
    w = rows(linear)[1:2]
    for (x, gradient, step), expected in zip(seen, [(w, 0), (w / 2, 0), (1.5 * w, 1), (0.75 * w, 1)], strict=True):
        torch.testing.assert_close(x, expected[0])
        torch.testing.assert_close(gradient, w)
        assert step == expected[1]
    torch.testing.assert_close(found.images, 0.75 * w)


def test_a_blurred_impulse_is_a_gaussian_in_each_channel_by_itself():
    x = zeros(1, 2, 15, 15)
    x[0, 1, 7, 7] = 1
    blurred = gaussian_blur(x, 1.5)
    assert blurred[0, 0].abs().max() == 0
    profile = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    profile /= profile.sum()
    torch.testing.assert_close(blurred[0, 1, 2:13, 2:13], profile[:, None] * profile)
    torch.testing.assert_close(gaussian_blur(torch.full((1, 3, 4, 4), 0.3), 2.0), torch.full((1, 3, 4, 4), 0.3))


def test_blur_waits_for_its_turn():
    x = torch.rand(1, 1, 5, 5)
    smooth = blur(1.0, every=3)
    assert [torch.equal(smooth(x, x, step), x) for step in range(6)] == [True, True, False] * 2


def test_pixels_of_small_norm_are_set_to_zero_in_every_colour():
    x = torch.tensor([[[[3.0, 0.1], [-1.0, 0.0]], [[4.0, 0.1], [0.0, 2.0]]]])  # norms 5, .14, 1, 2
    clipped = clip_small_norm(0.5)(x, x, 0)
    assert clipped.tolist() == [[[[3.0, 0.0], [0.0, 0.0]], [[4.0, 0.0], [0.0, 2.0]]]]


def test_pixels_of_small_contribution_are_set_to_zero():
    x = torch.tensor([[[[3.0, 0.1], [-1.0, 1.0]], [[4.0, 0.1], [1.0, 2.0]]]])
    gradient = torch.tensor([[[[4.0, 9.0], [2.0, 1.0]], [[-3.0, 9.0], [1.0, 1.0]]]])  # |x·g|: 0, 1.8, 1, 3
    clipped = clip_small_contribution(0.5)(x, gradient, 0)
    torch.testing.assert_close(clipped, torch.tensor([[[[0.0, 0.1], [0.0, 1.0]], [[0.0, 0.1], [0.0, 2.0]]]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: expected an integer from 1 on, got 0"),
        ({"lr": 0.0}, "lr: expected a number > 0, got 0.0"),
        ({"penalty": -1.0}, "penalty: expected a number ≥ 0, got -1.0"),
        (
            {"lr": 50.0, "penalty": 1.0, "steps": 500},
            r"lr: the images diverge by step \d+; take lr below 50 and below 1/penalty = 1$",
        ),
        ({"lr": 1e200, "steps": 500, "regularizers": [lambda x, g, s: x * 1e200]}, "take lr below 1e[+]200$"),
        ({"objective": 4}, "target: expected an integer from 0 to 3, got 4"),
        ({"objective": Unit("conv3", 0)}, "unknown layer 'conv3': did you mean conv"),
        ({"objective": Unit("conv2", 4)}, "channel of layer 'conv2': expected an integer from 0 to 3, got 4"),
        ({"start": torch.rand(0, 2, 8, 8)}, r"start: expected at least one element, got shape \(0, 2, 8, 8\)"),
        ({"start": torch.rand(1, 3, 8, 8).double()}, r"cannot take images of shape \(1, 3, 8, 8\)"),
        ({"start": torch.full((1, 2, 8, 8), torch.nan)}, "start: 128 of 128 numbers are NaN or infinite"),
    ],
)
def test_wrong_arguments_are_told(tiny, images, arguments, message, unchanged):
    arguments = {"objective": 0, "start": images} | arguments
    with unchanged(tiny), pytest.raises(ValueError, match=message):
        activation_maximization(tiny, **arguments)


def test_an_objective_that_no_gradient_reaches_is_refused(tiny, images):
    with pytest.raises(ValueError, match="no gradient reaches the images"):
        activation_maximization(tiny, lambda output: output.detach()[:, 0], images, steps=1)


def test_a_model_in_training_mode_is_refused(images):
    model = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(128, 2)).double()
    with pytest.raises(ValueError, match="training mode"):
        activation_maximization(model, 0, images)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decay(1.0), "fraction: expected a number ≥ 0 and < 1, got 1.0"),
        (lambda: clip_small_norm(-0.1), "fraction: expected a number ≥ 0 and < 1, got -0.1"),
        (lambda: clip_small_contribution(2.0), "fraction: expected a number ≥ 0 and < 1, got 2.0"),
        (lambda: blur(0.0), "sigma: expected a number > 0, got 0.0"),
        (lambda: blur(1.0, every=0), "every: expected an integer from 1 on, got 0"),
    ],
)
def test_wrong_regularizers_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types_are_told(tiny, images, without_annotations):
    for wrong in (images.byte(), images.half(), images.long(), images.numpy()):
        with pytest.raises(TypeError, match="start: expected"):
            activation_maximization(tiny, 0, wrong)
    with pytest.raises(TypeError, match=r"steps: expected an integer, got float 2\.5"):
        activation_maximization(tiny, 0, images, steps=2.5)
    with pytest.raises(TypeError, match="images: expected float32 or float64, got uint8"):
        gaussian_blur(images.byte(), 1.0)
    with pytest.raises(TypeError, match="fraction: expected a number, got str 'half'"):
        decay("half")


def test_blur_does_not_hide_that_the_ascent_diverges(linear):
    with pytest.raises(ValueError, match="diverge by step"):
        activation_maximization(
            linear, 0, torch.ones(1, 2, 3, 3).double(), lr=1e300, penalty=1e300, steps=9, regularizers=[blur(1.0)]
        )


def test_a_regularizer_is_a_function(tiny, images, without_annotations):
    with pytest.raises(TypeError, match=r"regularizers: expected a function, got float 0\.1"):
        activation_maximization(tiny, 0, images, steps=1, regularizers=[0.1])
