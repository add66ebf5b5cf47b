"""Trained weights: the files that come with the course, and their cards."""

import hashlib
import json
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from coursekit.errors import CourseError, unknown
from coursekit.files import shipped
from coursekit.nets.convolutional import convnetjs
from coursekit.nets.residual import ResidualNet

NETS = {"convnetjs": convnetjs, "residual": ResidualNet}


def weights_folder() -> Path:
    """Where the trained weights of the course lie: in the wheel, else beside the package in a checkout."""
    return shipped("weights", "data/weights")


def pretrained(name: str, folder: Path | None = None) -> nn.Module:
    """A net with the weights that ``coursekit train NAME`` made, in evaluation mode, float32, on the CPU.

    ``name`` is one of ``NETS``; ``folder`` is where to look instead of the course's own weights. How the weights came
    about, and their accuracy, stand in the JSON file beside them (``card``).

    Raises:
        ValueError: the name is unknown.
        CourseError: the weights are not there, or their SHA-256 is not the one in the card.
    """
    described = card(name, folder)
    path = _here(name, "safetensors", folder)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        raise CourseError(
            f"{path} is not the file that {name}.json describes (its SHA-256 differs, {len(content)} bytes): "
            f"fetch it again, or make it anew with `coursekit train {name} --update`."
        )
    from safetensors.torch import load

    net = NETS[name]()
    net.load_state_dict(load(content))  # stored in half precision; copied into float32 parameters
    return net.eval()


def card(name: str, folder: Path | None = None) -> dict:
    """What is known of trained weights: net, recipe, seed, test accuracy, SHA-256."""
    if name not in NETS:
        raise ValueError(unknown("net", name, NETS))
    return json.loads(_here(name, "json", folder).read_text(encoding="utf-8"))


def _here(name: str, kind: str, folder: Path | None) -> Path:
    path = (folder or weights_folder()) / f"{name}.{kind}"
    if not path.is_file():
        raise CourseError(f"no trained weights at {path}: make them with `coursekit train {name}`.")
    return path


@torch.no_grad()
def accuracy(net: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> float:
    """The share of images whose highest score is that of their label; on the net's device, 500 at a time."""
    device = next(net.parameters()).device
    pairs = zip(images.split(500), labels.split(500), strict=True)
    right = sum((net(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in pairs)
    return right / len(labels)
