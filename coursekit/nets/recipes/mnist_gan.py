"""A convolutional GAN that draws the digits of MNIST, 28×28."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from coursekit import datasets
from coursekit.datasets import ImageDataset
from coursekit.generative import GAN, coverage, nearer_to_training
from coursekit.nets.blocks import convolutional_decoder, convolutional_encoder
from coursekit.nets.recipes.recipe import Recipe, Step
from coursekit.nets.weights import pretrained
from coursekit.training.history import Losses
from coursekit.validation import require_instance

LATENT = 64
WIDTHS = (32, 64)
PENALTY = 1.0  # the weight of R₁
LEARNING_RATE = 5e-4
JUDGED = 2000  # samples, and as many test images


class Players(nn.Module):
    """A generator z (n, 64) -> images (n, 1, 28, 28) in [0, 1], and the discriminator that it plays against."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(convolutional_decoder(1, 28, WIDTHS, LATENT), nn.Sigmoid())
        self.discriminator = convolutional_encoder(1, 28, WIDTHS, 1, partial(nn.LeakyReLU, 0.2))

    @torch.no_grad()
    def generate(self, n: int, seed: int) -> Tensor:
        """Draw n images from the z of that seed."""
        device = next(self.parameters()).device
        z = torch.randn(n, LATENT, generator=torch.Generator().manual_seed(seed))
        return torch.cat([self.generator(part.to(device)) for part in z.split(500)])


def start(players: Players, steps: int) -> tuple[Step, dict[str, Any]]:
    """The game with the non-saturating loss and R₁; both learning rates fall to 0 in a straight line."""
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.99))
        for net in (players.generator, players.discriminator)
    ]
    game = GAN(
        players.generator,
        players.discriminator,
        LATENT,
        penalty=PENALTY,
        optimizers=(optimizers[0], optimizers[1]),
    )
    schedules = [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps) for optimizer in optimizers]

    def step(images: Tensor) -> Losses:
        losses = game(images)
        for schedule in schedules:
            schedule.step()
        return losses

    return step, {**game.state, "generator schedule": schedules[0], "discriminator schedule": schedules[1]}


@torch.no_grad()
def measure(players: Players, data: ImageDataset) -> dict[str, float]:
    """What the course's classifier says of the samples, and how near they are to training and to test images.

    - ``confidence``: the mean of its largest probability.
    - ``smallest_class``: the share of the class that it finds least often.
    - ``coverage``: of the test images, in the features before its last layer.
    - ``nearer_to_training``: than to a test image, in pixels; ½ for an honest sampler.
    """
    classifier = require_instance(pretrained("mnist_classifier"), "classifier", nn.Sequential)
    samples = players.generate(JUDGED, seed=0).cpu()
    probability = classifier(samples).softmax(dim=1)
    shares = probability.argmax(dim=1).bincount(minlength=10) / JUDGED
    training, test = data.train.images[:JUDGED], data.test.images[:JUDGED]
    return {
        "confidence": probability.amax(dim=1).mean().item(),
        "smallest_class": shares.min().item(),
        "coverage": coverage(classifier[:-1](test), classifier[:-1](samples)),
        "nearer_to_training": nearer_to_training(samples.flatten(1), training.flatten(1), test.flatten(1)),
    }


RECIPE = Recipe[Players, ImageDataset](
    name="mnist_gan",
    about="a convolutional GAN that draws digits",
    data="mnist",
    load=datasets.mnist,
    samples=lambda data: (data.train.images,),
    build=Players,
    start=start,
    epochs=24,
    batch_size=64,
    measure=measure,
    summary="confidence {confidence:.3f}, smallest class {smallest_class:.1%}, coverage {coverage:.2f}",
    settings={
        "latent": LATENT,
        "widths": WIDTHS,
        "penalty": PENALTY,
        "learning_rate": LEARNING_RATE,
        "betas": (0.5, 0.99),
    },
)
