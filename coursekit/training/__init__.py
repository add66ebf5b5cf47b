"""The loop around a training step; nothing here is the lecture's algorithm.

- ``descent``        `Descent`, the usual step for one loss
- ``loop``           `fit`, which repeats any step
- ``history``        `History`, what a run leaves behind, and `TrainingDiverged`
- ``checkpoint``     one safetensors file, written whole or not at all
- ``compatibility``  whether a saved state fits what is to load it
- ``resume``         the checkpoint of a run, and which run may go on from it
- ``device``         where to compute, in which precision, from which seed
- ``progress``       a bar in a terminal, a live curve in a notebook
"""

from coursekit.training.checkpoint import load_checkpoint, save_checkpoint
from coursekit.training.descent import Descent
from coursekit.training.device import resolve_device, seed_everything
from coursekit.training.history import History, TrainingDiverged
from coursekit.training.loop import fit

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
