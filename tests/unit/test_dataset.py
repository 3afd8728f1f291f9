"""What the towers learn from: nothing later than it may be, everything in its place."""

import numpy as np
import polars as pl
import pytest

from features import spec
from tests.shop import dataset, day, day_us, event, events, item, items
from tests.strategies import Row
from training.dataset import Sequences, item_texts, select_catalogue, sequences

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
