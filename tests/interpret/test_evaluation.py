from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.utils import prune

from coursekit import datasets
from coursekit.interpret import (
    cascading_randomization,
    deletion_curve,
    input_gradient,
    insertion_curve,
    intersection_over_union,
    pointing_game,
    rank_correlation,
    saliency,
)
from coursekit.nets import convnet


def area(curve):
    fractions, scores = curve
    return torch.trapezoid(scores, fractions)


# --- deletion and insertion


@pytest.fixture
def five_pixels():
    """A linear score, two images of five pixels, and what each pixel contributes to the score, w·x."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(5, 1)).double()
    images = torch.randn(2, 1, 1, 5, dtype=torch.float64)
    return model, images, (model[1].weight.detach() * images)[:, 0]


def test_the_deletion_curve_of_a_linear_score_is_least_in_the_order_of_weight_times_pixel(five_pixels):
    model, images, contributions = five_pixels
    ours = area(deletion_curve(model, images, contributions, 0, steps=5))
    orders = [torch.tensor(order, dtype=torch.float64).expand(2, 1, 5) for order in permutations(range(5))]
    areas = torch.stack([area(deletion_curve(model, images, order, 0, steps=5)) for order in orders])  # (120, 2)
    torch.testing.assert_close(ours, areas.min(dim=0).values)
    assert (areas > ours + 1e-9).sum(dim=0).tolist() == [119, 119]


def test_curves_lose_or_gain_the_contributions_one_after_the_other(five_pixels):
    model, images, contributions = five_pixels
    fractions, deleted = deletion_curve(model, images, contributions, 0, steps=5)
    torch.testing.assert_close(fractions, torch.arange(6).double() / 5)
    lost = contributions[:, 0].sort(dim=1, descending=True).values.cumsum(dim=1)
    torch.testing.assert_close(deleted[:, :1] - deleted[:, 1:], lost)
    inserted = insertion_curve(model, images, contributions, 0, steps=5)[1]
    torch.testing.assert_close(inserted[:, 1:] - inserted[:, :1], lost)


def test_curves_lead_from_the_image_to_the_fill_and_back(tiny, images):
    maps, fill = torch.rand(3, 8, 8), torch.rand_like(images)  # another fill for each image
    own = torch.tensor([3, 0, 1])
    ends = [tiny(x).detach().gather(1, own[:, None])[:, 0] for x in (images, fill)]
    deleted = deletion_curve(tiny, images, maps, own, steps=7, fill=fill)[1]
    inserted = insertion_curve(tiny, images, maps, own, steps=7, fill=fill)[1]
    torch.testing.assert_close([deleted[:, 0], deleted[:, -1]], ends)
    torch.testing.assert_close([inserted[:, -1], inserted[:, 0]], ends)


def test_equal_values_go_from_top_left_to_bottom_right(tiny, images):
    half = images.clone()
    half[:, :, :4] = 0
    curve = deletion_curve(tiny, images, torch.zeros(3, 8, 8), 2, steps=2)[1]
    torch.testing.assert_close(curve[:, 1], tiny(half).detach()[:, 2])


def test_steps_that_do_not_divide_the_pixels_are_rounded(tiny, images):
    fractions, scores = deletion_curve(tiny, images, torch.rand(3, 8, 8), 0, steps=5)
    assert (64 * fractions).tolist() == [0, 13, 26, 38, 51, 64]
    assert scores.shape == (3, 6)


@pytest.mark.parametrize(
    ("maps", "steps", "message"),
    [
        (torch.zeros(3, 8, 7), 5, r"maps: expected shape \(3, 8, 8\), got \(3, 8, 7\)"),
        (torch.zeros(1, 8, 8), 5, r"maps: expected shape \(3, 8, 8\), got \(1, 8, 8\)"),
        (torch.full((3, 8, 8), torch.nan), 5, "maps: 192 of 192 numbers are NaN or infinite"),
        (torch.zeros(3, 8, 8), 0, "steps: expected an integer from 1 to 64, got 0"),
        (torch.zeros(3, 8, 8), 65, "steps: expected an integer from 1 to 64, got 65"),
    ],
)
@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_curves_refuse_maps_and_steps_that_do_not_fit(tiny, images, curve, maps, steps, message):
    with pytest.raises(ValueError, match=message):
        curve(tiny, images, maps, 0, steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"maps": torch.zeros(3, 8, 8).long()}, "maps: expected float32 or float64, got int64"),
        ({"maps": np.zeros((3, 8, 8))}, "maps: expected a tensor, got ndarray"),
        ({"steps": 5.0}, "steps: expected an integer, got float 5.0"),
        ({"fill": [0.0, 0.0]}, "fill: expected a number, got list"),
        ({"images": torch.zeros(3, 2, 8, 8).byte()}, "images: expected float32 or float64, got uint8"),
        ({"target": [0, 1, 2]}, r"target: expected a tensor, got list; torch.as_tensor\(target\) makes one"),
    ],
)
@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_curves_refuse_arguments_of_another_type(without_annotations, tiny, images, curve, arguments, message):
    with pytest.raises(TypeError, match=message):
        curve(tiny, **{"images": images, "maps": torch.rand(3, 8, 8), "target": 0} | arguments)


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
def test_curves_refuse_what_every_look_into_a_net_refuses(tiny, images, curve):
    maps = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match=r"images: expected at least one element, got shape \(0, 2, 8, 8\)"):
        curve(tiny, images[:0], maps[:0], 0)
    with pytest.raises(ValueError, match="target: expected an integer from 0 to 3, got 4"):
        curve(tiny, images, maps, 4)
    with pytest.raises(ValueError, match="got shape \\(5, 1, 1\\)"):
        curve(tiny, images, maps, 0, fill=torch.zeros(5, 1, 1))
    with pytest.raises(ValueError, match="training mode, and with Dropout"):
        curve(nn.Sequential(nn.Dropout(), tiny), images, maps, 0)


# --- pointing game, intersection over union


def test_the_pointing_game_is_won_on_a_planted_square():
    maps, masks = torch.rand(20, 9, 9), torch.zeros(20, 9, 9, dtype=torch.bool)
    masks[:, 2:5, 3:6] = True
    assert pointing_game(maps + 2 * masks, masks).tolist() == [1] * 20
    assert pointing_game(maps - 2 * masks, masks).tolist() == [0] * 20


def test_a_constant_map_wins_the_pointing_game_as_often_as_chance():
    masks = torch.zeros(1, 4, 5, dtype=torch.bool)
    masks[:, 1:3, 2:5] = True
    assert pointing_game(torch.ones(1, 4, 5), masks).item() == pytest.approx(6 / 20)


def test_intersection_over_union_of_hand_worked_squares():
    a, b = torch.zeros(4, 6, 6, dtype=torch.bool), torch.zeros(4, 6, 6, dtype=torch.bool)
    a[0, :2, :2] = b[0, 1:3, 1:3] = True  # one of seven
    a[1, :3] = b[1, :3] = True  # equal
    a[2, :3] = b[2, 3:] = True  # disjoint
    torch.testing.assert_close(intersection_over_union(a, b), torch.tensor([1 / 7, 1, 0, 1]))


def test_comparisons_refuse_different_shapes_and_nan():
    maps, masks = torch.zeros(2, 4, 4), torch.zeros(2, 4, 5, dtype=torch.bool)
    shapes = r"expected one shape, got \(2, 4, 4\) and \(2, 4, 5\)"
    with pytest.raises(ValueError, match=shapes):
        pointing_game(maps, masks)
    with pytest.raises(ValueError, match=shapes):
        intersection_over_union(maps > 0, masks)
    with pytest.raises(ValueError, match=shapes):
        rank_correlation(maps, masks.float())
    with pytest.raises(ValueError, match="maps: 32 of 32 numbers are NaN"):
        pointing_game(maps / 0, maps == 0)
    for name, pair in {"b": (maps, maps / 0), "a": (maps / 0, maps)}.items():
        with pytest.raises(ValueError, match=f"{name}: 32 of 32 numbers are NaN"):
            rank_correlation(*pair)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: pointing_game(m.long(), m > 0), "maps: expected float32 or float64, got int64"),
        (lambda m: pointing_game(m > 0, m > 0), "maps: expected float32 or float64, got bool"),
        (lambda m: pointing_game(m.half(), m > 0), "maps: expected float32 or float64, got float16"),
        (lambda m: pointing_game(m.numpy(), m > 0), "maps: expected a tensor, got ndarray"),
        (lambda m: pointing_game(m, m), r"masks: expected truth values \(torch.bool\), got float32"),
        (lambda m: pointing_game(m, (m > 0).numpy()), "masks: expected a tensor, got ndarray"),
        (lambda m: intersection_over_union(m.long(), m > 0), "found: expected truth values .*, got int64"),
        (lambda m: intersection_over_union(m > 0, m), "masks: expected truth values .*, got float32"),
        (lambda m: rank_correlation(m.long(), m), "a: expected float32 or float64, got int64"),
        (lambda m: rank_correlation(m, m > 0), "b: expected float32 or float64, got bool"),
        (lambda m: rank_correlation(m.byte(), m.byte()), "a: expected float32 or float64, got uint8"),
        (lambda m: rank_correlation(m, m.tolist()), "b: expected a tensor, got list"),
    ],
)
def test_comparisons_refuse_integers_truth_values_and_arrays(without_annotations, call, message):
    with pytest.raises(TypeError, match=message):
        call(torch.rand(2, 4, 4))


@pytest.mark.parametrize("compare", [lambda m: pointing_game(m, m > 0), lambda m: rank_correlation(m, m)])
def test_comparisons_refuse_an_empty_batch(compare):
    with pytest.raises(ValueError, match=r"expected at least one element, got shape \(0, 4, 4\)"):
        compare(torch.rand(0, 4, 4))


# --- rank correlation


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_scipys_with_and_without_ties(levels):
    a, b = torch.randint(levels, (2, 5, 4, 6)).double()
    b += a / 2
    wanted = [spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(rank_correlation(a, b), torch.tensor(wanted))


def test_rank_correlation_sees_the_order_alone_and_its_sign():
    a = torch.randn(3, 50)
    torch.testing.assert_close(rank_correlation(a, a.exp()), torch.ones(3))
    torch.testing.assert_close(rank_correlation(a, -(a**3)), -torch.ones(3))
    assert rank_correlation(a, torch.ones(3, 50)).tolist() == [0, 0, 0]
    assert rank_correlation(torch.ones(3, 50), a).tolist() == [0, 0, 0]
    assert rank_correlation(a[:, :1], a[:, :1]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rank_correlation_has_the_type_of_the_maps_and_no_graph(dtype):
    a = torch.randn(3, 5, dtype=dtype, requires_grad=True)
    found = rank_correlation(a, a)
    assert found.dtype == dtype
    assert not found.requires_grad


# --- cascading randomization


def gradient(model, images):
    return input_gradient(model, images, 1)


def test_layers_are_randomized_from_the_output_to_the_input(tiny, images):
    seen = []

    def explain(model, x):
        trained = [
            name for name in ("conv1", "conv2", "output") if torch.equal(weight(model, name), weight(tiny, name))
        ]
        seen.append(trained)
        return input_gradient(model, x, 1)

    def weight(model, name):
        return model.get_submodule(name).weight

    stages = cascading_randomization(tiny, images, explain)
    assert list(stages) == ["output", "conv2", "conv1"]
    assert seen == [["conv1", "conv2", "output"], ["conv1", "conv2"], ["conv1"], []]


def test_the_order_is_that_in_which_layers_run_and_idle_ones_are_left_out():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.idle, self.start = nn.Linear(6, 2), nn.Linear(6, 2), nn.Conv2d(1, 2, 2)

        def forward(self, x):
            return self.last(self.start(x).flatten(1).relu())

    model = Backwards()
    assert list(cascading_randomization(model, torch.rand(1, 1, 2, 4), gradient)) == ["last", "start"]


def test_a_map_that_ignores_the_net_never_changes_and_one_that_flips_its_sign_has_minus_one(tiny, images):
    maps = torch.rand(3, 8, 8)
    stages = cascading_randomization(tiny, images, lambda *_: maps)
    assert list(stages.values()) == pytest.approx([1, 1, 1])
    signs = iter([1, -1, 1, -1])
    stages = cascading_randomization(tiny, images, lambda *_: next(signs) * maps)
    assert list(stages.values()) == pytest.approx([-1, 1, -1])


def test_the_cascade_is_seeded_and_leaves_model_and_generator_alone(residual, images, unchanged):
    generator = torch.get_rng_state()
    with unchanged(residual):
        first, again, other = (cascading_randomization(residual, images, gradient, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), generator)
    assert first == again
    assert first != other
    assert list(first) == ["output", "norm", "block", "first"]


def test_model_and_generator_are_left_alone_also_after_an_error(tiny, images, unchanged):
    def broken(model, x):
        raise KeyError("no map")

    generator = torch.get_rng_state()
    with unchanged(tiny), pytest.raises(KeyError, match="no map"):
        cascading_randomization(tiny, images, broken)
    assert torch.equal(torch.get_rng_state(), generator)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.factor * x


def test_the_cascade_names_layers_that_cannot_be_randomized(images):
    net = nn.Sequential(Scale(), nn.Flatten())
    with pytest.raises(ValueError, match=r"Scale \(0\) has parameters of its own, but no method reset_parameters"):
        cascading_randomization(net, images, lambda *_: images)
    with pytest.raises(ValueError, match=r"Scale \(the model itself\) has parameters"):
        cascading_randomization(Scale(), images, lambda *_: images)
    with pytest.raises(ValueError, match="Flatten runs no layer with parameters, so there is nothing to randomize"):
        cascading_randomization(nn.Flatten(), images, lambda *_: images)


def test_the_cascade_refuses_arguments_of_another_type(without_annotations, tiny, images):
    with pytest.raises(TypeError, match="maps: expected a tensor, got ndarray"):
        cascading_randomization(tiny, images, lambda *_: images.numpy())
    with pytest.raises(TypeError, match=r"seed: expected an integer, got float 0\.5"):
        cascading_randomization(tiny, images, gradient, seed=0.5)
    with pytest.raises(TypeError, match="images: expected float32 or float64, got int64"):
        cascading_randomization(tiny, images.long(), gradient)


def test_guided_maps_survive_random_weights_and_gradients_do_not():
    """For a small net trained on the digits, after all its weights have been randomized."""
    digits = datasets.digits()
    net = convnet(1, 8, 10, widths=(16, 32))
    descent = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        for batch in torch.randperm(len(digits.train)).split(48):
            loss = nn.functional.cross_entropy(net(digits.train.images[batch]), digits.train.labels[batch])
            descent.zero_grad()
            loss.backward()
            descent.step()
    images, labels = digits.test.images[:100], digits.test.labels[:100]
    assert (net(images).argmax(dim=1) == labels).float().mean() > 0.9
    last = {
        rule: cascading_randomization(net, images, lambda m, x, r=rule: input_gradient(m, x, labels, r))["conv1"]
        for rule in ("gradient", "guided")
    }
    assert abs(last["gradient"]) < 0.2
    assert last["guided"] > last["gradient"] + 0.3


@pytest.mark.parametrize(
    "normalized", [nn.utils.spectral_norm, lambda layer: prune.l1_unstructured(layer, "weight", 0.5)]
)
def test_a_layer_that_reset_parameters_leaves_as_it_was_is_named(normalized):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with torch.no_grad():
        normalized(model[1])
        model[1].weight = model[1].weight.detach()  # as after loading, so that it can be copied
    with pytest.raises(ValueError, match=r"1 weight_orig: reset_parameters\(\) leaves it as it was"):
        cascading_randomization(model, torch.rand(2, 3, 2, 2), lambda m, x: saliency(m, x, 1))


def test_a_layer_that_resets_its_data_is_randomized():
    class Old(nn.Linear):
        def reset_parameters(self):
            for p in self.parameters():
                p.data.uniform_()

    torch.manual_seed(1)  # seed 0 would give the numbers that the cascade draws
    model = nn.Sequential(nn.Flatten(), Old(12, 2)).eval()
    assert list(cascading_randomization(model, torch.rand(2, 3, 2, 2), lambda m, x: saliency(m, x, 1))) == ["1"]


def test_the_cascade_wants_one_map_for_each_image(tiny, images):
    with pytest.raises(ValueError, match=rf"maps: expected shape \({len(images)}, \.\.\.\), got \(1, "):
        cascading_randomization(tiny, images, lambda model, x: saliency(model, x, 1).mean(dim=0, keepdim=True))
