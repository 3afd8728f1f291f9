"""Rows after new events: what a recount of everything that ever happened says."""

import numpy as np
import polars as pl
import pytest

from features.transforms import ItemFacts, known_events, regular_prices, user_features
from services.ingest.updater.numbered import ItemNumbers, hashes_of
from services.ingest.updater.rows import update, update_isolated
from services.ingest.updater.state import frame_of, lines_of
from services.ingest.updater.state_cache import CachedState, StateCache
from tests.shop import day, event, events, item, items
from tests.strategies import Row

CATALOGUE = items(
    item("OAT-MILK", "Dairy", "Milk", "Oat milk"),
    item("COW-MILK", "Dairy", "Milk", "Fresh milk"),
    item("RYE-BREAD", "Bakery", "Bread"),
    item("GIFT-CARD"),
)
PRICES = pl.DataFrame({"item_id": ["OAT-MILK", "COW-MILK"], "regular_price": [2.0, 1.0]})
SHOP = ItemFacts.of(CATALOGUE.select("item_id", "category"), PRICES)


def random_events(count: int, seed: int) -> pl.DataFrame:
    """Events of a few shoppers, some at the same instant, some of items that nobody knows, out of order."""
    rng = np.random.default_rng(seed)
    types = ("view", "click", "purchase", "review", "search", "impression")
    names = [*CATALOGUE["item_id"], "UNKNOWN"]
    rows: list[Row] = [
        event(
            f"shopper-{rng.integers(5)}",
            str(rng.choice(names)),
            float(rng.integers(40)) / 2,
            str(rng.choice(types)),
            price=None if rng.integers(3) == 0 else float(rng.integers(1, 5)) / 2,
            session_id=None if rng.integers(3) == 0 else f"visit-{rng.integers(6)}",
            event_id=f"event-{number}",
        )
        for number in range(count)
    ]
    return events(*rows)


def recount(happened: pl.DataFrame) -> pl.DataFrame:
    """The rows of everybody from all that happened."""
    return user_features(known_events(happened, day(1000)), CATALOGUE, PRICES)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bytes_max", [0, 2**20], ids=["without a cache", "with a cache"])
def test_rows_after_many_small_updates_equal_a_recount(seed: int, bytes_max: int) -> None:
    happened = random_events(120, seed)
    happened = pl.concat([happened, happened.sample(20, seed=seed)])  # some of them twice
    cache, found = StateCache(bytes_max), 0
    texts: dict[str, bytes] = {}
    rows: dict[str, pl.DataFrame] = {}
    for part in happened.iter_slices(7):
        cached = in_cache(cache, part)
        found += len(cached)
        states = {name: texts.get(name, b"") for name in part["user_id"].unique()} | cached
        done = update(states, part, SHOP, cache.items)
        for name, lines in done.appended.items():
            texts[name] = texts.get(name, b"") + lines
            cache.put(name, CachedState(done.events[name], len(texts[name])))
        rows |= {row["user_id"]: done.rows.filter(user_id=row["user_id"]) for row in done.rows.to_dicts()}
    assert pl.concat(rows.values()).sort("user_id").equals(recount(happened.unique("event_id")))
    assert found > 20 if bytes_max else found == 0


def in_cache(cache: StateCache, part: pl.DataFrame) -> dict[str, CachedState]:
    """What a cache knows of the shoppers of some events."""
    found = {}
    for (name,), theirs in part.group_by("user_id"):
        times, ids = theirs["event_time"].dt.timestamp("us").to_list(), hashes_of(theirs["event_id"].to_list())
        if (state := cache.get(str(name), times, ids)) is not None:
            found[str(name)] = state
    return found


def test_regular_prices_are_those_that_are_given() -> None:
    new = events(event("a", "OAT-MILK", 1, price=1.5))
    assert update({"a": b""}, new, SHOP, ItemNumbers()).rows["discount_share"].item() == 1.0
    same = ItemFacts.of(CATALOGUE.select("item_id", "category"), regular_prices(known_events(new, day(10))))
    assert update({"a": b""}, new, same, ItemNumbers()).rows["discount_share"].item() == 0.0


def test_an_event_that_comes_twice_counts_once() -> None:
    first = events(event("a", "OAT-MILK", 1, event_id="one"))
    state = update({"a": b""}, pl.concat([first, first]), SHOP, ItemNumbers()).appended["a"]
    assert frame_of({"a": state}).height == 1
    again = update({"a": state}, first, SHOP, ItemNumbers())
    assert again.rows.is_empty()
    assert again.appended == {}


def test_event_ids_of_different_shoppers_do_not_meet() -> None:
    new = events(event("a", "OAT-MILK", 1, event_id="one"), event("b", "OAT-MILK", 1, event_id="one"))
    assert update({"a": b"", "b": b""}, new, SHOP, ItemNumbers()).rows.height == 2


def test_an_event_of_an_unknown_item_is_kept_and_counts_once_the_item_is_known() -> None:
    done = update({"a": b""}, events(event("a", "NEWCOMER", 1)), SHOP, ItemNumbers())
    assert done.rows.is_empty()
    grown = items(*CATALOGUE.to_dicts(), item("NEWCOMER", "Dairy"))
    later = update(
        done.appended,
        events(event("a", "OAT-MILK", 2)),
        ItemFacts.of(grown.select("item_id", "category"), PRICES),
        ItemNumbers(),
    )
    assert later.rows["event_count"].item() == 2


def test_a_shopper_whose_state_is_broken_stops_nobody_else() -> None:
    names = [f"shopper-{number}" for number in range(9)]
    states = dict.fromkeys(names, b"") | {"shopper-3": b"broken\n", "shopper-7": b"\n"}
    new = events(*(event(name, "OAT-MILK", 1) for name in names))
    updates, failed = update_isolated(states, new, SHOP, ItemNumbers())
    assert failed.keys() == {"shopper-3", "shopper-7"}
    assert all("state" in reason for reason in failed.values())
    well = pl.concat(one.rows for one in updates).sort("user_id")
    assert well.equals(recount(new.filter(~pl.col("user_id").is_in(list(failed)))))


def test_an_item_that_becomes_known_counts_for_a_shopper_in_the_cache() -> None:
    numbers = ItemNumbers()
    done = update({"a": b""}, events(event("a", "NEWCOMER", 1)), SHOP, numbers)
    kept = CachedState(done.events["a"], len(done.appended["a"]))
    grown = ItemFacts.of(items(*CATALOGUE.to_dicts(), item("NEWCOMER", "Dairy")).select("item_id", "category"), PRICES)
    for facts, count in ((SHOP, 1), (grown, 2)):
        later = update({"a": kept}, events(event("a", "OAT-MILK", 2)), facts, numbers)
        assert later.rows["event_count"].item() == count


def test_nothing_new_changes_nothing() -> None:
    state = lines_of(events(event("a", "OAT-MILK", 1)))
    done = update(state, events(), SHOP, ItemNumbers())
    assert done.rows.is_empty()
    assert done.appended == {}
    assert update_isolated({}, events(), SHOP, ItemNumbers()) == ([], {})
