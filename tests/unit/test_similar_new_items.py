"""A new item among those similar to its nearest neighbour, which has a crowd of others that are more like it.

HUB is item-0, the crowd the 150 items behind it, which all point nearly the same way; LONER is one of the rest. What is
near the hub and new is nearest to it, and farther from it than any of the crowd.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from features.encode import Floats
from features.live_items import LiveItem
from services.ranking.answers import House, recommend
from services.ranking.ordering import Source, extended, new_alike, similar
from services.ranking.release import Release
from services.retrieval.delta import directions
from tests.tiny_shop import TinyShop, tiny_shop
from tests.unit.pipeline_world import World, a_trace, a_world

HUB, CROWD, COUNT = "item-0", 150, 200
LONER = "item-180"
SHORT = np.float32(0.01)
PLACE = 4
"""The first that is kept, from 0."""
BESIDE = 100
"""The axis along which new items differ from the hub."""


def hub_vectors() -> Floats:
    rng = np.random.default_rng(7)
    vectors = np.zeros((COUNT, 128), np.float32)
    vectors[:, 50:90] = rng.standard_normal((COUNT, 40))
    vectors[: CROWD + 1, 50:] = 0.0
    vectors[1 : CROWD + 1, 1:40] = 0.3 * directions(rng.standard_normal((CROWD, 39)).astype(np.float32))
    vectors[: CROWD + 1, 0] = 1.0
    return directions(vectors).astype(np.float16).astype(np.float32)


VECTORS = hub_vectors()


def near_hub(aside: float = 0.7, axis: int = BESIDE) -> Floats:
    """The less aside, the more like the hub; as short as a text's vector is."""
    vector: Floats = SHORT * VECTORS[0]
    vector[axis] = SHORT * aside
    return vector


def a_new_item(name: str, vector: Floats, **fields: Any) -> LiveItem:
    return LiveItem(item_id=name, title=name, vector=vector, **fields)


@pytest.fixture(scope="module")
def hub_shop() -> TinyShop:
    return replace(tiny_shop(seed=1, item_count=COUNT), vectors=VECTORS)


@pytest.fixture(scope="module")
def bare(hub_shop: TinyShop) -> Release:
    return hub_shop.release()


def with_items(shop: TinyShop, bare: Release, *items: LiveItem) -> World:
    return a_world(shop, replace(bare, model=extended(bare.model, items)))


async def replied(world: World, *context: str, **fields: Any) -> messages.RecommendResponse:
    known: dict[str, Any] = {
        "placement": messages.PLACEMENT_SIMILAR_ITEMS,
        "context_item_ids": context or [HUB],
        "page_size": 100,
    }
    request = messages.RecommendRequest(**(known | fields))
    reply, _ = await recommend(world.pipeline, request, House(), a_trace(), lambda: "a-recommendation")
    return reply


def names(reply: messages.RecommendResponse) -> list[str]:
    return [item.item_id for item in reply.results]


async def test_the_new_item_stands_at_its_place_though_a_crowd_is_more_like_the_hub(
    hub_shop: TinyShop, bare: Release
) -> None:
    before = names(await replied(a_world(hub_shop, bare)))
    world = with_items(hub_shop, bare, a_new_item("new", near_hub()))
    model = world.release.model
    [hub, new] = model.items.vocabulary.rows([HUB, "new"])
    assert new not in similar(model, np.array([hub]), CROWD).rows
    reply = await replied(world)
    assert names(reply) == [*before[:PLACE], "new", *before[PLACE:]]
    assert reply.results[PLACE].source == messages.CANDIDATE_SOURCE_SIMILAR
    assert list(reply.results[PLACE].reasons) == ["Similar to what you are looking at"]
    assert 0 < reply.results[PLACE].score < reply.results[PLACE - 1].score


async def test_of_several_the_most_alike_comes_first_at_one_place_in_ten(hub_shop: TinyShop, bare: Release) -> None:
    new = [a_new_item(f"new-{aside}", near_hub(aside)) for aside in (0.9, 0.7, 0.8)]
    found = names(await replied(with_items(hub_shop, bare, *new)))
    assert [found[place] for place in (PLACE, PLACE + 10, PLACE + 20)] == ["new-0.7", "new-0.8", "new-0.9"]


async def test_one_that_is_further_up_already_stays_there(hub_shop: TinyShop, bare: Release) -> None:
    found = names(await replied(with_items(hub_shop, bare, a_new_item("new", near_hub(0.0)))))
    assert found[0] == "new"
    assert found.count("new") == 1


async def test_items_that_the_new_one_is_not_like_do_not_show_it(hub_shop: TinyShop, bare: Release) -> None:
    world = with_items(hub_shop, bare, a_new_item("new", near_hub()))
    assert "new" not in names(await replied(world, LONER))
    for placement in (messages.PLACEMENT_OTHERS_YOU_MAY_LIKE, messages.PLACEMENT_FREQUENTLY_BOUGHT_TOGETHER):
        assert "new" not in names(await replied(world, placement=placement))


async def test_of_several_context_items_one_neighbour_is_enough(hub_shop: TinyShop, bare: Release) -> None:
    world = with_items(hub_shop, bare, a_new_item("new", near_hub()), a_new_item("other", SHORT * VECTORS[180]))
    found = names(await replied(world, LONER, HUB))
    assert {"new", "other"} <= set(found)
    assert (
        names(await replied(world, "nobody-knows-it"))[:3]
        == names(await replied(a_world(hub_shop, bare), "nobody-knows-it"))[:3]
    )


async def test_a_new_item_is_similar_to_another_new_one(hub_shop: TinyShop, bare: Release) -> None:
    """Of whose short vector every item of the bundle is nearer by dot product."""
    axes = [BESIDE, BESIDE + 1]
    one, other = (a_new_item(f"new-{axis}", near_hub(0.2, axis)) for axis in axes)
    assert names(await replied(with_items(hub_shop, bare, one, other), one.item_id))[PLACE] == other.item_id


async def test_filters_hold(hub_shop: TinyShop, bare: Release) -> None:
    plain = a_new_item("new", near_hub(), category=("garden",), brand="brand-9")
    world = with_items(hub_shop, bare, plain)
    assert "new" in names(await replied(world))
    for chosen in (
        {"exclude_categories": ["garden"]},
        {"exclude_item_ids": ["new"]},
        {"include_brands": ["brand-1"], "strict": True},
    ):
        assert "new" not in names(await replied(world, filter=chosen))
    assert "new" not in names(await replied(world, HUB, "new"))
    hidden = with_items(hub_shop, bare, replace(plain, flags=("odd",)))
    assert "new" not in names(await replied(hidden))
    assert names(await replied(hidden, filter={"allow_sensitive": True}))[PLACE] == "new"


async def test_what_the_shopper_bought_lately_stays_out_if_they_ask_so(hub_shop: TinyShop, bare: Release) -> None:
    world = with_items(hub_shop, bare, a_new_item("new", near_hub()))
    row = world.rows["user-5"]
    row |= {"repeat_item_ids": ["new"], "repeat_purchase_us": [row["last_event_us"]]}
    row |= {name: row[name][:1] for name in ("repeat_counts", "repeat_weights", "repeat_last_us", "repeat_gap_days")}
    assert "new" in names(await replied(world, user_id="user-5"))
    chosen = {"exclude_purchased_within_days": 365}
    assert "new" not in names(await replied(world, user_id="user-5", filter=chosen))


async def test_a_deleted_one_goes_and_one_of_another_text_moves(hub_shop: TinyShop, bare: Release) -> None:
    new = a_new_item("new", near_hub())
    assert "new" not in names(await replied(with_items(hub_shop, bare, replace(new, deleted=True))))
    moved = with_items(hub_shop, bare, replace(new, vector=SHORT * VECTORS[180]))
    assert "new" not in names(await replied(moved))
    assert "new" in names(await replied(moved, LONER))


async def test_where_the_nearest_have_gone_the_next_are_its_neighbours(hub_shop: TinyShop, bare: Release) -> None:
    """A shop that replaces an item deletes the old one."""
    vector = SHORT * VECTORS[180]
    nearest = new_neighbours(bare, vector)
    gone = [LiveItem(item_id=name, deleted=True) for name in nearest]
    world = with_items(hub_shop, bare, a_new_item("new", vector), *gone)
    others = [f"item-{row}" for row in range(CROWD + 1, COUNT) if f"item-{row}" not in nearest]
    shown = [name for name in others if "new" in names(await replied(world, name, page_size=PLACE + 1))]
    assert len(shown) >= len(nearest)


def new_neighbours(bare: Release, vector: Floats) -> list[str]:
    model = extended(bare.model, [a_new_item("new", vector)])
    every = model.items.vocabulary.ids[:-1]
    return [name for row, name in enumerate(every) if new_alike(model, np.array([row], np.int32)).rows.size]


async def test_pages_of_any_size_are_the_list_and_repeat_nothing(hub_shop: TinyShop, bare: Release) -> None:
    world = with_items(hub_shop, bare, *(a_new_item(f"new-{aside}", near_hub(aside)) for aside in (0.7, 0.8)))
    whole = names(await replied(world))
    for size in (1, 4, 5, 7):
        paged: list[str] = []
        token = ""
        while token or not paged:
            page = await replied(world, page_size=size, page_token=token)
            paged += names(page)
            token = page.next_page_token
        assert paged == whole
    assert len(set(whole)) == len(whole)


def test_new_neighbours_are_marked_as_similar_and_scored_alike(hub_shop: TinyShop, bare: Release) -> None:
    model = with_items(hub_shop, bare, a_new_item("new", near_hub(0.0))).release.model
    context = np.array([0, 1], np.int32)
    one, other = new_alike(model, context), similar(model, context, 200)
    assert one.sources.tolist() == [Source.SIMILAR]
    [place] = np.flatnonzero(other.rows == one.rows[0])
    assert one.scores == pytest.approx([other.scores[place]], rel=1e-3)
