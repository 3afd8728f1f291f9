"""The synthetic shop: same seed, same shop; its tastes are there to be found; it says what it is."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.schema import TABLES
from features.synthetic import SyntheticConfig, SyntheticShop, generate
from tests.strategies import unhurried

DEFAULTS = SyntheticConfig()
LIST_LENGTH = 20


@pytest.fixture(scope="module")
def shop() -> SyntheticShop:
    return generate(DEFAULTS)


@pytest.fixture(scope="module")
def events(shop: SyntheticShop) -> pl.DataFrame:
    """Events with week, and whether the item is of the user's taste."""
    return shop.dataset.events.with_columns(
        week=shop.dataset.calendar.week_expr("event_time"),
        is_own=pl.col("user_id").replace_strict(shop.user_tastes) == pl.col("item_id").replace_strict(shop.item_tastes),
    )


@pytest.fixture(scope="module")
def bought_last(events: pl.DataFrame) -> dict[str, set[str]]:
    """What each user bought in the last week."""
    last = events.filter(pl.col("event_type") == "purchase", pl.col("week") == DEFAULTS.weeks)
    return {user: set(items) for user, items in last.group_by("user_id").agg("item_id").iter_rows()}


def recall(bought: dict[str, set[str]], lists: dict[str, list[str]]) -> float:
    """Mean over users of the share of what they bought that stands in their list (of at most LIST_LENGTH items)."""
    shares = [
        len(items & set(lists[user][:LIST_LENGTH])) / min(LIST_LENGTH, len(items)) for user, items in bought.items()
    ]
    return sum(shares) / len(shares)


def test_the_same_seed_makes_the_same_shop(shop: SyntheticShop) -> None:
    again = generate(DEFAULTS)
    for table in TABLES:
        assert getattr(again.dataset, table).equals(getattr(shop.dataset, table)), table
    assert again.user_tastes == shop.user_tastes
    assert again.best_items == shop.best_items


def test_another_seed_makes_another_shop(shop: SyntheticShop) -> None:
    other = generate(replace(DEFAULTS, seed=1))
    assert not other.dataset.events.equals(shop.dataset.events)
    assert other.user_tastes != shop.user_tastes


def test_the_shop_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    program = (
        "from features.synthetic import SyntheticConfig, generate\n"
        "shop = generate(SyntheticConfig(user_count=20, item_count=60))\n"
        "data = shop.dataset\n"
        "print(data.events.write_json(), data.items.write_json(), data.promotions.write_json(), shop)"
    )
    shops = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(shops) == 1
    assert b"purchase" in shops.pop()


def test_the_shop_says_that_it_is_synthetic(shop: SyntheticShop) -> None:
    assert shop.dataset.synthetic is True
    assert shop.dataset.name == "synthetic"


def test_last_weeks_purchases_are_mostly_in_the_shoppers_taste(events: pl.DataFrame) -> None:
    last = events.filter(pl.col("event_type") == "purchase", pl.col("week") == DEFAULTS.weeks)
    visits = events.filter(event_type="view")["session_id"].unique()  # without staples, which are always own
    for bought in (last, last.filter(pl.col("session_id").is_in(visits.implode()))):
        assert bought.height > DEFAULTS.user_count // 2
        assert bought["is_own"].sum() > 0.9 * bought.height


def test_some_views_and_purchases_are_noise(events: pl.DataFrame) -> None:
    strays = events.filter(~pl.col("is_own"))["event_type"].value_counts()
    found = dict(strays.iter_rows())
    assert found["view"] > 0.05 * events.filter(event_type="view").height
    assert found["purchase"] > 0


def test_knowing_the_tastes_beats_knowing_what_is_popular(
    shop: SyntheticShop, events: pl.DataFrame, bought_last: dict[str, set[str]]
) -> None:
    before = events.filter(pl.col("event_type") == "purchase", pl.col("week") < DEFAULTS.weeks)
    popular = before["item_id"].value_counts(sort=True)["item_id"].to_list()
    by_popularity = recall(bought_last, dict.fromkeys(shop.user_tastes, popular))
    by_taste = recall(bought_last, shop.best_items)
    assert by_taste > 0.8
    assert by_taste > 1.3 * by_popularity


def test_best_items_are_all_items_of_the_taste_and_the_best_are_seen_most(
    shop: SyntheticShop, events: pl.DataFrame
) -> None:
    views = events.filter(pl.col("event_type") == "view", pl.col("is_own"))
    seen = dict(views.group_by("user_id").agg("item_id").iter_rows())
    top, bottom = 0, 0
    for user, best in shop.best_items.items():
        taste = shop.user_tastes[user]
        assert sorted(best) == sorted(item for item, its in shop.item_tastes.items() if its == taste)
        top += sum(item in best[:10] for item in seen.get(user, []))
        bottom += sum(item in best[-10:] for item in seen.get(user, []))
    assert top > 10 * bottom


def test_every_step_of_the_funnel_follows_the_one_before(events: pl.DataFrame) -> None:
    key = ["user_id", "item_id", "session_id"]
    first = {
        name: events.filter(event_type=name).group_by(key).agg(pl.col("event_time").min())
        for name in ("view", "click", "add-to-cart", "purchase")
    }
    visits = events.filter(event_type="view")["session_id"].unique()
    for before, after in (("view", "click"), ("click", "add-to-cart"), ("add-to-cart", "purchase")):
        later = first[after].filter(pl.col("session_id").is_in(visits.implode()))
        joined = later.join(first[before], on=key, how="left", suffix="_before")
        assert (joined["event_time"] > joined["event_time_before"]).all(), f"{before} → {after}"
        assert 0 < later.height < first[before].height


def test_supplies_are_bought_again_at_a_steady_pace(events: pl.DataFrame) -> None:
    bought = events.filter(event_type="purchase").group_by("user_id", "item_id").agg("event_time")
    gaps = (
        bought.filter(pl.col("event_time").list.len() >= 5)
        .select(pl.col("event_time").list.diff(null_behavior="drop").list.median().dt.total_seconds() / 86_400)
        .to_series()
    )
    assert gaps.len() > 0.5 * DEFAULTS.user_count
    is_steady = pl.any_horizontal((pl.col("event_time") / days - 1).abs() < 0.15 for days in (7, 14, 21))
    assert gaps.to_frame().select(is_steady.mean()).item() > 0.8


def test_attention_within_the_shop_is_long_tailed(events: pl.DataFrame) -> None:
    views = events.filter(event_type="view")["item_id"].value_counts(sort=True)["count"]
    assert views.to_numpy()[: DEFAULTS.item_count // 10].sum() > 0.4 * views.to_numpy().sum()


def test_new_items_appear_in_the_last_week_only(shop: SyntheticShop, events: pl.DataFrame) -> None:
    assert len(shop.new_items) == DEFAULTS.new_item_count
    seen = events.filter(pl.col("item_id").is_in(shop.new_items))
    assert seen["week"].unique().to_list() == [DEFAULTS.weeks]
    assert seen["item_id"].n_unique() == DEFAULTS.new_item_count


def test_titles_are_unique_in_a_large_shop_and_promotions_last_a_week() -> None:
    shop = generate(SyntheticConfig(user_count=5, item_count=5000, taste_count=12, weeks=2))
    assert shop.dataset.items["title"].is_unique().all()
    length = shop.dataset.promotions["end_time"] - shop.dataset.promotions["start_time"]
    assert (length.dt.total_days() == 7).all()


@unhurried
@example(SyntheticConfig(user_count=12, item_count=12, taste_count=12, weeks=2, new_item_count=11))
@given(
    st.builds(
        SyntheticConfig,
        user_count=st.integers(1, 12),
        item_count=st.integers(12, 40),
        taste_count=st.integers(1, 12),
        weeks=st.integers(1, 3),
        seed=st.integers(0, 9),
        new_item_count=st.integers(0, 11),
        staple_count=st.integers(0, 4),
        sessions_per_week=st.sampled_from([0.0, 0.5, 3.0]),
        views_per_session=st.sampled_from([1.0, 8.0]),
        taste_share=st.sampled_from([0.0, 0.5, 1.0]),
    )
)
def test_shops_of_any_size_are_whole(config: SyntheticConfig) -> None:
    shop = generate(config)
    events, calendar = shop.dataset.events, shop.dataset.calendar
    weeks = events.select(calendar.week_expr("event_time")).to_series()
    assert weeks.is_between(1, config.weeks).all()
    assert events["event_time"].is_sorted()
    assert events["item_id"].is_in(shop.dataset.items["item_id"].implode()).all()
    assert not events.filter(weeks < config.weeks)["item_id"].is_in(shop.new_items).any()
    assert shop.dataset.users["user_id"].to_list() == list(shop.user_tastes) == list(shop.best_items)
    sessions = events.filter(event_type="view").group_by("session_id").agg(pl.col("event_time").dt.date().n_unique())
    assert (sessions["event_time"] == 1).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_count", 0),
        ("taste_count", 13),
        ("taste_share", 1.5),
        ("click_rate", -0.1),
        ("views_per_session", 0.5),
        ("new_item_count", 400),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field}: {value} is"):
        replace(DEFAULTS, **{field: value})
