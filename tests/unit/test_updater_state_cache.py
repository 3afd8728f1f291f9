"""The cache of states: what it answers, and what it forgets."""

import weakref

import numpy as np
import polars as pl
import pytest

from features.transforms import ItemFacts
from services.ingest.updater import state_cache
from services.ingest.updater.numbered import ItemNumbers, NumberedEvents, hashes_of, merged, numbered
from services.ingest.updater.state_cache import CachedState, StateCache
from tests.shop import day, event, events, item, items

SECOND_US = 1_000_000


def some_events(count: int, first: int = 0) -> NumberedEvents:
    """Events of one shopper, one a day."""
    rows = [event("ada", "OAT-MILK", number, event_id=f"event-{number}") for number in range(first, first + count)]
    return numbered(events(*rows), ItemNumbers())


def state_of(count: int) -> CachedState:
    """A state of so many events, whose text has as many bytes."""
    return CachedState(some_events(count), count)


def at_us(number: float) -> int:
    """When `some_events` has the event of this number."""
    return int(day(number).timestamp() * SECOND_US)


@pytest.mark.parametrize(
    ("days", "ids", "has_place"),
    [
        ([9], ["new"], True),
        ([1.5], ["new"], True),
        ([9, 1.5, -1], ["new", "newer", "newest"], True),
        ([1], ["new"], False),
        ([9, 1], ["new", "newer"], False),
        ([9], ["event-1"], False),
        ([9, 10], ["new", "event-0"], False),
    ],
)
def test_it_answers_for_events_with_instants_and_ids_of_their_own(
    days: list[float], ids: list[str], has_place: bool
) -> None:
    cache = StateCache(2**20)
    cache.put("ada", state_of(3))
    assert (cache.get("ada", [at_us(one) for one in days], hashes_of(ids)) is not None) == has_place
    assert cache.get("eve", [at_us(9)], hashes_of(["new"])) is None


@pytest.mark.parametrize("more", [[4, 5], [0.5, 4], [-1, 0.5, 0.6, 1.5]])
def test_more_events_come_where_their_time_says(more: list[float]) -> None:
    others = numbered(events(*(event("ada", "RYE-BREAD", one, event_id=f"more-{one}") for one in more)), ItemNumbers())
    found = merged(some_events(3), others)
    assert found["time_us"].tolist() == sorted(map(at_us, [0, 1, 2, *more]))
    assert set(found["event_id"].tolist()) == {*some_events(3)["event_id"].tolist(), *others["event_id"].tolist()}


def test_the_longest_unused_leaves_when_it_is_full() -> None:
    cache = StateCache(3 * (state_of(10).events.nbytes + 400))
    for name in ("ada", "eve", "bob"):
        cache.put(name, state_of(10))
    assert is_there(cache, "ada")
    cache.put("dan", state_of(10))
    assert [is_there(cache, name) for name in ("ada", "eve", "bob", "dan")] == [True, False, True, True]


def test_what_is_larger_than_the_cache_or_empty_is_not_kept() -> None:
    cache = StateCache(state_of(10).events.nbytes)
    cache.put("ada", state_of(10))
    cache.put("eve", state_of(0))
    cache.put("bob", state_of(1))
    cache.put("bob", state_of(10))  # has grown too large
    assert not any(is_there(cache, name) for name in ("ada", "eve", "bob"))
    nothing = StateCache(0)
    nothing.put("ada", state_of(1))
    assert not is_there(nothing, "ada")


def test_a_shopper_who_does_nothing_is_forgotten() -> None:
    now = 0.0
    cache = StateCache(2**20, lambda: now)
    cache.put("ada", state_of(1))
    now = 599.0
    assert is_there(cache, "ada")
    cache.put("ada", state_of(2))
    now = 1198.0
    assert is_there(cache, "ada")
    now = 1200.0
    assert not is_there(cache, "ada")


def test_who_does_nothing_leaves_the_memory_though_nobody_asks() -> None:
    now = 0.0
    cache = StateCache(2**20, lambda: now)
    cache.put("ada", state_of(1))
    state = cache.get("ada", [at_us(9)], hashes_of(["new"]))
    assert state is not None
    events = weakref.ref(state.events)
    del state
    now = 599.0
    cache.expire()
    assert events() is not None
    now = 601.0
    cache.expire()
    assert events() is None


def test_a_state_holds_its_own_events_only() -> None:
    cache, whole_round = StateCache(2**20), some_events(1000)
    cache.put("ada", CachedState(whole_round[:2], 2))
    state = cache.get("ada", [at_us(2000)], hashes_of(["new"]))
    assert state is not None
    assert len(state) == 2
    assert not np.shares_memory(state.events, whole_round)


def test_it_can_be_emptied() -> None:
    cache = StateCache(2**20)
    cache.put("ada", state_of(1))
    cache.clear()
    assert not is_there(cache, "ada")


def test_items_keep_their_numbers() -> None:
    numbers = ItemNumbers()
    assert numbers.of(pl.Series(["b", "a", "b"])).tolist() in ([0, 1, 0], [1, 0, 1])
    before = numbers.of(pl.Series(["a", "b"])).tolist()
    numbers.of(pl.Series(["c"]))
    assert numbers.of(pl.Series(["a", "b", "c"])).tolist() == [*before, 2]


def test_made_up_items_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_cache, "_ITEMS_MAX", 100)
    cache = StateCache(2**20)
    cache.items.of(pl.Series(map(str, range(100))))
    cache.put("ada", state_of(1))
    cache.expire()
    assert (cache.items.count, is_there(cache, "ada")) == (100, True)
    cache.items.of(pl.Series(["one more"]))
    cache.expire()
    assert (cache.items.count, is_there(cache, "ada")) == (0, False)  # its events are of items by the old numbers


def test_items_have_their_places_as_they_come_and_as_facts_change() -> None:
    numbers = ItemNumbers()
    shop = facts_of("a", "b")
    assert numbers.places_in(shop).tolist() == []
    seen = list[str]()
    for new in (["b", "made-up"], [], ["a"], ["c"]):
        numbers.of(pl.Series(new, dtype=pl.String))
        seen += sorted(new, key=lambda name: numbers.of(pl.Series([name])).item())
        assert numbers.places_in(shop).tolist() == shop.places_of(pl.Series(seen)).tolist()
    grown = facts_of("c", "a", "b")
    assert numbers.places_in(grown).tolist() == grown.places_of(pl.Series(seen)).tolist()
    assert (numbers.places_in(grown) >= 0).sum() == 3


def facts_of(*item_ids: str) -> ItemFacts:
    """Items without prices."""
    prices = pl.DataFrame(schema={"item_id": pl.String, "regular_price": pl.Float64})
    return ItemFacts.of(items(*map(item, item_ids)).select("item_id", "category"), prices)


def is_there(cache: StateCache, shopper: str) -> bool:
    """Whether a cache knows a shopper."""
    return cache.get(shopper, [at_us(5000)], hashes_of(["some new id"])) is not None
