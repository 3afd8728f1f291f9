"""The scheme sees nothing at or after its end, and towers, tables and features nothing of the window that labels come
from."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.schema import Dataset
from features.synthetic import SyntheticConfig, generate
from tests.tiny_encoder import write_tiny_encoder
from training.config import RankerConfig, TrainConfig
from training.dataset import item_texts, select_catalogue
from training.progress import Timings
from training.recipes import small
from training.scheme import FittedRanker, ask, fit_by_windows
from training.splits import LastOutSplit, Split, TimeSplit, sequences_before, without_last
from training.towers import lay_foundation

pytestmark = pytest.mark.usefixtures("one_thread")

SHOP = SyntheticConfig(user_count=50, item_count=60, taste_count=4, weeks=9, seed=3, new_item_count=2)
CUTOFF_WEEK = 7


@pytest.fixture(scope="module")
def data() -> Dataset:
    return generate(SHOP).dataset


@pytest.fixture(scope="module")
def cutoff(data: Dataset) -> datetime:
    return data.calendar.week_end(CUTOFF_WEEK)


@pytest.fixture(scope="module")
def config(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The small recipe with two steps a stage and a tiny encoder."""
    words = " ".join(item_texts(data.items).distinct).lower().replace(".", " ").replace(",", " ").split()
    encoder = write_tiny_encoder(tmp_path_factory.mktemp("encoder"), words, layers=1)
    recipe = small()
    return replace(
        recipe,
        catalogue=replace(recipe.catalogue, min_shoppers=1),
        text=replace(recipe.text, encoder=encoder, trained_layers=1, steps=2, batch_size=16),
        interest=replace(recipe.interest, steps=2, batch_size=8, layers=1),
        ranker=replace(recipe.ranker, windows=2, chance_trees=3, order_trees=3),
    )


def run(data: Dataset, config: TrainConfig, cutoff: datetime, seed: int = 0) -> FittedRanker:
    """The scheme over windows before the cutoff."""
    return run_on(TimeSplit(data, cutoff, config.ranker.window_weeks), config, seed)


def run_on(split: Split, config: TrainConfig, seed: int = 0) -> FittedRanker:
    """The scheme over any windows."""
    catalogue = select_catalogue(split.known(0), split.instant(0), config.catalogue.min_shoppers)
    foundation = lay_foundation(item_texts(catalogue), config)
    return fit_by_windows(split, catalogue, foundation, config, seed, Timings(logging.getLogger(__name__)))


@pytest.fixture(scope="module")
def outcome(data: Dataset, config: TrainConfig, cutoff: datetime) -> FittedRanker:
    return run(data, config, cutoff)


@pytest.fixture(scope="module")
def everything(config: TrainConfig) -> TrainConfig:
    """The settings with a catalogue that holds whatever there is."""
    return replace(config, catalogue=replace(config.catalogue, min_shoppers=0))


@pytest.fixture(scope="module")
def outcome_with_everything(data: Dataset, everything: TrainConfig, cutoff: datetime) -> FittedRanker:
    return run(data, everything, cutoff)


def corrupted(data: Dataset, since: datetime) -> Dataset:
    """The shop with everything from an instant on turned upside down: who, what, how, at what price, how often."""
    is_late = pl.col("event_time") >= since
    rng = np.random.default_rng(0)
    late = data.events.filter(is_late)
    assert late.height > 50, "there is nothing to corrupt"
    item_ids, user_ids = data.items["item_id"].to_numpy(), data.events["user_id"].unique().sort().to_numpy()
    nonsense = late.with_columns(
        event_id=pl.lit("nonsense ") + pl.col("event_id"),
        item_id=pl.Series(rng.choice(item_ids, late.height)),
        user_id=pl.Series(rng.choice(user_ids, late.height)),
        event_type=pl.lit("purchase"),
        price=pl.Series(rng.uniform(1, 1000, late.height)),
    )
    events = pl.concat([data.events.filter(~is_late), nonsense, nonsense.with_columns(pl.col("event_id") + " again")])
    shown = data.promotions.filter(pl.col("start_time") < since)
    more = shown.with_columns(
        kind=pl.lit("coupon"), start_time=pl.lit(since), end_time=pl.lit(since + timedelta(days=90)), reach=pl.lit(1.0)
    )
    return replace(data, events=events, promotions=pl.concat([shown, more]))


def same(one: FittedRanker, other: FittedRanker) -> bool:
    """Whether two runs came to the same rankers and vectors, bit by bit."""
    vectors = one.towers.vectors.tobytes() == other.towers.vectors.tobytes()
    return vectors and one.trees == other.trees and one.validation == other.validation


def test_nothing_at_or_after_the_cutoff_moves_a_bit_of_what_was_learned(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: FittedRanker
) -> None:
    assert same(run(corrupted(data, cutoff), config, cutoff), outcome)


def test_what_happened_in_the_newest_window_moves_the_rankers_but_not_the_towers_they_were_fitted_with(
    data: Dataset, everything: TrainConfig, cutoff: datetime, outcome_with_everything: FittedRanker
) -> None:
    since = cutoff - timedelta(weeks=everything.ranker.window_weeks)
    before, after = outcome_with_everything, run(corrupted(data, since), everything, cutoff)
    assert after.towers.text.row_vectors.tobytes() == before.towers.text.row_vectors.tobytes()
    assert after.towers.vectors.tobytes() == before.towers.vectors.tobytes()
    assert set(after.trees) == {"all", "new"}
    for task, fitted in after.trees.items():
        assert fitted.model_text != before.trees[task].model_text


def test_what_happened_in_the_oldest_window_moves_the_towers_of_newer_ones_but_not_the_text(
    data: Dataset, everything: TrainConfig, cutoff: datetime, outcome_with_everything: FittedRanker
) -> None:
    since = cutoff - everything.ranker.windows * timedelta(weeks=everything.ranker.window_weeks)
    before, after = outcome_with_everything, run(corrupted(data, since), everything, cutoff)
    assert after.towers.text.row_vectors.tobytes() == before.towers.text.row_vectors.tobytes()
    assert after.towers.vectors.tobytes() != before.towers.vectors.tobytes()


@pytest.mark.parametrize("back", [1, 2])
def test_tables_columns_and_shoppers_of_a_window_know_nothing_of_an_item_first_bought_within_it(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: FittedRanker, back: int
) -> None:
    split = TimeSplit(data, cutoff, config.ranker.window_weeks)
    catalogue = select_catalogue(data, cutoff, config.catalogue.min_shoppers)
    planted = catalogue["item_id"][7]
    is_early = (pl.col("item_id") == planted) & (pl.col("event_time") < split.instant(back))
    late = data.events.filter(pl.col("event_time") >= split.instant(back)).head(40)
    bought = late.with_columns(event_id=pl.lit("planted ") + pl.col("event_id"), item_id=pl.lit(planted))
    events = pl.concat([data.events.filter(~is_early), bought.with_columns(event_type=pl.lit("purchase"))])
    shop = replace(split, data=replace(data, events=events))
    asked = ask(shop, catalogue, sequences_before(shop, catalogue, back), outcome.towers, config, back)
    assert any(7 in query.truth for query in asked.window.queries)
    assert 7 not in asked.model.item_to_item.rows
    assert asked.model.items.column("item_log_count")[7] == 0
    assert asked.model.items.column("item_age_days")[7] == -1
    for query in asked.window.queries:
        assert 7 not in query.seen
        assert 7 not in query.shopper.history_rows
        assert 7 not in query.shopper.repeat_rows


def test_nothing_of_anyones_last_event_moves_a_bit_when_the_last_is_left_out(
    data: Dataset, config: TrainConfig, outcome: FittedRanker
) -> None:
    first_item = data.items["item_id"][0]
    from_end = pl.len().over("user_id") - pl.int_range(pl.len()).over("user_id")
    ordered = data.events.sort("event_time", "event_id").with_columns(is_last=from_end == 1)
    nonsense = pl.when("is_last").then(pl.lit(first_item)).otherwise("item_id")
    other = replace(data, events=ordered.with_columns(item_id=nonsense).drop("is_last"))
    found = [run_on(LastOutSplit(without_last(shop)), config) for shop in (data, other)]
    assert same(*found)
    assert not same(found[0], outcome)


def test_the_same_seed_learns_the_same_rankers_and_vectors_and_another_seed_others(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: FittedRanker
) -> None:
    assert same(run(data, config, cutoff), outcome)
    other = run(data, config, cutoff, seed=1)
    assert other.trees["all"] != outcome.trees["all"]
    assert other.towers.vectors.tobytes() != outcome.towers.vectors.tobytes()


def test_a_recipe_with_one_task_has_one_ranker_for_both(data: Dataset, config: TrainConfig, cutoff: datetime) -> None:
    only_new = replace(config, ranker=replace(config.ranker, tasks=("new",)))
    trees = run(data, only_new, cutoff).trees
    assert trees["all"] == trees["new"]


def test_one_window_alone_is_refused() -> None:
    """With none before the newest, nothing is left to fit the ranker that it judges."""
    with pytest.raises(ValueError, match="windows must be at least 2, got 1"):
        RankerConfig(windows=1)


def test_the_probe_is_measured_beside_the_baselines_on_the_same_shoppers(outcome: FittedRanker) -> None:
    assert set(outcome.validation) == {"all", "new"}
    for systems in outcome.validation.values():
        assert set(systems) == {"aisle", "popularity", "recency_frequency"}
        assert len({metrics["shoppers"] for metrics in systems.values()}) == 1
        for metrics in systems.values():
            recall = metrics["recall@20"]
            assert isinstance(recall, float)
            assert 0 <= recall <= 1
    assert min(min(fitted.growth.chance, fitted.growth.order) for fitted in outcome.trees.values()) >= 1
