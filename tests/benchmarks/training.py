"""Samples per second of `fit` with `Descent` on a small VAE, against loops that others write."""

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from coursekit.training import Descent, fit

from .harness import Figure, interleave, ratio

SAMPLES, PIXELS, HIDDEN, CODE, BATCH = 8192, 784, 512, 16, 128
ROUNDS = 11


class VAE(nn.Module):
    """784-512-16: Gaussian encoder and prior, Bernoulli decoder; the value is −ELBO per image, in nats."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mean, self.log_var = nn.Linear(HIDDEN, CODE), nn.Linear(HIDDEN, CODE)
        self.decoder = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        bce = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()
        return (bce + kl) / len(x)


def images() -> Tensor:
    """Like MNIST: a fifth of the pixels is grey to white, the others black; shape (SAMPLES, PIXELS)."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(SAMPLES, PIXELS, generator=generator)
    return grey * (torch.rand(SAMPLES, PIXELS, generator=generator) < 0.2)


def ours(data: Tensor) -> Callable[[], object]:
    model = VAE()
    step = Descent(model, model)
    return lambda: fit(step, data, epochs=1, batch_size=BATCH, device="cpu", progress=False)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = model(x)
    loss.backward()
    optimizer.step()
    return loss


def plainest_loop(data: Tensor) -> Callable[[], object]:
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def epoch() -> None:
        for index in torch.randperm(len(data)).split(BATCH):
            update(model, optimizer, data[index])

    return epoch


def loader_loop(data: Tensor) -> Callable[[], object]:
    """As tutorials write it: pairs of image and label, the default Adam, the loss fetched in each step."""
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(data, torch.zeros(len(data))), batch_size=BATCH, shuffle=True)

    def epoch() -> float:
        return sum(update(model, optimizer, x).item() for x, _ in loader)

    return epoch


def pythae_train(data: Tensor, folder: str) -> Callable[[], object]:
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=CODE, reconstruction_loss="bce")
    training = BaseTrainerConfig(output_dir=folder, num_epochs=1, learning_rate=1e-3, per_device_train_batch_size=BATCH)
    model, dataset = PythaeVAE(config), BaseDataset(data, torch.zeros(len(data)))
    trainer = BaseTrainer(model, dataset, training_config=training)
    return trainer.train


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = images()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {"ours": ours(data), "plainest": plainest_loop(data), "loader": loader_loop(data)}
        try:
            contenders["pythae"] = pythae_train(data, folder)
        except ModuleNotFoundError as error:
            if error.name != "pythae":
                raise
        with contextlib.redirect_stderr(io.StringIO()):  # pythae draws its bars there
            seconds = interleave(contenders, ROUNDS, time.process_time)

    rivals = [
        ("plainest", "the plainest in-memory loop with fused Adam", 0.97),
        ("loader", "a DataLoader loop", 1.25),
        ("pythae", "pythae 0.1.2 train()", 2.0),
    ]
    for name, what, least in rivals:
        title, target = f"samples/s of fit ÷ {what}", f"≥ {least}"
        if name not in seconds:
            yield Figure(title, "not measured: pip install pythae==0.1.2", target, None)
            continue
        value = ratio(seconds[name], seconds["ours"])
        speeds = [max(SAMPLES / s for s in seconds[who]) for who in ("ours", name)]
        yield Figure(title, f"{value:.3f}", target, value >= least, "{:.0f} and {:.0f} at best".format(*speeds))
