"""The week scheme sees nothing at or after its cutoff, and its towers nothing of the weeks that labels come from."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.encode import Floats
from features.schema import Dataset
from features.synthetic import SyntheticConfig, generate
from tests.tiny_encoder import write_tiny_encoder
from training.config import TrainConfig
from training.dataset import item_texts, select_catalogue, sequences
from training.progress import Timings
from training.recipes import small
from training.scheme import FittedRanker, fit_by_weeks
from training.towers import fit_interest, lay_foundation

pytestmark = pytest.mark.usefixtures("one_thread")

SHOP = SyntheticConfig(user_count=50, item_count=60, taste_count=4, weeks=9, seed=3, new_item_count=2)
CUTOFF_WEEK = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run hands over."""

    ranker: FittedRanker
    vectors: Floats


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
        ranker=replace(recipe.ranker, max_trees=5),
    )


def run(data: Dataset, config: TrainConfig, cutoff: datetime, seed: int = 0) -> Outcome:
    """What a training run computes, up to the files."""
    catalogue = select_catalogue(data, cutoff, config.catalogue.min_shoppers)
    foundation = lay_foundation(item_texts(catalogue), config)
    timings = Timings(logging.getLogger(__name__))
    ranker = fit_by_weeks(data, catalogue, foundation, config, cutoff, seed, timings)
    return Outcome(ranker, fit_interest(ranker.text, sequences(data, catalogue, cutoff), config, seed).vectors)


@pytest.fixture(scope="module")
def outcome(data: Dataset, config: TrainConfig, cutoff: datetime) -> Outcome:
    return run(data, config, cutoff)


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


def test_nothing_at_or_after_the_cutoff_moves_a_bit_of_what_was_learned(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: Outcome
) -> None:
    other = run(corrupted(data, cutoff), config, cutoff)
    assert other.ranker.model_text == outcome.ranker.model_text
    assert other.vectors.tobytes() == outcome.vectors.tobytes()
    assert other.ranker.validation == outcome.ranker.validation


def test_what_happened_in_the_label_weeks_moves_the_ranker_but_not_the_towers_it_was_fitted_with(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: Outcome
) -> None:
    since = cutoff - 2 * timedelta(weeks=config.ranker.window_weeks)
    everything = replace(config, catalogue=replace(config.catalogue, min_shoppers=0))
    before, after = run(data, everything, cutoff), run(corrupted(data, since), everything, cutoff)
    assert after.ranker.text.row_vectors.tobytes() == before.ranker.text.row_vectors.tobytes()
    assert after.ranker.model_text != before.ranker.model_text
    assert after.vectors.tobytes() != before.vectors.tobytes()
    assert outcome.vectors.shape[0] < before.vectors.shape[0]


def test_the_same_seed_learns_the_same_ranker_and_vectors_and_another_seed_others(
    data: Dataset, config: TrainConfig, cutoff: datetime, outcome: Outcome
) -> None:
    again, other = run(data, config, cutoff), run(data, config, cutoff, seed=1)
    assert again.ranker.model_text == outcome.ranker.model_text
    assert again.vectors.tobytes() == outcome.vectors.tobytes()
    assert again.ranker.validation == outcome.ranker.validation
    assert other.ranker.model_text != outcome.ranker.model_text
    assert other.vectors.tobytes() != outcome.vectors.tobytes()


def test_the_probe_is_measured_beside_the_baselines_on_the_same_shoppers(outcome: Outcome) -> None:
    validation = outcome.ranker.validation
    assert set(validation) == {"all", "new"}
    for systems in validation.values():
        assert set(systems) == {"aisle", "popularity", "recency_frequency"}
        assert len({metrics["shoppers"] for metrics in systems.values()}) == 1
        for metrics in systems.values():
            recall = metrics["recall@20"]
            assert isinstance(recall, float)
            assert 0 <= recall <= 1
    assert outcome.ranker.trees >= 1
