"""Within an epoch no step waits for the device.

A GPU works through what it was told while Python goes on, until Python asks for a number. Which operators ask can be
counted on a CPU as well, where the answer costs nothing.
"""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils._python_dispatch import TorchDispatchMode

from coursekit.generative import gan, vae, wae, wgan
from coursekit.recurrent import CharModel
from coursekit.training import Descent, fit
from coursekit.training import loop as loop_module

# They return a number, or a tensor whose size depends on numbers.
ASKS = {"_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero", "_unique2", "unique_dim"}


class Questions(TorchDispatchMode):
    """Counts the operators whose results Python has to wait for."""

    def __init__(self):
        super().__init__()
        self.asked = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in ASKS or by_mask:
            self.asked[name] += 1
        return operator(*args, **(kwargs or {}))


def mlp(*widths):
    return nn.Sequential(nn.Linear(*widths[:2]), nn.ReLU(), nn.Linear(*widths[1:]))


def autoencoder():
    net = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 16))
    return Descent(net, lambda x: mse_loss(net(x), x), clip=1.0)


def characters():
    model = CharModel("abc", 8, "LSTM")
    return Descent(model, lambda x: model.loss((3 * x).long().clamp(max=2)), clip=1.0)


def variational():
    model = vae.VAE(16, 8, 2)
    return Descent(model, lambda x: -model.elbo(x).mean())


STEPS = {
    "autoencoder": autoencoder,
    "characters": characters,
    "VAE": variational,
    "GAN": lambda: gan.GAN(mlp(2, 8, 16), mlp(16, 8, 1), 2, k=2),
    "GAN with a penalty": lambda: gan.GAN(mlp(2, 8, 16), mlp(16, 8, 1), 2, penalty=1.0),
    "WGAN": lambda: wgan.WGAN(mlp(2, 8, 16), mlp(16, 8, 1), 2),
    "WAE": lambda: wae.WAE(mlp(16, 8, 2), mlp(2, 8, 16), 2),
}


def asked_in_each_step(step, monkeypatch):
    """How often each of 8 steps of an epoch asked; the loop's own look at the losses, twice a second, is off."""
    monkeypatch.setattr(loop_module, "INTERVAL", 1e9)
    monkeypatch.setattr(loop_module, "_computes_beside", lambda device: True)
    totals = []
    with Questions() as questions:

        def counted(x):
            totals.append(questions.asked.total())
            return step(x)

        fit(counted, torch.rand(64, 16), epochs=1, batch_size=8, state=step.state, device="cpu", progress=False)
    return [after - before for before, after in pairwise(totals)]


@pytest.mark.parametrize("kind", STEPS)
def test_no_step_of_an_epoch_waits_for_the_device(kind, monkeypatch):
    torch.manual_seed(0)
    assert asked_in_each_step(STEPS[kind](), monkeypatch) == [0] * 7


@pytest.mark.parametrize(
    "ask", [torch.Tensor.item, torch.Tensor.nonzero, bool, lambda loss: loss[None][loss[None] > 0]]
)
def test_a_step_that_waits_is_found(ask, monkeypatch):
    net = nn.Linear(16, 16)

    def loss(x):
        value = mse_loss(net(x), x)
        ask(value.detach())
        return value

    assert min(asked_in_each_step(Descent(net, loss), monkeypatch)) >= 1


def test_what_was_wrong_with_a_value_is_told_later(monkeypatch):
    monkeypatch.setattr(loop_module, "_computes_beside", lambda device: True)
    model = vae.VAE(16, 8, 2)
    images = torch.rand(64, 16)
    images[40] = 3.0
    step = Descent(model, lambda x: -model.elbo(x).mean())
    with pytest.raises(ValueError, match=r"^x: expected numbers in \[0, 1\]"):
        fit(step, images, epochs=1, batch_size=8, device="cpu", progress=False)
