"""What tests of ordering order by, and how they compare lists."""

from typing import Any, cast

import numpy as np

from features import spec
from features.clock import to_us
from features.encode import Floats, Shopper
from services.ranking.ordering import Candidates, Interest, OrderingModel, RankedList, Ranker, rank
from tests.tiny_shop import AS_OF

NOW_US = to_us(AS_OF)


class ColumnRanker:
    """Scores an item by one column of the matrix, so that the right order is known."""

    def __init__(self, name: str) -> None:
        self._column = spec.MATRIX_COLUMNS.index(name)

    def score(self, matrix: Floats) -> Floats:
        return matrix[:, self._column]


def by(name: str) -> Ranker:
    return cast(Ranker, ColumnRanker(name))


def an_interest(seed: int, count: int = 2) -> Interest:
    vectors = np.random.default_rng(seed).standard_normal((count, 128)).astype(np.float32)
    return Interest(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), is_fallback=False)


def in_order(
    model: OrderingModel, ranker: Ranker, shopper: Shopper, candidates: Candidates, interest: Interest
) -> RankedList:
    """`rank` with what the bundle's item-to-item tables say of the shopper, now."""
    return rank(model, ranker, shopper, candidates, interest, model.item_to_item.ask(shopper), NOW_US)


def contents(ranked: RankedList) -> list[Any]:
    """A list's columns as plain values that can be compared; None where interest had no say."""
    interest = [None if np.isnan(score) else score for score in ranked.interest.tolist()]
    return [ranked.rows.tolist(), ranked.scores.tolist(), interest, ranked.sources.tolist()]
