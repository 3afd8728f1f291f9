"""Every level of diversity and of price over the API, on the shop whose right answers can be worked out on paper.

The tables must name every level that there is, so that a new one fails until it has an answer.
"""

from itertools import combinations, pairwise

import numpy as np
import pytest
from aisle.v1 import recommendation_service_pb2 as messages

from services.ranking.answers import House
from services.ranking.ordering import Diversity, PriceRerank
from services.ranking.shaping import Taste
from tests.integration.known_service import names_of, serving
from tests.integration.known_shop import NAMES, SHELVES, alike, by_demand, release
from tests.integration.tiny_service import RunningService

EVERYTHING = {"allow_sensitive": True}


# Diversity: the shop by appeal is one shelf after the other.

ONE_OF_EACH = [f"{shelf}-0" for shelf in SHELVES]
DIVERSITY = {
    "NONE": NAMES,
    "LOW": [
        "dairy-0",
        "dairy-1",
        "bakery-0",
        "dairy-2",
        "dairy-3",
        "bakery-1",
        "dairy-4",
        "dairy-5",
        "bakery-2",
        "bakery-3",
        "cellar-0",
        "bakery-4",
        "bakery-5",
        "cellar-1",
        "cellar-2",
        "pantry-0",
        "cellar-3",
        "cellar-4",
        "pantry-1",
        "cellar-5",
        "pantry-2",
        "pantry-3",
        "pantry-4",
        "pantry-5",
    ],
    "MEDIUM": ["dairy-0", "bakery-0", "dairy-1", "dairy-2"],
    "HIGH": ONE_OF_EACH,
}
"""How the list begins. HIGH: an item of a new shelf gives up at most .3 of relevance, one of a shelf that is there has
a cosine of at least cos 50° and gives up .7 of it. MEDIUM: .7 · 17/23 for bakery-0 against .7 · 22/23 - .3 · cos 10°
for dairy-1; and then the other way round, since bakery is there as well."""
HISTORY_SAYS = {"narrow": "NONE", "fan": "MEDIUM", "broad": "HIGH"}
"""What AUTO is like: of items that are alike, of one item, of items that have nothing in common."""
SETTING = {"UNSPECIFIED", "AUTO"}


def test_every_level_has_an_answer() -> None:
    for levels, kind, named in (
        (DIVERSITY, messages.DiversityLevel, SETTING),
        (PRICE, messages.PriceRerankLevel, {"UNSPECIFIED"}),
    ):
        prefix = kind.keys()[0].removesuffix("UNSPECIFIED")
        assert {f"{prefix}{name}" for name in {*levels, *named}} == set(kind.keys())


async def varied(service: RunningService, level: str, user_id: str = "fan") -> list[str]:
    """The whole shop at a level."""
    reply = await service.recommended_for(user_id, filter=EVERYTHING, diversity_level=f"DIVERSITY_LEVEL_{level}")
    assert sorted(names_of(reply)) == sorted(NAMES)
    return names_of(reply)


@pytest.mark.parametrize("level", DIVERSITY)
async def test_a_list_begins_as_varied_as_its_level_says(known: RunningService, level: str) -> None:
    expected = DIVERSITY[level]
    assert (await varied(known, level))[: len(expected)] == expected
    asked = messages.RankRequest(item_ids=by_demand(NAMES), diversity_level=f"DIVERSITY_LEVEL_{level}")
    assert names_of(await known.client.rank(asked))[: len(expected)] == expected


async def test_low_takes_the_next_shelf_where_it_costs_one_place_also_without_a_run(known: RunningService) -> None:
    """Of twelve items a place is worth .9 / 11, less than .1 · cos 10°; two places are worth more."""
    two_of_each = [f"{shelf}-{place}" for shelf in SHELVES for place in (0, 1)]
    chosen = {"include_item_ids": [*two_of_each, *(f"pantry-{place}" for place in range(2, 6))], "strict": True}
    plain, low = [
        names_of(await known.recommended_for("fan", filter=chosen, diversity_level=f"DIVERSITY_LEVEL_{level}"))
        for level in ("NONE", "LOW")
    ]
    assert plain[:8] == two_of_each
    assert low[:6] == ["dairy-0", "bakery-0", "dairy-1", "cellar-0", "bakery-1", "pantry-0"]


async def test_items_of_a_list_are_the_less_alike_the_higher_the_level(known: RunningService) -> None:
    lists = [(await varied(known, level))[:6] for level in ("NONE", "LOW", "MEDIUM", "HIGH")]
    similarity = [float(np.mean([alike(*pair) for pair in combinations(names, 2)])) for names in lists]
    assert all(less < more - 0.01 for more, less in pairwise(similarity))


@pytest.mark.parametrize(("user_id", "level"), HISTORY_SAYS.items())
async def test_auto_is_as_varied_as_the_shoppers_history(known: RunningService, user_id: str, level: str) -> None:
    assert await varied(known, "AUTO", user_id) == await varied(known, level, user_id)


async def test_a_request_that_does_not_say_gets_the_shops_setting(known: RunningService) -> None:
    async with serving(release(), House(Taste(Diversity.HIGH, PriceRerank.NONE))) as service:
        assert await varied(service, "UNSPECIFIED") == await varied(known, "HIGH")
        assert await varied(service, "NONE") == NAMES
    async with serving(release(), House(Taste(Diversity.NONE, PriceRerank.HIGH))) as service:
        assert await priced(service, "UNSPECIFIED") == PRICE["HIGH"]
        assert await priced(service, "NONE") == PRICE["NONE"]


# Price: scores of 24, 23, 20 and 1 have a standard deviation of √87.5, prices of 1, 3, 4 and 2 the percentiles 1/8,
# 5/8, 7/8 and 3/8. A level moves one item above another if its weight times the difference of percentiles exceeds that
# of scores over the deviation: .25 · 4/8 > 1/9.35 > .25 · 2/8 (LOW), 1 · 6/8 > 4/9.35 and 1 · 2/8 < 3/9.35 (MEDIUM),
# 3.5 · 2/8 > 3/9.35 and 3.5 · 2/8 < 23/9.35 (HIGH).

PRICE = {
    "NONE": ["dairy-0", "dairy-1", "dairy-4", "pantry-5"],
    "LOW": ["dairy-1", "dairy-0", "dairy-4", "pantry-5"],
    "MEDIUM": ["dairy-1", "dairy-4", "dairy-0", "pantry-5"],
    "HIGH": ["dairy-4", "dairy-1", "dairy-0", "pantry-5"],
}


async def priced(service: RunningService, level: str) -> list[str]:
    """Four items at a level."""
    chosen = {"include_item_ids": sorted(PRICE["NONE"]), "strict": True}
    reply = await service.recommended_for("fan", filter=chosen, price_rerank_level=f"PRICE_RERANK_LEVEL_{level}")
    return names_of(reply)


@pytest.mark.parametrize("level", PRICE)
async def test_dearer_items_move_up_as_far_as_the_level_says(known: RunningService, level: str) -> None:
    assert await priced(known, level) == PRICE[level]
    asked = messages.RankRequest(item_ids=sorted(PRICE["NONE"]), price_rerank_level=f"PRICE_RERANK_LEVEL_{level}")
    assert names_of(await known.client.rank(asked)) == PRICE[level]
