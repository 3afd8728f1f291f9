"""The ranking service over the known shop, on a real socket, and how tests read its replies.

The towers and the online store are stand-ins in this process: the interest is the vector of the newest event.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aisle.v1 import recommendation_service_pb2 as messages
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from features.clock import Clock
from services.client import AsyncRecommendationClient
from services.common.server import running_server
from services.common.settings import ServiceSettings
from services.common.towers import VECTOR_WIDTH
from services.ranking.answers import House
from services.ranking.app import RecommendationServicer, registration
from services.ranking.metrics import RankingMetrics
from services.ranking.pipeline import Pipeline
from services.ranking.release import Release
from services.ranking.retriever import LocalRetriever
from services.ranking.trace import Budgets
from tests.fakes import FakeScorer, FakeUsers
from tests.integration.known_shop import HISTORIES, NOW_US, shopper
from tests.integration.tiny_service import CALL_SECONDS, RunningService

SPRING: dict[str, Any] = {"name": "spring", "promoted_percent": 20, "filter": {"include_categories": ["pantry"]}}
PINNED: dict[str, Any] = {
    "name": "pinned",
    "promoted_percent": 20,
    "pinned_position": 4,
    "filter": {"include_categories": ["pantry"], "exclude_item_ids": ["pantry-1"]},
}
SUMMER: dict[str, Any] = {
    "name": "summer",
    "promoted_percent": 10,
    "filter": {"include_item_ids": ["pantry-0", "cellar-4"]},
}
"""Promotions that share an item."""


@asynccontextmanager
async def serving(
    shop: Release,
    house: House | None = None,
    ids: Sequence[str] = (),
    now_us: Callable[[], int] = lambda: NOW_US,
) -> AsyncIterator[RunningService]:
    """The service on a real socket; its lists are called `ids` in turn, if there are any."""
    pipeline = Pipeline(
        release=shop,
        users=FakeUsers({name: shopper(name) for name in HISTORIES}),
        scorer=FakeScorer(lambda vectors, *_: vectors[-1:], lambda _: np.zeros(VECTOR_WIDTH, np.float32)),
        retriever=LocalRetriever(shop.model.index),
        clock=Clock(0, now_us),
        budgets=Budgets(),
        stale_after_us=1,
    )
    registry, names = CollectorRegistry(), iter(ids)
    new_id = (lambda: next(names)) if ids else None
    servicer = RecommendationServicer(lambda: pipeline, RankingMetrics(registry), house or House(), new_id)
    async with (
        running_server(ServiceSettings(), 0, registration(servicer), registry=registry) as server,
        AsyncRecommendationClient(server.address, timeout_seconds=CALL_SECONDS) as client,
    ):
        yield RunningService(client, server.address, registry)


def fields_of(message: Message) -> set[str]:
    """Every field that is set in a message or in those within it, as "outer.inner"."""
    found: set[str] = set()
    for field, value in message.ListFields():
        if field.message_type is None:
            found.add(field.name)
            continue
        for part in value if field.is_repeated else [value]:
            found |= {f"{field.name}.{inner}" for inner in fields_of(part)}
    return found


def fields_of_type(descriptor: Any) -> set[str]:
    """Every field that a message of this descriptor and those within it can have, as "outer.inner"."""
    found: set[str] = set()
    for field in descriptor.fields:
        within = fields_of_type(field.message_type) if field.message_type else set()
        found |= {f"{field.name}.{inner}" for inner in within} or {field.name}
    return found


def names_of(reply: messages.RecommendResponse | messages.RankResponse) -> list[str]:
    """Ids of a reply's items, in order."""
    return [result.item_id for result in reply.results]


async def pages_of(service: RunningService, user_id: str, page_size: int, **asked: Any) -> list[list[str]]:
    """A list to its end; what a promotion has placed is written "item@promotion"."""
    pages: list[list[str]] = []
    token = ""
    while token or not pages:
        reply = await service.recommended_for(user_id, page_size=page_size, page_token=token, **asked)
        names = [f"{result.item_id}@{result.promotion_name}".rstrip("@") for result in reply.results]
        promoted = [result.source == messages.CANDIDATE_SOURCE_PROMOTION for result in reply.results]
        assert promoted == ["@" in name for name in names]
        pages.append(names)
        token = reply.next_page_token
    return pages


def explored(reply: messages.RecommendResponse) -> list[str]:
    """What is shown to learn about it."""
    return [item.item_id for item in reply.results if item.source == messages.CANDIDATE_SOURCE_EXPLORATION]
