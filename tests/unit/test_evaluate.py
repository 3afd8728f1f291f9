"""The command line of an evaluation, on a tiny bundle and a shop whose events are written by hand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.bundle import Bundle
from features.left_out import leave_out_until
from features.schema import Dataset
from features.shopper_digest import open_digest
from tests.shop import dataset, day, event, events
from tests.tiny_shop import AS_OF, tiny_shop, write_shop_bundle
from training.evaluate import evaluate, main
from training.evaluation import TASKS
from training.rivals import Rivals, quick_rivals, tuned_rivals
from training.splits import TimeSplit

ITEMS = tiny_shop(seed=1).items
CUTOFF = (AS_OF - day(0)) / timedelta(days=1)
BASELINES = {"popularity", "popularity_recent", "recency_frequency", "item_knn", "ease", "als", "bpr"}
"""Those that read no text."""


def visits(first_day: float, last_day: float, seed: int) -> list[dict[str, object]]:
    """Twelve shoppers, each with two taste items they keep buying and one that changes."""
    rng = np.random.default_rng(seed)
    return [
        event(f"user-{shopper}", f"item-{row}", on)
        for shopper in range(12)
        for on in np.arange(first_day, last_day, 3.0).tolist()
        for row in {shopper, shopper + 12, int(rng.integers(40))}
    ]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Sixty days before the cutoff, twenty after."""
    return dataset(events(*visits(CUTOFF - 60, CUTOFF, 0), *visits(CUTOFF + 0.5, CUTOFF + 20, 1)), ITEMS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_shop_bundle(tmp_path_factory.mktemp("bundles"), seed=1)


def test_a_bundle_is_set_beside_popularity_and_frequency(shop: Dataset, bundle: Bundle) -> None:
    found = evaluate(shop, bundle, seed=0)
    assert list(found) == list(TASKS)
    assert all(set(systems) == {"aisle", "popularity", "recency_frequency"} for systems in found.values())
    assert found["all"]["recency_frequency"]["recall@20"] > found["all"]["popularity"]["recall@20"]


def test_the_command_writes_json_page_and_table_of_one_evaluation(
    shop: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    shop.events.write_parquet(tmp_path / "events.parquet")
    shop.items.write_parquet(tmp_path / "items.parquet")
    out = tmp_path / "out" / "report.json"
    told = ["--data", f"parquet:{tmp_path}", "--bundle", str(bundle.root), "--cache", str(tmp_path / "cache")]
    main([*told, "--baselines", "quick", "--out", str(out)])
    report = json.loads(out.read_text())
    assert report["bundle"] == bundle.version
    assert report["tasks"]["all"]["aisle"]["shoppers"] == 12
    assert report["run"]["verb"] == "bought"
    assert "of what shoppers bought next" in out.with_suffix(".html").read_text()
    assert pl.read_parquet(out.with_suffix(".parquet")).height == 2 * 3 * 12


def test_who_is_forgotten_while_it_is_judged_is_not_in_the_table(
    shop: Dataset, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*asked: object) -> Rivals:
        digest = open_digest(tmp_path / "live", None)
        leave_out_until(tmp_path / "live", [digest("user-3")], datetime.now(UTC), keep_opted_out=True)
        return quick_rivals(asked[0], asked[3])  # type: ignore[arg-type]

    monkeypatch.setattr("training.evaluate.rivals_of", meanwhile)
    shop.events.write_parquet(tmp_path / "events.parquet")
    shop.items.write_parquet(tmp_path / "items.parquet")
    (tmp_path / "live").mkdir()
    told = ["--data", f"parquet:{tmp_path}+live:{tmp_path / 'live'}", "--bundle", str(bundle.root)]
    main([*told, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "report.json")])
    judged = set(pl.read_parquet(tmp_path / "report.parquet")["user_id"])
    assert judged == {f"user-{number}" for number in range(12)} - {"user-3"}


def test_a_bundle_of_another_week_and_data_that_ends_at_the_cutoff_are_refused(
    shop: Dataset, bundle: Bundle, tmp_path: Path
) -> None:
    early = shop.events.filter(pl.col("event_time") < AS_OF)
    early.write_parquet(tmp_path / "events.parquet")
    shop.items.write_parquet(tmp_path / "items.parquet")
    told = ["--data", f"parquet:{tmp_path}", "--bundle", str(bundle.root), "--cache", str(tmp_path / "cache")]
    with pytest.raises(SystemExit, match="not with week 3"):
        main([*told, "--cutoff-week", "3"])
    with pytest.raises(ValueError, match="nothing to judge by"):
        main(told)


def test_every_baseline_is_tuned_on_the_window_before_the_cutoff_and_fitted_on_all_of_it(shop: Dataset) -> None:
    found = tuned_rivals(TimeSplit(shop, AS_OF, weeks=2), ITEMS, seed=0, text_vectors=None, questions=8, trials=1)
    assert {task: set(names) for task, names in found.by_task.items()} == dict.fromkeys(TASKS, BASELINES)
    assert found.settings["recency_frequency"]["all"]["half_life_days"] > 0
    assert "8 shoppers in the window before the test" in found.budget
    unseen_in_tuning = shop.events.filter(pl.col("event_time") >= AS_OF - timedelta(weeks=2))
    weights = found.by_task["all"]["popularity"].scores("user-0")
    assert weights.sum() > unseen_in_tuning.filter(pl.col("event_time") < AS_OF).height
    before = shop.events.filter(pl.col("event_time") < AS_OF)
    shut = Dataset("corner-shop", before, ITEMS, shop.promotions, shop.users, shop.calendar)
    blind = tuned_rivals(TimeSplit(shut, AS_OF, weeks=2), ITEMS, seed=0, text_vectors=None, questions=8, trials=1)
    assert blind.settings == found.settings
