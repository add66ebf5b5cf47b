"""Trained weights: where they are stored, the card of each, how to load them, and how good a classifier is."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coursekit.errors import CourseError, unknown
from coursekit.files import shipped, write_text
from coursekit.validation import require_instance, require_labels, require_tensor


@dataclass(frozen=True)
class Origin:
    """The machine and the versions with which a net was trained, and how long it took."""

    python: str  # its standard library is the text that models of text learn from
    torch: str
    device: str
    threads: int
    minutes: float


@dataclass(frozen=True)
class WeightsCard:
    """How trained weights came about, and how good they are.

    Attributes:
        net: the name of the recipe that trained it.
        data: the data set it was trained on.
        recipe: what the recipe is about, and its settings.
        epochs, seed: of this run.
        parameters: how many numbers were trained.
        measured: by name, what was measured with the weights as stored, in half precision.
        sha256: of the file with the weights.
        made_with: the machine and the versions.
    """

    net: str
    data: str
    recipe: dict[str, Any]
    epochs: int
    seed: int
    parameters: int
    measured: dict[str, float]
    sha256: str
    made_with: Origin

    @classmethod
    def read(cls, path: Path) -> "WeightsCard":
        """The card in a JSON file; ``CourseError`` if it is not one."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values | {"made_with": Origin(**values["made_with"])})
        except (ValueError, TypeError, KeyError) as error:
            raise CourseError(f"{path} is not the card of trained weights: {error}.") from error

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def weights_folder() -> Path:
    """Where the trained weights of the course are: in the wheel, else beside the package in a checkout."""
    return shipped("weights", "data/weights")


def card(name: str, folder: Path | str | None = None) -> WeightsCard:
    """The card of the weights that ``coursekit train NAME`` made.

    Raises:
        ValueError: there is no recipe of that name.
        CourseError: the card is missing or damaged.
    """
    from coursekit.nets.recipes import RECIPES  # recipes import this module

    if name not in RECIPES:
        raise ValueError(unknown("net", name, RECIPES))
    return WeightsCard.read(_require_file(name, "json", folder))


def pretrained(name: str, folder: Path | str | None = None) -> nn.Module:
    """The net of a recipe with the weights that ``coursekit train NAME`` made: evaluation mode, float32, on the CPU.

    Args:
        name: the name of the recipe; ``coursekit train`` lists them.
        folder: where to look instead of among the course's own weights.

    Raises:
        ValueError: there is no recipe of that name.
        CourseError: the weights are missing, or their SHA-256 is not the one on the card.
    """
    from safetensors.torch import load

    from coursekit.nets.recipes import RECIPES  # recipes import this module

    expected = card(name, folder).sha256
    path = _require_file(name, "safetensors", folder)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise CourseError(
            f"{path} is not the file that {name}.json describes (its SHA-256 differs, {len(content)} bytes): "
            f"fetch it again, or train it again with `coursekit train {name} --update`."
        )
    net = RECIPES[name].build()
    net.load_state_dict(load(content))  # from half precision into float32 parameters
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> float:
    """The fraction of images with the highest score at their label; computed on the net's device, 500 at a time.

    >>> scores = nn.Flatten()  # the pixels are the scores
    >>> accuracy(scores, torch.eye(4).view(4, 4, 1, 1), torch.tensor([0, 1, 2, 2]))
    0.75
    """
    require_instance(net, "net", nn.Module)
    require_tensor(images, "images", "n c h w")
    require_labels(labels, "labels", count=len(images))
    device = next(net.parameters(), images).device
    correct = 0
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        scores = require_tensor(net(x.to(device)), "the net's scores", f"{len(x)} classes")  # (n, classes)
        require_labels(y, "labels", count=len(x), classes=scores.shape[1])
        correct += int((scores.argmax(dim=1) == y.to(device)).sum())
    return correct / len(labels)


def _require_file(name: str, suffix: str, folder: Path | str | None) -> Path:
    path = Path(folder or weights_folder(), f"{name}.{suffix}")
    if not path.is_file():
        raise CourseError(f"no trained weights at {path}: make them with `coursekit train {name}`.")
    return path
