"""Places kept for new items: who gets one is known by construction, and nothing else of a list changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.encode import Floats, Shopper, resolve
from features.live_items import LiveItem
from features.store import StoreUnavailable
from features.vectors import every_vector
from services.common.scorer import ScorerUnavailable
from services.ranking.answers import House, recommend
from services.ranking.ordering import (
    Interest,
    OrderingModel,
    RankedList,
    Source,
    extended,
    has_new_items,
    new_of_taste,
    popular,
    tie_keys,
    with_new_items,
)
from services.ranking.ordering.new_items import NewItemPlaces
from services.ranking.release import Release
from tests.tiny_shop import TinyShop
from tests.unit.pipeline_world import INTERESTS, World, a_trace, a_world

SHORT = np.float32(1e-3)
"""How long vectors of new items are here: no dot product finds them."""
PLACE = 4
"""The first that is kept, from 0."""


def a_list(*rows: int, source: Source = Source.INTEREST) -> RankedList:
    scores = -np.array(rows, np.float32)
    return RankedList(np.array(rows, np.int32), scores, scores / np.float32(8), np.full(len(rows), source, np.uint8))


def a_new_item(name: str, direction: Floats, **fields: Any) -> LiveItem:
    return LiveItem(item_id=name, title=name, vector=SHORT * direction, **fields)


def rows_of(model: OrderingModel, *names: str) -> list[int]:
    rows: list[int] = model.items.vocabulary.rows(list(names)).tolist()
    return rows


def test_new_items_stand_at_their_places_and_the_others_keep_their_order() -> None:
    found = with_new_items(a_list(*range(30)), a_list(90, 91, 92, 93, source=Source.NEW_ITEM))
    assert np.flatnonzero(found.sources == Source.NEW_ITEM).tolist() == [4, 14, 24]
    assert found.rows[[4, 14, 24]].tolist() == [90, 91, 92]
    assert found.rows[found.rows < 90].tolist() == list(range(30))
    np.testing.assert_array_equal(found.scores, -found.rows)
    np.testing.assert_array_equal(found.interest, found.scores / np.float32(8))


def test_an_item_that_stands_further_up_stays_there_and_one_from_further_down_moves_up() -> None:
    new = a_list(17, 2, 12, 9, source=Source.NEW_ITEM)
    found = with_new_items(a_list(*range(20)), new, NewItemPlaces(first=5, every=10))
    assert found.rows.tolist() == [0, 1, 2, 3, 17, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19]
    assert np.flatnonzero(found.sources == Source.NEW_ITEM).tolist() == [4]


def test_a_list_that_ends_before_the_first_place_and_one_without_new_items_stay() -> None:
    assert with_new_items(a_list(1, 2, 3), a_list(90)).rows.tolist() == [1, 2, 3]
    assert with_new_items(a_list(*range(9)), a_list()).rows.tolist() == list(range(9))
    assert with_new_items(a_list(), a_list(90)).rows.tolist() == []


@pytest.mark.parametrize(("first", "every", "share"), [(0, 10, 0.5), (11, 10, 0.5), (1, 10, 0.0), (1, 10, 1.5)])
def test_places_that_do_not_exist_are_refused(first: int, every: int, share: float) -> None:
    with pytest.raises(ValueError, match="places"):
        NewItemPlaces(first=first, every=every, most_alike=share)


def nobody(model: OrderingModel) -> Shopper:
    return resolve(None, model.items)


def of_one_taste(model: OrderingModel, row: int) -> Interest:
    return Interest(model.vectors[np.array([row])], is_fallback=False)


def test_by_direction_alone_a_shopper_gets_what_is_of_their_taste(model: OrderingModel) -> None:
    one, other = model.vectors[np.array([0, 1])]
    assert one @ other < 0.5
    there = extended(model, [a_new_item("of-one", one), a_new_item("of-other", other)])
    list_of_all = popular(there, 40)
    for row, name in ((0, "of-one"), (1, "of-other")):
        found = new_of_taste(there, nobody(there), of_one_taste(there, row), list_of_all)
        assert found.tolist() == rows_of(there, name)


def test_the_latest_items_are_a_taste_of_their_own(model: OrderingModel) -> None:
    one, other = model.vectors[np.array([0, 1])]
    there = extended(model, [a_new_item("of-one", one), a_new_item("of-other", other)])
    shopper = replace(nobody(there), history_rows=np.array([1], np.int32))
    found = new_of_taste(there, shopper, of_one_taste(there, 0), popular(there, 40))
    assert sorted(found.tolist()) == sorted(rows_of(there, "of-one", "of-other"))


def test_the_most_alike_comes_first_and_no_more_come_than_there_are_places(model: OrderingModel) -> None:
    one, other = model.vectors[np.array([0, 1])]
    names = [f"new-{number}" for number in range(9)]
    there = extended(model, [a_new_item(name, one + 0.05 * place * other) for place, name in enumerate(names)])
    found = new_of_taste(there, nobody(there), of_one_taste(there, 0), popular(there, 40))
    assert found.tolist() == rows_of(there, *names[:4])


def test_what_the_shopper_has_had_what_is_not_allowed_and_what_is_deleted_is_not_new(model: OrderingModel) -> None:
    [one] = model.vectors[np.array([0])]
    items = [a_new_item(name, one) for name in ("had", "barred", "fresh")]
    there = extended(model, [*items, a_new_item("gone", one, deleted=True)])
    had, barred, fresh = rows_of(there, "had", "barred", "fresh")
    shopper = replace(nobody(there), repeat_rows=np.array([had], np.int32))
    allowed = np.ones(there.item_count, np.bool_)
    allowed[barred] = False
    found = new_of_taste(there, shopper, of_one_taste(there, 0), popular(there, 30), allowed)
    assert found.tolist() == [fresh]


def test_only_items_that_the_bundle_lacks_and_whose_text_is_known_are_new(model: OrderingModel) -> None:
    [one] = model.vectors[np.array([0])]
    changed = extended(model, [a_new_item("item-3", one), LiveItem(item_id="bare", title="bare")])
    for there in (model, changed):
        assert not has_new_items(there)
        assert new_of_taste(there, nobody(there), of_one_taste(there, 0), popular(there, 30)).size == 0
    both = extended(model, [a_new_item("item-3", one), a_new_item("new", one)])
    found = new_of_taste(both, nobody(both), of_one_taste(both, 0), popular(both, 30))
    assert found.tolist() == rows_of(both, "new")


def test_a_shopper_without_a_taste_gets_none(model: OrderingModel) -> None:
    there = extended(model, [a_new_item("new", model.vectors[np.array([0])][0])])
    nothing = Interest(np.zeros((1, 128), np.float32), is_fallback=True)
    assert new_of_taste(there, nobody(there), nothing, popular(there, 30)).size == 0


SHOPPER = "user-5"
NEW = [
    a_new_item("liked", INTERESTS[0], category=("garden",)),
    a_new_item("disliked", -INTERESTS[0] - INTERESTS[1]),
    a_new_item("gone", INTERESTS[0], deleted=True),
    a_new_item("hidden", INTERESTS[0], flags=("odd",)),
]


@pytest.fixture(scope="module")
def world(shop: TinyShop) -> World:
    """With new items; the shopper's interests are INTERESTS."""
    release: Release = shop.release()
    return a_world(shop, replace(release, model=extended(release.model, NEW)))


async def replied(world: World, **fields: Any) -> messages.RecommendResponse:
    known: dict[str, Any] = {
        "placement": messages.PLACEMENT_RECOMMENDED_FOR_YOU,
        "user_id": SHOPPER,
        "page_size": 100,
    }
    request = messages.RecommendRequest(**(known | fields))
    reply, _ = await recommend(world.pipeline, request, House(), a_trace(), lambda: "a-recommendation")
    return reply


def names(reply: messages.RecommendResponse) -> list[str]:
    return [item.item_id for item in reply.results]


async def test_what_is_missing_from_an_explanation_is_told_on_later_pages_too(world: World) -> None:
    first = await replied(world, page_size=5, explain=True)
    assert list(first.degradations) == []
    world.users.failure, world.scorer.failure = StoreUnavailable("away"), ScorerUnavailable("unavailable")
    try:
        second = await replied(world, page_size=5, page_token=first.next_page_token, explain=True)
    finally:
        world.users.failure = world.scorer.failure = None
    assert messages.DEGRADATION_USER_FEATURES_FALLBACK in second.degradations


async def test_a_list_has_the_new_item_of_its_taste_at_its_place_and_keeps_the_order_of_the_rest(world: World) -> None:
    ordinary = await world.pipeline.recommended_for_you(SHOPPER, a_trace())
    before = world.release.model.items.vocabulary.names(ordinary.rows)
    assert "liked" not in before[: PLACE + 1]
    reply = await replied(world)
    assert reply.results[PLACE].item_id == "liked"
    assert reply.results[PLACE].source == messages.CANDIDATE_SOURCE_NEW_ITEM
    assert list(reply.results[PLACE].reasons) == ["New, and close to your taste"]
    rest = [name for name in names(reply) if name != "liked"]
    assert rest == [name for name in before if name in rest]
    marked = [item.item_id for item in reply.results if item.source == messages.CANDIDATE_SOURCE_NEW_ITEM]
    assert marked == ["liked"]


async def test_likeness_orders_new_items_where_the_ranker_would_have_them_the_other_way_round(shop: TinyShop) -> None:
    """To the ranker both are one, so that it goes by the tie key."""
    less, more = np.array(["a-new-one", "another"])[np.argsort(tie_keys(["a-new-one", "another"]))].tolist()
    release = shop.release()
    new = [a_new_item(more, INTERESTS[0]), a_new_item(less, INTERESTS[0] + 0.1 * INTERESTS[1])]
    found = await replied(a_world(shop, replace(release, model=extended(release.model, new))))
    assert [found.results[place].item_id for place in (PLACE, PLACE + 10)] == [more, less]


async def test_pages_of_any_size_are_the_list_and_repeat_nothing(world: World) -> None:
    whole = names(await replied(world))
    for size in (3, 5, 7):
        paged: list[str] = []
        token = ""
        while True:
            page = await replied(world, page_size=size, page_token=token)
            paged += names(page)
            token = page.next_page_token
            if not token:
                break
        assert paged == whole
    assert len(set(whole)) == len(whole)


async def test_filters_hold_for_new_items(world: World) -> None:
    for chosen in (
        {"exclude_categories": ["garden"]},
        {"exclude_item_ids": ["liked"]},
        {"include_brands": ["brand-1"]},
    ):
        assert "liked" not in names(await replied(world, filter={"strict": True} | chosen))
    assert "liked" not in names(await replied(world, context_item_ids=["liked"]))
    assert {"gone", "hidden"}.isdisjoint(names(await replied(world)))
    told = await replied(world, filter={"allow_sensitive": True, "exclude_item_ids": ["liked"]})
    assert told.results[PLACE].item_id == "hidden"


async def test_only_personal_placements_keep_places(world: World) -> None:
    for placement in (messages.PLACEMENT_BEST_SELLERS, messages.PLACEMENT_TRENDING, messages.PLACEMENT_BUY_IT_AGAIN):
        reply = await replied(world, placement=placement)
        assert messages.CANDIDATE_SOURCE_NEW_ITEM not in [item.source for item in reply.results]


async def test_promotions_and_exploration_show_an_item_once(world: World) -> None:
    promoted = messages.Promotion(
        name="garden", promoted_percent=10, filter={"include_categories": ["garden"]}, pinned_position=1
    )
    reply = await replied(world, promotions=[promoted])
    assert names(reply).count("liked") == 1
    assert reply.results[0].item_id == "liked"
    assert reply.results[0].source == messages.CANDIDATE_SOURCE_PROMOTION
    explored = names(await replied(world, exploration_weight=0.5))
    assert len(set(explored)) == len(explored)


async def test_explanations_of_new_items_sum_to_their_scores(world: World) -> None:
    new = (await replied(world, explain=True)).results[PLACE]
    total = new.explanation.baseline_score + sum(part.contribution for part in new.explanation.contributions)
    assert new.score == pytest.approx(total, abs=1e-5)
    assert new.stage_scores["ranker"] == pytest.approx(new.score, abs=1e-6)


async def test_without_new_items_nothing_is_asked_and_nothing_changes(shop: TinyShop) -> None:
    plain = a_world(shop, shop.release())
    ordinary = await plain.pipeline.recommended_for_you(SHOPPER, a_trace())
    reply = await replied(plain)
    assert names(reply) == plain.release.model.items.vocabulary.names(ordinary.rows)
    assert [item.score for item in reply.results] == ordinary.scores.tolist()
    assert every_vector(plain.release.model.vectors).shape == (40, 128)
