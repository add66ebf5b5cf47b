"""An epoch of `fit` with `Descent` on a small VAE, against loops that others write and the matrix products alone."""

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
NAMES = {
    "ours": "fit",
    "plainest": "the plainest in-memory loop with fused Adam",
    "loader": "a DataLoader loop",
    "pythae": "pythae 0.1.2 train()",
}


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


def matrix_products() -> Callable[[], object]:
    """The products of an epoch and nothing else: three for each layer, two for the first one."""
    layers = [
        (torch.randn(BATCH, inputs), torch.randn(outputs, inputs), torch.randn(BATCH, outputs))  # x, W and the gradient
        for inputs, outputs in ((PIXELS, HIDDEN), (HIDDEN, CODE), (HIDDEN, CODE), (CODE, HIDDEN), (HIDDEN, PIXELS))
    ]

    def epoch() -> None:
        for _ in range(SAMPLES // BATCH):
            for i, (x, W, gradient) in enumerate(layers):
                x @ W.T  # the output
                gradient.T @ x  # the gradient of W
                if i > 0:
                    gradient @ W  # the gradient of x

    return epoch


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
        contenders = {
            "products": matrix_products(),
            "ours": ours(data),
            "plainest": plainest_loop(data),
            "loader": loader_loop(data),
        }
        try:
            contenders["pythae"] = pythae_train(data, folder)
        except ModuleNotFoundError as error:
            if error.name != "pythae":
                raise
        with contextlib.redirect_stderr(io.StringIO()):  # pythae draws its bars there
            seconds = interleave(contenders, ROUNDS, time.process_time)

    value = ratio(seconds["plainest"], seconds["ours"])
    speeds = [max(SAMPLES / s for s in seconds[who]) for who in ("ours", "plainest")]
    note = "{:.0f} and {:.0f} at best".format(*speeds)
    yield Figure(
        "samples/s of fit ÷ the plainest in-memory loop with fused Adam", f"{value:.3f}", "≥ 0.97", value >= 0.97, note
    )

    # The products are the floor on a machine; what a loop takes beyond them compares between machines.
    for name, what in NAMES.items():
        title = f"time of {what} ÷ time of its matrix products alone"
        if name not in seconds:
            yield Figure(title, "not measured: pip install pythae==0.1.2", "", None)
            continue
        value = ratio(seconds[name], seconds["products"])
        target = "≤ 1.35" if name == "ours" else ""
        yield Figure(title, f"{value:.2f}", target, value <= 1.35 if target else None)
