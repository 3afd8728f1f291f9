"""Which items come into question, against the same rules written plainly."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from aisle.v1 import recommendation_service_pb2 as messages
from hypothesis import given
from hypothesis import strategies as st

from features import spec
from features.encode import Shopper, resolve
from features.vocab import Rows
from services.ranking.ordering import (
    NO_ROWS,
    CandidateLimits,
    Interest,
    ItemToItem,
    ItemToItemScores,
    OrderingModel,
    Source,
    best_over_interests,
    mask_without,
    near_query,
    nearest,
    requested,
)
from tests.strategies import unhurried
from tests.tiny_shop import LIMITS, TinyShop, gathered, tiny_shop

seeds = st.integers(0, 2**32 - 1)
limits_of_any_size = st.builds(
    CandidateLimits,
    total=st.integers(1, 60),
    buy_again=st.integers(0, 50),
    bought_together=st.integers(0, 50),
    category=st.integers(0, 20),
    per_category=st.integers(0, 5),
    popular=st.integers(0, 50),
)


NOTHING = ItemToItemScores(ItemToItem.empty(), np.zeros((len(spec.I2I_FEATURES), 1), np.float32))
"""What a bundle says in which no item keeps company with any."""


def rows_of(*numbers: int) -> Rows:
    return np.array(numbers, dtype=np.int32)


def a_shopper(model: OrderingModel, repeats: Rows = NO_ROWS, leaf_shares: dict[int, float] | None = None) -> Shopper:
    """Someone who had these rows, heaviest first, and has these shares of their weight in these categories."""
    affinity = np.zeros(len(model.items.leaves) + 1, dtype=np.float32)
    for leaf, share in (leaf_shares or {}).items():
        affinity[leaf] = share
    numbers = np.ones(repeats.size, dtype=np.float32)
    return replace(
        resolve(None, model.items),
        last_event_us=1,
        history_rows=repeats,
        repeat_rows=repeats,
        repeat_counts=numbers,
        repeat_weights=numbers,
        repeat_last_us=np.ones(repeats.size, dtype=np.int64),
        repeat_purchase_us=np.ones(repeats.size, dtype=np.int64),
        repeat_gap_days=numbers,
        leaf_affinity=affinity,
    )


def plain_gather(
    model: OrderingModel, shopper: Shopper, near: list[int], limits: CandidateLimits, excluded: set[int]
) -> dict[int, Source]:
    """What `gather` promises, one item at a time."""
    had = shopper.repeat_rows.tolist()
    again = [row for row in had if row not in excluded][: limits.buy_again]
    together: list[int] = []
    for sums in model.item_to_item.ask(shopper).of(np.arange(len(model.items.vocabulary), dtype=np.int32)).T:
        company = [row for row in np.flatnonzero(sums > 0).tolist() if row not in excluded and row not in had]
        best = sorted(company, key=lambda row, of=sums: -of[row])[: limits.bought_together]  # type: ignore[misc]
        together += [row for row in best if row not in together]
    popular = [row for row in model.popular_rows.tolist() if row not in excluded]
    leaders: list[int] = []
    if limits.category and limits.per_category:
        shares = shopper.leaf_affinity[:-1].tolist()
        heaviest = sorted((leaf for leaf in range(len(shares)) if shares[leaf]), key=lambda leaf: -shares[leaf])
        for leaf in heaviest[: -(-limits.category // limits.per_category)]:
            leaders += [row for row in popular if model.items.leaf[row] == leaf][: limits.per_category]
        leaders = leaders[: limits.category]
    popular = popular[: limits.popular]
    room = max(limits.total - len(again) - len(together) - len(leaders) - len(popular), 0)
    merged: dict[int, Source] = {}
    for source, rows in (
        (Source.BUY_AGAIN, again),
        (Source.BOUGHT_TOGETHER, together),
        (Source.INTEREST, near[:room]),
        (Source.SAME_CATEGORY, leaders),
        (Source.POPULAR, popular),
        (Source.INTEREST, near[room:]),
    ):
        for row in rows:
            merged.setdefault(row, source)
    return dict(list(merged.items())[: limits.total])


@unhurried
@given(seed=seeds, limits=limits_of_any_size, excluded_share=st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_candidates_are_what_the_plain_rules_give_and_never_an_excluded_row(
    model: OrderingModel, seed: int, limits: CandidateLimits, excluded_share: float
) -> None:
    rng = np.random.default_rng(seed)
    count = len(model.items.vocabulary)
    excluded = np.flatnonzero(rng.random(count) < excluded_share).astype(np.int32)
    repeats = rng.permutation(count)[: rng.integers(0, count)].astype(np.int32)
    shares = rng.dirichlet(np.ones(len(model.items.leaves))) * rng.integers(0, 2, len(model.items.leaves))
    shopper = a_shopper(model, repeats, dict(enumerate(shares)))
    interest = Interest(rng.standard_normal((3, 128)).astype(np.float32), is_fallback=False)
    allowed = mask_without(None, excluded, count)
    near = nearest(model, shopper, interest, limits, allowed)
    found = gathered(model, shopper, model.item_to_item.ask(shopper), near, limits, allowed)
    expected = plain_gather(model, shopper, near.tolist(), limits, set(excluded.tolist()))
    assert dict(zip(found.rows.tolist(), map(Source, found.sources), strict=True)) == expected
    assert found.rows.tolist() == list(expected)
    assert not set(found.rows) & set(excluded)
    assert len(set(found.rows)) == len(found.rows) <= limits.total
    assert found.rows.dtype == np.int32
    assert found.sources.dtype == np.uint8


@pytest.mark.parametrize(
    ("repeats", "near", "source"),
    [(True, True, Source.BUY_AGAIN), (False, True, Source.INTEREST), (False, False, Source.SAME_CATEGORY)],
)
def test_an_item_proposed_twice_keeps_the_source_of_higher_precedence(
    model: OrderingModel, repeats: bool, near: bool, source: Source
) -> None:
    best = model.popular_rows[:1]
    shopper = a_shopper(model, best if repeats else NO_ROWS, {int(model.items.leaf[best[0]]): 1.0})
    found = gathered(model, shopper, model.item_to_item.ask(shopper), best if near else NO_ROWS, LIMITS)
    assert found.sources[found.rows == best[0]].tolist() == [source]


def test_what_keeps_company_with_what_the_shopper_had_is_proposed_and_what_they_had_is_not(
    model: OrderingModel,
) -> None:
    had, near, far, other = model.item_to_item.rows[:4]
    tables, ones = len(spec.I2I_TABLES), np.ones((len(spec.I2I_TABLES), 4, 2), np.float32)
    neighbours = np.tile(np.array([[1, 2], [0, 0], [0, 0], [0, 0]], np.int32), (tables, 1, 1))
    weights = np.array([3.0, 2.0], np.float32) * ones
    company = ItemToItem(np.array([had, near, far, other], np.int32), neighbours, weights)
    limits = CandidateLimits(total=5, buy_again=1, bought_together=2, category=0, popular=0)
    shopper = a_shopper(model, rows_of(had))
    found = gathered(model, shopper, company.ask(shopper), NO_ROWS, limits)
    assert found.rows.tolist() == [had, near, far]
    assert found.sources.tolist() == [Source.BUY_AGAIN, Source.BOUGHT_TOGETHER, Source.BOUGHT_TOGETHER]


def test_what_the_index_proposes_gives_way_to_the_other_sources(model: OrderingModel) -> None:
    limits = CandidateLimits(total=8, buy_again=3, bought_together=0, category=2, per_category=1, popular=2)
    others = model.popular_rows[10:]
    shopper = a_shopper(model, others[:5], {int(model.items.leaf[others[0]]): 0.6, int(model.items.leaf[0]): 0.4})
    found = gathered(model, shopper, NOTHING, others[5:15], limits)
    assert (found.sources == Source.INTEREST).sum() == 1
    assert (found.sources == Source.BUY_AGAIN).sum() == 3


def test_a_shopper_without_anything_gets_the_nearest_and_the_popular_ones(model: OrderingModel) -> None:
    found = gathered(model, a_shopper(model), model.item_to_item.ask(a_shopper(model)), rows_of(7, 8), LIMITS)
    assert set(found.sources) == {Source.INTEREST, Source.POPULAR}
    assert len(found.rows) < LIMITS.total


def test_the_heaviest_categories_lead_and_no_more_rows_than_the_limit(model: OrderingModel) -> None:
    shopper = a_shopper(model, NO_ROWS, {0: 0.2, 1: 0.1, 2: 0.7})
    found = gathered(model, shopper, NOTHING, NO_ROWS, CandidateLimits(total=60, category=5, per_category=3, popular=0))
    assert model.items.leaf[found.rows].tolist() == [2, 2, 2, 0, 0]


def test_an_item_without_a_category_leads_none(shop: TinyShop) -> None:
    best, categories = shop.model().popular_rows[0], shop.items["category"].to_list()
    bare = pl.Series([[] if row == best else path for row, path in enumerate(categories)])
    model = replace(shop, items=shop.items.with_columns(category=bare)).model()
    assert model.items.leaf[best] == -1
    shopper = a_shopper(model, NO_ROWS, dict.fromkeys(range(len(model.items.leaves)), 0.1))
    found = gathered(
        model, shopper, NOTHING, NO_ROWS, CandidateLimits(total=60, category=240, per_category=40, popular=0)
    )
    assert sorted(found.rows) == [row for row in range(40) if row != best]


def test_an_empty_catalogue_has_no_candidates() -> None:
    model = tiny_shop(seed=2, item_count=0).model()
    shopper = a_shopper(model)
    interest = Interest(np.ones((1, 128), np.float32), is_fallback=False)
    near = nearest(model, shopper, interest, LIMITS)
    assert gathered(model, shopper, model.item_to_item.ask(shopper), near, LIMITS).rows.size == 0


def test_rows_that_the_caller_names_are_candidates_once_each_in_their_order() -> None:
    found = requested(rows_of(5, 3, 5, 9, 3))
    assert found.rows.tolist() == [5, 3, 9]
    assert found.sources.tolist() == [Source.REQUEST] * 3
    assert requested(NO_ROWS).rows.size == 0


def test_the_index_is_asked_for_all_but_the_excluded_and_what_the_shopper_had(model: OrderingModel) -> None:
    allowed = mask_without(None, rows_of(30, 9), 40)
    count, fresh = near_query(model, a_shopper(model, rows_of(9, 2)), LIMITS, allowed)
    assert (count, np.flatnonzero(~fresh).tolist()) == (LIMITS.total, [2, 9, 30])
    assert np.flatnonzero(~allowed).tolist() == [9, 30]


def test_no_interest_at_all_is_no_query(model: OrderingModel) -> None:
    nothing = Interest(np.zeros((1, 128), np.float32), is_fallback=True)
    assert nearest(model, a_shopper(model), nothing, LIMITS).size == 0


@unhurried
@given(seed=seeds, interests=st.integers(1, 4), k=st.integers(1, 12), count=st.integers(0, 30))
def test_the_best_over_all_interests_are_found_once_each_without_filling(
    seed: int, interests: int, k: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(20)[:k] for _ in range(interests)]).astype(np.int32)
    scores = -np.sort(-rng.standard_normal((interests, k)).astype(np.float32), axis=1)
    ends = rng.integers(0, k, interests, endpoint=True)
    for interest, end in enumerate(ends):
        rows[interest, end:], scores[interest, end:] = -1, -np.inf
    best: dict[int, float] = {}
    for row, score in zip(rows.ravel().tolist(), scores.ravel().tolist(), strict=True):
        if row >= 0:
            best[row] = max(score, best.get(row, -np.inf))
    expected = sorted(best, key=lambda row: -best[row])[:count]
    assert best_over_interests(rows, scores, count).tolist() == expected


def test_nothing_found_by_any_interest_is_nothing() -> None:
    assert best_over_interests(np.full((2, 3), -1, np.int32), np.full((2, 3), -np.inf, np.float32), 5).size == 0


@pytest.mark.parametrize("field", ["buy_again", "bought_together", "category", "per_category", "popular", "total"])
def test_negative_limits_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=rf"must not be negative.*{field}=-1"):
        CandidateLimits(**{field: -1})
    with pytest.raises(ValueError, match="total=0"):
        CandidateLimits(total=0)


def test_sources_have_the_names_and_numbers_of_the_api() -> None:
    for source in Source:
        assert messages.CandidateSource.Value(f"CANDIDATE_SOURCE_{source.name}") == source
