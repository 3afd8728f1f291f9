"""Shoppers with known tastes who see what the suite recommends and act on it through its own API.

Choices: a shopper clicks on what is of the own taste far more often than on anything else, and buys some of what was
clicked; nothing else moves them, so that whatever the suite learns, it learns from lists that it showed itself. Every
list is reported as an impression with the chances that its reply told, every action carries the list's id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from aisle.v1 import event_service_pb2 as events
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import propensities_of

LIST_LENGTH = 20
_LOOKING = timedelta(seconds=20)
"""How long a shopper looks at one item of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Chances of an action, 0 to 1."""

    click: float = 0.25
    """On an item of the own taste."""
    stray_click: float = 0.01
    """On any other item."""
    purchase: float = 0.5
    """After a click on an item of the own taste."""


@dataclass(slots=True)
class Shoppers:
    """Some shoppers, their tastes, and what they were shown."""

    tastes: Mapping[str, str]
    """user_id → name of the taste."""
    item_tastes: Mapping[str, str]
    """item_id → name of the taste."""
    rng: np.random.Generator
    habits: Habits = Habits()
    shown: set[str] = field(default_factory=set)
    """Every item that was in a list."""

    def question(self, user_id: str, exploration_weight: float) -> messages.RecommendRequest:
        """What the home page asks for the shopper."""
        return messages.RecommendRequest(
            placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU,
            user_id=user_id,
            page_size=LIST_LENGTH,
            exploration_weight=exploration_weight,
        )

    def is_hit(self, user_id: str, item_id: str) -> bool:
        """Whether the item is of the shopper's taste."""
        return self.item_tastes[item_id] == self.tastes[user_id]

    def hit_rate(self, user_id: str, reply: messages.RecommendResponse) -> float:
        """The share of a list that is of the shopper's taste, 0 to 1."""
        return float(np.mean([self.is_hit(user_id, result.item_id) for result in reply.results]))

    def act(self, user_id: str, reply: messages.RecommendResponse, begin: datetime) -> Iterator[events.Event]:
        """What the shopper does with a list, from `begin` on: the impression, clicks and purchases."""
        shown = [result.item_id for result in reply.results]
        self.shown.update(shown)
        told = {"impression_item_ids": shown, "impression_propensities": propensities_of(reply.results)}
        yield self._event(user_id, reply, begin, "i", events.EVENT_TYPE_IMPRESSION, **told)
        for place, item_id in enumerate(shown):
            is_hit, seen = self.is_hit(user_id, item_id), begin + (place + 1) * _LOOKING
            if self.rng.random() >= (self.habits.click if is_hit else self.habits.stray_click):
                continue
            yield self._event(user_id, reply, seen, f"c{place}", events.EVENT_TYPE_CLICK, item_id=item_id)
            if is_hit and self.rng.random() < self.habits.purchase:
                bought = seen + _LOOKING / 2
                yield self._event(user_id, reply, bought, f"p{place}", events.EVENT_TYPE_PURCHASE, item_id=item_id)

    def _event(
        self,
        user_id: str,
        reply: messages.RecommendResponse,
        at: datetime,
        suffix: str,
        event_type: "events.EventType",
        **facts: Any,
    ) -> events.Event:
        event = events.Event(
            event_id=f"{reply.recommendation_id}-{suffix}",
            event_type=event_type,
            user_id=user_id,
            session_id=reply.recommendation_id,
            recommendation_id=reply.recommendation_id,
            **facts,
        )
        event.event_time.FromDatetime(at)
        return event
