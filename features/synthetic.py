"""A made-up shop whose right answers are known: for tests, load and the proof of clicks that no public data set offers.

Choices: the same seed gives the same shop to the byte, on any machine and in any process; the shop says of itself that
it is synthetic. Shoppers' tastes are returned beside the data, never in it.

Knows nothing of features or models. How tastes sound is in synthetic_tastes.py, who likes what in synthetic_world.py,
what they do in synthetic_events.py.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.schema import Calendar, Dataset
from features.synthetic_events import simulate
from features.synthetic_tastes import TASTES
from features.synthetic_world import SyntheticConfig, World, make_world
from features.validation import validate

__all__ = ["CALENDAR", "SyntheticConfig", "SyntheticShop", "generate"]

CALENDAR = Calendar(first_monday=date(2024, 1, 1), timezone="UTC")
_PROMOTED_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class SyntheticShop:
    """A generated data set, and the truth behind it."""

    dataset: Dataset
    """`synthetic` is True; promotions are there to be read but move nobody."""
    user_tastes: dict[str, str]
    """user_id → name of the taste."""
    item_tastes: dict[str, str]
    """item_id → name of the taste."""
    best_items: dict[str, list[str]]
    """user_id → ids of all items of the own taste, best first by true utility; new items included."""
    new_items: tuple[str, ...]
    """Ids of the items that nobody could see before the last week."""


def generate(config: SyntheticConfig) -> SyntheticShop:
    """Make the shop that a configuration describes."""
    rng = np.random.default_rng(config.seed)
    world = make_world(config, rng)
    user_ids = [f"user-{row:05d}" for row in range(config.user_count)]
    item_ids = [f"item-{row:05d}" for row in range(config.item_count)]
    items = _items(world, item_ids, rng)
    dataset = Dataset(
        name="synthetic",
        events=_events(simulate(world, config, rng), user_ids, items),
        items=items,
        promotions=_promotions(config, item_ids, rng),
        users=_conform(pl.DataFrame({"user_id": user_ids}), "users"),
        calendar=CALENDAR,
        synthetic=True,
    )
    return SyntheticShop(
        dataset=dataset,
        user_tastes={user: TASTES[taste].name for user, taste in zip(user_ids, world.user_taste, strict=True)},
        item_tastes={item: TASTES[taste].name for item, taste in zip(item_ids, world.item_taste, strict=True)},
        best_items=_best_items(world, user_ids, item_ids),
        new_items=tuple(item for item, is_new in zip(item_ids, world.is_new, strict=True) if is_new),
    )


def _items(world: World, item_ids: list[str], rng: np.random.Generator) -> pl.DataFrame:
    price_factors = rng.lognormal(0, 0.25, len(item_ids))
    rows = [
        {"item_id": item_id, **_item(int(taste), int(number), float(factor))}
        for item_id, taste, number, factor in zip(
            item_ids, world.item_taste, world.item_number, price_factors, strict=True
        )
    ]
    return _conform(pl.DataFrame(rows), "items")


def _item(taste_row: int, number: int, price_factor: float) -> dict[str, object]:
    """The number-th item of a taste; no two have the same title."""
    taste = TASTES[taste_row]
    prices = taste.goods | taste.supplies
    noun = list(prices)[number % len(prices)]
    series, step = divmod(number, len(prices) * len(taste.qualities))
    quality = taste.qualities[step // len(prices)]
    version, shift = divmod(series, len(taste.brands))
    brand = taste.brands[(number + shift) % len(taste.brands)]
    use = taste.uses[(number + step // len(prices)) % len(taste.uses)]
    title = f"{brand} {quality} {noun}" + (f", version {version + 1}" if version else "")
    return {
        "title": title,
        "description": f"{quality.capitalize()} {noun} for {use}.",
        "category": [taste.name, noun[:1].upper() + noun[1:]],
        "brand": brand,
        "price": round(prices[noun] * price_factor, 2),
        "attributes": [{"key": "quality", "value": quality}],
    }


def _events(happened: pl.DataFrame, user_ids: list[str], items: pl.DataFrame) -> pl.DataFrame:
    users = pl.lit(pl.Series(user_ids))
    is_purchase = pl.col("event_type") == "purchase"
    start = pl.lit(CALENDAR.week_end(0)).dt.cast_time_unit("us")
    number = pl.int_range(pl.len()).cast(pl.String).str.zfill(8)
    frame = happened.select(
        event_id=pl.lit("event-") + number,
        user_id=users.gather(pl.col("user")),
        item_id=pl.lit(items["item_id"]).gather(pl.col("item")),
        event_type="event_type",
        event_time=start + pl.duration(seconds="second"),
        quantity="quantity",
        price=pl.when(is_purchase).then(pl.lit(items["price"]).gather(pl.col("item"))),
        session_id=pl.format("session-{}", "session"),
    )
    return _conform(frame, "events")


def _promotions(config: SyntheticConfig, item_ids: list[str], rng: np.random.Generator) -> pl.DataFrame:
    """Every week a few items, on display or in the mailer."""
    count = max(1, round(_PROMOTED_SHARE * len(item_ids)))
    weeks = range(1, config.weeks + 1)
    chosen = np.concatenate([rng.choice(len(item_ids), count, replace=False) for _ in weeks])
    frame = pl.DataFrame(
        {
            "item_id": [item_ids[row] for row in chosen],
            "kind": rng.choice(["display", "mailer"], chosen.size),
            "start_time": [CALENDAR.week_end(week - 1) for week in weeks for _ in range(count)],
            "end_time": [CALENDAR.week_end(week) for week in weeks for _ in range(count)],
            "reach": rng.uniform(0.1, 1.0, chosen.size),
        }
    )
    return _conform(frame, "promotions")


def _best_items(world: World, user_ids: list[str], item_ids: list[str]) -> dict[str, list[str]]:
    ids = np.array(item_ids)
    best: dict[int, list[str]] = {}
    for taste in np.unique(world.user_taste):
        fans, own = np.flatnonzero(world.user_taste == taste), np.flatnonzero(world.item_taste == taste)
        order = np.argsort(-world.utility(fans, own), axis=1, kind="stable")
        best.update(zip(fans.tolist(), ids[own][order].tolist(), strict=True))
    return {user_id: best[row] for row, user_id in enumerate(user_ids)}


def _conform(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    checked = validate(frame, table, f"synthetic {table}")
    if not checked.rejects.is_empty():
        raise AssertionError(checked.summary())
    return checked.frame
