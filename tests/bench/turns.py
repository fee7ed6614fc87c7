"""Works done in turn, so that a busy moment meets them all, and ratios with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

REPEATS = 5


def in_turn(works: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """CPU seconds of this process, all threads, of each work and repeat."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            found[name].append(time.process_time() - start)
    return found


def times(ours: Sequence[float], other: Sequence[float]) -> str:
    """`1.20 times (1.15 to 1.31, n = 5)`: the median, and the range, of the ratios of each turn."""
    ratios = [one / reference for one, reference in zip(ours, other, strict=True)]
    spread = f"{_short(min(ratios))} to {_short(max(ratios))}"
    return f"{_short(statistics.median(ratios))} times ({spread}, n = {len(ratios)})"


def seconds(costs: Sequence[float]) -> str:
    """`1.3 CPU s`: the median."""
    return f"{_short(statistics.median(costs))} CPU s"


def _short(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"
