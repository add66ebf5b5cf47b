"""What a benchmark yields, and how contenders are compared on a machine that is never quiet."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One row of the table. ``ok`` is None where nothing could be measured."""

    what: str
    value: str
    target: str
    ok: bool | None
    detail: str = ""


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every contender in every round, in the order A B C A B C ..., after one round of warm-up.

    What disturbs the machine for a while disturbs all of a round, so ratios within a round are steady where
    times are not. ``time.process_time`` as ``clock`` leaves out the waits of a computation in this process.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def ratio(numerator: list[float], denominator: list[float]) -> float:
    """Median over the rounds of the ratio in each round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def spread(values: list[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"
