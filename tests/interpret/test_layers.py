import pytest
import torch
from torch import nn

from coursekit.interpret import activations
from coursekit.interpret.layers import (
    check_images,
    check_model,
    find_layer,
    forward,
    layer_output,
    recorded,
    scores,
)


class Branches(nn.Module):
    """A layer that never runs, and one that gives a pair."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Identity()
        self.pair = nn.LSTM(2, 3)

    def forward(self, x):
        return self.pair(x.mean(dim=3).transpose(1, 2))[0]


def broken(_):
    raise RuntimeError("something else")


# --- check_model


def test_a_model_without_chance_may_be_in_training_mode(tiny):
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
def test_chance_and_batch_statistics_are_refused_in_training_mode_only(layer, answer):
    model = nn.Sequential(nn.Identity(), layer)
    check_model(model.eval())
    layer.train()  # a part that was forgotten is enough
    with pytest.raises(ValueError, match=answer):
        check_model(model)
    assert layer.training


def test_a_model_that_is_itself_a_dropout_is_named_so():
    with pytest.raises(ValueError, match=r"Dropout \(itself\)"):
        check_model(nn.Dropout(0.5))


# --- check_images


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 8, 8), r"expected images as a floating-point batch .N, C, H, W., got shape .2, 8, 8."),
        (torch.rand(2, 8, 8), r"for one image pass image\[None\]"),
        (torch.zeros(1, 2, 8, 8, dtype=torch.uint8), r"got shape .1, 2, 8, 8. of torch.uint8"),
        (torch.rand(0, 2, 8, 8), "expected at least one image, got an empty batch"),
        (torch.tensor([[[[0.5, torch.nan, torch.inf, -torch.inf]]]]), "3 of 4 pixels are NaN or infinite"),
    ],
)
def test_what_is_not_a_batch_of_finite_images_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        check_images(images)


# --- forward


def test_a_model_that_cannot_take_the_images_is_told_with_their_shape(tiny, images):
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


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0, [1.0, 40.0]),
        (2, [3.0, 60.0]),
        (torch.tensor([2, 0]), [3.0, 40.0]),
        (torch.tensor([1, 1], dtype=torch.int32), [2.0, 50.0]),
        (lambda output: output[:, 1] - output[:, 0], [1.0, 10.0]),
    ],
)
def test_a_target_is_a_class_or_a_class_an_image_or_a_function(target, expected):
    assert scores(OUTPUT, target).tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"target \[3\] lies outside the 3 classes 0 … 2"),
        (-1, r"target \[-1\] lies outside the 3 classes"),
        (torch.tensor([7, -2]), r"target \[-2, 7\] lies outside"),
        (torch.tensor([0, 1, 2]), r"expected one class per image, shape \(2,\), got \(3,\)"),
        (lambda output: output, r"target must give one score per image, shape \(2,\), got \(2, 3\)"),
        (lambda output: output.sum(), r"shape \(2,\), got \(\)"),
    ],
)
def test_a_target_that_gives_no_score_for_each_image_is_refused(target, message):
    with pytest.raises(ValueError, match=message):
        scores(OUTPUT, target)


def test_a_class_of_an_output_without_classes_is_refused():
    with pytest.raises(ValueError, match=r"needs an output \(N, classes\), got \(2, 3, 4\): pass a function"):
        scores(torch.rand(2, 3, 4), 0)


def test_the_gradient_of_a_score_reaches_its_own_entry_only():
    output = OUTPUT.clone().requires_grad_()
    scores(output, torch.tensor([2, 0])).sum().backward()
    assert output.grad.tolist() == [[0, 0, 1], [1, 0, 0]]


# --- layers


def test_a_layer_is_found_by_its_dotted_name(residual):
    assert find_layer(nn.Sequential(residual), "0.block") is residual.block


def test_an_unknown_layer_is_told_with_near_ones(tiny):
    with pytest.raises(ValueError, match="unknown layer 'conv': did you mean conv1 or conv2"):
        find_layer(tiny, "conv")
    with pytest.raises(ValueError, match=r"unknown layer 'stem': there are conv1, relu1, .*, output\."):
        find_layer(tiny, "stem")
    with pytest.raises(ValueError, match="unknown layer ''"):
        find_layer(tiny, "")


def test_the_output_of_a_layer_is_that_of_the_net_cut_behind_it(tiny, images):
    torch.testing.assert_close(layer_output(tiny, images, "pool1"), tiny[:3](images), rtol=0, atol=0)
    assert torch.equal(layer_output(tiny, images, "output"), tiny(images))


def test_the_output_of_a_layer_carries_its_gradient(tiny, images):
    x = images.clone().requires_grad_()
    layer_output(tiny, x, "relu1").sum().backward()
    expected = images.clone().requires_grad_()
    tiny[:2](expected).sum().backward()
    torch.testing.assert_close(x.grad, expected.grad)


def test_an_in_place_relu_behind_a_layer_leaves_its_record_alone(images):
    conv = nn.Conv2d(2, 3, 3).double()
    model = nn.Sequential(conv, nn.ReLU(inplace=True))
    got = layer_output(model, images, "0")
    assert (got < 0).any()
    assert torch.equal(got, conv(images))


def test_of_a_layer_that_runs_twice_the_last_output_counts(residual, images):
    with recorded(residual, "block") as outputs:
        residual(images)
    assert len(outputs) == 2
    assert not torch.equal(*outputs)
    assert torch.equal(layer_output(residual, images, "block"), outputs[1])


def test_a_layer_that_does_not_run_or_gives_no_tensor_is_refused(images):
    model = Branches().double()
    with pytest.raises(ValueError, match="layer 'idle' did not run: the model's forward does not call it"):
        layer_output(model, images, "idle")
    with pytest.raises(ValueError, match="layer 'pair' gives a tuple, not one tensor"):
        layer_output(model, images, "pair")


# --- activations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_do_not_depend_on_the_batches(tiny, images, dtype):
    tiny, images = tiny.to(dtype), images.to(dtype)
    whole = activations(tiny, images, "conv2")
    assert whole.shape == (3, 4, 4, 4)
    assert whole.dtype == dtype
    assert not whole.requires_grad
    torch.testing.assert_close(activations(tiny, images, "conv2", batch_size=2), whole)


def test_activations_refuse_bad_input_by_its_message(tiny, images):
    with pytest.raises(ValueError, match=r"call model.eval\(\) first"):
        activations(nn.Sequential(nn.Dropout()), images, "0")
    images[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="1 of 384 pixels are NaN"):
        activations(tiny, images, "conv1")


def test_the_model_is_left_as_it_was(tiny, residual, images, unchanged):
    residual(images).sum().backward()  # gradients of the reader's own stay
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
