"""The usual training step: gradient descent on one loss."""

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.training.device import Precision, computes_in_bf16
from coursekit.training.history import Losses, by_name
from coursekit.training.parallel import Together, processes
from coursekit.validation import require_choice, require_instance, require_number, require_optimizer


class Descent:
    """The usual training step: one update of ``model`` down the gradient of ``loss(*batch)``.

    In a run of several processes each of them computes the loss of its share of the batch, see `Together`.

    Args:
        model: the module whose parameters are updated.
        loss: maps a batch to a scalar tensor, or to a dict of them: then the one named "loss" is minimized, and the
            others are recorded beside it. It may draw noise from torch's global generator.
        lr: learning rate of the default optimizer, Adam in its fused form; 1e-3 unless given.
        optimizer: another optimizer of ``model``'s parameters, with a learning rate of its own; not LBFGS.
        clip: the largest norm of the gradient; a longer gradient is shortened to it.
        precision: "float32", "bf16" (the loss is computed under bfloat16 autocast; weights stay float32), or "auto":
            bf16 on a GPU that multiplies bfloat16 in hardware, else float32. On a GPU, autocast refuses
            ``binary_cross_entropy``: use ``binary_cross_entropy_with_logits``.
        compile: let ``torch.compile`` fuse the loss; code that it cannot compile as a whole is an error.

    >>> model = nn.Linear(1, 1)
    >>> step = Descent(model, lambda x, y: (model(x) - y).square().mean(), lr=0.1)
    >>> x = torch.linspace(-1, 1, 9)[:, None]  # (9, 1)
    >>> losses = [step(x, 3 * x).item() for _ in range(100)]
    >>> losses[-1] < 0.01 * losses[0]
    True
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Losses],
        *,
        lr: float | None = None,
        optimizer: Optimizer | None = None,
        clip: float | None = None,
        precision: Precision = "auto",
        compile: bool = False,
    ) -> None:
        if lr is not None and optimizer is not None:
            raise ValueError("lr belongs to the default optimizer: give lr or optimizer, not both")
        require_instance(model, "model", nn.Module)
        require_choice(precision, "precision", get_args(Precision))
        if optimizer is None:
            lr = 1e-3 if lr is None else require_number(lr, "lr", low=0)
            optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
        self.model = model
        self.loss = torch.compile(loss, fullgraph=True) if compile else loss
        self.optimizer = require_optimizer(optimizer, "optimizer", model, "model")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("optimizer: LBFGS computes the loss several times in a step: write the step yourself")
        self.clip = None if clip is None else require_number(clip, "clip", above=0)
        self.precision = precision
        self.together: Together | None = None
        self.state = {"model": model, "optimizer": optimizer}

    def __call__(self, *batch: Tensor) -> Losses:
        device = batch[0].device.type
        if self.together is None and processes() > 1:  # the model is on its device only now
            self.together = Together(self.model, self.loss)
        self.optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=computes_in_bf16(device, self.precision)):
            losses = (self.together or self.loss)(*batch)
        _minimized(losses).backward()
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return losses


def _minimized(losses: Losses) -> Tensor:
    """The loss that is minimized: the only one, or the one named "loss"."""
    named = by_name(losses)
    if "loss" not in named:
        raise ValueError(f'loss: expected one of several losses to be named "loss", got {", ".join(named)}')
    if not named["loss"].requires_grad:
        raise ValueError("loss: it does not depend on a parameter that learns: look for detach, no_grad or frozen ones")
    return named["loss"]
