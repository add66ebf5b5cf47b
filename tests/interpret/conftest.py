"""Tiny nets in float64, and a watch that a model is left as it was."""

import copy
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.nets import convnet


class Residual(nn.Module):
    """What breaks hooks on modules: functional ReLUs, one module used twice, a sum around a block."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.block = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.output = nn.Linear(3, 4)

    def forward(self, x):
        h = F.relu(self.first(x))
        for _ in range(2):
            h = torch.relu(h + self.norm(self.block(h)))
        return self.output(h.mean(dim=(2, 3)))


@pytest.fixture
def tiny():
    """conv1 (3 channels), relu1, pool1, conv2 (4), relu2, pool2, flatten, output (4 classes) for images 2×8×8."""
    return convnet(2, 8, 4, widths=(3, 4)).double().eval()


@pytest.fixture
def residual():
    """A net of functional ReLUs for images with 2 channels of any size, 4 classes; ``block`` runs twice."""
    net = Residual().double().eval()
    nn.init.normal_(net.norm.running_mean, std=0.1)
    return net


@pytest.fixture
def images():
    """Three images 2×8×8 in [0, 1]."""
    return torch.rand(3, 2, 8, 8, dtype=torch.float64)


@pytest.fixture
def unchanged():
    """``with unchanged(model):`` fails if afterwards a weight, a .grad, a flag or a hook differs."""

    def state(model):
        modules = {
            name: (module.training, [len(value) for key, value in vars(module).items() if key.endswith("_hooks")])
            for name, module in model.named_modules()
        }
        parameters = {name: (p.requires_grad, copy.deepcopy(p.grad)) for name, p in model.named_parameters()}
        weights = {name: x.clone() for name, x in model.state_dict().items()}
        return modules, parameters, weights

    @contextmanager
    def watch(model):
        modules, parameters, weights = state(model)
        try:
            yield
        finally:
            modules_now, parameters_now, weights_now = state(model)
            assert modules_now == modules
            torch.testing.assert_close(weights_now, weights, rtol=0, atol=0)
            for name, (required, grad) in parameters.items():
                required_now, grad_now = parameters_now[name]
                assert required_now == required, name
                assert (grad is None) == (grad_now is None), name
                assert grad is None or torch.equal(grad, grad_now), name

    return watch
