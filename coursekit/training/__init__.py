"""The loop around a training step; nothing here is the lecture's algorithm.

- ``loop``        `Descent`, the usual step for one loss, and `fit`, which repeats any step
- ``history``     `History`, what a run leaves behind, and `TrainingDiverged`
- ``checkpoint``  one safetensors file, written completely or not at all
- ``device``      where to compute, in which precision, from which seed
- ``progress``    a bar in a terminal, a live curve in a notebook
"""

from coursekit.training.checkpoint import load_checkpoint, save_checkpoint
from coursekit.training.device import resolve_device, seed_everything
from coursekit.training.history import History, TrainingDiverged
from coursekit.training.loop import Descent, fit

__all__ = [
    "Descent",
    "History",
    "TrainingDiverged",
    "fit",
    "load_checkpoint",
    "resolve_device",
    "save_checkpoint",
    "seed_everything",
]
