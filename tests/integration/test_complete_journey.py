"""The default data source, read from the real package: its facts, its weeks, its texts, its cost."""

import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import polars as pl
import pytest

from features.adapters import load
from features.adapters.complete_journey import CALENDAR, DATA_FOLDER, PACKAGE
from features.schema import TABLES, Dataset
from features.validation import validate

LONGEST_SECONDS = 30
MOST_KILOBYTES = 3_000_000


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def dataset(cache_dir: Path) -> Dataset:
    begin = time.monotonic()
    loaded = load("complete-journey", cache_dir)
    assert time.monotonic() - begin < LONGEST_SECONDS
    return loaded


def test_households_purchases_and_products_are_as_published(dataset: Dataset, cache_dir: Path) -> None:
    assert dataset.users["user_id"].n_unique() == dataset.users.height == 2_469
    rejects = pl.scan_ndjson(cache_dir / "rejects" / "complete-journey-events.rejects.jsonl")
    rejected_count = rejects.select(pl.col("row").n_unique()).collect().item()
    assert rejected_count == 8_901
    left_out_count = 1_469_307 - rejected_count - dataset.events.height
    assert 0 < left_out_count < 0.015 * 1_469_307
    assert 91_000 < dataset.items.height < 92_331
    assert dataset.synthetic is False


def test_the_calendar_reproduces_the_datas_own_weeks() -> None:
    folder = Path(str(distribution(PACKAGE).locate_file(DATA_FOLDER)))
    weeks = pl.read_parquet(folder / "transactions.parquet", columns=["transaction_timestamp", "week"]).with_columns(
        at=pl.col("transaction_timestamp").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    )
    agreement = weeks.select((CALENDAR.week_expr("at") == pl.col("week")).mean()).item()
    assert agreement >= 0.9999
    for week, first, last in weeks.group_by("week").agg(pl.col("at").min(), pl.col("at").max().alias("last")).rows():
        assert CALENDAR.week_of(first) == week == CALENDAR.week_of(last)


def test_every_table_passes_validation_again_unchanged(dataset: Dataset) -> None:
    for table in TABLES:
        frame = getattr(dataset, table)
        checked = validate(frame, table, table)
        assert checked.rejects.is_empty(), checked.summary()
        assert checked.frame.equals(frame)


def test_every_purchase_is_of_an_item_by_a_user_we_know(dataset: Dataset) -> None:
    events = dataset.events
    assert events["item_id"].is_in(dataset.items["item_id"].implode()).all()
    assert events["user_id"].is_in(dataset.users["user_id"].implode()).all()
    assert events["event_id"].is_unique().all()
    assert events["event_time"].is_sorted()
    assert events["event_type"].unique().to_list() == ["purchase"]


def test_every_item_has_a_title_in_words(dataset: Dataset) -> None:
    titles = dataset.items["title"]
    assert (titles.str.len_chars() > 1).all()
    is_shouting = titles.str.contains(r"[A-Z]{3}")
    assert is_shouting.sum() == 0, titles.filter(is_shouting).head(5).to_list()
    assert titles.str.count_matches(r"\(").equals(titles.str.count_matches(r"\)"))


def test_alcohol_and_tobacco_are_sensitive_and_milk_is_not(dataset: Dataset) -> None:
    departments = dataset.items.with_columns(
        department=pl.col("category").list.get(0), kind=pl.col("category").list.get(1, null_on_oob=True)
    )
    sensitive = departments.filter("sensitive")
    assert departments.filter(department="Spirits")["sensitive"].all()
    assert {"Cigarettes", "Beers, ales", "Domestic wine", "Liquor"} <= set(sensitive["kind"].drop_nulls())
    assert not departments.filter(kind="Fluid milk products")["sensitive"].any()


def test_every_promotion_reaches_somebody_and_at_most_everybody(dataset: Dataset) -> None:
    promotions = dataset.promotions
    assert set(promotions["kind"].unique()) == {"display", "mailer", "coupon"}
    assert ((promotions["reach"] > 0) & (promotions["reach"] <= 1)).all()
    in_store = promotions.filter(pl.col("kind") != "coupon")
    assert in_store.select("item_id", "kind", "start_time").is_unique().all()
    assert in_store["start_time"].n_unique() == 53


def test_the_second_load_reads_the_kept_copy(dataset: Dataset, cache_dir: Path) -> None:
    begin = time.monotonic()
    again = load("complete-journey", cache_dir)
    assert time.monotonic() - begin < LONGEST_SECONDS / 3
    for table in TABLES:
        assert getattr(again, table).equals(getattr(dataset, table)), table


def test_preparing_needs_under_3_gb_and_no_pandas(tmp_path: Path) -> None:
    program = (
        "import pathlib, resource, sys\n"
        "from features.adapters import load\n"
        f"load('complete-journey', pathlib.Path({str(tmp_path)!r}))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    kilobytes, has_pandas = done.stdout.split()
    assert int(kilobytes) < MOST_KILOBYTES
    assert has_pandas == "False"
