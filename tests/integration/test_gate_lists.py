"""The gate over a log of lists: a better bundle is refused where all that the serving one's lists led to counts, and
promoted where only what exploration drew does."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features.bundle import Bundle
from features.schema import ATTRIBUTES, EVENTS, Dataset
from services.ranking.ordering import RankedList, drawn, recommend
from tests.damaged_bundles import resealed, with_rankers_upside_down
from tests.trained_shop import TrainedShop
from training.contenders import Contender
from training.gate import judge_bundles
from training.queries import Query, interests_of, open_window
from training.verdict import GateLimits

WEEKS = 2
LISTS = 4
PLACES, TRIED = 16, 4
LIMITS = GateLimits(resamples=2_000)


@pytest.fixture(scope="module")
def worse(trained_shop: TrainedShop, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What serves: the trained bundle with its rankers upside down."""
    return resealed(trained_shop.bundle, tmp_path_factory.mktemp("worse"), "worse", with_rankers_upside_down)


@pytest.fixture(scope="module")
def told(trained_shop: TrainedShop, worse: Bundle) -> Dataset:
    """The shop, had it had nothing but the worse bundle's lists from its cutoff on."""
    return _with_lists(trained_shop, worse)


def _with_lists(shop: TrainedShop, serving: Bundle) -> Dataset:
    """Everybody looks at some lists and takes what is of the own taste."""
    data, contender = shop.shop.dataset, Contender.of_bundle(serving)
    window = open_window(data, contender.items, serving.as_of, WEEKS)
    shoppers = [query.shopper for query in window.queries]
    interests = interests_of(contender.interest, contender.model.vectors, shoppers, window.now_us)
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for query, interest in zip(window.queries, interests, strict=True):
        ranked = recommend(
            contender.model, contender.rankers.all_items, query.shopper, interest, contender.limits, query.now_us
        )
        for number in range(LISTS):
            rows += _visit(shop, contender, serving, query, ranked, number, rng)
    happened = pl.DataFrame(rows, schema=EVENTS, orient="row")
    before = data.events.filter(pl.col("event_time") < serving.as_of)
    return replace(data, events=pl.concat([before, happened]).sort("event_time"))


def _visit(
    shop: TrainedShop,
    contender: Contender,
    serving: Bundle,
    query: Query,
    ranked: RankedList,
    number: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:
    """One list, its first places for sure and some drawn of what is further down, and what it led to."""
    name = f"{query.user_id}-{number}"
    tried = drawn(ranked.tail(PLACES), name).head(TRIED)
    assert tried.propensities is not None
    chances = [1.0] * PLACES + tried.propensities.tolist()
    ids = contender.items["item_id"].gather(np.concatenate([ranked.head(PLACES).rows, tried.rows])).to_list()
    when = serving.as_of + timedelta(hours=1 + number)
    for place, (item_id, chance) in enumerate(zip(ids, chances, strict=True)):
        common = {
            "tenant": "default",
            "user_id": query.user_id,
            "item_id": item_id,
            "event_time": when,
            "quantity": 1,
            "recommendation_id": name,
            "attributes": [],
        }
        told = [{"key": "propensity", "value": str(chance)}]
        yield common | {"event_id": f"{name}#{place}", "event_type": "impression", "attributes": told}
        is_hit = shop.shop.item_tastes[item_id] == shop.shop.user_tastes[query.user_id]
        if rng.random() < (0.5 if is_hit else 0.02):
            yield common | {"event_id": f"{name}-c{place}", "event_type": "click"}


def test_all_events_favour_what_served_and_a_better_bundle_is_refused(
    trained_shop: TrainedShop, worse: Bundle, told: Dataset
) -> None:
    verdict, _ = judge_bundles(told, trained_shop.bundle, worse, WEEKS, LIMITS, seed=0, all_events=True)
    assert "accuracy" in {found.check for found in verdict.refusals}


def test_what_exploration_drew_lets_it_pass(trained_shop: TrainedShop, worse: Bundle, told: Dataset) -> None:
    verdict, judgement = judge_bundles(told, trained_shop.bundle, worse, WEEKS, LIMITS, seed=0)
    assert verdict.passed, [str(found) for found in verdict.refusals]
    drawn_task = judgement.tasks["drawn"]
    assert drawn_task["candidate"]["ndcg@20"] > drawn_task["serving"]["ndcg@20"]
    assert drawn_task["candidate"]["shoppers"] > LIMITS.min_shoppers


def test_the_worse_one_is_refused_by_what_was_drawn(trained_shop: TrainedShop, worse: Bundle, told: Dataset) -> None:
    verdict, _ = judge_bundles(told, worse, trained_shop.bundle, WEEKS, LIMITS, seed=0)
    assert ("accuracy", "drawn") in {(found.check, found.task) for found in verdict.refusals}


def test_without_exploration_nothing_can_be_judged_and_the_reason_says_so(
    trained_shop: TrainedShop, worse: Bundle, told: Dataset
) -> None:
    silent = replace(told, events=told.events.with_columns(attributes=pl.lit([], ATTRIBUTES)))
    verdict, _ = judge_bundles(silent, trained_shop.bundle, worse, WEEKS, LIMITS, seed=0)
    reasons = [str(found) for found in verdict.refusals if found.check == "accuracy"]
    assert len(reasons) == 5
    assert all("explore more" in reason for reason in reasons)


def test_what_no_list_led_to_is_enough(trained_shop: TrainedShop, worse: Bundle, told: Dataset) -> None:
    """The shop's own events of those weeks beside lists without any draw."""
    own = trained_shop.shop.dataset.events.filter(pl.col("event_time") >= worse.as_of)
    silent = told.events.with_columns(attributes=pl.lit([], ATTRIBUTES))
    both = replace(told, events=pl.concat([silent, own]).sort("event_time"))
    verdict, judgement = judge_bundles(both, trained_shop.bundle, worse, WEEKS, LIMITS, seed=0)
    assert verdict.passed, [str(found) for found in verdict.refusals]
    plain, _ = judge_bundles(trained_shop.shop.dataset, trained_shop.bundle, worse, WEEKS, LIMITS, seed=0)
    shoppers = {found.shoppers for found in plain.findings if found.metric == "ndcg@20" and found.task == "all"}
    assert {judgement.tasks["all"]["candidate"]["shoppers"]} == shoppers
