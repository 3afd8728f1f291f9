"""Two or more ways of doing the same, measured in turns, and by how much one is better.

Choices: sides take turns within a round and the order turns with the rounds, so that whatever else the machine does
hits all of them; the first rounds warm up and are not counted; the ratio is taken within each round, its interval from
rounds drawn again. A side may be a call in this process or a question to another one. Knows nothing of what is done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.rows import Row

_DRAWS = 2000
_SEED = 0
_ENDS = (2.5, 97.5)
"""Percentiles of the interval."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two sides over the same rounds."""

    ours: float
    """Median over the rounds."""
    theirs: float
    ratio: float
    """How many times better ours is: median of the rounds' ratios."""
    interval: tuple[float, float]
    """95 %, of that median."""


def seconds(call: Callable[[], Any]) -> float:
    """What one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def p50_ms(calls: Sequence[Callable[[], Any]]) -> float:
    """Median milliseconds of calls that are made one after another."""
    return 1e3 * float(np.median([seconds(call) for call in calls]))


def alternated(
    sides: Mapping[str, Callable[[], float]], rounds: int, warm_up_rounds: int = 1
) -> dict[str, list[float]]:
    """Each side's figure in each round.

    Args:
        sides: name → a measurement, which answers its figure (seconds, calls a second, ...).
        rounds: how many are counted.
        warm_up_rounds: how many come before them.
    """
    names, found = list(sides), {name: list[float]() for name in sides}
    for number in range(warm_up_rounds + rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figure = sides[name]()
            if number >= warm_up_rounds:
                found[name].append(figure)
    return found


def compared(ours: Sequence[float], theirs: Sequence[float], *, more_is_better: bool = False) -> Compared:
    """The two sides' figures of the same rounds, all above 0; less is better unless told.

    Raises:
        ValueError: not as many rounds on both sides, or none.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"rounds: {len(ours)} of ours, {len(theirs)} of theirs; expected as many, 1 or more")
    left, right = (np.asarray(ours), np.asarray(theirs)) if more_is_better else (np.asarray(theirs), np.asarray(ours))
    ratios = left / right
    drawn = np.random.default_rng(_SEED).integers(0, len(ratios), (_DRAWS, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), _ENDS)
    return Compared(
        float(np.median(ours)), float(np.median(theirs)), float(np.median(ratios)), (float(low), float(high))
    )


def compared_row(
    name: str, result: Compared, *, unit: str, rival: str, method: str, least: float = 1.0, behind: str = ""
) -> Row:
    """The row of a comparison.

    Args:
        name: as `Row.name`.
        result: the two sides.
        unit: of both sides' figures.
        rival: what the other side is, with its version.
        method: what was done on both sides.
        least: how many times better Aisle is promised to be; 1: ahead.
        behind: why Aisle is not ahead, should it not be; kept in the row only then.
    """
    row = Row(
        name=name,
        value=round(result.ratio, 3),
        interval=(round(result.interval[0], 3), round(result.interval[1], 3)),
        bound="> 1" if least == 1.0 else f">= {least:g}",
        met=result.ratio > 1.0 if least == 1.0 else result.ratio >= least,
        ours=float(f"{result.ours:.4g}"),
        theirs=float(f"{result.theirs:.4g}"),
        unit=unit,
        rival=rival,
        method=method,
        reason=behind,
    )
    return row.without_reason() if row.ahead else row
