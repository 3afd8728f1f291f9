"""Eighty shoppers, thirty items and three systems whose figures are known by construction."""

from dataclasses import dataclass

import numpy as np

from features.vocab import Rows
from training.judgement import Judgement, judge
from training.shopper_metrics import ItemFacts
from training.slices import Grouping

N = 30
SHOPPERS = 80


def rows(*numbers: int) -> Rows:
    """Rows as an array."""
    return np.array(numbers, dtype=np.int32)


@dataclass(frozen=True)
class Shopper:
    """What is asked of one shopper."""

    user_id: str
    truth: Rows
    seen: Rows


QUERIES = [Shopper(f"u{n:03}", rows(n % N, (n + 1) % N), rows(n % N) if n % 4 else rows()) for n in range(SHOPPERS)]
"""Everybody wants two neighbouring items; three in four had the first of them."""


def listing(*offsets: int) -> list[Rows]:
    """A list per shopper with the items that lie these offsets from their first wish."""
    return [rows(*((n + offset) % N for offset in offsets)) for n in range(SHOPPERS)]


LISTS = {
    "all": {"aisle": listing(0, 1, 5), "strong": listing(0, 7, 8), "weak": listing(9, 7, 8)},
    "new": {"aisle": listing(1, 5), "strong": listing(5, 1), "weak": listing(9, 8)},
}
FACTS = ItemFacts(
    count=N,
    weights=np.arange(N, 0, -1).astype(float),
    vectors=np.eye(N, dtype=np.float32),
    categories=np.arange(N, dtype=np.int32) % 3,
    category_names=["a", "b", "c"],
    brands=np.where(np.arange(N) < 10, 0, 1).astype(np.int32),
    brand_names=["first ten", "others"],
    flagged=np.arange(N) == 0,
)
HALVES = Grouping("half", ["most", "few"], np.array([0] * 60 + [1] * 20))


def judged_shop(seed: int = 0) -> Judgement:
    """All of it, judged."""
    return judge(LISTS, QUERIES, FACTS, seed=seed, groupings=[HALVES])
