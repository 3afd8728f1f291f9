"""What the ranking service answers over a real socket, with a real Valkey and a real Triton behind it."""

import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.vocab import Rows
from services.common.limits import PAGE_SIZE_DEFAULT
from services.ranking.ordering import buy_again, popular, rank, requested, similar
from services.ranking.placements import SERVED_PLACEMENTS
from tests.integration.tiny_service import (
    NOW_US,
    SHOPPER_COUNT,
    RunningService,
    TinyShopOnDisk,
    assert_lists,
    degradations,
)
from tests.tiny_shop import LIMITS

USERS = [f"user-{number}" for number in range(SHOPPER_COUNT)]


def rows_of(shop: TinyShopOnDisk, *item_ids: str) -> Rows:
    return shop.release.model.items.vocabulary.rows(item_ids)


@pytest.mark.parametrize("user_id", USERS)
async def test_a_shoppers_list_is_the_one_that_ordering_gives_from_the_offline_row(
    served_shop: TinyShopOnDisk, ranking: RunningService, user_id: str
) -> None:
    reply = await ranking.recommended_for(user_id)
    expected = served_shop.recommended(user_id, await served_shop.interest(user_id))
    assert_lists(reply, expected, served_shop.release)
    assert degradations(reply) == []
    assert reply.bundle_version == "tiny.1"


async def test_a_page_is_the_beginning_of_the_list_and_twenty_by_default(ranking: RunningService) -> None:
    everything = (await ranking.recommended_for("nobody")).results
    assert len(everything) == LIMITS.total > PAGE_SIZE_DEFAULT
    for page_size, count in ((3, 3), (0, PAGE_SIZE_DEFAULT), (100, LIMITS.total)):
        reply = await ranking.recommended_for("nobody", page_size=page_size)
        assert list(reply.results) == list(everything[:count])


@pytest.mark.parametrize("user_id", ["nobody", ""])
async def test_an_unknown_shopper_gets_the_popular_list_with_its_source_named(
    served_shop: TinyShopOnDisk, ranking: RunningService, user_id: str
) -> None:
    reply = await ranking.recommended_for(user_id)
    assert_lists(reply, popular(served_shop.release.model, LIMITS.total), served_shop.release)
    assert {messages.CandidateSource.Name(result.source) for result in reply.results} == {"CANDIDATE_SOURCE_POPULAR"}
    assert {tuple(result.reasons) for result in reply.results} == {("Popular now",)}
    assert degradations(reply) == []


async def test_items_of_the_context_are_not_in_the_list_and_unknown_ones_are_named(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    for placement in sorted(SERVED_PLACEMENTS):
        for user_id in ("user-1", "nobody"):
            reply = await ranking.recommended_for(
                user_id,
                placement=placement,
                context_item_ids=["item-3", "gone", "item-9", "gone", "lost"],
                filter={"include_categories": ["bakery", "cellar", "dairy"]},
            )
            assert not {result.item_id for result in reply.results} & {"item-3", "item-9"}
            assert reply.missing_ids == ["gone", "lost"]


@pytest.mark.parametrize("user_id", USERS)
async def test_buy_it_again_is_what_the_shopper_had(
    served_shop: TinyShopOnDisk, ranking: RunningService, user_id: str
) -> None:
    reply = await ranking.recommended_for(user_id, placement=messages.PLACEMENT_BUY_IT_AGAIN)
    release, interest = served_shop.release, await served_shop.interest(user_id)
    expected = buy_again(release.model, release.rankers.all_items, served_shop.shopper(user_id), interest, NOW_US)
    assert_lists(reply, expected, release)


async def test_similar_items_are_those_nearest_to_the_context(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    reply = await ranking.recommended_for(
        "", placement=messages.PLACEMENT_SIMILAR_ITEMS, context_item_ids=["item-3", "gone", "item-9"], page_size=5
    )
    model = served_shop.release.model
    assert_lists(reply, similar(model, rows_of(served_shop, "item-3", "item-9"), 5), served_shop.release)
    reply = await ranking.recommended_for(
        "", placement=messages.PLACEMENT_SIMILAR_ITEMS, context_item_ids=["gone"], page_size=5
    )
    assert_lists(reply, popular(model, 5), served_shop.release)


async def test_best_sellers_are_the_popular_items(served_shop: TinyShopOnDisk, ranking: RunningService) -> None:
    reply = await ranking.recommended_for("user-1", placement=messages.PLACEMENT_BEST_SELLERS, page_size=7)
    assert_lists(reply, popular(served_shop.release.model, 7), served_shop.release)


async def test_given_items_are_ordered_and_unknown_ones_come_last(
    served_shop: TinyShopOnDisk, ranking: RunningService
) -> None:
    known = ["item-5", "item-30", "item-5", "item-0"]
    reply = await ranking.client.rank(messages.RankRequest(user_id="user-2", item_ids=["gone", *known, "lost", "gone"]))
    release, shopper = served_shop.release, served_shop.shopper("user-2")
    candidates, interest = requested(rows_of(served_shop, *known)), await served_shop.interest("user-2")
    together = release.model.item_to_item.ask(shopper)
    expected = rank(release.model, release.rankers.all_items, shopper, candidates, interest, together, NOW_US)
    assert [result.item_id for result in reply.results[3:]] == ["gone", "lost"]
    assert reply.missing_ids == ["gone", "lost"]
    del reply.results[3:]
    assert_lists(reply, expected, release)
    assert degradations(reply) == []
    assert reply.recommendation_id


async def test_every_list_has_an_id_of_its_own_and_says_where_its_time_went(ranking: RunningService) -> None:
    replies = [await ranking.recommended_for("user-1") for _ in range(20)]
    assert len({reply.recommendation_id for reply in replies}) == 20
    for reply in replies:
        timings = dict(reply.stage_timings_ms)
        total = timings.pop("total")
        assert set(timings) == {"features", "interest", "candidates", "retrieval", "queue", "ranking"}
        assert all(0.0 < milliseconds < total for milliseconds in timings.values())


async def test_stages_and_calls_are_counted(ranking: RunningService) -> None:
    def counts() -> list[float]:
        labels = {"method": "/aisle.v1.RecommendationService/Recommend", "code": "OK"}
        found = [
            ranking.registry.get_sample_value("aisle_stage_seconds_count", {"stage": "ranking"}),
            ranking.registry.get_sample_value("aisle_grpc_requests_total", labels),
        ]
        return [value or 0.0 for value in found]

    before = counts()
    await ranking.recommended_for("user-1")
    assert counts() == [value + 1 for value in before]
