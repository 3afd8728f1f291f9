"""What the simulated shoppers report of a list, as any front end would."""

from datetime import UTC, datetime

import numpy as np
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import propensities_of
from tests.simulated_shoppers import Habits, Shoppers

REPLY = messages.RecommendResponse(
    recommendation_id="list",
    results=[messages.RankedItem(item_id="tent"), messages.RankedItem(item_id="mug", propensity=0.25)],
)


def test_a_place_that_nothing_was_drawn_for_is_reported_as_sure() -> None:
    assert propensities_of(REPLY.results) == [1.0, 0.25]


def test_of_a_list_that_nothing_was_drawn_for_nothing_is_reported() -> None:
    assert propensities_of(REPLY.results[:1]) == []


def test_every_action_carries_the_list() -> None:
    tastes = {"tent": "outdoors", "mug": "kitchen"}
    always = Habits(click=1.0, stray_click=0.0, purchase=1.0)
    shoppers = Shoppers({"ada": "outdoors"}, tastes, np.random.default_rng(0), always)
    shown, *acted = shoppers.act("ada", REPLY, datetime(2024, 1, 1, tzinfo=UTC))
    assert list(shown.impression_propensities) == [1.0, 0.25]
    assert [(event.event_type, event.item_id, event.recommendation_id) for event in acted] == [
        (events.EVENT_TYPE_CLICK, "tent", "list"),
        (events.EVENT_TYPE_PURCHASE, "tent", "list"),
    ]
    assert shoppers.shown == {"tent", "mug"}
