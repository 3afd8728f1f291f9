"""What the towers learn from: nothing later than it may be, everything in its place."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.schema import EVENT_TYPES
from tests.shop import dataset, day, day_us, event, events, item, items
from tests.strategies import Row, unhurried
from training.dataset import Sequences, item_texts, sample_histories, sample_pairs, select_catalogue, sequences

IDS = ["COW-MILK", "OAT-MILK", "RYE-BREAD", "TEA"]
CATALOGUE = items(*(item(name) for name in IDS))
AS_OF = 100.0
DAY_US = 86_400_000_000


def arrays(*happened: Row, as_of: float = AS_OF) -> Sequences:
    """The sequences of a few events."""
    return sequences(dataset(events(*happened), CATALOGUE), CATALOGUE, day(as_of))


def test_the_catalogue_is_what_enough_shoppers_engaged_with_in_id_order() -> None:
    happened = [event(f"household-{number}", "TEA", 1) for number in range(2)]
    happened += [event(f"household-{number}", "OAT-MILK", 2) for number in range(2)]
    happened += [event("household-1", "RYE-BREAD", on) for on in (1, 2, 3)]
    happened += [event(f"household-{number}", "COW-MILK", AS_OF) for number in range(9)]
    data = dataset(events(*happened), CATALOGUE.reverse())
    assert select_catalogue(data, day(AS_OF), 2)["item_id"].to_list() == ["OAT-MILK", "TEA"]
    assert select_catalogue(data, day(AS_OF), 0)["item_id"].to_list() == IDS


def test_an_empty_catalogue_is_an_error_that_says_why() -> None:
    data = dataset(events(event("household-7", "TEA", 1)), CATALOGUE)
    with pytest.raises(ValueError, match="corner-shop: no item has 2 shoppers before 2024-04-10"):
        select_catalogue(data, day(AS_OF), 2)


def test_items_with_the_same_words_share_one_text() -> None:
    shelf = items(item("A", description="Fresh."), item("B"), item("C"), item("D", description="Fresh."))
    texts = item_texts(shelf.with_columns(title=pl.Series(["milk", "tea", "milk", "milk"])))
    assert texts.distinct == ["milk", "milk. Fresh.", "tea"]
    assert texts.of_row.tolist() == [1, 2, 0, 1]


def test_events_stand_by_shopper_and_then_by_time_and_end_before_the_instant() -> None:
    found = arrays(
        event("household-7", "TEA", 5),
        event("household-1", "OAT-MILK", 9, "click"),
        event("household-7", "RYE-BREAD", 2),
        event("household-1", "TEA", AS_OF),
        event("household-1", "TEA", 3, "impression"),
        event("household-1", "NOT-SERVED", 4),
        event("household-1", "TEA", 4),
    )
    assert found.starts.tolist() == [0, 2, 4]
    assert [IDS[row] for row in found.rows] == ["TEA", "OAT-MILK", "RYE-BREAD", "TEA"]
    codes = [spec.EVENT_CODES[name] for name in ("purchase", "click", "purchase", "purchase")]
    assert found.event_types.tolist() == codes
    assert found.times_us.tolist() == [day_us(on) for on in (4, 9, 2, 5)]
    np.testing.assert_allclose(found.counts, [0.0, spec.EVENT_WEIGHTS["click"], 1.0, 2.0])
    assert found.item_count == len(IDS)


def test_a_session_is_one_shoppers_and_without_an_id_it_is_a_day() -> None:
    found = arrays(
        event("household-1", "TEA", 1, session_id="basket-1"),
        event("household-1", "OAT-MILK", 3, session_id="basket-1"),
        event("household-2", "TEA", 1, session_id="basket-1"),
        event("household-3", "TEA", 1.1),
        event("household-3", "OAT-MILK", 1.9),
        event("household-3", "OAT-MILK", 2.1),
    )
    first, second, other, morning, evening, next_day = found.sessions.tolist()
    assert first == second
    assert morning == evening
    assert len({first, other, morning, next_day}) == 4


def test_pairs_are_different_items_of_one_session_and_never_more_than_asked_for() -> None:
    baskets = {"basket-1": ["TEA", "OAT-MILK", "RYE-BREAD"], "basket-2": ["COW-MILK", "TEA"], "basket-3": ["COW-MILK"]}
    found = arrays(
        *(event("household-1", name, 1, session_id=basket) for basket, names in baskets.items() for name in names)
    )
    left, right = sample_pairs(found, 200, np.random.default_rng(0))
    assert left.size == right.size <= 200
    pairs = {(IDS[a], IDS[b]) for a, b in zip(left, right, strict=True)}
    assert pairs == {(a, b) for names in baskets.values() for a in names for b in names if a != b}


_happened = st.lists(
    st.builds(
        event,
        st.sampled_from(["household-1", "household-2"]),
        st.sampled_from(IDS),
        st.integers(0, 80).map(lambda number: number / 2),
        st.sampled_from([name for name in EVENT_TYPES if name in spec.EVENT_WEIGHTS]),
    ),
    min_size=1,
    max_size=70,
).map(lambda rows: [row | {"event_id": f"event-{number:03d}"} for number, row in enumerate(rows)])


@unhurried
@given(happened=_happened, target_days=st.sampled_from([0.5, 7.0, 100.0]), seed=st.integers(0, 1000))
def test_a_history_never_holds_what_happened_with_or_after_its_targets(
    happened: list[Row], target_days: float, seed: int
) -> None:
    found = arrays(*happened)
    batch = sample_histories(found, 8, 3, target_days, np.random.default_rng(seed))
    instants = {(event_time_us(row), row["user_id"]) for row in happened}
    for query in range(8):
        size = int((batch.event_types[query] > 0).sum())
        history = list(zip(batch.rows[query], batch.event_types[query], batch.ages_days[query], strict=True))[-size:]
        targets = set(batch.target_rows[batch.target_of == query].tolist())
        assert any(
            targets <= ahead(happened, user, now, target_days)
            and len(targets) == min(3, len(ahead(happened, user, now, target_days)))
            and (behind(happened, user, now) == history if size else not behind(happened, user, now))
            for now, user in instants
        )


def event_time_us(row: Row) -> int:
    """Microseconds since 1970."""
    moment: datetime = row["event_time"]
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def behind(happened: list[Row], user: str, now: int) -> list[tuple[int, int, np.float32]]:
    """Row, type and age of a shopper's latest events strictly before an instant, oldest first."""
    own = sorted(
        (event_time_us(row), row["event_id"], row)
        for row in happened
        if row["user_id"] == user and event_time_us(row) < now
    )
    return [
        (IDS.index(row["item_id"]), spec.EVENT_CODES[row["event_type"]], np.float32((now - at) / DAY_US))
        for at, _, row in own[-spec.HISTORY_LENGTH :]
    ]


def ahead(happened: list[Row], user: str, now: int, target_days: float) -> set[int]:
    """Rows of a shopper's items from an instant on, for some days."""
    end = now + int(target_days * DAY_US)
    return {IDS.index(row["item_id"]) for row in happened if row["user_id"] == user and now <= event_time_us(row) < end}


def test_histories_are_padded_on_the_left_with_event_type_zero() -> None:
    found = arrays(event("household-7", "OAT-MILK", 1), event("household-7", "RYE-BREAD", 4))
    batch = sample_histories(found, 20, 5, 7.0, np.random.default_rng(0))
    assert batch.rows.shape == batch.event_types.shape == batch.ages_days.shape == (20, spec.HISTORY_LENGTH)
    sizes = (batch.event_types > 0).sum(axis=1)
    assert set(sizes.tolist()) == {0, 1}
    assert (batch.event_types[:, :-1] == 0).all()
    assert (batch.ages_days[:, :-1] == 0).all()
    assert batch.rows[sizes == 1, -1].tolist() == [IDS.index("OAT-MILK")] * int((sizes == 1).sum())
    assert set(batch.ages_days[sizes == 1, -1].tolist()) == {3.0}


def test_a_long_history_keeps_its_newest_events() -> None:
    found = arrays(*(event("household-7", IDS[on % 4], on) for on in range(spec.HISTORY_LENGTH + 10)))
    batch = sample_histories(found, 64, 1, 1.0, np.random.default_rng(0))
    full = batch.ages_days[(batch.event_types > 0).all(axis=1)]
    assert len(full)
    for ages in full:
        assert ages[-1] == 1.0
        assert all(older == newer + 1 for older, newer in pairwise(ages.tolist()))


def test_the_same_seed_draws_the_same_batch() -> None:
    found = arrays(*(event(f"household-{on % 3}", IDS[on % 4], on) for on in range(40)))
    first, again = (sample_histories(found, 16, 4, 14.0, np.random.default_rng(5)) for _ in range(2))
    for name in ("rows", "event_types", "ages_days", "target_of", "target_rows"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
