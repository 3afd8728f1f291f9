"""A shop of four shelves whose right answers can be worked out on paper.

Item "bakery-2" is the third of its shelf and, after the six of dairy, the shop's ninth: its number is 8. From the
number follows everything:

- The ranker is a real LightGBM model whose score is the item's appeal, 24 minus its number, and 100 more where the
  shopper is due to buy it again. Half of what it was trained on was due, so its mean is 12.5 + 50.
- Demand rises with the number, so that best sellers are in the opposite order; only cellar's is growing.
- Vectors of one shelf lie in a plane of their own, ten degrees from one item to the next: two of them have the cosine
  of the angle between them, two of different shelves none.
- The last two of every shelf are little known.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from features import spec
from features.clock import to_us
from features.encode import Floats, item_columns
from features.schema import ITEMS
from services.common.towers import VECTOR_WIDTH, TowerModels
from services.ranking.ordering import (
    CandidateLimits,
    Facets,
    ItemToItem,
    OrderingModel,
    Ranker,
    Rankers,
    popular_rows,
)
from services.ranking.release import Release
from services.retrieval.index import build_index

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
NOW_US = to_us(AS_OF)
DAY_US = 86_400_000_000
SHELVES = {"dairy": "food", "bakery": "food", "cellar": "drink", "pantry": "home"}
"""Shelf to what it is a part of; six items each."""
NAMES = [f"{shelf}-{place}" for shelf in SHELVES for place in range(6)]
PRICES = {"dairy-0": 1.0, "pantry-5": 2.0, "dairy-1": 3.0, "dairy-4": 4.0, "pantry-1": None}
"""All others cost 10 and their number."""
SENSITIVE, SOLD_OUT, WITHOUT_BRAND, WITHOUT_SIZE = "cellar-5", "bakery-0", "pantry-0", "pantry-2"
SHOWN = {name for name in NAMES if name != SENSITIVE}
"""What a request sees that does not ask for more."""
APPEAL, DUE = "item_log_count", "pair_due"
"""The two features that the ranker has learned to look at."""
DEGREES = 10.0
LIMITS = CandidateLimits(total=24, bought_together=0, category=0, popular=0)
"""Everything is a candidate: what the shopper had, and then all that the index has."""
CART = "dairy-0"
BASKET = ["bakery-0", "cellar-0", "pantry-0"]
"""What is bought in one basket with CART, most often first."""
COMPANY = ["pantry-1", "cellar-1", "bakery-1"]
"""What those who have CART have too."""

HISTORIES = {
    "fan": [("view", "dairy-3", 9.0)],
    "narrow": [("view", "dairy-0", 9.0), ("view", "dairy-1", 8.0)],
    "broad": [("view", f"{shelf}-0", 9.0) for shelf in SHELVES],
    "regular": [
        ("view", "pantry-2", 5.0),
        ("purchase", "bakery-3", 4.0),
        ("click", "dairy-1", 3.0),
        ("view", "pantry-2", 1.0),
        ("add-to-cart", "pantry-4", 0.5),
    ],
}
"""Shopper to type, item and age in days of their latest events, newest last."""
HAD = {"regular": [("dairy-2", 1.0, 1.0), ("bakery-3", 40.0, 40.0), ("cellar-1", 99.0, 99.0), ("cellar-2", 2.0, None)]}
"""Shopper to item, days since they last had it and days since they last bought it; usually they do every 30 days, so
that bakery-3 and cellar-1 are due. Never bought: None."""
DUE_AGAIN = ("bakery-3", "cellar-1")


def number(name: str) -> int:
    """Place of an item in the shop, 0 to 23."""
    return NAMES.index(name)


def by_appeal(names: Iterable[str], due: Collection[str] = ()) -> list[str]:
    """The order of the ranker for a shopper who is due to buy some of them again."""
    return sorted(names, key=lambda name: (name not in due, number(name)))


def by_demand(names: Iterable[str]) -> list[str]:
    """The order of best sellers."""
    return sorted(names, key=number, reverse=True)


def alike(one: str, other: str) -> float:
    """Cosine of two items' vectors."""
    if one.split("-", maxsplit=1)[0] != other.split("-", maxsplit=1)[0]:
        return 0.0
    return float(np.cos(np.radians(DEGREES * (number(one) - number(other)))))


def release(limits: CandidateLimits = LIMITS) -> Release:
    """The shop's bundle in memory."""
    items = pl.DataFrame([_item(name) for name in NAMES], schema=ITEMS)
    numbers = np.arange(len(NAMES))
    known: dict[str, npt.NDArray[Any]] = dict.fromkeys(
        (feature.name for feature in spec.ITEM_FEATURES), np.zeros(len(NAMES), np.float32)
    )
    known |= {
        APPEAL: 24.0 - numbers,
        "item_log_weight_28d": 1.0 + numbers,
        "item_log_weight_7d": np.ones(len(NAMES)),
        "item_trend": np.where(numbers // 6 == 2, 1.0 + numbers, -1.0),
        "item_log_users": np.log1p(np.where(numbers % 6 < 4, 20.0, 19.0)),
    }
    columns = item_columns(items, pl.DataFrame({"item_id": NAMES, **known}), AS_OF)
    vectors, facets = _vectors(), Facets.of(items)
    index, popular = build_index(vectors), popular_rows(columns)
    model = OrderingModel.assemble(columns, vectors, index, _item_to_item(), popular, facets)
    ranker = Ranker(_ranker_text())
    return Release("known.1", AS_OF, model, Rankers(ranker, ranker), limits, TowerModels.of_version("known.1"))


def _item(name: str) -> dict[str, Any]:
    shelf, place = name.split("-")
    size = [] if name == WITHOUT_SIZE else [{"key": "size", "value": "small" if int(place) % 2 else "large"}]
    return {
        "item_id": name,
        "title": name,
        "description": "",
        "category": [SHELVES[shelf], shelf],
        "brand": None if name == WITHOUT_BRAND else f"brand-{int(place) % 3}",
        "price": PRICES.get(name, 10.0 + number(name)),
        "attributes": [*size, {"key": "origin", "value": "near" if int(place) < 3 else "far"}],
        "in_stock": name != SOLD_OUT,
        "sensitive": name == SENSITIVE,
    }


def _vectors() -> Floats:
    """float32 [24, 128] of length one."""
    vectors = np.zeros((len(NAMES), VECTOR_WIDTH), np.float32)
    for row in range(len(NAMES)):
        angle = np.radians(DEGREES * (row % 6))
        vectors[row, 2 * (row // 6)], vectors[row, 2 * (row // 6) + 1] = np.cos(angle), np.sin(angle)
    return vectors


def _item_to_item() -> ItemToItem:
    """Tables in which only CART keeps company with anything."""
    shape = (len(spec.I2I_TABLES), len(NAMES), 3)
    neighbours, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for table, names in (("lasting", COMPANY), ("basket", BASKET)):
        place = spec.I2I_TABLES.index(table), number(CART)
        neighbours[place], weights[place] = [number(name) for name in names], [3.0, 2.0, 1.0]
    return ItemToItem(np.arange(len(NAMES), dtype=np.int32), neighbours, weights)


def _ranker_text() -> str:
    """One tree, learned from every appeal once of an item that is due and once of one that is not."""
    appeal, due = (grid.ravel() for grid in np.meshgrid(np.arange(1.0, 25.0), [0.5, 1.5]))
    matrix = np.zeros((appeal.size, len(spec.MATRIX_COLUMNS)), np.float32)
    matrix[:, spec.MATRIX_COLUMNS.index(APPEAL)], matrix[:, spec.MATRIX_COLUMNS.index(DUE)] = appeal, due
    parameters: dict[str, Any] = {
        "objective": "regression",
        "learning_rate": 1.0,
        "num_leaves": appeal.size,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "min_sum_hessian_in_leaf": 0.0,
        "num_threads": 1,
        "verbosity": -1,
    }
    label = appeal + 100.0 * (due > 1.0)
    data = lightgbm.Dataset(matrix, label=label, feature_name=list(spec.MATRIX_COLUMNS), params=parameters)
    text: str = lightgbm.train(parameters, data, num_boost_round=1).model_to_string()
    return text


def shopper(name: str) -> dict[str, Any]:
    """A row of USER_FEATURES."""
    events, had = HISTORIES[name], HAD.get(name, [])
    row: dict[str, Any] = {feature.name: feature.default for feature in spec.USER_FEATURES}
    return row | {
        "last_event_us": days_ago(events[-1][2]),
        "event_count": len(events),
        "history_item_ids": [item for _, item, _ in events],
        "history_event_types": [spec.EVENT_CODES[kind] for kind, _, _ in events],
        "history_times_us": [days_ago(age) for _, _, age in events],
        "repeat_item_ids": [item for item, _, _ in had],
        "repeat_counts": [2.0] * len(had),
        "repeat_weights": [1.0] * len(had),
        "repeat_last_us": [days_ago(age) for _, age, _ in had],
        "repeat_purchase_us": [0 if bought is None else days_ago(bought) for _, _, bought in had],
        "repeat_gap_days": [30.0] * len(had),
    }


def days_ago(days: float) -> int:
    """Microseconds since 1970."""
    return NOW_US - round(days * DAY_US)
