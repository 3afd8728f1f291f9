"""A session's items are the newest of a history; what happened before stays as it was."""

from dataclasses import replace

import numpy as np
import pytest

from features import spec
from features.encode import Shopper, resolve
from services.ranking.ordering import OrderingModel, in_session
from tests.unit.ordering_inputs import NOW_US


def test_without_a_context_nothing_changes(known: list[Shopper]) -> None:
    assert in_session(known[1], np.empty(0, np.int32), NOW_US) is known[1]


def test_context_items_come_last_as_views_of_now(known: list[Shopper]) -> None:
    before = known[2]
    after = in_session(before, np.array([7, 3], np.int32), NOW_US)
    assert after.history_rows[-2:].tolist() == [7, 3]
    assert after.history_event_types[-2:].tolist() == [spec.EVENT_CODES["view"]] * 2
    assert after.history_times_us[-2:].tolist() == [NOW_US] * 2
    kept = min(before.history_rows.size, spec.HISTORY_LENGTH - 2)
    assert after.history_rows[:-2].tolist() == before.history_rows[-kept:].tolist()
    assert after.history_times_us[:-2].tolist() == before.history_times_us[-kept:].tolist()
    assert after.repeat_rows is before.repeat_rows
    assert after.leaf_affinity is before.leaf_affinity
    assert after.last_event_us == max(before.last_event_us, NOW_US)


@pytest.mark.parametrize("count", [1, spec.HISTORY_LENGTH, spec.HISTORY_LENGTH + 30])
def test_a_stranger_gets_a_history_that_is_no_longer_than_any(model: OrderingModel, count: int) -> None:
    stranger = resolve(None, model.items)
    rows = (np.arange(count) % 40).astype(np.int32)
    after = in_session(stranger, rows, NOW_US)
    assert after.is_known
    assert after.history_rows.tolist() == rows[-spec.HISTORY_LENGTH :].tolist()
    assert after.history_rows.size == after.history_event_types.size == after.history_times_us.size


def test_the_last_event_never_moves_back(known: list[Shopper]) -> None:
    later = replace(known[1], last_event_us=NOW_US + 5)
    assert in_session(later, np.array([1], np.int32), NOW_US).last_event_us == NOW_US + 5
