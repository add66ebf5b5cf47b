"""One step of gradient descent."""

import functools

import pytest
import torch
from denoising import denoiser, run, weights
from torch import nn
from torch.nn.functional import mse_loss

from coursekit.training import Descent


def test_descent_is_adam_written_by_hand(data):
    step, twin = denoiser(lr=0.01), denoiser().model
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    for _ in range(5):
        torch.manual_seed(3)
        ours = step(data)
        torch.manual_seed(3)
        optimizer.zero_grad()
        loss = mse_loss(twin(data + 0.1 * torch.randn_like(data)), data)
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(ours, loss)
    torch.testing.assert_close(weights(step), nn.utils.parameters_to_vector(twin.parameters()).detach())


def test_clipping_bounds_the_length_of_a_plain_gradient_step(data):
    model = nn.Linear(6, 6)
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    step = Descent(model, lambda x: 1e4 * mse_loss(model(x), x), optimizer=sgd, clip=0.5)
    before = weights(step)
    step(data)
    assert (weights(step) - before).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_of_several_losses_the_one_named_loss_is_descended(data):
    model = nn.Linear(6, 6, bias=False)
    step = Descent(model, lambda x: {"loss": mse_loss(model(x), x), "size": (model.weight**2).sum()}, lr=0.01)
    history = run(step, data, epochs=30)
    assert list(history.losses) == ["loss", "size"]
    assert history.epoch_losses["loss"][-1] < 0.5 * history.epoch_losses["loss"][0]


def test_bf16_computes_the_loss_in_bfloat16_and_keeps_float32_weights(data):
    model, seen = nn.Linear(6, 6), []

    def loss(x):
        y = model(x)
        seen.append(y.dtype)
        return mse_loss(y.float(), x)

    for precision in ("auto", "float32", "bf16"):
        Descent(model, loss, precision=precision)(data)
    assert seen == [torch.float32, torch.float32, torch.bfloat16]
    assert model.weight.dtype == torch.float32


def test_compiled_and_plain_losses_agree_and_what_cannot_be_compiled_raises(data, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    model = nn.Linear(6, 6)
    compiled = Descent(model, lambda x: mse_loss(model(x), x), compile=True)
    expected = mse_loss(model(data), data)
    torch.testing.assert_close(compiled(data), expected)
    branching = Descent(model, lambda x: model(x).sum() if x.sum() > 0 else model(x).mean(), compile=True)
    with pytest.raises(torch._dynamo.exc.TorchDynamoException, match=r"[Dd]ata-dependent"):
        branching(data)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lr": 0.1, "optimizer": torch.optim.SGD([torch.zeros(1)])}, ValueError, "lr or optimizer, not both"),
        ({"lr": -1.0}, ValueError, "lr: expected a number ≥ 0, got -1.0"),
        ({"lr": float("inf")}, ValueError, "lr: expected a number ≥ 0, got inf"),
        ({"lr": "fast"}, TypeError, "lr: expected a number, got str 'fast'"),
        ({"clip": 0.0}, ValueError, "clip: expected a number > 0, got 0.0"),
        ({"clip": True}, TypeError, "clip: expected a number, got bool True"),
        ({"precision": "fp8"}, ValueError, "unknown precision 'fp8': there are auto, float32, bf16"),
        ({"precision": torch.float32}, TypeError, "precision: expected one of 'auto', 'float32', 'bf16', got dtype"),
        ({"optimizer": torch.optim.SGD}, TypeError, "optimizer: expected Optimizer, got type"),
    ],
)
def test_descent_refuses(settings, error, message):
    with pytest.raises(error, match=message):
        denoiser(**settings)


@pytest.mark.usefixtures("without_annotations")
def test_a_model_is_a_module():
    with pytest.raises(TypeError, match="model: expected Module, got function"):
        Descent(lambda x: x, lambda x: x.mean())


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda x: x.sum().item(), TypeError, "'loss' is float. Return loss itself, not loss.item()"),
        (lambda x: x, TypeError, r"'loss' is shape \(50, 6\)"),
        (lambda x: {"loss": x.sum(), "size": 1.0}, TypeError, "'size' is float"),
        (lambda x: {"mse": x.sum(), "size": x.sum()}, ValueError, 'to be named "loss", got mse, size'),
        (lambda x: x.sum(), ValueError, "loss: it does not depend on a parameter that learns"),
    ],
)
def test_a_loss_that_cannot_be_minimized_is_told_before_anything_changes(data, loss, error, message):
    model = nn.Linear(6, 6)
    before = model.weight.clone()
    with pytest.raises(error, match=message):
        Descent(model, loss)(data)
    assert torch.equal(model.weight, before)


def test_an_optimizer_that_computes_the_loss_itself_is_refused():
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="optimizer: LBFGS computes the loss several times in a step"):
        Descent(model, lambda x: model(x).sum(), optimizer=torch.optim.LBFGS(model.parameters()))


def test_an_optimizer_of_another_model_is_refused():
    here, there = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    with pytest.raises(ValueError, match="optimizer: expected one of the model's parameters"):
        Descent(here, lambda x: here(x).sum(), optimizer=torch.optim.SGD(there.parameters(), lr=0.1))
