"""The ranker's matrix one cell at a time, as plainly as can be; and random shoppers and items to try it on."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from features import spec
from features.encode import ItemColumns, ModelScores, item_columns
from tests.shop import DAY_US, day, day_us, item, items

PATHS = (("Dairy", "Milk", "Oat milk"), ("Dairy", "Milk", "Fresh milk"), ("Dairy", "Cheese"), ("Bakery",), ())
AS_OF_DAY = 395.5
NOW_US = day_us(400)
Values = dict[str, Any]


def leaf_value(name: str, row: Mapping[str, Any], values: Values, shelf: list[Values], now_us: int) -> float:
    """One cell of what the shopper's items of the candidate's category say."""
    leaf_of = {other["item_id"]: other["category"] for other in shelf}
    mates = [
        place
        for place, other in enumerate(row["repeat_item_ids"])
        if values["category"] and leaf_of.get(other) == values["category"]
    ]
    if not mates:
        return -1.0 if name.endswith("days") else 0.0
    idle = [max((now_us - row["repeat_last_us"][place]) / DAY_US, 0.0) for place in mates]
    mine = [place for place in mates if row["repeat_item_ids"][place] == values["item_id"]]
    heaviest = max(row["repeat_weights"][place] for place in mates)
    return float(
        {
            "pair_leaf_weight": row["repeat_weights"][mine[0]] / heaviest if mine else 0.0,
            "pair_leaf_items": len(mates),
            "pair_leaf_idle_days": min(idle),
            "pair_leaf_lag_days": idle[mates.index(mine[0])] - min(idle) if mine else -1.0,
        }[name]
    )


def pair_value(name: str, row: Mapping[str, Any], shelf: Values, bundle_ids: list[str], now_us: int) -> float:
    """One cell of PAIR_FEATURES for a stored shopper `row` and one item, as slowly and plainly as can be."""
    item_id = shelf["item_id"]
    known = row["last_event_us"] > 0
    idle_days = max((now_us - row["last_event_us"]) / DAY_US, 0.0) if known else -1.0
    kept = [place for place, other in enumerate(row["repeat_item_ids"]) if other in bundle_ids]
    mine = [place for place in kept if row["repeat_item_ids"][place] == item_id]
    if name in {"pair_leaf_affinity", "pair_category_affinity"}:
        group, depth = ("leaf", None) if name == "pair_leaf_affinity" else ("category", 2)
        shares = dict(zip(row[f"{group}_names"], row[f"{group}_weights"], strict=True))
        return float(shares.get(" > ".join(shelf["category"][:depth]), 0.0))
    if name == "pair_price_gap":
        unknown = not (row["mean_log_price"] > 0 and shelf["item_log_price"] > 0)
        return 0.0 if unknown else float(shelf["item_log_price"] - row["mean_log_price"])
    shopper_values = {
        "user_log_events": math.log(1 + row["event_count"]),
        "user_log_items": math.log(1 + row["distinct_item_count"]),
        "user_session_gap_days": row["session_gap_days"],
        "user_mean_log_price": row["mean_log_price"],
        "user_discount_share": row["discount_share"],
        "user_idle_days": idle_days,
    }
    if name in shopper_values:
        return float(shopper_values[name])
    if not mine:
        return float(next(feature.default for feature in spec.PAIR_FEATURES if feature.name == name))  # type: ignore[arg-type]
    place = mine[0]
    weight, gap = row["repeat_weights"][place], row["repeat_gap_days"][place]
    pair_idle = max((now_us - row["repeat_last_us"][place]) / DAY_US, 0.0)
    return float(
        {
            "pair_count": row["repeat_counts"][place],
            "pair_weight": weight * 0.5 ** (idle_days / spec.HALF_LIFE_DAYS),
            "pair_weight_share": weight / max(row["repeat_weights"][other] for other in kept),
            "pair_rank": kept.index(place),
            "pair_idle_days": pair_idle,
            "pair_gap_days": gap,
            "pair_due": min(pair_idle / gap, 8.0) if gap > 0 else -1.0,
            "pair_item_due": min(pair_idle / shelf["item_gap_days"], 8.0) if shelf["item_gap_days"] > 0 else -1.0,
        }[name]
    )


def item_value(name: str, shelf: Values, days: float) -> float:
    """One cell of ITEM_FEATURES, `days` after the features were taken."""
    ages = name in {"item_age_days", "item_idle_days"} and shelf[name] >= 0
    return float(shelf[name] + days if ages else shelf[name])


def score_value(name: str, scores: ModelScores, position: int) -> float | None:
    """One cell of what the models say; None where they say nothing of that."""
    said = {
        "history_score": scores.history[position],
        "interest_score": scores.interest[position],
        "interest_fallback": scores.interest_fallback,
    }
    for number, (question, table) in enumerate((q, t) for q in ("all", "latest") for t in ("lasting", "current")):
        said[f"i2i_{question}_{table}"] = scores.item_to_item[position, number]
    return float(said[name]) if name in said else None


def oracle(
    row: Mapping[str, Any], shelf: list[Values], rows: list[int], scores: ModelScores, as_of_us: int, now_us: int
) -> list[list[float]]:
    """The whole matrix, cell by cell."""
    bundle_ids = [values["item_id"] for values in shelf]
    item_names = {feature.name for feature in spec.ITEM_FEATURES}

    def cell(name: str, position: int) -> float:
        values = shelf[rows[position]]
        if name in item_names:
            return item_value(name, values, (now_us - as_of_us) / DAY_US)
        if name in {"pair_leaf_weight", "pair_leaf_items", "pair_leaf_idle_days", "pair_leaf_lag_days"}:
            return leaf_value(name, row, values, shelf, now_us)
        said = score_value(name, scores, position)
        return pair_value(name, row, values, bundle_ids, now_us) if said is None else said

    return [[cell(name, position) for name in spec.MATRIX_COLUMNS] for position in range(len(rows))]


def columns_of(shelf: list[Values], as_of_day: float = AS_OF_DAY) -> ItemColumns:
    """Item columns of rows that hold both the catalogue's and the features' columns."""
    catalogue = items(*(item(values["item_id"], *values["category"]) for values in shelf))
    schema = {"item_id": pl.String()} | {feature.name: pl.Float32() for feature in spec.ITEM_FEATURES}
    features = pl.DataFrame([{name: values[name] for name in schema} for values in shelf], schema)
    return item_columns(catalogue, features, day(as_of_day))


def random_scores(rng: np.random.Generator, count: int, *, fallback: bool = False) -> ModelScores:
    """Whatever the models might say of `count` candidates."""
    interest, history, *item_to_item = rng.standard_normal((2 + len(spec.I2I_FEATURES), count)).astype(np.float32)
    return ModelScores(interest, fallback, history, np.column_stack(item_to_item))


def random_shelf(rng: np.random.Generator, count: int) -> list[Values]:
    """Items with whatever values; some without a category, a usual gap or a price."""
    return [
        {"item_id": f"item-{number}", "category": list(PATHS[rng.integers(len(PATHS))])}
        | {feature.name: float(rng.choice([feature.default, rng.gamma(2.0)])) for feature in spec.ITEM_FEATURES}
        for number in range(count)
    ]


def random_row(rng: np.random.Generator, count: int) -> Values:
    """A stored shopper who has had items of the shop and others; some of it after the instant of the request."""
    ids = rng.permutation([f"item-{number}" for number in range(count)] + ["GONE-1", "GONE-2"])
    had = ids[: rng.integers(0, ids.size + 1)].tolist()
    history = rng.choice(ids, rng.integers(0, spec.HISTORY_LENGTH + 1)).tolist()
    leaves = [" > ".join(path) for path in PATHS if path] + ["Closed department"]
    categories = sorted({" > ".join(path[:2]) for path in PATHS if path})

    def times(size: int) -> list[int]:
        moments: list[int] = np.sort(rng.integers(day_us(200), NOW_US + 2 * DAY_US, size)).tolist()
        return moments

    return {
        "last_event_us": int(rng.integers(NOW_US - 5 * DAY_US, NOW_US + 2 * DAY_US)),
        "event_count": int(rng.integers(1, 500)),
        "session_count": int(rng.integers(1, 50)),
        "distinct_item_count": int(rng.integers(1, 50)),
        "session_gap_days": float(rng.choice([-1.0, rng.gamma(2.0)])),
        "mean_log_price": float(rng.choice([0.0, rng.gamma(2.0)])),
        "discount_share": float(rng.uniform()),
        "history_item_ids": history,
        "history_event_types": rng.integers(1, 10, len(history)).tolist(),
        "history_times_us": times(len(history)),
        "repeat_item_ids": had,
        "repeat_counts": rng.integers(1, 9, len(had)).astype(float).tolist(),
        "repeat_weights": np.sort(rng.gamma(1.0, size=len(had)))[::-1].tolist(),
        "repeat_last_us": rng.permutation(times(len(had))).tolist(),
        "repeat_purchase_us": rng.permutation(times(len(had))).tolist(),
        "repeat_gap_days": rng.choice([-1.0, 0.5, 3.0, 40.0], len(had)).tolist(),
        "leaf_names": leaves,
        "leaf_weights": rng.dirichlet(np.ones(len(leaves))).tolist(),
        "category_names": categories,
        "category_weights": rng.dirichlet(np.ones(len(categories))).tolist(),
    }
