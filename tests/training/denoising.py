"""A model that draws random numbers of both kinds, and a short run of it."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from coursekit.training import Descent, fit, seed_everything


def denoiser(lr=None, **settings):
    """A step with noise in the loss and dropout in the model."""
    seed_everything(7)
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.3), nn.Linear(4, 6))
    return Descent(model, lambda x: mse_loss(model(x + 0.1 * torch.randn_like(x)), x), lr=lr, **settings)


def weights(step):
    return nn.utils.parameters_to_vector(step.model.parameters()).detach()


def run(step, data, **settings):
    return fit(step, data, **{"epochs": 3, "batch_size": 16, "device": "cpu", "progress": False} | settings)
