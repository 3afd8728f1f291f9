"""What a window's events say of a bundle that did not serve: what no list led to, and what exploration drew."""

import numpy as np
import pytest

from tests.shop import dataset, day, event, events, item, items
from tests.strategies import Row
from training.propensity import Evidence, evidence_of, narrowed
from training.queries import open_window

BEGIN, WEEKS = 50.0, 1
CATALOGUE = items(*(item(name, "Tea") for name in ("ASSAM", "GREEN", "MINT", "OOLONG")))
NOBODY = Evidence(free={}, drawn={}, taken={})


def of_list(row: Row, recommendation_id: str) -> Row:
    """An event that a list led to."""
    return row | {"recommendation_id": recommendation_id, "event_id": f"{row['event_id']} {recommendation_id}"}


def shown(recommendation_id: str, item_id: str, propensity: float | str | None, on: float = 1) -> Row:
    """An impression's row of one item, `on` days after the window's begin."""
    told = [] if propensity is None else [{"key": "propensity", "value": str(propensity)}]
    return of_list(event("ada", item_id, BEGIN + on, "impression"), recommendation_id) | {"attributes": told}


def acted(recommendation_id: str, item_id: str, event_type: str = "click", on: float = 1) -> Row:
    """What the list led to."""
    return of_list(event("ada", item_id, BEGIN + on, event_type), recommendation_id)


def evidence(*rows: Row) -> Evidence:
    found = evidence_of(events(*rows), day(BEGIN), WEEKS)
    assert found is not None
    return found


def test_where_no_event_names_a_list_all_are_free() -> None:
    happened = events(event("ada", "MINT", BEGIN + 1), event("ada", "MINT", BEGIN + 1, "impression"))
    assert evidence_of(happened, day(BEGIN), WEEKS) is None


@pytest.mark.parametrize("on", [-1, 7])
def test_lists_outside_the_window_leave_it_as_it_is(on: float) -> None:
    happened = events(shown("list", "MINT", 0.5, on), acted("list", "MINT", on=on), event("ada", "MINT", BEGIN + 1))
    assert evidence_of(happened, day(BEGIN), WEEKS) is None


def test_what_no_list_led_to_is_free_and_what_was_drawn_stands_apart() -> None:
    found = evidence(
        shown("list", "MINT", 0.5),
        shown("list", "GREEN", 0.01),
        acted("list", "GREEN"),
        event("bob", "ASSAM", BEGIN + 2),
    )
    assert found == Evidence(free={"bob": {"ASSAM"}}, drawn={"ada": {"MINT", "GREEN"}}, taken={"ada": {"GREEN"}})


@pytest.mark.parametrize("propensity", [1.0, 0.0, None, "often"])
def test_an_item_that_no_chance_had_a_part_in_says_nothing(propensity: float | str | None) -> None:
    assert evidence(shown("list", "MINT", propensity), acted("list", "MINT")) == NOBODY


def test_a_list_that_no_impression_tells_of_says_nothing() -> None:
    assert evidence(acted("list", "MINT")) == NOBODY


def test_another_lists_draw_makes_no_chance_of_a_sure_place() -> None:
    found = evidence(shown("other", "MINT", 0.5, on=0.5), shown("list", "MINT", 1.0), acted("list", "MINT"))
    assert found == Evidence(free={}, drawn={"ada": {"MINT"}}, taken={})


def test_an_impression_alone_is_nothing_taken() -> None:
    found = evidence(shown("list", "MINT", 0.5), shown("list", "GREEN", 0.5), acted("list", "MINT", "purchase"))
    assert found.taken == {"ada": {"MINT"}}


@pytest.mark.parametrize(("first", "second", "taken"), [("one", "two", {"ada": {"MINT"}}), ("two", "one", {})])
def test_of_several_draws_only_the_first_counts(first: str, second: str, taken: dict[str, set[str]]) -> None:
    """What is drawn more often would be taken more often."""
    found = evidence(shown(first, "MINT", 0.5, on=1), shown(second, "MINT", 0.5, on=2), acted("one", "MINT", on=3))
    assert found.taken == taken


def test_queries_keep_what_is_named_of_their_truths_and_may_keep_nothing() -> None:
    happened = [acted("list", name) for name in ("OOLONG", "GREEN", "MINT")]
    happened.append(event("bob", "MINT", BEGIN + 1))
    window = open_window(dataset(events(*happened), CATALOGUE), CATALOGUE, day(BEGIN), WEEKS)
    ada, bob = narrowed(window.queries, CATALOGUE["item_id"].to_list(), {"ada": {"OOLONG", "GREEN"}})
    assert [CATALOGUE["item_id"][row] for row in ada.truth.tolist()] == ["GREEN", "OOLONG"]
    assert ada.truth_weights.shape == (2,)
    assert bob.truth.size == 0
    assert np.array_equal(bob.seen, window.queries[1].seen)
