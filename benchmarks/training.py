"""Fitting the text tower beside sentence-transformers' trainer: the same pairs in the same order, to one result."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.pairs import alternated, compared, compared_row
from benchmarks.rows import Row
from benchmarks.text_shop import Shop, complete_journey
from benchmarks.text_trainers import Timed, trainers

_CUTOFF_WEEK = 49
_LEAST_COSINE = 0.99


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int = 3
    steps: int = 30
    batch_size: int = 64
    encoder: str = "minilm"
    texts_read: int = 500
    """By which the two towers are compared afterwards."""


def rows() -> list[Row]:
    """All rows of the group, over the default data."""
    return measured(complete_journey(Path("build"), _CUTOFF_WEEK))


def measured(shop: Shop, size: Size = Size()) -> list[Row]:
    """All rows of the group.

    Raises:
        ValueError: the two trainers did not end with the same tower.
    """
    distinct = shop.texts.distinct
    read = distinct[:: max(len(distinct) // size.texts_read, 1)]
    both = trainers(shop, size.steps, size.batch_size, size.encoder, read)
    latest: dict[str, Timed] = {}

    def ours() -> float:
        latest["ours"] = both.ours()
        return latest["ours"].seconds

    def theirs() -> float:
        latest["theirs"] = both.theirs()
        return latest["theirs"].seconds

    found = alternated({"ours": ours, "theirs": theirs}, size.rounds, warm_up_rounds=0)
    cosine = float(np.mean(np.sum(latest["ours"].vectors * latest["theirs"].vectors, axis=1)))
    if cosine < _LEAST_COSINE:
        raise ValueError(f"the two trainers' vectors of {len(read)} texts have a mean cosine of {cosine:.3f} only")
    return [
        compared_row(
            "training.fitting_the_text_tower",
            compared(found["ours"], found["theirs"]),
            unit="s",
            rival=f"sentence-transformers {version('sentence-transformers')}'s trainer",
            method=f"{size.steps} steps of {size.batch_size} pairs of texts from MiniLM's weights, fp32, one thread, "
            "the same lower layers frozen, the same loss, optimizer, rate and order of pairs; ours includes the frozen "
            f"layers' one pass over the distinct texts ({latest['ours'].frozen_seconds:.1f} s). Both towers read "
            f"{len(read)} texts alike afterwards: mean cosine {cosine:.4f}. {size.rounds} rounds of one fit each.",
            least=1.5,
        )
    ]
