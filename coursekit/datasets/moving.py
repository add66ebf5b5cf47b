"""Films of a shape that moves on a torus, hides, pauses and turns: what moves is not seen in one frame."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coursekit.validation import require_fraction, require_integer

DIRECTIONS = ("up", "right", "down", "left")
STEPS = torch.tensor([[-1, 0], [0, 1], [1, 0], [0, -1]])  # rows and columns of a step, as in DIRECTIONS
SHAPE = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])  # a plus sign around its place


@dataclass(frozen=True, eq=False)
class Films:
    """Films of one shape each, frame by frame; time comes first.

    Attributes:
        frames: (t, n, 1, side, side), 1 on the shape and 0 elsewhere; all 0 where it is hidden.
        directions: (t, n), an index of `DIRECTIONS`: the direction of the shape's last step, or in a pause and behind
            the curtain the direction in which it goes on.
        places: (t, n), the row and the column of the shape's centre as one number, row · side + column.
        hidden: (t, n), the shape is behind the curtain. It moves on there.
        paused: (t, n), the shape has not moved since the frame before.
    """

    frames: Float[Tensor, "t n 1 side side"]
    directions: Int[Tensor, "t n"]
    places: Int[Tensor, "t n"]
    hidden: Bool[Tensor, "t n"]
    paused: Bool[Tensor, "t n"]


def moving_shapes(
    n: int, length: int = 16, side: int = 8, seed: int = 0, hide: float = 0.2, pause: float = 0.15, turn: float = 0.15
) -> Films:
    """Films of a shape that goes up, right, down or left, one pixel from frame to frame.

    What leaves the frame on one side comes back on the other, so every place is equally likely at every time, and the
    place tells nothing about the direction. The first three frames show two steps in one direction. After that, in each
    frame, the shape begins to hide (for 2 to 5 frames, in which it moves on), begins to pause (for 1 to 3 frames), or
    turns, with the given probabilities; while it hides or pauses it does not turn, and the first frame after that shows
    a step in the old direction.

    Args:
        n: the number of films.
        length: frames in a film, at least 3.
        side: pixels on each side of a frame, at least 5.
        seed: another one gives other films.
        hide, pause, turn: the probabilities that the shape begins to hide, begins to pause, or turns.

    Raises:
        ValueError: ``hide`` + ``pause`` + ``turn`` > 1.
    """
    n = require_integer(n, "n", low=1)
    length = require_integer(length, "length", low=3)
    side = require_integer(side, "side", low=5)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    chances = [require_fraction(it, name) for it, name in ((hide, "hide"), (pause, "pause"), (turn, "turn"))]
    if sum(chances) > 1:
        raise ValueError(f"hide, pause, turn: expected a sum of at most 1, got {sum(chances):g}")

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n,), generator=generator)

    direction, place = integers(0, 4), torch.stack([integers(0, side), integers(0, side)], dim=1)  # (n,), (n, 2)
    hiding, pausing = torch.zeros(n, dtype=torch.long), torch.zeros(n, dtype=torch.long)  # frames still to come
    free = torch.ones(n, dtype=torch.bool)  # seen, and moved
    record: list[tuple[Tensor, ...]] = []
    for t in range(length):
        # What begins in this frame, if the last frame showed a step: nothing before frame 3.
        chance = torch.rand(n, generator=generator) + (0.0 if t >= 3 else 2.0) + 2.0 * ~free  # (n,)
        long_hide, long_pause, new = integers(2, 6), integers(1, 4), (direction + integers(1, 4)) % 4
        hiding = torch.where(chance < hide, long_hide, hiding)
        pausing = torch.where((chance >= hide) & (chance < hide + pause), long_pause, pausing)
        turns = (chance >= hide + pause) & (chance < hide + pause + turn)
        direction = torch.where(turns, new, direction)

        # The shape goes on, behind the curtain too, unless it pauses.
        hidden, paused = hiding > 0, pausing > 0
        if t > 0:
            place = (place + STEPS[direction] * ~paused[:, None]) % side
        record.append((direction, place[:, 0] * side + place[:, 1], hidden, paused))
        hiding, pausing = (hiding - 1).clamp_min(0), (pausing - 1).clamp_min(0)
        free = ~hidden & ~paused
    directions, places, hidden, paused = (torch.stack(it) for it in zip(*record, strict=True))  # (t, n) each
    return Films(_drawn(places, hidden, side), directions, places, hidden, paused)


def _drawn(places: Int[Tensor, "t n"], hidden: Bool[Tensor, "t n"], side: int) -> Float[Tensor, "t n 1 side side"]:
    """The shape around each place, wrapped round the edges."""
    stamp = torch.zeros(side, side)
    stamp[:3, :3] = SHAPE
    stamp = stamp.roll((-1, -1), dims=(0, 1))  # centred at (0, 0)
    at = [(row, column) for row in range(side) for column in range(side)]
    stamps = torch.stack([stamp.roll(shift, dims=(0, 1)) for shift in at])  # (side², side, side)
    return (stamps[places] * ~hidden[..., None, None])[:, :, None]
