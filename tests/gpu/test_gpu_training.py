"""Training on the GPU: where it computes, in which precision, and how it resumes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from coursekit import autoencoders
from coursekit.generative.vae import VAE
from coursekit.training import Descent, fit, load_checkpoint, resolve_device, save_checkpoint

pytestmark = pytest.mark.gpu

DATA = torch.rand(200, 16, generator=torch.Generator().manual_seed(0))


def noisy_step():
    """The same weights each time; dropout, batch statistics, and noise from the device's generator."""
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 16))
    return Descent(model, lambda x: mse_loss(model(x + 0.1 * torch.randn_like(x)), x), precision="float32", clip=1.0)


def variational_step():
    model = VAE(16, 8, 2)
    return Descent(model, lambda x: -model.elbo(x).mean())


def train(step, device, epochs=2, checkpoint=None):
    return fit(step, DATA, epochs=epochs, batch_size=32, device=device, checkpoint=checkpoint, progress=False)


def test_auto_chooses_the_gpu(device):
    assert resolve_device("auto").type == device.type
    assert resolve_device(str(device)) == device


def test_fit_moves_weights_and_optimizer_to_the_device(device):
    step = noisy_step()
    history = train(step, device)
    moments = [x for state in step.optimizer.state.values() for x in state.values()]
    assert {x.device.type for x in [*step.model.state_dict().values(), *moments]} == {device.type}
    assert np.isfinite(history.losses["loss"]).all()


def test_fit_leaves_the_devices_generator_to_its_owner(device):
    step = noisy_step()
    torch.manual_seed(1)
    expected = torch.rand(3, device=device)
    torch.manual_seed(1)
    train(step, device)
    torch.testing.assert_close(torch.rand(3, device=device), expected, rtol=0, atol=0)


@pytest.mark.parametrize("make", [noisy_step, variational_step])
def test_no_step_waits_for_the_device(device, make):
    step = make()

    def watched(x):
        if device.type != "cuda":  # in a dry run
            return step(x)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(x)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    assert fit(watched, DATA, epochs=2, batch_size=32, state=step.state, device=device, progress=False).epochs == 2


@pytest.mark.parametrize("precision", ["auto", "float32", "bf16"])
def test_the_loss_is_computed_in_the_precision_asked_for(device, precision):
    made_for_bf16 = device.type == "cuda" and torch.cuda.get_device_capability() >= (8, 0)
    bf16 = {"auto": made_for_bf16, "float32": False, "bf16": True}[precision]
    model = autoencoders.deep(16, 32, 8)
    seen = set()

    def loss(x):
        y = model(x)
        seen.add(y.dtype)
        return mse_loss(y, x)

    train(Descent(model, loss, precision=precision), device)
    assert seen == {torch.bfloat16 if bf16 else torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_bf16_learns_as_float32_does(device):
    def last_loss(precision):
        torch.manual_seed(0)
        model = autoencoders.deep(16, 32, 8)
        step = Descent(model, lambda x: mse_loss(model(x), x), precision=precision)
        return train(step, device, epochs=20).epoch_losses["loss"][[0, -1]]

    (start, exact), (_, rounded) = last_loss("float32"), last_loss("bf16")
    assert exact < start / 2
    assert rounded == pytest.approx(exact, rel=0.05)


def test_a_run_on_the_gpu_is_that_on_the_cpu(device):
    """In double precision, and without noise, which comes from another generator there."""
    model = autoencoders.deep(16, 32, 8).double()
    losses = []
    for where in ("cpu", device):
        net = copy.deepcopy(model)
        step = Descent(net, lambda x, net=net: mse_loss(net(x), x), precision="float32")
        history = fit(step, DATA.double(), epochs=5, batch_size=32, device=where, progress=False)
        losses.append(history.losses["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_a_resumed_run_on_the_device_is_the_one_that_never_stopped(device, tmp_path):
    stopped, whole, other = noisy_step(), noisy_step(), noisy_step()
    train(stopped, device, epochs=2, checkpoint=tmp_path / "run")
    resumed = noisy_step()
    history = train(resumed, device, epochs=4, checkpoint=tmp_path / "run")
    expected = train(whole, device, epochs=4)
    np.testing.assert_allclose(history.losses["loss"], expected.losses["loss"], rtol=1e-5)
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict())

    # Other noise gives other weights, and the comparison sees that.
    fit(other, DATA, epochs=4, batch_size=32, seed=1, device=device, progress=False)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(other.model.state_dict(), whole.model.state_dict())


def test_a_run_begun_on_the_device_goes_on_on_the_cpu_and_back(device, tmp_path):
    for epochs, where in enumerate((device, "cpu", device), start=1):
        step = noisy_step()
        history = train(step, where, epochs=epochs, checkpoint=tmp_path / "run")
        assert history.epochs == epochs
        assert np.isfinite(history.losses["loss"]).all()


def test_a_checkpoint_of_the_device_loads_on_the_cpu(device, tmp_path):
    there, here = noisy_step().model.to(device), noisy_step().model
    nn.init.normal_(there[0].weight)
    save_checkpoint(tmp_path / "net", {"model": there})
    load_checkpoint(tmp_path / "net", {"model": here})
    torch.testing.assert_close(here[0].weight, there[0].weight.cpu(), rtol=0, atol=0)
    assert here[0].weight.device.type == "cpu"
