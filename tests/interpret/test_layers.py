import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.interpret import activations, occluded_activation, saliency
from coursekit.interpret.layers import (
    check_model,
    find_layer,
    forward,
    layer_output,
    recorded,
    scores,
    unit_value,
)


class Branches(nn.Module):
    """A layer that never runs, and one that returns a tuple."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Identity()
        self.pair = nn.LSTM(2, 3)

    def forward(self, x):
        return self.pair(x.mean(dim=3).transpose(1, 2))[0]


def broken(_):
    raise RuntimeError("something else")


# --- check_model


def test_a_deterministic_model_may_be_in_training_mode(tiny):
    check_model(tiny.train())
    assert tiny.training


@pytest.mark.parametrize(
    ("layer", "answer"),
    [
        (nn.Dropout(0.5), "Dropout .1. its answer is different at every call: call model.eval.. first"),
        (nn.Dropout2d(0.5), "Dropout2d .1. its answer is different at every call"),
        (nn.AlphaDropout(0.5), "AlphaDropout .1. its answer is different at every call"),
        (nn.BatchNorm2d(2), "BatchNorm2d .1. its answer depends on the other images of the batch"),
    ],
)
def test_randomness_and_batch_statistics_are_refused_in_training_mode_only(layer, answer):
    model = nn.Sequential(nn.Identity(), layer)
    check_model(model.eval())
    layer.train()  # one forgotten part is enough
    with pytest.raises(ValueError, match=answer):
        check_model(model)
    assert layer.training


def test_a_model_that_is_itself_a_dropout_layer_is_named():
    with pytest.raises(ValueError, match=r"Dropout \(itself\)"):
        check_model(nn.Dropout(0.5))


def test_anything_but_a_module_is_refused(without_annotations):
    with pytest.raises(TypeError, match=r"model: expected an nn\.Module, got function"):
        check_model(lambda x: x)


# --- forward


def test_the_error_for_images_that_the_model_cannot_take_names_their_shape(tiny, images):
    with pytest.raises(ValueError, match=r"Sequential cannot take .* shape .3, 1, 8, 8., torch.float64, on cpu:"):
        forward(tiny, images[:, :1])
    with pytest.raises(ValueError, match=r"shape .3, 2, 8, 8., torch.float32, on cpu"):
        forward(tiny, images.float())


def test_a_full_memory_is_not_blamed_on_the_images(images):
    class Full(nn.Module):
        def forward(self, _):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        forward(Full(), images)


# --- scores

OUTPUT = torch.tensor([[1.0, 2.0, 3.0], [40.0, 50.0, 60.0]])
TWO = torch.rand(2, 1, 8, 8)


class Returns(nn.Module):
    """A model that returns one value, whatever the images are."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _):
        return self.value


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0, [1.0, 40.0]),
        (2, [3.0, 60.0]),
        (torch.tensor([2, 0]), [3.0, 40.0]),
        (torch.tensor([1, 1], dtype=torch.int32), [2.0, 50.0]),
        (lambda output: output[:, 1] - output[:, 0], [1.0, 10.0]),
        (np.int64(2), [3.0, 60.0]),
        (OUTPUT[0].argmin(), [1.0, 40.0]),
        (torch.tensor([2, 0], dtype=torch.uint8), [3.0, 40.0]),
    ],
)
def test_a_target_is_a_class_or_one_class_per_image_or_a_function(without_annotations, target, expected):
    assert scores(Returns(OUTPUT), TWO, target).tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "target: expected an integer from 0 to 2, got 3"),
        (-1, "target: expected an integer from 0 to 2, got -1"),
        (torch.tensor([7, -2]), r"target: expected classes from 0 to 2, got \[-2, 7\]"),
        (torch.tensor([0, 1, 2]), r"target: expected one class for each item, shape \(2,\), got \(3,\)"),
        (lambda output: output, r"target: expected one score per image, shape \(2,\), got \(2, 3\)"),
        (lambda output: output.sum(), r"target: expected one score per image, shape \(2,\), got \(\)"),
    ],
)
def test_a_target_that_gives_no_score_for_each_image_is_refused(target, message):
    with pytest.raises(ValueError, match=message):
        scores(Returns(OUTPUT), TWO, target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([0, 1], r"target: expected a tensor, got list; torch.as_tensor\(target\) makes one"),
        ((0, 1), r"target: expected a tensor, got tuple; torch.as_tensor\(target\) makes one"),
        (np.array([0, 1]), r"target: expected a tensor, got ndarray; torch.as_tensor\(target\) makes one"),
        (1.0, "target: expected a tensor, got float 1.0"),
        (True, "target: expected an integer, got bool True"),
        (torch.tensor([0.0, 1.0]), "target: expected integers, got float32"),
        (torch.tensor([True, False]), "target: expected integers, got bool"),
        (lambda output: output.argmax(dim=1), "a function that returns a floating-point tensor, got torch.int64"),
        (lambda output: output[:, 0].tolist(), "a function that returns a floating-point tensor, got list"),
    ],
)
def test_a_target_of_another_type_is_refused(without_annotations, target, message):
    with pytest.raises(TypeError, match=message):
        scores(Returns(OUTPUT), TWO, target)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 3), ()])
def test_a_class_of_an_output_without_classes_is_refused(shape):
    message = f"Returns returns shape {shape} for 2 images, but a class as target needs an output (N, classes): pass"
    with pytest.raises(ValueError, match=re.escape(message)):
        scores(Returns(torch.rand(shape)), TWO, 0)


@pytest.mark.parametrize("n", [2, 3])
def test_a_function_may_pick_the_scores_from_whatever_the_model_returns(n):
    output, images = torch.rand(n, 5), torch.rand(n, 1, 8, 8)
    for value, pick in [((output, 0), lambda y: y[0][:, 1]), ({"out": output}, lambda y: y["out"][:, 1])]:
        assert torch.equal(scores(Returns(value), images, pick), output[:, 1])
        for target in (1, torch.zeros(n, dtype=torch.int64)):
            message = f"Returns returns a {type(value).__name__}, .*pass as target a function"
            with pytest.raises(TypeError, match=message):
                scores(Returns(value), images, target)


def test_the_gradient_of_a_score_reaches_its_own_entry_only():
    output = OUTPUT.clone().requires_grad_()
    scores(Returns(output), TWO, torch.tensor([2, 0])).sum().backward()
    assert output.grad.tolist() == [[0, 0, 1], [1, 0, 0]]


# --- layers


def test_a_layer_is_found_by_its_dotted_name(residual):
    assert find_layer(nn.Sequential(residual), "0.block") is residual.block


def test_the_error_for_an_unknown_layer_suggests_similar_ones(tiny):
    with pytest.raises(ValueError, match="unknown layer 'conv': did you mean conv1 or conv2"):
        find_layer(tiny, "conv")
    with pytest.raises(ValueError, match=r"unknown layer 'stem': there are conv1, relu1, .*, output\."):
        find_layer(tiny, "stem")
    with pytest.raises(ValueError, match="unknown layer ''"):
        find_layer(tiny, "")


def test_the_output_of_a_layer_is_that_of_the_net_cut_off_after_it(tiny, images):
    torch.testing.assert_close(layer_output(tiny, images, "pool1"), tiny[:3](images), rtol=0, atol=0)
    assert torch.equal(layer_output(tiny, images, "output"), tiny(images))


def test_the_output_of_a_layer_carries_its_gradient(tiny, images):
    x = images.clone().requires_grad_()
    layer_output(tiny, x, "relu1").sum().backward()
    expected = images.clone().requires_grad_()
    tiny[:2](expected).sum().backward()
    torch.testing.assert_close(x.grad, expected.grad)


def test_an_in_place_relu_after_a_layer_does_not_change_its_recorded_output(images):
    conv = nn.Conv2d(2, 3, 3).double()
    model = nn.Sequential(conv, nn.ReLU(inplace=True))
    got = layer_output(model, images, "0")
    assert (got < 0).any()
    assert torch.equal(got, conv(images))


def test_the_last_output_of_a_layer_that_runs_twice_counts(residual, images):
    with recorded(residual, "block") as outputs:
        residual(images)
    assert len(outputs) == 2
    assert not torch.equal(*outputs)
    assert torch.equal(layer_output(residual, images, "block"), outputs[1])


def test_a_layer_that_does_not_run_or_does_not_return_a_tensor_is_refused(images):
    model = Branches().double()
    with pytest.raises(ValueError, match="layer 'idle' did not run: the model's forward does not call it"):
        layer_output(model, images, "idle")
    with pytest.raises(ValueError, match="layer 'pair' returns a tuple, not a tensor: choose a layer inside it"):
        layer_output(model, images, "pair")


def test_a_layer_name_that_is_not_a_string_is_refused(without_annotations, tiny):
    with pytest.raises(TypeError, match=r"layer: expected one of 'conv1', .*, got int 0"):
        find_layer(tiny, 0)


# --- units


@pytest.mark.parametrize(
    ("channel", "position", "message"),
    [
        (1.0, None, "channel of layer 'conv2': expected an integer, got float 1.0"),
        (True, None, "channel of layer 'conv2': expected an integer, got bool True"),
        (0, (0.5, 1), "position: expected integers, got float32"),
        (0, torch.ones(2, 2, dtype=torch.bool), "position: expected integers, got bool"),
    ],
)
def test_channels_and_positions_are_integers(without_annotations, channel, position, message):
    with pytest.raises(TypeError, match=message):
        unit_value(torch.rand(2, 3, 4, 4), "conv2", channel, position)


# --- activations


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.rand(2, 8, 8), ValueError, r"images: expected a batch \(n, c, h, w\), got shape \(2, 8, 8\)"),
        (torch.rand(2, 8, 8), ValueError, r"pass images\[None\]"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.uint8), TypeError, "images: expected float32 or float64, got uint8"),
        (torch.zeros(1, 2, 8, 8).half(), TypeError, "images: expected float32 or float64, got float16"),
        (np.zeros((1, 2, 8, 8)), TypeError, r"images: .* got ndarray; torch.as_tensor\(images\) makes one"),
        (torch.rand(0, 2, 8, 8), ValueError, r"images: expected at least one element, got shape \(0, 2, 8, 8\)"),
        (torch.tensor([[[[0.5, torch.nan, torch.inf, -torch.inf]]]]), ValueError, "3 of 4 numbers are NaN or infinite"),
    ],
)
def test_anything_but_a_batch_of_finite_images_is_refused(without_annotations, tiny, images, error, message):
    with pytest.raises(error, match=message):
        activations(tiny, images, "conv1")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_do_not_depend_on_the_batches(tiny, images, dtype):
    tiny, images = tiny.to(dtype), images.to(dtype)
    whole = activations(tiny, images, "conv2")
    assert whole.shape == (3, 4, 4, 4)
    assert whole.dtype == dtype
    assert not whole.requires_grad
    torch.testing.assert_close(activations(tiny, images, "conv2", batch_size=2), whole)


def test_activations_refuse_bad_input(tiny, images):
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        activations(nn.Sequential(nn.Dropout()), images, "0")
    images[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="images: 1 of 384 numbers are NaN"):
        activations(tiny, images, "conv1")


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (2.0, TypeError)])
def test_a_batch_size_is_a_positive_integer(without_annotations, tiny, images, size, error):
    with pytest.raises(error, match="batch_size: expected an integer"):
        activations(tiny, images, "conv1", batch_size=size)


def test_the_model_is_left_as_it_was(tiny, residual, images, unchanged):
    residual(images).sum().backward()  # gradients that were there before must stay
    for model, layer in ((tiny, "conv2"), (residual, "block")):
        with unchanged(model):
            activations(model, images, layer)
    with unchanged(tiny):
        layer_output(tiny, images, "conv2")


def test_the_model_is_left_as_it_was_by_an_exception(tiny, images, unchanged):
    with unchanged(tiny), pytest.raises(ValueError, match="cannot take images"):
        activations(tiny, images[:, :1], "conv1")
    with unchanged(tiny), pytest.raises(RuntimeError, match="something else"), recorded(tiny, "conv1"):
        broken(tiny)


def test_batch_normalization_without_running_statistics_is_refused_in_evaluation_mode_too():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match=r"BatchNorm2d \(1\) keeps no running statistics"):
        activations(model, torch.rand(2, 1, 8, 8), "0")


class Tail(nn.Module):
    """A convolution, something that happens to its output, and a linear layer."""

    def __init__(self, between):
        super().__init__()
        self.first, self.between, self.last = nn.Conv2d(3, 4, 3), between, nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.between(self.first(x)).mean(dim=(2, 3)))


class Drop(nn.Module):
    def __init__(self, always=False):
        super().__init__()
        self.always = always

    def forward(self, x):
        return torch.nn.functional.dropout(x, training=self.always or self.training)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Tail(Drop()), "Tail draws random numbers when it runs"),
        (Tail(Drop(always=True)).eval(), "Tail draws random numbers when it runs"),
        (Tail(nn.RReLU()), "Tail draws random numbers when it runs"),
        (
            Tail(nn.InstanceNorm2d(4, track_running_stats=True)),
            "Tail changes between.running_mean, between.running_var",
        ),
        (Tail(nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))), r"changes between.*_u, between.*_v when"),
    ],
)
@pytest.mark.parametrize("look", [lambda m, x: saliency(m, x, 1), lambda m, x: activations(m, x, "last")])
def test_a_model_that_is_not_at_rest_is_refused_and_left_as_it_was(model, message, look):
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        look(model, torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_a_model_in_training_mode_that_is_at_rest_will_do():
    model, x = Tail(nn.InstanceNorm2d(4)), torch.rand(2, 3, 8, 8)
    assert model.training
    assert torch.equal(saliency(model, x, 1), saliency(model.eval(), x, 1))


@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_layer_whose_first_axis_is_not_that_of_the_images_is_refused(n):
    tokens = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Permuted())  # (4, n, 8)
    with pytest.raises(ValueError, match=r"layer '2' gives \(4, 1, 8\) for 1 images: its first axis is not theirs"):
        activations(tokens, torch.rand(n, 3, 8, 8), "2", batch_size=4)
    with pytest.raises(ValueError, match="its first axis is not theirs"):
        occluded_activation(tokens, torch.rand(n, 3, 8, 8), "2", 0, 4, 4)


class Permuted(nn.Module):
    def forward(self, x):
        return x.permute(2, 0, 1)


def test_integer_scores_are_no_scores():
    class Votes(torch.nn.Module):
        def forward(self, x):
            return (10 * x.flatten(1)).long()

    with pytest.raises(TypeError, match="the output of Votes: expected floating-point numbers, got int64"):
        scores(Votes(), torch.rand(2, 1, 2, 2), 3)


def test_positions_may_be_short_integers(without_annotations):
    output = torch.rand(3, 2, 4, 4)
    wanted = unit_value(output, "a", 1, torch.tensor([[0, 3], [2, 1], [1, 1]]))
    for dtype in (torch.uint8, torch.int16):
        got = unit_value(output, "a", 1, torch.tensor([[0, 3], [2, 1], [1, 1]], dtype=dtype))
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
