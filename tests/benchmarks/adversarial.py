"""`szegedy_attack` on 64 digits at once, against one call a digit."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from coursekit import datasets
from coursekit.interpret import szegedy_attack
from coursekit.nets import convnet
from coursekit.training import Descent, fit

from .harness import Figure, interleave, ratio

IMAGES, SINGLES, ROUNDS = 64, 16, 3
LEAST = 10


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = datasets.digits()
    net = convnet(1, 8, 10, widths=(16, 32))
    step = Descent(net, lambda x, y: F.cross_entropy(net(x), y), lr=3e-3)
    fit(step, (data.train.images, data.train.labels), epochs=15, batch_size=64, device="cpu", progress=False)
    images = data.test.images[:IMAGES]
    targets = (net(images).argmax(dim=1) + torch.randint(1, 10, (IMAGES,))) % 10
    evenly = torch.arange(0, IMAGES, IMAGES // SINGLES)

    def one_by_one() -> None:
        for i in evenly:
            szegedy_attack(net, images[i : i + 1], targets[i : i + 1])

    seconds = interleave({"together": lambda: szegedy_attack(net, images, targets), "single": one_by_one}, ROUNDS)
    value = IMAGES / SINGLES * ratio(seconds["single"], seconds["together"])
    success = szegedy_attack(net, images, targets).success.double().mean().item()
    detail = f"{min(seconds['together']):.2f} s together, {success:.0%} succeed; one by one: {SINGLES} of them, scaled"
    yield Figure(f"{IMAGES} attacks: one by one ÷ together", f"{value:.1f}", f"≥ {LEAST}", value >= LEAST, detail)
