"""From events to a reply, through every real process: the shop's known best items come out on top."""

import json

import numpy as np
import psutil
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.client import RecommendationClient
from services.stack import Stack
from tests.trained_shop import TrainedShop

_LENGTH = 10


@pytest.fixture(scope="module")
def replies(shop_stack: Stack, trained_shop: TrainedShop) -> dict[str, messages.RecommendResponse]:
    """Every shopper's recommendations."""
    with RecommendationClient(shop_stack.addresses["ranking"], timeout_seconds=30.0) as client:
        return {
            user_id: client.recommend(
                messages.RecommendRequest(
                    placement=messages.PLACEMENT_RECOMMENDED_FOR_YOU, user_id=user_id, page_size=_LENGTH
                )
            )
            for user_id in trained_shop.shop.user_tastes
        }


def test_nearly_everything_shown_is_of_the_shoppers_taste(
    replies: dict[str, messages.RecommendResponse], trained_shop: TrainedShop
) -> None:
    """Nine of ten views went to the own taste; a recommender that found it shows hardly anything else."""
    shop = trained_shop.shop
    share = [
        np.mean([shop.item_tastes[result.item_id] == shop.user_tastes[user_id] for result in reply.results])
        for user_id, reply in replies.items()
    ]
    assert np.mean(share) > 0.9


def test_the_known_best_items_come_out_on_top(
    replies: dict[str, messages.RecommendResponse], trained_shop: TrainedShop
) -> None:
    """The list finds most of each shopper's truly best items, of hundreds, and far more than the popular list does."""
    shop = trained_shop.shop
    truths = {
        user_id: [item_id for item_id in best if item_id not in shop.new_items][:_LENGTH]
        for user_id, best in shop.best_items.items()
    }
    found = [_overlap([result.item_id for result in replies[user].results], truth) for user, truth in truths.items()]
    events = shop.dataset.events
    known = events.filter(events["event_time"] < trained_shop.bundle.as_of)
    popular = known["item_id"].value_counts().sort("count", "item_id", descending=True)["item_id"][:_LENGTH].to_list()
    by_popularity = [_overlap(popular, truth) for truth in truths.values()]
    assert np.mean(found) > 0.5
    assert np.mean(found) > 2 * np.mean(by_popularity)


def test_no_list_repeats_an_item_or_is_degraded(replies: dict[str, messages.RecommendResponse]) -> None:
    """All parts run, so nothing may be missing."""
    for reply in replies.values():
        ids = [result.item_id for result in reply.results]
        assert len(set(ids)) == _LENGTH
        assert list(reply.degradations) == []


def test_scores_fall_along_every_list(replies: dict[str, messages.RecommendResponse]) -> None:
    """The order is the ranking."""
    for reply in replies.values():
        scores = [result.score for result in reply.results]
        assert scores == sorted(scores, reverse=True)


def test_the_listing_names_every_living_process(shop_stack: Stack, trained_shop: TrainedShop) -> None:
    """Scripts find the parts in stack.json."""
    listing = json.loads((trained_shop.build / "stack.json").read_text())
    assert [part["name"] for part in listing] == ["valkey", "triton", "retrieval", "ranking", "ingest", "updater"]
    assert all(psutil.pid_exists(part["pid"]) for part in listing)
    assert {part["name"]: part["address"] for part in listing} == shop_stack.addresses


def _overlap(shown: list[str], truth: list[str]) -> float:
    return len(set(shown) & set(truth)) / len(truth)
